import type { Systemd } from '../effects/systemd.ts';
import { siteNames } from '../pure/names.ts';
import { inParallel } from '../pure/parallel.ts';
import { shortCommit } from '../pure/static.ts';
import { readState } from './backup-state.ts';
import { siteFile } from './read-sites.ts';
import { loadDefaults, type Fault } from './settings.ts';

/**
 * Has sites backed up by their own units, and waits for them, as whoever runs a command must not
 * wait for itself. One that fails keeps no other.
 * @param options wait: also until all servers have it
 */
export async function backupByUnits(systemd: Pick<Systemd, 'start'>, domains: readonly string[], options: { wait: boolean; report: (line: string) => void }): Promise<{ faults: Fault[]; done: { domain: string; line: string }[] }> {
  const faults: Fault[] = [];
  const done: { domain: string; line: string }[] = [];
  const servers = (await loadDefaults()).backup?.servers ?? [];
  if (options.wait && servers.length === 0) options.report('no backup servers are set: backups stay on this machine');
  await inParallel(domains, 2, async (domain) => {
    const names = siteNames(domain);
    try {
      const { backup } = await siteFile(domain);
      await systemd.start(names.dumpUnit);
      const dumped = await readState(names);
      if (backup === false || dumped.commit === null) {
        done.push({ domain, line: backup === false ? 'not backed up: its settings say "backup: false"' : 'nothing to back up yet' });
        return;
      }
      let state = dumped;
      const having = () => servers.filter(({ url }) => state.servers[url]?.commit === state.commit).length;
      const push = async () => {
        await systemd.start(names.pushUnit);
        state = await readState(names);
      };
      if (options.wait && servers.length > 0) {
        await push();
        // It may have been one that was about to end, and had looked for commits already.
        if (having() < servers.length) await push();
      }
      const where = servers.length === 0 ? 'on this machine alone' : `${having()} of ${servers.length} servers have it`;
      done.push({ domain, line: `${shortCommit(state.commit ?? '')}, ${where}` });
    } catch (error) {
      const { error: said } = await readState(names).catch(() => ({ error: null }));
      faults.push({ domain, reason: said ?? (error instanceof Error ? error.message : String(error)) });
    }
  });
  return { faults, done };
}
