import sharp from 'sharp';
import { ensureWordpressBase } from './_images.ts';
import type { Guest } from './_lab.ts';
import { write } from './_machine.ts';

/** The folder of the admin's own app that stands before the catalogue's WordPress. */
export const blogApp = '/etc/sitegen/apps/wordpress';

/** What a visit has brought: status 0 when there was no answer. */
export interface Answer {
  status: number;
  headers: string;
  body: string;
}

/** The catalogue's WordPress as its author and its visitors use it: over TLS, by way of the router. */
export interface Blog {
  /** Somebody's visit, without cookies. */
  visit(path: string): Promise<Answer>;
  /** A file of the blog as base64; "" when it cannot be had. */
  file(path: string): Promise<string>;
  /** Logs in with the password that `sitegen secrets` tells. @throws Error when it is not the right one */
  logIn(): Promise<void>;
  /** Uploads a picture and publishes a post that shows it; after `logIn`. Gives the picture's path. */
  publish(post: { title: string; text: string; picture: Buffer; name: string }): Promise<string>;
}

/**
 * Has the catalogue's WordPress built on an image with its packages, as guests reach no mirror.
 * @param base what it is built on; Debian's packages alone, unless given
 */
export async function ensureBlogApp(guest: Guest, base?: string): Promise<void> {
  const from = base ?? await ensureWordpressBase(guest);
  await guest.sh(`mkdir -p ${blogApp}; cp -r /usr/lib/sitegen/templates/apps/wordpress/. ${blogApp}; sed -i 's|^  base: .*|  base: "${from}"|' ${blogApp}/app.yaml
    grep -q 'base: "${from}"' ${blogApp}/app.yaml`);
}

/** A browser's place for what a blog remembers, and what can be done there. */
export function openBlog(guest: Guest, domain: string): Blog {
  const jar = `/tmp/${domain}.cookies`;
  const curl = ['curl', '--silent', '--insecure', '--max-time', '180', '--resolve', `${domain}:443:127.0.0.1`];
  const ask = async (path: string, ...more: string[]): Promise<Answer> => {
    const { stdout } = await guest.run([...curl, '--include', '--write-out', '\n%{http_code}', ...more, `https://${domain}${path}`], { timeoutMs: 200_000 });
    const [headers = '', ...body] = stdout.slice(0, stdout.lastIndexOf('\n')).split('\r\n\r\n');
    return { status: Number(stdout.slice(stdout.lastIndexOf('\n') + 1)), headers, body: body.join('\r\n\r\n') };
  };
  const asAuthor = (path: string, ...more: string[]) => ask(path, '--cookie', jar, '--cookie-jar', jar, ...more);
  /** A call of WordPress's REST API, which wants a nonce beside the cookies. */
  const call = async (route: string, ...more: string[]): Promise<Record<string, unknown>> => {
    const { body: nonce } = await asAuthor('/wp-admin/admin-ajax.php?action=rest-nonce');
    const { status, body } = await asAuthor(`/?rest_route=${route}`, '--header', `X-WP-Nonce: ${nonce.trim()}`, ...more);
    if (status !== 201) throw new Error(`${domain}: ${route}: ${status}: ${body.slice(0, 500)}`);
    return JSON.parse(body) as Record<string, unknown>;
  };
  return {
    visit: (path) => ask(path),
    async file(path) {
      const { stdout, code } = await guest.run(['bash', '-euo', 'pipefail', '-c', '"$@" | base64 --wrap=0', '-', ...curl, '--fail', `https://${domain}${path}`], { timeoutMs: 200_000 });
      return code === 0 ? stdout.trim() : '';
    },
    async logIn() {
      const { ADMIN_PASSWORD = '' } = JSON.parse((await guest.sitegen('secrets', domain, '--json')).stdout) as Record<string, string>;
      await guest.sh(`rm -f ${jar}`);
      const { status, headers, body } = await asAuthor('/wp-login.php', '--data-urlencode', 'log=admin', '--data-urlencode', `pwd=${ADMIN_PASSWORD}`);
      if (status !== 302 || !headers.includes('wordpress_logged_in_')) throw new Error(`${domain}: not logged in: ${status}: ${/<div id="login_error".*?<\/div>/s.exec(body)?.[0] ?? headers}`);
    },
    async publish({ title, text, picture, name }) {
      await write(guest, '/tmp/picture.base64', picture.toString('base64'));
      await guest.sh('base64 --decode /tmp/picture.base64 >/tmp/picture');
      const { id, source_url: url } = await call('/wp/v2/media', '--header', 'Content-Type: image/png', '--header', `Content-Disposition: attachment; filename="${name}"`, '--data-binary', '@/tmp/picture');
      if (typeof url !== 'string') throw new Error(`${domain}: the picture has no address`);
      const content = `<!-- wp:image {"id":${String(id)}} --><figure class="wp-block-image"><img src="${url}" alt="${title}"/></figure><!-- /wp:image -->\n<!-- wp:paragraph --><p>${text}</p><!-- /wp:paragraph -->`;
      await write(guest, '/tmp/post.json', JSON.stringify({ title, content, status: 'publish' }));
      await call('/wp/v2/posts', '--header', 'Content-Type: application/json', '--data-binary', '@/tmp/post.json');
      return new URL(url).pathname;
    },
  };
}

/** A picture to upload: hills at dawn, as PNG. */
export async function hills(): Promise<Buffer> {
  return sharp(Buffer.from(`<svg xmlns="http://www.w3.org/2000/svg" width="1000" height="420">
    <defs><linearGradient id="sky" x2="0" y2="1"><stop offset="0" stop-color="#27406b"/><stop offset=".6" stop-color="#e59a6f"/><stop offset="1" stop-color="#f7d9a8"/></linearGradient></defs>
    <rect width="1000" height="420" fill="url(#sky)"/><circle cx="690" cy="235" r="46" fill="#fff1cf"/>
    <path d="M0 270Q170 170 340 250T660 240T1000 215V420H0Z" fill="#6d6a8a"/>
    <path d="M0 320Q220 230 450 310T1000 270V420H0Z" fill="#43506d"/><path d="M0 370Q280 300 560 360T1000 345V420H0Z" fill="#24324a"/>
  </svg>`)).png({ palette: true, colours: 64, dither: 0 }).toBuffer();
}
