import { hasJob, reclaim, runState } from '../effects/cgroup.ts';
import type { Docker } from '../effects/docker.ts';
import { writeAtomic } from '../effects/files.ts';
import { step } from '../effects/step.ts';
import type { Systemd } from '../effects/systemd.ts';
import type { Move } from '../pure/idle.ts';
import { reasonOf } from '../pure/errors.ts';
import { shared, siteNames, type SiteNames } from '../pure/names.ts';
import { readState } from './backup-state.ts';
import type { KnownSite } from './idle-memory.ts';
import { freezeQuiet, isInactive, stopQuiet, withEntry } from './quiet.ts';

/** What it takes to put a site to sleep. */
export interface SleepDeps {
  systemd: Systemd;
  docker: Docker;
  report: (line: string) => void;
}

const hourMs = 3_600_000;

/** How long the busy program may take. */
const busyMs = 10_000;

/**
 * Carries out what was decided about a site: asks its busy program, dumps it while it is reachable
 * if that is due, and freezes or stops it. A visitor who comes meanwhile finds it awake, or is held
 * until it is again.
 */
export async function putToSleep(deps: SleepDeps, { do: what, cause, visited }: Move, known: KnownSite): Promise<void> {
  const { systemd, report } = deps;
  const names = siteNames(known.domain);
  const before = runState(names.appCgroup);
  const inactive = await isInactive(systemd, names);
  if (cause === 'idle' && before === 'running' && await isBusy(deps, names, known.idle.busy)) return;
  if (visited === true) report(`<4>${known.domain}: it is put to sleep though it has visitors: memory is short, and nothing else is left`);
  if (what === 'freeze') {
    await step('due');
    if (known.backedUp && await isDumpDue(names)) await dump(systemd, names);
    if (inactive) await withEntry(names, { from: before, to: 'frozen', cause }, () => freezeQuiet(systemd, names, shared.guardUnit));
    else await freezeAwake(systemd, names, cause);
    // It would be read back at once, were it running.
    if (runState(names.appCgroup) === 'frozen') await reclaim(names.appCgroup, () => runState(names.appCgroup) === 'frozen');
    return;
  }
  if (!inactive) {
    // On its way up it has a visitor, or somebody who started it.
    const { ActiveState: state } = await systemd.properties(names.service, 'Unit');
    if (state === 'active' && !hasJob(names.id)) await stopJob(systemd, names);
    return;
  }
  if (before === 'stopped') return;
  await withEntry(names, { from: before, to: 'asleep', cause }, async () => {
    await systemd.thaw(names.appSlice);
    await step('thawed');
    // Nothing has changed since then but what its own programs do by themselves.
    if (known.backedUp && await isDumpDue(names, 0)) await dump(systemd, names);
    await step('dumped');
    return stopQuiet(deps, names);
  });
}

/** Asks for the service's stop to freeze: only this very run of it. */
async function freezeAwake(systemd: Systemd, names: SiteNames, cause: string): Promise<void> {
  const { InvocationID: id, ActiveState: state } = await systemd.properties(names.service, 'Unit');
  // On its way up it has a visitor; and a job may have begun during the dump.
  if (state !== 'active' || !(id instanceof Uint8Array) || hasJob(names.id)) return;
  await writeAtomic({ path: names.freezeFile, content: `${Buffer.from(id).toString('hex')} ${cause}\n` });
  await stopJob(systemd, names);
}

/** A visitor's start takes the place of the stop, which is no error. */
async function stopJob(systemd: Systemd, { service }: SiteNames): Promise<void> {
  await systemd.stop(service).catch((error: unknown) => {
    if (!reasonOf(error).includes('canceled')) throw error;
  });
}

/** Dumps fail with an alarm of their own; the site is put to sleep all the same, as its stop would. */
async function dump(systemd: Systemd, { dumpUnit }: SiteNames): Promise<void> {
  await systemd.start(dumpUnit).catch(() => undefined);
}

/** Whether the last dump of a site is older than an hour, or as old as is said. */
export async function isDumpDue(names: Pick<SiteNames, 'backupState'>, ageMs = hourMs): Promise<boolean> {
  const { dumpedAt } = await readState(names);
  return dumpedAt === null || Date.now() - Date.parse(dumpedAt) > ageMs || Date.parse(dumpedAt) > Date.now();
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
