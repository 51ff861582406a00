import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { openGuest, type Guest } from './_lab.ts';

export { lab, openGuest, stopwatch, until, type Guest, type Result, type SiteJson } from './_lab.ts';

/** The guest that the tests of this process use; scripts/test names one per suite. */
export const guestName = process.env['SITEGEN_GUEST'] ?? 'test-trixie';

const failures = process.env['SITEGEN_FAILURES'] ?? path.resolve(import.meta.dirname, '../../test-failures');

/** True when soaks are to run in full. */
export const long = process.env['SITEGEN_LONG'] === '1';

/** True when what other tests show in part is left out: in a run of all tests without --long. */
const short = process.env['SITEGEN_SHORT'] === '1';

/**
 * A test in the guest. Sites added through `guest.site` are removed afterwards; when the test
 * fails, the guest's journal and unit states are left in a folder that it names.
 */
export function guestTest(title: string, body: (t: ExecutionContext, guest: Guest) => Promise<void>): void {
  test.serial(title, async (t) => {
    const domains: string[] = [];
    const guest = openGuest(guestName, domains);
    const began = await guest.sh('date +%s.%N');
    try {
      await body(t, guest);
    } catch (error) {
      t.log(`the guest's journal and unit states are in ${await dump(guest, title, began)}`);
      throw error;
    } finally {
      for (const domain of domains) {
        const { code, stderr } = await guest.sitegen('remove', '--purge', '--backups', '--yes', domain);
        // The next test would meet it.
        if (code !== 0 && !stderr.includes('there is no such site')) t.log(`${domain} could not be removed, exit code ${code}: ${stderr}`);
      }
    }
    if (!t.passed) t.log(`the guest's journal and unit states are in ${await dump(guest, title, began)}`);
  });
}

/** A test that a short run leaves out and counts as skipped. */
export const longTest: typeof guestTest = short ? (title) => { test.skip(title, () => undefined); } : guestTest;

/** A test that a short run leaves out on the older system. */
export const newestTest = guestName.includes('bookworm') ? longTest : guestTest;

async function dump(guest: Guest, title: string, since: string): Promise<string> {
  const folder = path.join(failures, guest.name, title.replaceAll(/[^A-Za-z0-9]+/g, '-').slice(0, 80));
  await mkdir(folder, { recursive: true });
  const keep = async (file: string, script: string) => {
    const { stdout, stderr } = await guest.run(['bash', '-c', script]);
    await writeFile(path.join(folder, file), stdout + stderr);
  };
  await keep('journal.txt', `journalctl --no-pager --output short-precise --since @${since}`);
  await keep('units.txt', "systemctl list-units --all --no-pager 'site*' 'sitegen*' 'docker*'; systemctl list-jobs --no-pager; systemctl status --no-pager --full 'site-*' | tail -300");
  await keep('docker.txt', 'docker ps -a; docker network inspect sitegen');
  await keep('network.txt', 'nft list ruleset; ip addr; ip route show table all; ss -tnap');
  await keep('sites.txt', 'sitegen list; head -50 /etc/sitegen/sites/* | head -500; df -h');
  return folder;
}
