import { createReadStream } from 'node:fs';
import fs from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Docker } from '../effects/docker.ts';
import { draftOf } from '../effects/dump-file.ts';
import { removeTemporary } from '../effects/files.ts';
import type { Dump } from '../pure/dump.ts';
import { constantTokens, parseTables, startCheck } from '../pure/dump-check.ts';
import { serviceContainer } from '../pure/compose/project.ts';
import { reasonOf, SitegenError } from '../pure/errors.ts';
import { startLines } from '../pure/lines.ts';
import type { SiteNames } from '../pure/names.ts';
import { formatBytes, formatMs } from '../pure/quantities.ts';
import type { Hook } from '../pure/site.ts';

/** What of a site it takes to run something in its container. */
export type InContainer = Pick<SiteNames, 'domain' | 'container'>;

/** How long a database may take until it takes connections: of a site that is awake, and after a first start. */
const readyMs = { dump: 15_000, load: 120_000 } as const;

/** What has to be free on the disk beyond the size of the last dump and a fifth of it. */
const roomBytes = 64 * 1024 ** 2;

/**
 * Dumps the database of a running container into a file, which is replaced only by a whole dump
 * that was checked: on anything else the last good one stays. The caller holds the site's
 * `dumpLock`, has thawed the container and made the target's directory.
 * @param previousBytes size of the last dump that was accepted, or null
 * @param target the file, mode 0600
 * @returns its size
 * @throws SitegenError with the reason in one line
 */
export async function dumpDatabase(docker: Pick<Docker, 'find' | 'exec'>, names: InContainer, dump: Dump, previousBytes: number | null, target: string): Promise<{ bytes: number }> {
  return bounded(names, 'the dump of its database', 'dump.timeout', dump.timeoutMs, async (signal) => {
    const database = await openDatabase(docker, names, dump, signal);
    await database.ready(readyMs.dump, 1);
    const expected = await database.tables();
    await removeTemporary([path.dirname(target)]);
    const draft = await draftOf(target, Math.ceil((previousBytes ?? 0) * 1.2) + roomBytes);
    try {
      const check = startCheck(dump, { tables: expected, previousBytes: previousBytes ?? draft.replaces });
      const tokens = dump.way === 'postgresql' ? constantTokens() : undefined;
      let bytes = 0;
      const put = async (data: Buffer) => {
        bytes += data.length;
        check.write(data);
        await draft.write(data);
      };
      const { exitCode } = await database.run(dump.argv, {
        stdout: (data) => put(tokens?.write(data) ?? data),
        stderr: (data) => { check.complain(data); },
      });
      if (tokens) await put(tokens.end());
      // What the application has dropped meanwhile cannot be in it.
      const there = exitCode === 0 && check.missing().length > 0 ? new Set(await database.tables()) : undefined;
      const fault = check.fault(exitCode, new Set(check.missing().filter((table) => there?.has(table) === false)));
      if (fault !== undefined) {
        throw new SitegenError(fault, { hint: fault.includes('shrank') ? 'if so much was deleted on purpose: set dump.check.shrink in its settings, for one backup' : `look at: docker logs ${names.container}` });
      }
      await draft.keep();
      return { bytes };
    } catch (error) {
      await draft.discard();
      throw error;
    }
  });
}

/**
 * Loads a dump into the database of a running container. The built-in ways make the database
 * empty first, so that a load which was interrupted can be repeated; that of SQLite replaces the
 * file, which a program that has it open does not see.
 * @param source the dump's file
 * @throws SitegenError with the program's last words
 */
export async function loadDatabase(docker: Pick<Docker, 'find' | 'exec'>, names: InContainer, dump: Dump, source: string, report: (line: string) => void): Promise<void> {
  const { loadArgv } = dump;
  if (!loadArgv) throw new SitegenError(`${names.domain}: its settings do not say how its dump is loaded`, { hint: 'set dump.load to a program that reads it from standard input' });
  await bounded(names, 'loading its dump', 'dump.timeout', dump.timeoutMs, async (signal) => {
    const { size } = await fs.stat(source).catch((error: unknown) => { throw new SitegenError(`cannot read ${source}`, { cause: error }); });
    if (size === 0) throw new SitegenError(`${source} is empty`);
    const database = await openDatabase(docker, names, dump, signal);
    // Twice, as images that make their database first run a server for that alone.
    await database.ready(readyMs.load, 2);
    report(`loading the dump of its database, ${formatBytes(size)}`);
    const stdin = createReadStream(source);
    const progress = setInterval(() => { report(`loading: ${Math.floor((100 * stdin.bytesRead) / size)}%`); }, 5000);
    try {
      const { exitCode, stderrTail } = await database.run(loadArgv, { stdin });
      if (exitCode !== 0) throw new SitegenError(`exit code ${exitCode}${said(stderrTail)}`, { hint: `look at: docker logs ${names.container}` });
    } finally {
      clearInterval(progress);
      stdin.destroy();
    }
  });
}

/**
 * Runs a site's own program in its running container.
 * @param name turn of the site's life that it is for: a program that is there for several is told by its environment
 * @param extraArgs arguments after those of the settings
 * @param report gets its output, line by line
 * @throws SitegenError when it ends with another exit code than 0, or takes too long; has its last lines
 */
