import { existsSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { connectDocker, type ContainerEnd, type ContainerState, type Docker } from '../effects/docker.ts';
import { namesIn, readIfThere } from '../effects/files.ts';
import { killRun, processStates, runPiped, startUnit, stopUnit, userExists } from '../effects/process.ts';
import { reasonOf, SitegenError } from '../pure/errors.ts';
import { paths, processId, processNames } from '../pure/names.ts';
import { domainOfProcess, processHash, siteIdOf, userOf } from '../pure/process.ts';
import { runArguments, startFault, type ProcessState } from '../pure/process-state.ts';
import { processOf } from './process.ts';

/**
 * What runs for sites, be it Docker's or systemd's: programs without a container are found, started,
 * stopped and worked in by the same names as containers, so that nobody above has to know. What only
 * containers have goes to Docker as it is; nothing here asks Docker about a program.
 */
export function connectRunner(docker: Docker = connectDocker()): Docker {
  return {
    ...docker,
    list: async () => [...await docker.list(), ...await allPrograms()],
    find: async (name, domain) => {
      const unit = programUnit(name);
      return unit === undefined ? docker.find(name, domain) : (await programs([unit]))[0];
    },
    end: async (name) => {
      const unit = programUnit(name);
      return unit === undefined ? docker.end(name) : endOf((await processStates([unit])).get(unit));
    },
    start: async (name) => {
      const unit = programUnit(name);
      await (unit === undefined ? docker.start(name) : startProgram(unit));
    },
    stop: async (name) => {
      const unit = programUnit(name);
      await (unit === undefined ? docker.stop(name) : stopUnit(unit));
    },
    exec: async (name, command, streams) => {
      const unit = programUnit(name);
      return unit === undefined ? docker.exec(name, command, streams) : execBeside(unit, command, streams);
    },
    remove: async (name, domain) => {
      const unit = programUnit(name);
      if (unit !== undefined) await stopUnit(unit);
      // Of a site that has had a container before, or gets one now.
      const container = unit === undefined ? name : `site-${processId(unit) ?? ''}`;
      await docker.remove(container, domain);
    },
  };
}

/** Whether a program without a container goes by a container's name. */
export function isProgram(name: string): boolean {
  return programUnit(name) !== undefined;
}

/** The unit of a program that a container's name, or an id, stands for; undefined where that is a container. */
function programUnit(name: string): string | undefined {
  const id = siteIdOf(name);
  const unit = id === undefined ? undefined : processNames({ id }).processUnit;
  return unit !== undefined && (unit === name || existsSync(`${paths.unitsDir}/${unit}`)) ? unit : undefined;
}

async function allPrograms(): Promise<ContainerState[]> {
  return programs((await namesIn(paths.unitsDir)).filter((name) => processId(name) !== undefined));
}

/** Programs by their units; those are left out of which something is missing that it takes to run them. */
async function programs(units: readonly string[]): Promise<ContainerState[]> {
  const states = await processStates(units);
  const found = await Promise.all(units.map(async (unit): Promise<ContainerState | undefined> => {
    const id = processId(unit) ?? '';
    const { environmentFile, processSocket } = processNames({ id });
    const [environment, content, socket] = await Promise.all([environmentFile, `${paths.unitsDir}/${unit}`, `${paths.unitsDir}/${processSocket}`].map((file) => readIfThere(file)));
    const domain = content === undefined ? undefined : domainOfProcess(content);
    if (domain === undefined || content === undefined || environment === undefined || !await userExists(userOf({ id }))) return undefined;
    const state = states.get(unit);
    return {
      id: unit, name: `site-${id}`, domain, running: state?.running ?? false, status: state?.running === true ? 'running' : 'exited',
      specHash: processHash([environment, content, ...(socket === undefined ? [] : [socket])]),
    };
  }));
  return found.filter((each) => each !== undefined);
}

function endOf(state: ProcessState | undefined): ContainerEnd {
  const { running = false, pid = 0, exitCode = 0, finishedAt, outOfMemory = false } = state ?? {};
  const fault = running ? undefined : startFault(exitCode);
  return { running, pid, exitCode, finishedAt, outOfMemory, error: fault ?? '' };
}

/** A program that has ended before systemd took it for started; it would again. */
export class ProgramError extends SitegenError {}

/** @throws ProgramError when the program is to blame, and SitegenError when systemd did not come to it */
async function startProgram(unit: string): Promise<void> {
  try {
    await startUnit(unit);
  } catch (error) {
    const { exitCode, error: fault } = endOf((await processStates([unit])).get(unit));
    const [Kind, reason] = exitCode === 0 ? [SitegenError, reasonOf(error)] : [ProgramError, fault === '' ? `exit code ${exitCode}` : fault];
    throw new Kind(`its program could not be started: ${reason}`, { hint: `look at: systemctl status ${unit}`, cause: error });
  }
}

/** The end of what a command writes to standard error that is kept. */
const tailBytes = 4096;

/** As `Docker.exec`: beside a program that runs, with its rights and limits. */
async function execBeside(unit: string, command: Parameters<Docker['exec']>[1], { stdin, stdout, stderr, signal }: NonNullable<Parameters<Docker['exec']>[2]> = {}): Promise<{ exitCode: number; stderrTail: string }> {
  const id = processId(unit) ?? '';
  const program = command.argv[0] ?? '';
  signal?.throwIfAborted();
  const [process, before] = await Promise.all([processOf(id), processStates([unit])]);
  if (before.get(unit)?.running !== true) throw new SitegenError(`run ${program}: the program of ${id} does not run`, { hint: `wake it: sitegen start ${id}` });
  const run = runPiped((name) => runArguments(process, command, name), id);
  const { child } = run;
  const abort = () => { void killRun(run.unit); };
  signal?.addEventListener('abort', abort);
  let tail = Buffer.alloc(0);
  const drain = async (source: Readable | null, receive: ((data: Buffer) => void | Promise<void>) | undefined, isError: boolean) => {
    for await (const chunk of source ?? []) {
      const data = chunk as Buffer;
      if (isError) tail = Buffer.concat([tail, data]).subarray(-tailBytes);
      await receive?.(data);
    }
  };
  const broken: Error[] = [];
  stdin?.once('error', (error) => {
    broken.push(error);
    abort();
  });
  // One that ends before it has read all is told by its exit code.
  child.stdin?.on('error', () => undefined);
  if (stdin && child.stdin) stdin.pipe(child.stdin);
  else child.stdin?.end();
  try {
    const ended = new Promise<number>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, by) => { resolve(code ?? (by === null ? 1 : 137)); });
    });
    const [exitCode] = await Promise.all([ended, drain(child.stdout, stdout, false), drain(child.stderr, stderr, true)]);
    signal?.throwIfAborted();
    for (const reason of broken) throw reason;
    const fault = startFault(exitCode);
    if (fault !== undefined) throw new SitegenError(`${program} cannot be run beside the program of ${id}: ${fault}`, { hint: 'give its whole path; is it there, and executable?' });
    if ((await processStates([unit])).get(unit)?.running !== true) throw new SitegenError(`the program of ${id} ended while ${program} ran beside it`, { hint: `look at: sitegen logs ${id}` });
    return { exitCode, stderrTail: tail.toString('utf8').trim() };
  } catch (error) {
    await killRun(run.unit);
    child.kill();
    const reason: unknown = signal?.aborted === true ? signal.reason : error;
    throw reason instanceof SitegenError ? reason : new SitegenError(`run ${program} beside the program of ${id}: ${reason instanceof Error ? reason.message : String(reason)}`, { cause: reason });
  } finally {
    signal?.removeEventListener('abort', abort);
    stdin?.destroy();
  }
}
