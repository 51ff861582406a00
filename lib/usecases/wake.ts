import notify from 'systemd-notify';
import { StrangerError, type Docker } from '../effects/docker.ts';
import { withLock } from '../effects/lock.ts';
import { exists, readIfThere, requireBelow, writeAtomic } from '../effects/files.ts';
import { answerAll, closedPort, isReady, refuseAll, type Target } from '../effects/probe.ts';
import { addressAt, networkOf } from '../pure/addresses.ts';
import { allot } from '../pure/allot.ts';
import { desired, type Desired } from '../pure/desired.ts';
import { describeEnd } from '../pure/docker.ts';
import { reasonOf, SitegenError } from '../pure/errors.ts';
import { backoffMs } from '../pure/backoff.ts';
import { paths, siteNames, type SiteNames } from '../pure/names.ts';
import { fullPage, unavailablePage } from '../pure/page.ts';
import { formatMs } from '../pure/quantities.ts';
import { createContainer, ensureImage } from './containers.ts';
import { requireRoom } from './disk.ts';
import { firstStart, needsFirstStart } from './first-start.ts';
import { isIncomplete, ServiceError, startSite } from './project.ts';
import { connectRunner, isProgram, ProgramError } from './runner.ts';
import { settleSite } from './swap.ts';
import { loadSettings, loadTemplates, takenOffsets } from './settings.ts';

/** First descriptor that systemd hands over (sd_listen_fds(3)); those of public ports come after it. */
const listenFd = 3;

/** At most for this long one shim answers 503; the next one goes on, and systemd's limit for a start is never met. */
const refuseMs = 25_000;

/** Without a visitor for so long it ends before. */
const quietMs = 5000;

/** What the unit says about its site. */
export interface WakeRequest {
  domain: string;
  container: string;
  target: Target;
  /** When the wake began and when it has to be over; milliseconds since 1970. */
  startedAt: number;
  deadline: number;
}

/** Milliseconds of the phases that the patient part took over. */
export interface Phases {
  create: number;
  start: number;
}

/**
 * Starts the container, whatever is missing for it: image, container, a Docker that is just
 * starting again. Tries until the deadline, except where trying again cannot help. A first start
 * takes as long as its own steps may, and is not tried again for the same visitor.
 * @throws SitegenError with the last reason
 */
export async function startContainer(request: WakeRequest): Promise<Phases> {
  const timeoutS = Math.max(1, Math.ceil((request.deadline - Date.now()) / 1000));
  return withLock(siteNames(request.domain).lockFile, { timeoutS }, () => startLocked(request));
}

async function startLocked(request: WakeRequest): Promise<Phases> {
  const docker = connectRunner();
  for (let renewed = false; ;) {
    try {
      const began = Date.now();
      const { id, want, started } = await createMissing(docker, request);
      const created = Date.now();
      if (!started) await startSite(docker, want, id, request.deadline);
      return { create: created - began, start: Date.now() - created };
    } catch (error) {
      if (error instanceof FinalError || error instanceof ServiceError || error instanceof ProgramError || Date.now() + 500 > request.deadline) throw error;
      if (!renewed && /network \S* ?not found/.test(reasonOf(error))) {
        // "docker network prune" takes the network of sleeping sites; their containers ask for the
        // old one by its id, so they have to be made anew.
        renewed = true;
        await docker.remove(request.container, request.domain);
        continue;
      }
      await setStatus(`waiting: ${reasonOf(error)}`);
      await sleep(500);
    }
  }
}

/**
 * Waits until the container is ready.
 * @param signal ends the wait; what it throws is the reason
 * @throws SitegenError when the deadline passes, or as soon as the container has ended
 */
export async function awaitReady(request: Omit<WakeRequest, 'domain'>, signal?: AbortSignal): Promise<void> {
  const docker = connectRunner();
  await setStatus(`waiting for ${request.target.path ?? `port ${request.target.port}`}`);
  for (let nextLook = 0; ;) {
    signal?.throwIfAborted();
    const left = request.deadline - Date.now();
    if (left <= 0) {
      const closed = await closedPort(request.target, 500);
      throw new SitegenError(`did not become ready within ${formatMs(request.deadline - request.startedAt)}${closed === undefined ? '' : `: its port ${closed} accepts no connection`}`);
    }
    if (Date.now() >= nextLook) {
      // First, and often: connecting to a container that is gone takes seconds to fail.
      const end = await docker.end(request.container).catch(() => undefined);
      if (end && !end.running) throw new SitegenError(`its ${isProgram(request.container) ? 'program' : 'container'} ended with ${describeEnd(end)} before it was ready`);
      nextLook = Date.now() + 500;
    }
    if (await isReady(request.target, Math.min(left, 2000))) return;
    await sleep(Math.min(left, 50));
  }
}

/**
 * Notes that a wake has failed. The next visitor's try comes a second later at the earliest, and each
 * further one after twice as long, up to five minutes: until then visitors are refused at once, and a
 * site that cannot start costs the others nothing. `systemctl start` tries at any time.
 */
