import fs from 'node:fs/promises';
import os from 'node:os';
import { GitError, simpleGit, type SimpleGit, type SimpleGitProgressEvent } from 'simple-git';
import { SitegenError } from '../pure/errors.ts';
import { withoutCredentials, type Remote } from '../pure/static.ts';

/** How long a server may be silent before it is asked; while it sends; and a whole transfer at most. */
const timeLimits = { askMs: 30_000, silentMs: 60_000, wholeMs: 15 * 60_000 };

/** What is fetched from where, and how far along it is. */
export interface Source {
  remote: Remote;
  /** Undefined: the one that the repository's HEAD names. */
  branch: string | undefined;
  /** Called now and then with a stage, such as "receiving", and how much of it is done in percent. */
  progress?: (stage: string, percent: number) => void;
}

/**
 * Asks a server for the commit at the end of a branch. Nothing is transferred.
 * @throws SitegenError when the server cannot be reached or does not let us in, or the branch is missing
 */
export async function remoteCommit({ remote, branch }: Source): Promise<string> {
  const answer = await run(remote, { cwd: '/', remote, silentMs: timeLimits.askMs }, (git) => git.raw(['ls-remote', '--', remote.url, refOf(branch)]));
  const commit = /^([0-9a-f]{40,64})\t/.exec(answer)?.[1];
  if (commit !== undefined) return commit;
  throw new SitegenError(branch === undefined ? `${remote.url} is empty` : `${remote.url} has no branch "${branch}"`, {
    hint: branch === undefined ? 'push something there first' : 'set static.branch to one that it has, or leave it out',
  });
}

/**
 * Fetches the end of a branch into a bare repository, which is made when it is missing. The
 * history stays away; when there is none to leave out or the repository is damaged, it is made anew.
 * @returns the commit that was fetched
 * @throws SitegenError when it cannot be fetched
 */
export async function fetchCommit(directory: string, source: Source): Promise<string> {
  const { remote, branch, progress } = source;
  const attempt = async (...options: string[]) => {
    await fs.mkdir(directory, { recursive: true, mode: 0o700 });
    return run(remote, { cwd: directory, remote, gitDir: directory, silentMs: timeLimits.silentMs, ...(progress && { progress }) }, async (git) => {
      await git.raw(['init', '--quiet', '--bare', '--template=', '.']);
      await git.raw(['fetch', '--progress', '--no-tags', '--no-recurse-submodules', '--no-write-fetch-head', '--force', ...options, '--', remote.url, `+${refOf(branch)}:refs/heads/served`]);
      return git.raw(['rev-parse', '--verify', 'refs/heads/served^{commit}']);
    });
  };
  try {
    return await attempt('--depth=1');
  } catch {
    // What a kill or a power cut left, such as a lock, or a server without shallow fetches.
    await fs.rm(directory, { recursive: true, force: true });
    return attempt();
  }
}

/**
 * Makes a directory hold just the files of a commit. Files that are right already keep their
 * times, so that browsers need not fetch them again; hard links to them elsewhere stay untouched.
 * No program that the repository names is run.
 */
export async function exportCommit(repository: string, commit: string, directory: string, remote: Remote): Promise<void> {
  const index = `${repository}/index.export`;
  await fs.rm(index, { force: true });
  await fs.rm(`${index}.lock`, { force: true });
  const turn = exporting;
  let over: () => void = () => undefined;
  exporting = new Promise((resolve) => { over = resolve; });
  await turn;
  // Of the whole process, which is why there is one export at a time.
  const before = process.umask(0o022);
  try {
    await run(remote, { cwd: directory, remote, gitDir: repository, index }, async (git) => {
      await git.raw(['read-tree', commit]);
      await git.raw(['update-index', '-q', '--refresh']);
      await git.raw(['checkout-index', '--force', '--all', '--quiet']);
      await git.raw(['clean', '-ffdxq']);
      return '';
    });
  } finally {
    process.umask(before);
    over();
    await fs.rm(index, { force: true });
  }
}

let exporting = Promise.resolve();

interface Setting {
  cwd: string;
  remote: Remote;
  gitDir?: string;
  /** With a work tree, which is `cwd`. */
  index?: string;
  silentMs?: number;
  progress?: NonNullable<Source['progress']>;
}

async function run(remote: Remote, setting: Setting, action: (git: SimpleGit) => Promise<string>): Promise<string> {
  const whole = new AbortController();
  const timer = setTimeout(() => { whole.abort(); }, timeLimits.wholeMs);
  try {
    return (await action(open(setting, whole.signal))).trim();
  } catch (error) {
    const late = whole.signal.aborted ? `it took longer than ${timeLimits.wholeMs / 60_000} minutes` : undefined;
    throw toSitegenError(remote, error, late);
  } finally {
    clearTimeout(timer);
  }
}

