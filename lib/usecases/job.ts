import { reclaim, runState } from '../effects/cgroup.ts';
import type { Docker } from '../effects/docker.ts';
import { exists } from '../effects/files.ts';
import { journalWriter, writeEntry } from '../effects/journal.ts';
import { withLock } from '../effects/lock.ts';
import type { Systemd } from '../effects/systemd.ts';
import { takeTurn } from '../effects/turn.ts';
import { serviceContainer } from '../pure/compose/project.ts';
import { namesIn } from '../pure/egress.ts';
import { reasonOf, SitegenError } from '../pure/errors.ts';
import type { Job } from '../pure/jobs.ts';
import { printable, startLines } from '../pure/lines.ts';
import { shared, siteNames, type SiteNames } from '../pure/names.ts';
import { describePending, pendingOf } from '../pure/pending.ts';
import { formatMs } from '../pure/quantities.ts';
import type { Site, Workload } from '../pure/site.ts';
import { readFence } from './fence.ts';
import { needsFirstStart, readPending } from './first-start.ts';
import { noteWork } from './idle-memory.ts';
import { isDumpDue } from './put-to-sleep.ts';
import { startSite } from './project.ts';
import { freezeQuiet, isInactive, stopQuiet, thawSite } from './quiet.ts';
import { siteOfId } from './read-sites.ts';
import { makeRoomForJob } from './room.ts';
import { loadSettings, type LoadedSite } from './settings.ts';
import { awaitReady } from './wake.ts';
import { wantOf } from './want.ts';

/**
 * Work of a site without visitors: its container is thawed or started and put to sleep again, while
 * its service stays inactive and nobody is led to it. A visitor who comes meanwhile wakes the site as
 * always, finds it running, and keeps it awake.
 */

/** What it takes to run a job. */
export interface JobDeps {
  docker: Docker;
  systemd: Systemd;
  /** Ends the job, and its program in the container; what it throws is the reason. */
  signal: AbortSignal;
}

/** What the site was when the job began; `quiet`: a dump of ours had thawed it. */
type Before = 'visited' | 'quiet' | 'frozen' | 'stopped';

/** How long others may replace or stop the container just then; those who come for longer were waited for before. */
const lockS = 60;

/** The same at the end: whoever has the lock then may wait for us, and the idle round does the rest. */
const sleepLockS = 5;

/** Longer than a service of a site takes to come or to go. */
const settleMs = 15 * 60_000;

/**
 * Runs one job of a site, when those before it are over; its output and what became of it are in the
 * site's journal.
 * @returns why there was nothing to do; undefined when the job was done
 * @throws SitegenError when its program fails or takes too long; the site sleeps again then
 */
export async function runJob(deps: JobDeps, id: string, name: string): Promise<string | undefined> {
  const file = await siteOfId(id);
  if (!file) return `${id}: there is no such site any more`;
  const names = siteNames(file.domain);
  const say = sayer(names, name);
  try {
    const waiting = () => { void say('waits for another job of the site'); };
    const skipped = await withLock(names.jobLock, { waiting, signal: deps.signal }, () => runLocked(deps, names, name, say));
    if (skipped !== undefined) await say(`skipped: ${skipped}`, 5);
    return skipped;
  } catch (error) {
    await say(`failed: ${reasonOf(error)}${error instanceof SitegenError && error.hint !== undefined ? `; ${error.hint}` : ''}`, 3);
    throw error;
  }
}

