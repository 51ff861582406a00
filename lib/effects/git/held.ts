import { spawn } from 'node:child_process';
import fs from 'node:fs/promises';
import { SitegenError } from '../../pure/errors.ts';
import { attributes } from './import.ts';
import { repositorySize } from './maintain.ts';
import { askGit } from './process.ts';
import { gitEnvironment } from './run.ts';

/**
 * The repositories that this machine holds for others: what their owners' keys cannot do. Nothing
 * in them is obeyed: all configuration comes from here.
 */

/** How a request of a git client is answered. */
export interface Answering {
  service: 'receive-pack' | 'upload-pack';
  repository: string;
  /** `name=value` lines. */
  config: readonly string[];
  environment: Readonly<Record<string, string>>;
  /** flock(2): held by git itself, so for as long as any of it is alive. */
  lock?: { file: string; waitS: number };
  /** A client that neither sends nor takes anything for so long is gone. */
  silentMs: number;
}

/** Exit code of flock(1) when somebody else has the lock. */
const lockedCode = 75;

/**
 * Answers a git client on this process's own standard streams.
 * @returns git's exit code; `locked` when somebody else is at it
 */
export async function answer({ service, repository, config, environment, lock, silentMs }: Answering): Promise<number | 'locked'> {
  const git = ['git', service, ...(service === 'upload-pack' ? ['--strict', `--timeout=${Math.ceil(silentMs / 1000)}`] : []), repository];
  const [program = '', ...args] = lock ? ['flock', '--exclusive', '--wait', String(lock.waitS), '--conflict-exit-code', String(lockedCode), lock.file, ...git] : git;
  // A group of its own, so that all of it can be ended.
  const child = spawn(program, args, { cwd: '/', detached: true, stdio: 'inherit', env: { ...gitEnvironment(), ...environment, ...configEnvironment(config) } });
  const end = () => { if (child.pid !== undefined) endGroup(child.pid); };
  const signals = ['SIGTERM', 'SIGHUP', 'SIGINT'] as const;
  for (const signal of signals) process.once(signal, end);
  const watch = watchGroup(() => child.pid, silentMs, () => {
    process.stderr.write(`fatal: nothing came for ${Math.round(silentMs / 60_000)} minutes\n`);
    end();
  });
  try {
    return await new Promise<number | 'locked'>((resolve, reject) => {
      child.once('error', (error) => { reject(new SitegenError(`cannot run ${program}: ${error.message}`, { cause: error })); });
      child.once('close', (code) => { resolve(lock && code === lockedCode ? 'locked' : (code ?? 1)); });
    });
  } finally {
    clearInterval(watch);
    for (const signal of signals) process.removeListener(signal, end);
  }
}

/** git has no time limit for somebody who pushes, and sshd's is off unless its admin has set one. */
function watchGroup(leader: () => number | undefined, silentMs: number, silent: () => void): NodeJS.Timeout {
  let last = '';
  let since = performance.now();
  return setInterval(() => {
    const pid = leader();
    if (pid === undefined) return;
    void activityOf(pid).then((activity) => {
      if (activity !== last) since = performance.now();
      last = activity;
      if (performance.now() - since >= silentMs) silent();
    });
  }, Math.min(15_000, silentMs / 4));
}

/** What the processes of a group have read, written and computed so far; proc(5). */
async function activityOf(group: number): Promise<string> {
  const found: string[] = [];
  for (const name of await fs.readdir('/proc').catch(() => [])) {
    if (!/^\d+$/.test(name)) continue;
    // Behind the program's name, which may contain anything: state, parent, group …, times.
    const fields = (await fs.readFile(`/proc/${name}/stat`, 'latin1').catch(() => '')).replace(/^.*\) /s, '').split(' ');
    if (Number(fields[2]) !== group) continue;
    found.push(`${name} ${fields[11] ?? ''} ${fields[12] ?? ''} ${await fs.readFile(`/proc/${name}/io`, 'latin1').catch(() => '')}`);
  }
  return found.join('\n');
}

function endGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}

