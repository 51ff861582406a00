import type { SiteGroup } from '../effects/cgroup.ts';
import type { Docker } from '../effects/docker.ts';
import { readIfThere } from '../effects/files.ts';
import type { tellTransition } from '../effects/journal.ts';
import { isUndumped } from '../pure/backup.ts';
import { reasonOf } from '../pure/errors.ts';
import { paths, siteNames, type SiteNames } from '../pure/names.ts';
import { inParallel } from '../pure/parallel.ts';
import { noteUnchanged, readState } from './backup-state.ts';
import { siteOfId } from './read-sites.ts';
import { activityOf, usedAt } from './idle-memory.ts';

/** A site whose container runs without its service. */
export interface QuietSite extends Pick<SiteNames, 'domain' | 'service' | 'container' | 'dumpUnit'> {
  isDumpDue: boolean;
  /** Notes for whoever looks after backups that it needed no dump; nothing when it did. */
  noteUnchanged: () => Promise<void>;
}

/** What it takes, without D-Bus. */
export interface StopQuietDeps {
  thaw: (names: Pick<SiteNames, 'appCgroup'>) => void;
  /** Gives undefined for a site without settings that can be used. */
  siteOf: (id: string) => Promise<QuietSite | undefined>;
  /** Starts a unit and waits for it. */
  start: (unit: string, timeoutMs: number) => Promise<void>;
  docker: Pick<Docker, 'stop'>;
  /** Writes it into the journal. */
  tell: typeof tellTransition;
  report: (line: string) => void;
  now: () => Date;
}

/** How long all dumps may take together; what is not dumped by then is at the next boot. */
export const dumpsMs = 180_000;

/** How many at once. */
const atOnce = 2;

/**
 * Stops all sites whose containers run without their services, frozen ones above all. Dumped before
 * are those that visitors have used since their last dump, in bounded time; the watch after the next
 * boot wakes and dumps the rest.
 */
export async function stopAllQuiet(groups: readonly SiteGroup[], { thaw, siteOf, start, docker, tell, report, now }: StopQuietDeps): Promise<void> {
  const end = now().getTime() + dumpsMs;
  const quiet = groups.filter(({ service }) => !service);
  // At once, so that Docker's own stop ends those in order that this does not come to.
  for (const group of quiet) thaw(group);
  await inParallel(quiet, atOnce, async ({ id, frozen }) => {
    const site = await siteOf(id).catch(() => undefined);
    if (!site) return;
    const { domain, service, container, dumpUnit, isDumpDue, noteUnchanged } = site;
    try {
      const left = end - now().getTime();
      if (isDumpDue && left > 0) await start(dumpUnit, left).catch((error: unknown) => { report(`<4>${domain}: ${reasonOf(error)}`); });
      else if (isDumpDue) report(`<4>${domain}: it is dumped after the next boot: there is no time left`);
      else await noteUnchanged().catch((error: unknown) => { report(`<4>${domain}: ${reasonOf(error)}`); });
      const began = now().getTime();
      await docker.stop(container);
      await tell({ domain, service, from: frozen ? 'frozen' : 'running', to: 'asleep', cause: 'shutdown', ms: Math.max(0, now().getTime() - began) });
    } catch (error) {
      report(`<3>${domain}: its container may be killed: ${reasonOf(error)}`);
    }
  });
}

/** Finds what `stopAllQuiet` has to know of a site, as it is written down. */
export async function quietSites(now: Date): Promise<StopQuietDeps['siteOf']> {
  const activity = activityOf(await readIfThere(paths.idleFile), now);
  return async (id) => {
    const file = await siteOfId(id);
    if (!file) return undefined;
    const names = siteNames(file.domain);
    const due = file.backup !== false && isUndumped(await readState(names), await usedAt(names, activity.get(file.domain)), now.getTime());
    return { ...names, isDumpDue: due, noteUnchanged: () => (due || file.backup === false ? Promise.resolve() : noteUnchanged(names, new Date())) };
  };
}
