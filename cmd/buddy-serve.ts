import { SitegenError } from '../lib/pure/errors.ts';
import { isSiteId } from '../lib/pure/names.ts';
import { isOwner } from '../lib/pure/buddy.ts';
import { eraseHeld, listHeld, lookAfter, serve } from '../lib/usecases/buddy-held.ts';

/**
 * Run as the restricted account: by sshd, as the forced command of an owner's key, with the owner
 * and the quota; and by root's "sitegen buddy", with what is to be done with what is kept. A client
 * of ssh chooses none of the arguments: what it asks for is in the environment alone.
 */
async function run([first = '', second = '', third = '']: readonly string[]): Promise<number> {
  if (first === '--list') {
    process.stdout.write(`${JSON.stringify(await listHeld())}\n`);
    return 0;
  }
  if (first === '--erase' && isOwner(second) && isSiteId(third)) return await eraseHeld(second, third) ? 0 : 3;
  if (first === '--look-after') {
    const faults = await lookAfter({ keepMs: Number(second), all: third === 'all', now: new Date(), report: (line) => { process.stdout.write(`${line}\n`); } });
    // The "<3>" makes it an error in the journal (sd-daemon(3)).
    for (const fault of faults) process.stderr.write(`${process.stderr.isTTY ? '' : '<3>'}${fault}\n`);
    return faults.length > 0 ? 1 : 0;
  }
  if (isOwner(first) && /^\d+$/.test(second)) return serve({ owner: first, quota: Number(second), command: process.env['SSH_ORIGINAL_COMMAND'] });
  throw new SitegenError('this program is run by sshd, for keys that "sitegen buddy allow" has let in');
}

process.umask(0o077);
try {
  process.exitCode = await run(process.argv.slice(2));
} catch (error) {
  // In git's form, as it is git on the other side that shows it.
  process.stderr.write(`fatal: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
