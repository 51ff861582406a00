import { reclaim, runState } from '../effects/cgroup.ts';
import type { Docker } from '../effects/docker.ts';
import { writeAtomic } from '../effects/files.ts';
import type { Systemd } from '../effects/systemd.ts';
import { isUndumped } from '../pure/backup.ts';
import { dumpEveryMs, type Move } from '../pure/idle.ts';
import { reasonOf } from '../pure/errors.ts';
import { shared, siteNames, type SiteNames } from '../pure/names.ts';
import { noteUnchanged, readState } from './backup-state.ts';
import { usedAt, type KnownSite } from './idle-memory.ts';
import { freezeQuiet, isInactive, stopQuiet, withEntry } from './quiet.ts';

/** What it takes to put a site to sleep. */
export interface SleepDeps {
  systemd: Systemd;
  docker: Docker;
  report: (line: string) => void;
}

/** How long the busy program may take. */
const busyMs = 10_000;

/**
 * Carries out what was decided about a site: asks its busy program, dumps it while it is reachable
 * if that is due, and freezes or stops it. A visitor who comes meanwhile finds it awake, or is held
 * until it is again.
 * @param activeAt when it was last seen at work, ms since 1970
 * @returns whether it was to be dumped for that, whatever came of it
 */
export async function putToSleep(deps: SleepDeps, { do: what, cause, visited }: Move, known: KnownSite, activeAt: number | undefined): Promise<boolean> {
  const { systemd, report } = deps;
  const names = siteNames(known.domain);
  if (what === 'dump') {
    // Which thaws it, and freezes it again unless somebody has come.
    await dump(systemd, names);
    await pushOut(names);
    return true;
  }
  const before = runState(names.appCgroup);
  const inactive = await isInactive(systemd, names);
  if (cause === 'idle' && before === 'running' && await isBusy(deps, names, known.idle.busy)) return false;
  if (visited === true) report(`<4>${known.domain}: it is put to sleep though it has visitors: memory is short, and nothing else is left`);
  if (what === 'freeze') {
    const isDue = known.backedUp && await isDumpDue(names);
    if (isDue) await dump(systemd, names);
    if (inactive) await withEntry(names, { from: before, to: 'frozen', cause }, () => freezeQuiet(systemd, names, shared.guardUnit));
    else await sleepAwake(systemd, names, 'freeze', cause);
    await pushOut(names);
    return isDue;
  }
  if (!inactive) {
    await sleepAwake(systemd, names, 'stop', cause);
    return false;
  }
  if (before === 'stopped') return false;
  await withEntry(names, { from: before, to: 'asleep', cause }, async () => {
    if (known.backedUp) await dumpBeforeStop(systemd, names, activeAt);
    return stopQuiet(deps, names);
  });
  return false;
}

/** What stands still goes out to swap; it would be read back at once, were it running. */
async function pushOut({ appCgroup }: Pick<SiteNames, 'appCgroup'>): Promise<void> {
  if (runState(appCgroup) === 'frozen') await reclaim(appCgroup, () => runState(appCgroup) === 'frozen');
}

/** Stops the service, and asks that stop to freeze, or only tells why it comes: for this very run of it. */
export async function sleepAwake(systemd: Pick<Systemd, 'properties' | 'stop'>, names: Pick<SiteNames, 'service' | 'freezeFile'>, what: 'freeze' | 'stop', cause: string): Promise<void> {
  const { InvocationID: id, ActiveState: state } = await systemd.properties(names.service, 'Unit');
  // On its way up it has a visitor, or somebody who started it.
  if (state !== 'active') return;
  if (id instanceof Uint8Array) await writeAtomic({ path: names.freezeFile, content: `${what === 'freeze' ? '' : 'stop-'}${Buffer.from(id).toString('hex')} ${cause}\n` });
  else if (what === 'freeze') return;
  await stopJob(systemd, names);
}

/** A visitor's start takes the place of the stop, which is no error. */
async function stopJob(systemd: Pick<Systemd, 'stop'>, { service }: Pick<SiteNames, 'service'>): Promise<void> {
  await systemd.stop(service).catch((error: unknown) => {
    if (!reasonOf(error).includes('canceled')) throw error;
  });
}

/** Dumps what stands still, if it was used since its last dump; it runs after that. */
export async function dumpBeforeStop(systemd: Pick<Systemd, 'thaw' | 'start'>, names: DumpNames, activeAt: number | undefined): Promise<void> {
  if (isUndumped(await readState(names), await usedAt(names, activeAt), Date.now())) {
    await systemd.thaw(names.appSlice);
    await dump(systemd, names);
  } else {
    await noteUnchanged(names, new Date());
  }
}

type DumpNames = Pick<SiteNames, 'appSlice' | 'dumpUnit' | 'backupState' | 'stateLock' | 'workFile'>;

/** Dumps fail with an alarm of their own; the site is put to sleep all the same, as its stop would. */
async function dump(systemd: Pick<Systemd, 'start'>, { dumpUnit }: Pick<SiteNames, 'dumpUnit'>): Promise<void> {
  await systemd.start(dumpUnit).catch(() => undefined);
}

/** Whether the last dump of a site is older than an hour. */
export async function isDumpDue(names: Pick<SiteNames, 'backupState'>): Promise<boolean> {
  const { dumpedAt } = await readState(names);
  return dumpedAt === null || Date.now() - Date.parse(dumpedAt) > dumpEveryMs || Date.parse(dumpedAt) > Date.now();
}

async function isBusy({ docker, report }: SleepDeps, { container, domain }: SiteNames, busy: readonly string[] | undefined): Promise<boolean> {
  if (!busy) return false;
  try {
    const { exitCode, stderrTail } = await docker.exec(container, { argv: busy }, { signal: AbortSignal.timeout(busyMs) });
    if (exitCode > 1) report(`<4>${domain}: idle.busy ended with ${exitCode}, which counts as busy: ${stderrTail.trim().slice(-200)}`);
    return exitCode !== 1;
  } catch (error) {
    report(`<4>${domain}: idle.busy could not be asked, which counts as busy: ${reasonOf(error)}`);
    return true;
  }
}
