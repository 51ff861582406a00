import type { Writable } from 'node:stream';
import { namesIn, remove } from '../effects/files.ts';
import { linesOfFile, writeLines } from '../effects/lines.ts';
import { withLock } from '../effects/lock.ts';
import { tableFilter } from '../pure/dump-table.ts';
import { SitegenError } from '../pure/errors.ts';
import { siteNames } from '../pure/names.ts';
import { chooseBackup, requireSigned, type Search } from './choose.ts';
import { extractSite } from './extract.ts';
import { openServers } from './servers.ts';
import { loadDefaults } from './settings.ts';

/**
 * Writes one table's part of a backup's dump, as the database's own client reads it. The site is
 * not touched: what becomes of rows that it has now, whoever runs the client decides.
 * @throws SitegenError when the dump has no such table
 */
export async function printTable(deps: Pick<Search, 'report' | 'progress'>, { domain, from, at }: Pick<Search, 'from' | 'at'> & { domain: string }, table: string, out: Writable): Promise<void> {
  const names = siteNames(domain);
  await withLock(names.restoreLock, {}, async () => {
    const defaults = await loadDefaults();
    const chosen = await chooseBackup({ names, stores: await openServers(defaults), from, at, ...deps });
    if (chosen.kind === 'none') throw new SitegenError(`${domain}: there is no backup of it`);
    await requireSigned(names, chosen, defaults);
    await remove(names.nextDir);
    try {
      await extractSite({ repository: names.repository, commit: chosen.commit, into: names.nextDir, paths: [], progress: deps.progress });
      const [dump] = await namesIn(`${names.nextDir}/meta/dump`);
      if (dump === undefined) throw new SitegenError(`${domain}: the backup has no dump of a database`);
      const isTables = tableFilter(table);
      const lines = await writeLines(linesOfFile(`${names.nextDir}/meta/dump/${dump}`), isTables, out);
      if (lines === 0) throw new SitegenError(`${domain}: the dump has no table "${table}"`, { hint: 'names count as they are written in the dump, without its database' });
    } finally {
      await remove(names.nextDir);
    }
  });
}
