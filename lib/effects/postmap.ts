import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { SitegenError } from '../pure/errors.ts';

const postmap = '/usr/sbin/postmap';

/**
 * Makes the database of a map that Postfix reads, of its default type; nothing where Postfix is not there.
 * Running daemons notice it by themselves.
 * @throws SitegenError in postmap's words
 */
export async function updatePostmap(file: string): Promise<void> {
  try {
    await promisify(execFile)(postmap, [file], { timeout: 30_000 });
  } catch (error) {
    const { code, stderr } = error as { code?: unknown; stderr?: string };
    if (code === 'ENOENT') return;
    throw new SitegenError(`postmap ${file} failed: ${(stderr ?? '').trim() || String(code)}`, { hint: `run it by hand: ${postmap} ${file}`, cause: error });
  }
}