export async function runHook(docker: Pick<Docker, 'find' | 'exec'>, names: InContainer, name: string, hook: Hook, extraArgs: readonly string[], report: (line: string) => void): Promise<void> {
  const [program = ''] = hook.argv;
  await bounded(names, program, 'hooks.timeout', hook.timeoutMs, async (signal) => {
    const last: string[] = [];
    const lines = () => startLines((line) => {
      const text = line.toString('utf8').trimEnd();
      last.push(text);
      if (last.length > 5) last.shift();
      report(text);
    });
    const [stdout, stderr] = [lines(), lines()];
    const container = { ...names, container: serviceContainer(names, hook.service) };
    const { exitCode } = await docker.exec(await runningContainer(docker, container), { argv: [...hook.argv, ...extraArgs], env: { SITEGEN_HOOK: name, SITEGEN_DOMAIN: names.domain, SITEGEN_URL: `https://${names.domain}` } }, { stdout: stdout.write, stderr: stderr.write, signal });
    stdout.end();
    stderr.end();
    if (exitCode !== 0) throw new SitegenError(`exit code ${exitCode}${said(last.join('\n'), 5)}`, { hint: `try it by hand: sitegen exec ${names.domain} -- ${program}` });
  });
}

interface Database {
  /** Waits until it has taken connections several times, a second apart. */
  ready(limitMs: number, times: number): Promise<void>;
  tables(): Promise<string[]>;
  run(argv: readonly string[], streams: Omit<Parameters<Docker['exec']>[2] & object, 'signal'>): ReturnType<Docker['exec']>;
}

async function openDatabase(docker: Pick<Docker, 'find' | 'exec'>, names: InContainer, dump: Dump, signal: AbortSignal): Promise<Database> {
  const container = await runningContainer(docker, { ...names, container: serviceContainer(names, dump.service) });
  const isUser = dump.user !== undefined && (await docker.exec(container, { argv: ['id', '-u', dump.user] }, { signal })).exitCode === 0;
  const run: Database['run'] = (argv, streams) => docker.exec(container, { argv, env: dump.env, user: isUser ? dump.user : undefined }, { ...streams, signal });
  return {
    run,
    async ready(limitMs, times) {
      if (!dump.readyArgv) return;
      const end = performance.now() + limitMs;
      for (let seen = 0; ;) {
        const { exitCode, stderrTail } = await run(dump.readyArgv, {});
        seen = exitCode === 0 ? seen + 1 : 0;
        if (seen === times) return;
        // sh's own for a program that is missing: waiting does not bring it.
        if (exitCode === 126 || exitCode === 127 || performance.now() > end) {
          throw new SitegenError(`the database does not answer${said(stderrTail)}`, { hint: `look at: docker logs ${names.container}` });
        }
        await sleep(exitCode === 0 ? 1000 : 500, undefined, { signal });
      }
    },
    async tables() {
      if (!dump.tablesArgv || !dump.way) return [];
      const printed: Buffer[] = [];
      const { exitCode, stderrTail } = await run(dump.tablesArgv, { stdout: (data) => { printed.push(Buffer.from(data)); } });
      if (exitCode !== 0) throw new SitegenError(`the database does not list its tables: exit code ${exitCode}${said(stderrTail)}`, { hint: 'do dump.database and dump.user fit what is in the container?' });
      return parseTables(dump.way, Buffer.concat(printed));
    },
  };
}

/** The name of a site's container. @throws SitegenError when it does not run */
async function runningContainer(docker: Pick<Docker, 'find'>, names: InContainer): Promise<string> {
  const found = await docker.find(names.container, names.domain);
  if (found?.running !== true) throw new SitegenError(`its container ${names.container} does not run`, { hint: `wake it: sitegen start ${names.domain}` });
  return found.name;
}

/** Runs an action with an end to it, and says of which site and what an error is. */
async function bounded<T>({ domain }: InContainer, what: string, setting: string, limitMs: number, action: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const whole = new AbortController();
  const timer = setTimeout(() => { whole.abort(new SitegenError(`it took longer than ${formatMs(limitMs)}`, { hint: `set ${setting} to a longer time` })); }, limitMs);
  try {
    return await action(whole.signal);
  } catch (error) {
    const reason: unknown = whole.signal.aborted ? whole.signal.reason : error;
    if (!(reason instanceof SitegenError)) throw error;
    throw new SitegenError(`${domain}: ${what} failed: ${reasonOf(reason)}`, { cause: error, hint: reason.hint });
  } finally {
    clearTimeout(timer);
  }
}

/** The last lines that a program wrote, to follow other words; of one line the one about an error. */
function said(output: string, lines = 1): string {
  const all = output.split('\n').filter((line) => line.trim() !== '');
  const chosen = lines === 1 ? [all.find((line) => /error/i.test(line)) ?? all.at(-1) ?? ''] : all.slice(-lines);
  const text = chosen.join('; ').trim();
  return text === '' ? '' : `: ${text.slice(0, 500)}`;
}
