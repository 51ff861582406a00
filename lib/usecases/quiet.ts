import { runState } from '../effects/cgroup.ts';
import type { Docker } from '../effects/docker.ts';
import { tellTransition } from '../effects/journal.ts';
import { withLock } from '../effects/lock.ts';
import type { Systemd } from '../effects/systemd.ts';
import type { SiteNames } from '../pure/names.ts';

/**
 * Sites whose containers run while nobody is led to them: frozen ones, and those that a dump or a
 * job has thawed. The service of such a site is inactive, so a visitor wakes it at any time; whoever
 * changes something writes into the lock's file first, for which a wake waits, and looks after that
 * whether one has begun.
 */

type QuietNames = Pick<SiteNames, 'service' | 'appSlice' | 'appCgroup' | 'lockFile' | 'container' | 'domain'>;

/** Lets the containers of a site go on; no error for one that is not frozen. */
export async function thawSite(systemd: Pick<Systemd, 'thaw'>, names: Pick<SiteNames, 'appSlice' | 'appCgroup'>): Promise<void> {
  if (runState(names.appCgroup) === 'frozen') await systemd.thaw(names.appSlice);
}

/** @returns whether a service of a site neither runs nor is on its way */
export async function isInactive(systemd: Pick<Systemd, 'list'>, { service }: Pick<SiteNames, 'service'>): Promise<boolean> {
  const [unit] = await systemd.list([service]);
  return unit === undefined || unit.activeState === 'inactive' || unit.activeState === 'failed';
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

/** Freezes what runs without visitors. @returns false when one has come */
export async function freezeQuiet(systemd: Pick<Systemd, 'freeze' | 'list' | 'enqueue'>, names: QuietNames, guardUnit: string): Promise<boolean> {
  return withLock(names.lockFile, { mark: 'freezing\n', timeoutS: 60 }, async () => {
    if (runState(names.appCgroup) !== 'running' || !await isInactive(systemd, names)) return false;
    await systemd.freeze(names.appSlice);
    await systemd.enqueue(guardUnit);
    return true;
  });
}

/**
 * Stops what runs without visitors, frozen or not: thawed first, or it would be killed. Its dump is
 * the caller's.
 * @returns false when a visitor has come
 */
export async function stopQuiet({ systemd, docker }: { systemd: Pick<Systemd, 'thaw' | 'list'>; docker: Pick<Docker, 'stop'> }, names: QuietNames): Promise<boolean> {
  return withLock(names.lockFile, { mark: 'stopping\n', timeoutS: 60 }, async () => {
    if (!await isInactive(systemd, names)) return false;
    await thawSite(systemd, names);
    await docker.stop(names.container);
    return true;
  });
}

/**
 * Stops a site whatever it is: its service, with all that belongs to that, or, where that does not
 * run, what runs without it. The latter is dumped first, as the service's own stop does.
 */
export async function stopSite({ systemd, docker }: { systemd: Pick<Systemd, 'thaw' | 'stop' | 'start'>; docker: Pick<Docker, 'stop'> }, names: SiteNames): Promise<void> {
  await systemd.stop(names.service);
  const from = runState(names.appCgroup);
  if (from === 'stopped') return;
  await withEntry(names, { from, to: 'asleep', cause: 'stop' }, async () => {
    await thawSite(systemd, names);
    // Its failure has an alarm of its own, and keeps no site running.
    await systemd.start(names.dumpUnit).catch(() => undefined);
    await docker.stop(names.container);
    return true;
  });
}
