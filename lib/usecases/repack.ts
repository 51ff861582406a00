import { exists } from '../effects/files.ts';
import { repack } from '../effects/git/maintain.ts';
import { headOf } from '../effects/git/objects.ts';
import { cutHistory, oldestToKeep } from '../effects/git/retain.ts';
import { withLock } from '../effects/lock.ts';
import { reasonOf } from '../pure/errors.ts';
import { siteNames } from '../pure/names.ts';
import { formatBytes, parseSpan } from '../pure/quantities.ts';
import { allDomains } from './domains.ts';
import { loadDefaults, type Fault } from './settings.ts';

/**
 * Packs the repositories of all sites, one after the other, and cuts off what is older than
 * `backup.keepLocal`; servers keep their own history. A site that is being dumped waits for its
 * own repository alone, and one with a fault keeps no other.
 * @param report takes a line for each that got smaller
 */
export async function repackAll(now: Date, report: (line: string) => void): Promise<Fault[]> {
  const keepMs = parseSpan((await loadDefaults()).backup?.keepLocal ?? '30d') ?? 0;
  const faults: Fault[] = [];
  for (const domain of await allDomains()) {
    const { repository, dumpLock } = siteNames(domain);
    if (!await exists(repository)) continue;
    try {
      await withLock(dumpLock, { timeoutS: 3600 }, async () => {
        if (await headOf(repository) === undefined) return;
        const oldest = await oldestToKeep(repository, now.getTime() - keepMs);
        if (oldest !== undefined) await cutHistory(repository, oldest, undefined);
        const { before, after } = await repack(repository);
        if (after < before) report(`${domain}: ${formatBytes(before)} -> ${formatBytes(after)}`);
      });
    } catch (error) {
      faults.push({ domain, reason: reasonOf(error) });
    }
  }
  return faults;
}
