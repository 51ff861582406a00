import type { SiteGroup } from '../effects/cgroup.ts';
import type { Docker } from '../effects/docker.ts';
import { readIfThere } from '../effects/files.ts';
import type { tellTransition } from '../effects/journal.ts';
import { reasonOf } from '../pure/errors.ts';
import { paths, siteNames, type SiteNames } from '../pure/names.ts';
import { inParallel } from '../pure/parallel.ts';
import { readState } from './backup-state.ts';
import { siteOfId } from './read-sites.ts';
import { activityOf } from './idle-memory.ts';

/** What it takes, without D-Bus. */
export interface StopQuietDeps {
  thaw: (names: Pick<SiteNames, 'appCgroup'>) => void;
  /** Starts a unit and waits for it. */
  start: (unit: string, timeoutMs: number) => Promise<void>;
  docker: Pick<Docker, 'stop'>;
  /** Writes it into the journal. */
  tell: typeof tellTransition;
  report: (line: string) => void;
  now: () => Date;
}

/** How long all dumps may take together; what is not dumped by then is at the next boot. */
const dumpsMs = 180_000;

/** How many at once. */
const atOnce = 2;

/**
 * Stops all sites whose containers run without their services, frozen ones above all. Dumped before
 * are those that visitors have used since their last dump, in bounded time; the watch after the next
 * boot wakes and dumps the rest.
 */
export async function stopAllQuiet(groups: readonly SiteGroup[], { thaw, start, docker, tell, report, now }: StopQuietDeps): Promise<void> {
  const end = now().getTime() + dumpsMs;
  const activity = activityOf(await readIfThere(paths.idleFile), now());
  await inParallel(groups.filter(({ service }) => !service), atOnce, async ({ id, frozen }) => {
    const file = await siteOfId(id).catch(() => undefined);
    if (!file) return;
    const names = siteNames(file.domain);
    try {
      thaw(names);
      const left = end - now().getTime();
      const used = activity.get(file.domain);
      const { dumpedAt } = await readState(names);
      if (file.backup !== false && (dumpedAt === null || used === undefined || Date.parse(dumpedAt) < used)) {
        if (left > 0) await start(names.dumpUnit, left).catch((error: unknown) => { report(`<4>${file.domain}: ${reasonOf(error)}`); });
        else report(`<4>${file.domain}: it is dumped after the next boot: there is no time left`);
      }
      const began = now().getTime();
      await docker.stop(names.container);
      await tell({ domain: file.domain, service: names.service, from: frozen ? 'frozen' : 'running', to: 'asleep', cause: 'shutdown', ms: Math.max(0, now().getTime() - began) });
    } catch (error) {
      report(`<3>${file.domain}: its container may be killed: ${reasonOf(error)}`);
    }
  });
}