export async function noteFailure({ failedFile }: Pick<SiteNames, 'failedFile'>): Promise<void> {
  const [count = 0] = parseFailures(await readIfThere(failedFile));
  await writeAtomic({ path: failedFile, content: `${count + 1} ${Date.now() + backoffMs(count)}\n` });
}

/** Lets a site go that is kept stopped as its data takes too much room, if there is room by now. @throws SitegenError when there is none */
export async function checkRoom(domain: string): Promise<void> {
  await setStatus('looking whether there is room for its data');
  const { sites: [loaded], faults: [fault] } = await loadSettings([domain]);
  if (!loaded) throw new SitegenError(`its settings cannot be used: ${fault?.reason ?? 'they are missing'}`);
  await requireRoom(siteNames(domain), loaded.site.workload?.diskBytes);
}

/** Answers everybody who waits, and everybody who comes until the next try is due, with 503; at public ports it hangs up. */
export async function refuseVisitors({ domain, failedFile, fullFile }: Pick<SiteNames, 'domain' | 'failedFile' | 'fullFile'>): Promise<number> {
  await setStatus('could not wake; answering 503');
  const [, until = 0] = parseFailures(await readIfThere(failedFile));
  const leftMs = Math.max(1000, until - Date.now());
  // Those that wait at its other sockets would start it again at once.
  const others = Array.from({ length: Math.max(0, Number(process.env['LISTEN_FDS'] ?? 1) - 1) }, (_, index) => listenFd + 1 + index);
  const admit = await refuseAll(others).catch(() => () => undefined);
  return answerAll(listenFd, {
    status: 503,
    headers: { 'content-type': 'text/html; charset=utf-8', 'retry-after': String(Math.max(10, Math.ceil(leftMs / 1000))), 'cache-control': 'no-store' },
    body: await exists(fullFile) ? fullPage(domain) : unavailablePage(domain),
  }, Math.min(leftMs, refuseMs), quietMs).finally(admit);
}

function parseFailures(text: string | undefined): number[] {
  return (text ?? '').trim().split(' ').map(Number).filter((value) => Number.isSafeInteger(value) && value > 0);
}

/** What trying again within the same wake cannot mend. */
class FinalError extends SitegenError {}

/** Gives the id of the container, which is created when it is missing; started: a first start was due, and is done. */
async function createMissing(docker: Docker, request: WakeRequest): Promise<{ id: string; want: Desired; started: boolean }> {
  const { domain, container } = request;
  await settleSite(siteNames(domain)).catch((error: unknown) => { throw new FinalError(reasonOf(error)); });
  const settings = await loadSettings([domain]);
  const [fault] = settings.faults;
  const [loaded] = settings.sites;
  if (fault || !loaded) throw new FinalError(`its settings cannot be used: ${fault?.reason ?? 'they are missing'}`);
  const { offsets, clashes } = allot([loaded.site], settings.ranges, await takenOffsets(settings.ranges));
  const clash = clashes.get(domain);
  if (clash !== undefined) throw new FinalError(`its settings cannot be used: ${clash}`);
  const want = desired(loaded.site, addressAt(offsets.get(domain) ?? 0, settings.ranges), loaded.image, await loadTemplates());
  const report = (line: string) => { console.error(line); };
  const { workload } = loaded.site;
  const found = await docker.find(container, domain).catch((error: unknown) => {
    throw error instanceof StrangerError ? new FinalError(error.message, { hint: error.hint }) : error;
  });
  if (workload && await needsFirstStart(want, workload, found?.id)) {
    if (want.container) await docker.ensureNetwork(networkOf(settings.ranges.containers));
    await ensureImage({ docker, report }, loaded);
    const ready = async () => {
      const now = Date.now();
      await awaitReady({ ...request, startedAt: now, deadline: now + request.deadline - request.startedAt });
    };
    await setStatus('making its first container ready');
    const id = await firstStart(docker, { want, loaded, workload, ready, report }).catch((error: unknown) => {
      throw new FinalError(`its first start failed: ${reasonOf(error)}`, { cause: error });
    });
    return { id, want, started: true };
  }
  for (const directory of want.dataDirs) {
    // Never made here: an empty directory in place of lost data would look like a new site.
    await requireBelow(paths.stateDir, directory).catch((error: unknown) => { throw new FinalError(reasonOf(error)); });
  }
  if (want.container) await docker.ensureNetwork(networkOf(settings.ranges.containers));
  // Of a program its data may have been exchanged, which is to be its own again.
  if (found && want.container && !await isIncomplete(docker, want)) {
    await writeAtomic({ path: want.names.cidFile, content: `${found.id}\n` });
    return { id: found.id, want, started: false };
  }
  await ensureImage({ docker, report }, loaded);
  const id = await createContainer(docker, want, report);
  console.error(want.process ? `made ready what its program needs` : `created the missing container ${container}`);
  return { id, want, started: false };
}

async function setStatus(status: string): Promise<void> {
  // Without `pid` the library names this process, and systemd would take it for the main one.
  await notify({ status, pid: Number(process.env['SITEGEN_MAIN_PID'] ?? process.ppid) }).catch(() => undefined);
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
