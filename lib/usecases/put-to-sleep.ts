import { hasJob, reclaim, runState } from '../effects/cgroup.ts';
import type { Docker } from '../effects/docker.ts';
import { writeAtomic } from '../effects/files.ts';
import { step } from '../effects/step.ts';
import type { Systemd } from '../effects/systemd.ts';
import { isUndumped } from '../pure/backup.ts';
import { dumpEveryMs, type Move } from '../pure/idle.ts';
import { reasonOf } from '../pure/errors.ts';
import { shared, siteNames, type SiteNames } from '../pure/names.ts';
import { noteUnchanged, readState } from './backup-state.ts';
import { usedAt, type KnownSite, type Past } from './idle-memory.ts';
import { freezeQuiet, isInactive, stopQuiet, withEntry } from './quiet.ts';

/** What it takes to put a site to sleep. */
export interface SleepDeps {
  systemd: Systemd;
  docker: Docker;
  report: (line: string) => void;
}

/** For how long a dump is waited for, and the stop of a service. */
const dumpWaitMs = 30_000;
const stopWaitMs = 60_000;

/** How long the busy program may take. */
const busyMs = 10_000;

/**
 * Carries out what was decided about a site: asks its busy program, dumps it while it is reachable
 * if that is due, and freezes or stops it. A visitor who comes meanwhile finds it awake, or is held
 * until it is again.
 * @param past what looks have seen of it
 * @returns whether it was to be dumped for that, whatever came of it
 */
export async function putToSleep(deps: SleepDeps, { do: what, cause, visited }: Move, known: KnownSite, past: Past): Promise<boolean> {
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
  // Somebody has come since the look, who may have a connection open that a stop would cut.
  if (!inactive && past.state !== undefined && past.state !== 'awake') return false;
  if (cause === 'idle' && before === 'running' && await isBusy(deps, names, known.idle.busy)) return false;
  if (visited === true) report(`<4>${known.domain}: it is put to sleep though it has visitors: memory is short, and nothing else is left`);
  if (what === 'freeze') {
    await step('due');
    const isDue = known.backedUp && await isDumpDue(names) && !(past.triedAt !== undefined && Date.now() - past.triedAt < dumpEveryMs);
    if (isDue && !await dump(systemd, names)) return true;
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
  const dumped = known.backedUp ? await dumpBeforeStop(systemd, names, past) : 'not due';
  await step('dumped');
  if (dumped !== 'late') await withEntry(names, { from: before, to: 'asleep', cause }, () => stopQuiet(deps, names));
  return dumped !== 'not due';
}

/** What stands still goes out to swap; it would be read back at once, were it running. */
async function pushOut({ appCgroup }: Pick<SiteNames, 'appCgroup'>): Promise<void> {
  if (runState(appCgroup) === 'frozen') await reclaim(appCgroup, () => runState(appCgroup) === 'frozen');
}

/** Stops the service, and asks that stop to freeze, or only tells why it comes: for this very run of it. */
export async function sleepAwake(systemd: Pick<Systemd, 'properties' | 'stop'>, names: Pick<SiteNames, 'id' | 'service' | 'freezeFile'>, what: 'freeze' | 'stop', cause: string): Promise<void> {
  const { InvocationID: id, ActiveState: state } = await systemd.properties(names.service, 'Unit');
  // On its way up it has a visitor, or somebody who started it; and a job may have begun during the dump.
  if (state !== 'active' || hasJob(names.id)) return;
  if (id instanceof Uint8Array) await writeAtomic({ path: names.freezeFile, content: `${what === 'freeze' ? '' : 'stop-'}${Buffer.from(id).toString('hex')} ${cause}\n` });
  else if (what === 'freeze') return;
  // It may have a dump of its own to make.
  await within(stopWaitMs, stopJob(systemd, names));
}

/** A visitor's start takes the place of the stop, which is no error. */
async function stopJob(systemd: Pick<Systemd, 'stop'>, { service }: Pick<SiteNames, 'service'>): Promise<void> {
  await systemd.stop(service).catch((error: unknown) => {
    if (!reasonOf(error).includes('canceled')) throw error;
  });
}

/**
 * Dumps what stands still, if it was used since its last dump; the dump thaws it for itself.
 * @returns `late`: the dump goes on
 */
export async function dumpBeforeStop(systemd: Pick<Systemd, 'start'>, names: DumpNames, { activeAt, triedAt }: Past, waitMs = dumpWaitMs): Promise<'not due' | 'over' | 'late'> {
  const used = await usedAt(names, activeAt);
  if (!isUndumped(await readState(names), used, Date.now())) {
    await noteUnchanged(names, new Date());
    return 'not due';
  }
  // A dump that failed keeps no site running.
  if (triedAt !== undefined && used !== undefined && triedAt > used) return 'not due';
  return await dump(systemd, names, waitMs) ? 'over' : 'late';
}

type DumpNames = Pick<SiteNames, 'dumpUnit' | 'backupState' | 'stateLock' | 'workFile'>;

/**
 * Dumps fail with an alarm of their own; the site is put to sleep all the same, as its stop would.
 * @returns false when it takes longer than others should wait: it goes on, and a later look finds its site again
 */
async function dump(systemd: Pick<Systemd, 'start'>, { dumpUnit }: Pick<SiteNames, 'dumpUnit'>, waitMs = dumpWaitMs): Promise<boolean> {
  return within(waitMs, systemd.start(dumpUnit).catch(() => undefined));
}

/** @returns false when something is not over by then; it goes on */
async function within(ms: number, work: Promise<void>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => { timer = setTimeout(() => { resolve(false); }, ms); });
  return Promise.race([work.then(() => true), late]).finally(() => { clearTimeout(timer); });
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
