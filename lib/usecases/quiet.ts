import { hasJob, runState } from '../effects/cgroup.ts';
import type { Docker } from '../effects/docker.ts';
import { remove } from '../effects/files.ts';
import { tellTransition } from '../effects/journal.ts';
import { withLock } from '../effects/lock.ts';
import { step } from '../effects/step.ts';
import type { Systemd } from '../effects/systemd.ts';
import type { SiteNames } from '../pure/names.ts';

/**
 * Sites whose containers run while nobody is led to them: frozen ones, and those that a dump or a
 * job has thawed. The service of such a site is inactive, so a visitor wakes it at any time; whoever
 * changes something writes into the lock's file first, for which a wake waits, and looks after that
 * whether one has begun.
 */

type QuietNames = Pick<SiteNames, 'id' | 'service' | 'appSlice' | 'appCgroup' | 'lockFile' | 'container' | 'domain'>;

type StopNames = QuietNames & Pick<SiteNames, 'dumpUnit' | 'freezeFile'>;

/** Lets the containers of a site go on; no error for one that is not frozen. */
export async function thawSite(systemd: Pick<Systemd, 'thaw'>, names: Pick<SiteNames, 'appSlice' | 'appCgroup'>): Promise<void> {
  if (runState(names.appCgroup) === 'frozen') await systemd.thaw(names.appSlice);
}

/** @returns whether a service of a site neither runs nor is on its way */
export async function isInactive(systemd: Pick<Systemd, 'list'>, { service }: Pick<SiteNames, 'service'>): Promise<boolean> {
  const [unit] = await systemd.list([service]);
  return unit === undefined || unit.activeState === 'inactive' || unit.activeState === 'failed';
}

/** Who puts a site to sleep: a job that has it for itself, or somebody else, who leaves it to a job that is at work. */
export interface By {
  byJob?: boolean;
  /** How long others may have the site's lock. */
  timeoutS?: number;
}

/**
 * Has something done to such a site that no program of its service sees, and writes it into the
 * journal as these write what they do.
 * @param act gives false when it has not been done after all
 */
export async function withEntry({ domain, service }: QuietNames, change: { from: 'stopped' | 'running' | 'frozen'; to: 'frozen' | 'asleep'; cause: string }, act: () => Promise<boolean>): Promise<void> {
  const began = performance.now();
  const { from, to, cause } = change;
  if (await act() && from !== 'stopped') await tellTransition({ domain, service, from, to, cause, ms: performance.now() - began });
}

/** Freezes what runs without visitors. @returns false when one has come, or a job */
export async function freezeQuiet(systemd: Pick<Systemd, 'freeze' | 'thaw' | 'list' | 'enqueue'>, names: QuietNames, guardUnit: string, { byJob = false, timeoutS = 60 }: By = {}): Promise<boolean> {
  const isFrozen = await withLock(names.lockFile, { mark: 'freezing\n', timeoutS }, async () => {
    if (runState(names.appCgroup) !== 'running' || !await isInactive(systemd, names)) return false;
    if (!byJob && hasJob(names.id)) return false;
    await systemd.freeze(names.appSlice);
    await systemd.enqueue(guardUnit);
    return true;
  });
  // One who came in between has found the mark, and takes for running what has just been frozen.
  if (!isFrozen || await isInactive(systemd, names)) return isFrozen;
  await thawSite(systemd, names);
  return false;
}

/**
 * Stops what runs without visitors, frozen or not: thawed first, or it would be killed. Its dump is
 * the caller's.
 * @returns false when a visitor has come, or a job
 */
export async function stopQuiet({ systemd, docker }: { systemd: Pick<Systemd, 'thaw' | 'list'>; docker: Pick<Docker, 'stop'> }, names: QuietNames, { byJob = false, timeoutS = 60 }: By = {}): Promise<boolean> {
  return withLock(names.lockFile, { mark: 'stopping\n', timeoutS }, async () => {
    if (!await isInactive(systemd, names) || (!byJob && hasJob(names.id))) return false;
    await thawSite(systemd, names);
    await step('ending');
    await docker.stop(names.container);
    await step('ended');
    return true;
  });
}

/**
 * Stops a site whatever it is: its service, with all that belongs to that, or, where that does not
 * run, what runs without it. The latter is dumped first, as the service's own stop does.
 * @param isHeld whether the caller keeps others from waking it; else its lock is taken for the stop
 *   itself, or it could be frozen in the middle of that, and killed
 */
export async function stopSite({ systemd, docker }: { systemd: Pick<Systemd, 'thaw' | 'stop' | 'start'>; docker: Pick<Docker, 'stop'> }, names: StopNames, isHeld = false): Promise<void> {
  // A stop that the idle timer has begun goes on for whoever is late to it: this one is for all.
  await remove(names.freezeFile);
  await systemd.stop(names.service);
  const from = runState(names.appCgroup);
  if (from === 'stopped') return;
  await withEntry(names, { from, to: 'asleep', cause: 'stop' }, async () => {
    await thawSite(systemd, names);
    // Its failure has an alarm of its own, and keeps no site running.
    await systemd.start(names.dumpUnit).catch(() => undefined);
    const end = async () => {
      // Somebody may have come, or have had it frozen again.
      await systemd.stop(names.service);
      await thawSite(systemd, names);
      await docker.stop(names.container);
    };
    await (isHeld ? end() : withLock(names.lockFile, { mark: 'stopping\n', timeoutS: 60 }, end));
    return true;
  });
}
