import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { transform } from 'esbuild';
import type { Guest } from './_guest.ts';
import { write } from './_machine.ts';

/** A program in TypeScript, built as its admin does for the Node of Debian and Ubuntu, which runs none. */
const { code: program } = await transform(await readFile(path.resolve(import.meta.dirname, 'fixtures/process-app.ts'), 'utf8'), { loader: 'ts', format: 'esm', target: 'node18' });

/** Where a site's data is. */
export const dataOf = (domain: string) => `/var/lib/sitegen/sites/${domain}/data`;

/** Adds a site whose program runs without a container, as an admin does who writes its settings. Gives its address. @param more lines of its settings, and what stands in `process:` */
export async function addProcess(guest: Guest, domain: string, more = '', settings = ''): Promise<string> {
  await write(guest, '/srv/process-app/server.mjs', program);
  await guest.sh('chmod -R a+rX /srv/process-app');
  await write(guest, `/etc/sitegen/sites/${domain}.yaml`, `domain: ${domain}\nstop: {timeout: 2s}\nprocess:\n  command: [node, /srv/process-app/server.mjs]\n${settings}${more}`);
  await guest.sh(`sitegen apply --quiet ${domain}`);
  return (await guest.status(domain)).address;
}

/** Adds such a site, and removes it in the end, with all that there is of it. */
export async function withProcess(guest: Guest, domain: string, more: string, body: (address: string) => Promise<void>, settings = ''): Promise<void> {
  try {
    await body(await addProcess(guest, domain, more, settings));
  } finally {
    await guest.sitegen('remove', '--purge', '--backups', '--yes', domain);
  }
}

/** What a page of the program says, with the site woken. */
export async function ask(guest: Guest, address: string, page: string): Promise<string> {
  const { status, body } = await guest.get(address, { path: page, timeoutS: 60 });
  if (status !== 200) throw new Error(`${page}: ${status}: ${body.slice(0, 200)}`);
  return body.trim();
}