async function runLocked(deps: JobDeps, names: SiteNames, name: string, say: Say): Promise<string | undefined> {
  const { systemd, signal } = deps;
  const began = performance.now();
  await settled(deps, names);
  const asked = await lookUp(names, name);
  if ('skipped' in asked) return asked.skipped;
  const { job, loaded, loaded: { site }, workload } = asked;
  const giveBack = await isInactive(systemd, names) ? await takeTurn(signal) : () => Promise.resolve();
  const turned = performance.now();
  let before: Before | undefined;
  let release = () => { /* Nothing is reserved yet. */ };
  const beforeStart = async () => { release = await makeRoomForJob(systemd, names, say); };
  try {
    // What it may reach outside may have other addresses by now; nothing is done for a site without names.
    if (workload.egress !== undefined && namesIn(workload.egress).length > 0) await systemd.enqueue(names.egressUnit);
    const woken = await wakeQuietly(deps, { names, name, workload, beforeStart });
    if (typeof woken === 'object') return woken.skipped;
    before = woken;
    if (before === 'stopped') {
      const { address: { container } } = await wantOf(loaded);
      await awaitReady({ container: names.container, target: { address: container, port: workload.port, path: workload.ready.path, host: names.domain }, startedAt: Date.now(), deadline: Date.now() + workload.ready.timeoutMs }, signal);
    }
    await giveBack();
    release();
    const ready = performance.now();
    await noteWork(names);
    await runCommand(deps, names, job).finally(() => noteWork(names));
    await say(`done: ${before === 'visited' ? 'awake' : before}; wait ${Math.round(turned - began)} ms, wake ${Math.round(ready - turned)} ms, run ${formatMs(performance.now() - ready)}`);
    return undefined;
  } finally {
    await giveBack();
    release();
    if (before !== undefined) await sleepAgain(deps, names, before, site).catch((error: unknown) => say(`the site stays as it is for now: ${reasonOf(error)}`, 4));
  }
}

interface Asked {
  job: Job;
  loaded: LoadedSite;
  workload: Workload;
}

/** What the settings say now. @returns also why there is nothing to do */
async function lookUp(names: SiteNames, name: string): Promise<Asked | { skipped: string }> {
  const fence = await readFence(names);
  if (fence) return { skipped: `${fence.server} has the site now` };
  if (await exists(names.fullFile)) return { skipped: 'the site is kept stopped, as its data has reached limits.disk' };
  const { sites: [loaded], faults: [fault] } = await loadSettings([names.domain]);
  if (!loaded) throw new SitegenError(fault?.reason ?? `${names.domain}: there is no such site`);
  const { site: { workload, enabled } } = loaded;
  const job = workload?.jobs.find((each) => each.name === name);
  if (!workload || !job) return { skipped: 'its settings have no such job' };
  return enabled ? { job, loaded, workload } : { skipped: 'the site is disabled' };
}

/**
 * Waits until nobody restores, moves or replaces the site, which may take minutes, and until its
 * service neither comes nor goes: only then can be told whether its container is to be woken.
 */
