import { ensureGhostBase, buildImage } from './_images.ts';
import type { Guest } from './_guest.ts';
import { write } from './_machine.ts';

/** The folder of the admin's own app that stands before the catalogue's Ghost. */
export const ghostApp = '/etc/sitegen/apps/ghost';

/** The catalogue's Ghost as its author and its visitors use it: over TLS, by way of the router. */
export interface Ghost {
  /** Somebody's visit, without cookies. Status 0 when there was no answer. */
  visit(path: string): Promise<{ status: number; body: string }>;
  /** The digest of what is served there; throws when it cannot be had. */
  digest(path: string): Promise<string>;
  /** Whether there is a picture as WebP. */
  isWebp(path: string): Promise<boolean>;
  /** Logs in with the password that `sitegen secrets` tells. @throws Error when it is not the right one */
  logIn(): Promise<void>;
  /** Uploads a picture and publishes a post that shows it; after `logIn`. Gives the paths of both. */
  publish(post: { title: string; text: string; picture: Buffer; name: string }): Promise<{ path: string; picture: string }>;
}

/** Has the catalogue's Ghost built on an image with one version of it, as guests reach no registry. */
export async function ensureGhostApp(guest: Guest, version: string): Promise<void> {
  const { base, versions } = await ensureGhostBase(guest);
  const from = `test/ghost-${version}:1`;
  // Before 5.120 what scales pictures came from GitHub, now it comes from npm.
  const sharp = `rm -r /opt/ghost-${version}/node_modules/sharp && ln -s /opt/ghost-${versions.at(-1) ?? ''}/node_modules/sharp /opt/ghost-${version}/node_modules/`;
  await buildImage(guest, from, { Dockerfile: `ARG BASE\nFROM $BASE\nRUN mkdir /opt/ghost && ln -s /opt/ghost-${version} /opt/ghost/current\n${version === versions.at(-1) ? '' : `RUN ${sharp}\n`}` }, base);
  await guest.sh(`mkdir -p ${ghostApp}; cp -r /usr/lib/sitegen/templates/apps/ghost/. ${ghostApp}; sed -i 's|^  base: .*|  base: "${from}"|' ${ghostApp}/app.yaml
    grep -q 'base: "${from}"' ${ghostApp}/app.yaml`);
}

/** A browser's place for what Ghost remembers, and what can be done there. */
export function openGhost(guest: Guest, domain: string): Ghost {
  const jar = `/tmp/${domain}.cookies`;
  const curl = ['curl', '--silent', '--insecure', '--max-time', '180', '--resolve', `${domain}:443:127.0.0.1`];
  const ask = async (path: string, ...more: string[]) => {
    const { stdout } = await guest.run([...curl, '--write-out', '\n%{http_code}', ...more, `https://${domain}${path}`], { timeoutMs: 200_000 });
    const end = stdout.lastIndexOf('\n');
    return { status: Number(stdout.slice(end + 1)), body: stdout.slice(0, end) };
  };
  const pipe = async (path: string, into: string) =>
    guest.sh(`curl --silent --fail --insecure --max-time 180 --resolve ${domain}:443:127.0.0.1 'https://${domain}${path}' | { ${into}; cat >/dev/null; }`, { timeoutMs: 200_000 });
  /** A call of the Admin API, which takes cookies of requests with this origin only. */
  const call = async (path: string, ...more: string[]): Promise<string> => {
    const { status, body } = await ask(`/ghost/api/admin${path}`, '--cookie', jar, '--cookie-jar', jar, '--header', `Origin: https://${domain}`, ...more);
    if (status !== 201) throw new Error(`${domain}: ${path}: ${status}: ${body.slice(0, 500)}`);
    return body;
  };
  const json = async (path: string, content: unknown) => {
    await write(guest, '/tmp/ghost.json', JSON.stringify(content));
    return call(path, '--header', 'Content-Type: application/json', '--data-binary', '@/tmp/ghost.json');
  };
  return {
    visit: (path) => ask(path),
    digest: (path) => pipe(path, "sha256sum | cut -d' ' -f1"),
    // https://developers.google.com/speed/webp/docs/riff_container
    isWebp: async (path) => await pipe(path, 'head --bytes=12 | tail --bytes=4') === 'WEBP',
    async logIn() {
      const { ADMIN_PASSWORD: password } = JSON.parse((await guest.sitegen('secrets', domain, '--json')).stdout) as Record<string, string>;
      await guest.sh(`rm -f ${jar}`);
      await json('/session/', { username: `admin@${domain}`, password });
    },
    async publish({ title, text, picture, name }) {
      await write(guest, '/tmp/picture.base64', picture.toString('base64'));
      await guest.sh(`base64 --decode /tmp/picture.base64 >/tmp/${name}`);
      const { images: [image] } = JSON.parse(await call('/images/upload/', '--form', `file=@/tmp/${name};type=image/png`, '--form', 'purpose=image')) as { images: { url: string }[] };
      if (!image) throw new Error(`${domain}: the picture has no address`);
      const post = { title, lexical: lexical(text, image.url), feature_image: image.url, status: 'published' };
      const { posts: [made] } = JSON.parse(await json('/posts/', { posts: [post] })) as { posts: { url: string }[] };
      if (!made) throw new Error(`${domain}: the post has no address`);
      return { path: new URL(made.url).pathname, picture: new URL(image.url).pathname };
    },
  };
}

/** A paragraph and a picture, as Ghost's editor writes them. */
function lexical(text: string, src: string): string {
  const element = { direction: 'ltr', format: '', indent: 0, version: 1 };
  const words = { detail: 0, format: 0, mode: 'normal', style: '', text, type: 'extended-text', version: 1 };
  const picture = { type: 'image', version: 1, src, width: null, height: null, title: '', alt: '', caption: '', cardWidth: 'regular', href: '' };
  return JSON.stringify({ root: { ...element, type: 'root', children: [{ ...element, type: 'paragraph', children: [words] }, picture] } });
}