/** git's way of being configured by its environment (git(1), GIT_CONFIG_COUNT); its children see it too. */
function configEnvironment(config: readonly string[]): Record<string, string> {
  const pairs = config.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)] as const);
  return Object.fromEntries([
    ['GIT_CONFIG_COUNT', String(pairs.length)],
    ...pairs.flatMap(([key, value], index) => [[`GIT_CONFIG_KEY_${index}`, key], [`GIT_CONFIG_VALUE_${index}`, value]]),
  ] as [string, string][]);
}

/** Whether there is a repository. */
export async function isHeld(repository: string): Promise<boolean> {
  return fs.stat(`${repository}/HEAD`).then((status) => status.isFile(), () => false);
}

/** Makes an empty repository whose branch is `main`, or mends one that was half made. */
export async function makeHeld(repository: string): Promise<void> {
  await fs.mkdir(`${repository}/info`, { recursive: true, mode: 0o700 });
  // What the owner's server does not try to make differences of, is not worth it here either.
  await fs.writeFile(`${repository}/info/attributes`, attributes);
  await askGit({ repository, what: `make ${repository}`, args: ['init', '--quiet', '--bare', '--template=', '-b', 'main'] });
}

/**
 * Removes what killed pushes have left: half-received objects and locks. The caller's lock says that
 * nobody is at it.
 */
export async function cleanHeld(repository: string): Promise<void> {
  const stale = async (directory: string, pattern: RegExp) => {
    for (const name of await fs.readdir(directory).catch(() => [])) {
      if (pattern.test(name)) await fs.rm(`${directory}/${name}`, { recursive: true, force: true });
    }
  };
  await stale(repository, /\.lock$|^gc\.pid$/);
  await stale(`${repository}/objects`, /^(tmp_objdir-|incoming-|tmp_)/);
  await stale(`${repository}/objects/pack`, /^(tmp_|\.tmp-)/);
  for (const directory of ['refs/heads', 'refs/heads/recover']) await stale(`${repository}/${directory}`, /\.lock$/);
}

/**
 * Reads all of a repository and compares each object with its id: the only thing that finds a file
 * that was emptied.
 * @returns what is wrong, in git's words; undefined: nothing
 */
export async function checkHeld(repository: string, config: readonly string[]): Promise<string | undefined> {
  try {
    await askGit({ repository, what: `check ${repository}`, config, args: ['fsck', '--full', '--no-dangling', '--no-progress'] });
    const refs = await askGit({ repository, what: `check ${repository}`, args: ['for-each-ref', '--format=%(objectname)'] });
    // An emptied file of refs is no fault for fsck, but what it named is gone.
    if (refs === '' && await fs.stat(`${repository}/logs/refs/heads/main`).then((status) => status.size > 0, () => false)) return 'its branches are gone';
    return undefined;
  } catch (error) {
    return error instanceof SitegenError ? error.message.replace(/^cannot check [^:]*: /, '') : String(error);
  }
}

/** Up to this size all of a repository is packed anew; a larger one when a quarter of it is new. */
const smallMax = 256 * 1024 * 1024;

/**
 * Puts the packs of pushes together: of a small repository all, as each brings a whole copy of what
 * its differences are to; of a large one the new ones alone until they are worth it.
 * @param freeBytes what a second copy may take
 */
export async function packHeld(repository: string, config: readonly string[], freeBytes: number): Promise<void> {
  const { bytes, packs, largest } = await repositorySize(repository);
  const what = `repack ${repository}`;
  if (packs < 2) return;
  if (bytes > freeBytes) throw new SitegenError(`cannot ${what}: there is no room for a second copy`, { hint: 'make room: df -h' });
  const whole = bytes <= smallMax || bytes - largest > bytes / 4;
  await askGit({ repository, what, config, args: ['repack', ...(whole ? ['-a'] : ['--geometric=2']), '-d', '-q'] });
}

/** Removes a branch. */
export async function dropBranch(repository: string, ref: string): Promise<void> {
  await askGit({ repository, what: `remove ${ref} of ${repository}`, args: ['update-ref', '-d', ref] });
}

/** The branches of a repository, with their commits. */
export async function branchesOf(repository: string): Promise<{ ref: string; commit: string }[]> {
  const text = await askGit({ repository, what: `read ${repository}`, args: ['for-each-ref', '--format=%(refname) %(objectname)'] });
  return text.split('\n').filter((line) => line !== '').map((line) => {
    const [ref = '', commit = ''] = line.split(' ');
    return { ref, commit };
  });
}