async function settled({ systemd, signal }: JobDeps, { service, lockFile }: SiteNames): Promise<void> {
  await withLock(lockFile, { signal }, () => Promise.resolve());
  for (const end = performance.now() + settleMs; performance.now() < end;) {
    signal.throwIfAborted();
    const [unit] = await systemd.list([service]);
    if (unit === undefined || ['active', 'inactive', 'failed'].includes(unit.activeState)) return;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

interface QuietWake {
  names: SiteNames;
  /** Of the job. */
  name: string;
  workload: Workload;
  /** Before a container that is stopped is started. */
  beforeStart: () => Promise<void>;
}

/** Has the container run, without the site's service. Nothing is made that a first visitor would make. */
async function wakeQuietly({ systemd, docker, signal }: JobDeps, { names, name, workload, beforeStart }: QuietWake): Promise<Before | { skipped: string }> {
  return withLock(names.lockFile, { timeoutS: lockS, signal }, async () => {
    // Another server may have got it meanwhile, and must be the only one that works at its data.
    const asked = await lookUp(names, name);
    if ('skipped' in asked) return asked;
    const found = await docker.find(names.container, names.domain);
    const visitor = `its next visitor causes that, or: sitegen start ${names.domain}`;
    if (!await isInactive(systemd, names)) return 'visited';
    if (!found) return { skipped: `its container has to be made first: ${visitor}` };
    if (await needsFirstStart({ names, upgrades: workload.hooks.upgrade !== undefined, container: { Image: asked.loaded.image } }, workload, found.id)) {
      return { skipped: `its first start has to ${describePending(await readPending(names) ?? pendingOf({}))} yet: ${visitor}` };
    }
    // Should we be killed, the idle round puts the site to sleep.
    await systemd.enqueue(shared.idleTimer);
    const state = runState(names.appCgroup);
    if (state === 'running') return 'quiet';
    if (state === 'frozen') await thawSite(systemd, names);
    else {
      await beforeStart();
      await startSite(docker, await wantOf(asked.loaded), found.id, Date.now() + workload.ready.timeoutMs);
    }
    // A round that still saw nothing run has ended it.
    await systemd.enqueue(shared.idleTimer);
    return state;
  });
}

async function runCommand({ docker, signal: stopped }: JobDeps, names: SiteNames, job: Job): Promise<void> {
  const limit = new AbortController();
  const timer = setTimeout(() => { limit.abort(new SitegenError(`it took longer than ${formatMs(job.timeoutMs)} and was killed`, { hint: `set jobs.${job.name}.timeout to a longer time` })); }, job.timeoutMs);
  const writer = journalWriter(fieldsOf(names, job.name));
  const last: string[] = [];
  let full: Promise<void> | undefined;
  const lines = () => startLines((line) => {
    // The last of them are in alarms and lists too.
    const text = printable(line.toString('utf8').trimEnd());
    last.push(text);
    if (last.length > 3) last.shift();
    full = writer.write(`${job.name}: ${text}`);
  });
  const [stdout, stderr] = [lines(), lines()];
  // What it writes faster than the journal takes it, it has to wait with.
  const passOn = (stream: typeof stdout) => (data: Buffer) => {
    stream.write(data);
    return full;
  };
  try {
    const { exitCode } = await docker.exec(serviceContainer(names, job.service), { argv: job.argv, user: job.user }, { stdout: passOn(stdout), stderr: passOn(stderr), signal: AbortSignal.any([limit.signal, stopped]) })
      .finally(() => { for (const stream of [stdout, stderr]) stream.end(); });
    const said = last.filter((line) => line.trim() !== '').join('; ').slice(-500);
    if (exitCode !== 0) throw new SitegenError(`exit code ${exitCode}${said === '' ? '' : `: ${said}`}`, { hint: `try it by hand: sitegen jobs run ${names.domain} ${job.name}` });
  } finally {
    clearTimeout(timer);
    await writer.end();
  }
}

/** Puts the site back to what it was, unless somebody visits it by now; what the job has changed is dumped, as before any sleep. */
async function sleepAgain(deps: JobDeps, names: SiteNames, before: Before, { workload, backedUp }: Site): Promise<void> {
  const { systemd, signal } = deps;
  // While the machine goes down the rest is sitegen-shutdown's; else the next idle round's.
  if (before === 'visited' || signal.aborted || !await isInactive(systemd, names)) return;
  // It has ended, or was stopped, replaced or moved away.
  if (runState(names.appCgroup) === 'stopped') return;
  const stops = before === 'stopped' || workload?.idle.freeze === false;
  if (backedUp && (stops || await isDumpDue(names))) await Promise.race([systemd.start(names.dumpUnit).catch(() => undefined), aborted(signal)]);
  const by = { byJob: true, timeoutS: sleepLockS };
  // One that others have begun would stand still in the middle.
  await withLock(names.dumpLock, { signal }, () => (stops ? stopQuiet(deps, names, by) : freezeQuiet(systemd, names, shared.guardUnit, by)));
  if (runState(names.appCgroup) === 'frozen') await reclaim(names.appCgroup, () => runState(names.appCgroup) === 'frozen');
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => { resolve(); }, { once: true });
  });
}

type Say = (text: string, priority?: number) => Promise<void>;

/** Writes into the journal of the site. */
function sayer(names: SiteNames, job: string): Say {
  return (text, priority = 6) => writeEntry({ fields: { ...fieldsOf(names, job), PRIORITY: String(priority) }, lines: [`${job}: ${text}`] });
}

/** By the third of them journalctl finds what root writes beside the lines of that unit (systemd.journal-fields(7)). */
function fieldsOf({ domain, service }: SiteNames, job: string): Record<string, string> {
  return { SYSLOG_IDENTIFIER: 'sitegen-job', PRIORITY: '6', OBJECT_SYSTEMD_UNIT: service, SITEGEN_DOMAIN: domain, SITEGEN_JOB: job };
}
