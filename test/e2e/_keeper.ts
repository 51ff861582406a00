import type { Guest } from './_guest.ts';
import { buildImage } from './_images.ts';

/** The site that keeps what it is sent, and where its data and its repository are. */
export const domain = 'kept.example.com';
export const names = { data: `/var/lib/sitegen/sites/${domain}/data`, git: `/var/lib/sitegen/git/${domain}.git` };

/** The program of that site. */
export async function ensureKeeper(guest: Guest): Promise<void> {
  await buildImage(guest, 'test/keeper', {
    dump: '#!/bin/busybox sh\ncat /data/notes; [ ! -e /data/broken ] || exit 3; echo "-- complete"\n',
    note: '#!/bin/busybox sh\nhead -c "$CONTENT_LENGTH" >> /data/notes; echo >> /data/notes\nprintf "Content-Type: text/plain\\r\\n\\r\\nkept\\n"\n',
    Dockerfile: 'FROM scratch\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox", "--install", "/bin"]\nCOPY dump /usr/bin/\nCOPY note /www/cgi-bin/\nCMD ["/bin/busybox", "httpd", "-f", "-p", "80", "-h", "/www"]\n',
  });
}

/** A site that appends what it is sent to a file, and whose "database" is what it says of itself. */
export async function addKeeper(guest: Guest, more: readonly string[] = []): Promise<string> {
  await ensureKeeper(guest);
  const address = await guest.site(domain, '--image', 'test/keeper', '--port', '80', '--volume', 'files:/data');
  await guest.sh(`printf '%s\\n' 'dump: {command: [/usr/bin/dump], load: [/bin/busybox, wc], check: {trailer: complete}}' ${more.map((line) => `'${line}'`).join(' ')} >> /etc/sitegen/sites/${domain}.yaml; touch ${names.data}/files/notes; sitegen apply --quiet`);
  return address;
}
