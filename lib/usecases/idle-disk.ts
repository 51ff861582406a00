import os from 'node:os';
import { readIfThere } from '../effects/files.ts';
import { isLookDue, parseDiskRecord } from '../pure/disk-quota.ts';
import { reasonOf } from '../pure/errors.ts';
import { siteNames } from '../pure/names.ts';
import type { KnownSite } from './idle-memory.ts';

/**
 * Has those sites looked at whose room on the disk is limited and was not looked at for a while. Only
 * what runs can write, and a look may take long, so a unit of its own does it.
 * @param running sites that are not frozen
 */
export async function measureDue(running: readonly KnownSite[], measure: (domain: string) => Promise<void>, report: (line: string) => void): Promise<void> {
  for (const { domain, diskBytes } of running) {
    const { diskFile } = siteNames(domain);
    const last = parseDiskRecord(await readIfThere(diskFile).catch(() => undefined));
    // One that has lost its limit is looked at once more, to be forgotten.
    if (diskBytes === undefined ? last === undefined : !isLookDue(last, os.uptime() * 1000)) continue;
    await measure(domain).catch((error: unknown) => { report(`<4>${domain}: its room on the disk could not be looked at: ${reasonOf(error)}`); });
  }
}
