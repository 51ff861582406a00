import type { Guest } from './_guest.ts';
import { buildImage } from './_images.ts';
import { write } from './_machine.ts';

/**
 * An application with files and a "database": a file that backups leave out, and that is in them as
 * its dump. Its pages are `/files/…`, `/db/store`, and `/log`, to which each hook of this container
 * has added a line. What hooks did in all containers is in `/files/hooks` for installs and renames.
 */
const scripts: Readonly<Record<string, string>> = {
  Dockerfile: 'FROM scratch\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox", "--install", "/bin"]\nRUN ["/bin/busybox", "mkdir", "/www", "/files", "/db"]\nCOPY serve say-install say-load say-launch say-rename load-dump /usr/bin/\nCMD ["/usr/bin/serve"]\n',
  'serve': '#!/bin/busybox sh\nln -s /files /www/files; ln -s /db /www/db; touch /www/log; exec httpd -f -p 80 -h /www\n',
  'say-install': '#!/bin/busybox sh\necho installing; [ ! -e /files/* ] || exit 9; echo half > /files/half; sleep "${INSTALL_S:-0}"; echo "installed" > /db/store; echo "welcome" > /files/page; rm /files/half; echo install >> /www/log\n',
  'say-load': '#!/bin/busybox sh\n[ ! -e /db/store ] || exit 9; echo "load hook" >> /www/log\n',
  'load-dump': '#!/bin/busybox sh\ncat > /db/half; sleep "${LOAD_S:-0}"; mv /db/half /db/store; echo "load $(wc -l < /db/store)" >> /www/log\n',
  'say-launch': '#!/bin/busybox sh\necho launch >> /www/log; [ -z "$LAUNCH_FAILS" ]\n',
  'say-rename': '#!/bin/busybox sh\necho "rename $1 $2" >> /www/log; echo "rename $1 $2" >> /files/hooks\n',
};

export const appImage = 'test/app:1';

/** Everything that the application has, as settings. */
export const appSettings = `image: ${appImage}
port: 80
stop: {timeout: 1s}
volumes: ["files:/files", "db:/db"]
exclude: [db]
dump: {command: [cat, /db/store], load: [/usr/bin/load-dump]}
hooks: {install: [/usr/bin/say-install], load: [/usr/bin/say-load], launch: [/usr/bin/say-launch], rename: [/usr/bin/say-rename], timeout: 60s}
`;

export async function ensureApp(guest: Guest): Promise<void> {
  await buildImage(guest, appImage, scripts);
}

/** Adds a site with the application, as an admin does who writes its settings. Gives its address. @param more lines of its settings */
export async function addApp(guest: Guest, domain: string, more = ''): Promise<string> {
  await ensureApp(guest);
  await write(guest, `/etc/sitegen/sites/${domain}.yaml`, `domain: ${domain}\n${appSettings}${more}`);
  await guest.sh(`sitegen apply --quiet ${domain}`);
  return (await guest.status(domain)).address;
}

/** What a page of the application says, with the site woken; undefined when it is missing. */
export async function page(guest: Guest, address: string, path: string): Promise<string | undefined> {
  const { status, body } = await guest.get(address, { path, timeoutS: 90 });
  if (status === 404) return undefined;
  if (status !== 200) throw new Error(`${path}: ${status}: ${body.slice(0, 200)}`);
  return body.trim();
}