function open({ cwd, remote, gitDir, index, silentMs, progress }: Setting, abort: AbortSignal): SimpleGit {
  return simpleGit({
    baseDir: cwd,
    abort,
    trimmed: true,
    ...(silentMs !== undefined && { timeout: { block: silentMs } }),
    ...(progress && { progress: ({ stage, progress: percent }: SimpleGitProgressEvent) => { progress(stage, percent); } }),
    config: [
      'core.hooksPath=/dev/null', 'core.attributesFile=/dev/null', 'core.fsmonitor=false', 'core.excludesFile=/dev/null',
      'protocol.allow=never', ...['file', 'http', 'https', 'ssh'].map((name) => `protocol.${name}.allow=always`), 'protocol.ext.allow=never',
      'submodule.recurse=false', 'gc.autoDetach=false', 'gc.pruneExpire=1.day.ago', 'gc.auto=500', 'gc.autoPackLimit=20',
      'http.lowSpeedLimit=1000', 'http.lowSpeedTime=30', 'advice.detachedHead=false',
    ],
    // All of these guard against arguments of strangers; ours are constant or checked in the settings.
    unsafe: {
      allowUnsafeHooksPath: true, allowUnsafeFsMonitor: true, allowUnsafeProtocolOverride: true, allowUnsafeTemplateDir: true,
      allowUnsafeConfigPaths: true, allowUnsafeConfigEnvCount: true, allowUnsafeSshCommand: true,
    },
  }).env({ ...environment(), ...authorization(remote), ...(gitDir !== undefined && { GIT_DIR: gitDir }), ...(index !== undefined && { GIT_INDEX_FILE: index, GIT_WORK_TREE: cwd }) });
}

/** Nothing of the machine's or root's own configuration, and nobody to answer questions. */
function environment(): Record<string, string> {
  const passed = ['PATH', 'SSH_AUTH_SOCK', 'http_proxy', 'https_proxy', 'HTTPS_PROXY', 'no_proxy', 'NO_PROXY'];
  return {
    ...Object.fromEntries(passed.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]]))),
    HOME: os.homedir(),
    LC_ALL: 'C',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_ATTR_NOSYSTEM: '1',
    GIT_TERMINAL_PROMPT: '0',
    GIT_ALLOW_PROTOCOL: 'file:http:https:ssh',
    GIT_SSH_COMMAND: 'ssh -o BatchMode=yes -o ConnectTimeout=20 -o ServerAliveInterval=15 -o StrictHostKeyChecking=accept-new',
  };
}

/** Not among the arguments, which every user of the machine can see. */
function authorization({ url, authorization: header }: Remote): Record<string, string> {
  if (header === undefined) return {};
  const { origin } = new URL(url);
  return { GIT_CONFIG_COUNT: '1', GIT_CONFIG_KEY_0: `http.${origin}/.extraHeader`, GIT_CONFIG_VALUE_0: `Authorization: ${header}` };
}

function refOf(branch: string | undefined): string {
  return branch === undefined ? 'HEAD' : `refs/heads/${branch}`;
}

function toSitegenError({ url }: Remote, error: unknown, late: string | undefined): SitegenError {
  const said = error instanceof GitError || error instanceof Error ? error.message : String(error);
  if ((error as NodeJS.ErrnoException | undefined)?.code === 'ENOENT' || said.includes('spawn git ENOENT')) {
    return new SitegenError('git is not installed', { hint: 'apt-get install git', cause: error });
  }
  const lines = withoutCredentials(said).split('\n').map((line) => line.trim()).filter((line) => line !== '');
  const reason = late ?? (said.includes('block timeout reached') ? 'it was silent for too long' : undefined)
    ?? lines.find((line) => /^(fatal|error|remote|ssh|.*denied|.*failed):/i.test(line)) ?? lines.at(-1) ?? 'no reason was given';
  return new SitegenError(`cannot pull ${url}: ${reason.replace(/^(fatal|error): /, '')}`, { cause: error, hint: hints.find(([pattern]) => pattern.test(said))?.[1] });
}

const hints: readonly [RegExp, string][] = [
  [/could not read Username|Authentication failed|Permission denied \(|HTTP Basic|40[13]/, 'is it private? Write https://user:token@… or let root log in there with a key in /root/.ssh'],
  [/dubious ownership/, 'a repository on this machine must be root\'s: chown -R root it, or take it over ssh'],
  [/Could not resolve host|Name or service not known|Temporary failure in name resolution/, 'is the name right, and does DNS work?'],
  [/does not appear to be a git repository|not found|does not exist/i, 'is the address right, and may this server read it?'],
  [/No space left/, 'make room: df -h; then try again'],
];
