import os from 'node:os';
import { simpleGit, type SimpleGit, type SimpleGitProgressEvent } from 'simple-git';
import { SitegenError } from '../../pure/errors.ts';
import { formatMs } from '../../pure/quantities.ts';
import { withoutCredentials } from '../../pure/static.ts';

/** What a run of git may do, and where. */
export interface Setting {
  /** Where it runs. */
  cwd: string;
  /** What it is about, for errors: `cannot pull https://…`. */
  what: string;
  gitDir?: string;
  /** With a work tree, which is `cwd`. */
  index?: string;
  /** `name=value` lines of configuration, over those that hold for every run. */
  config?: readonly string[];
  /** Over the environment that every run has. */
  environment?: Readonly<Record<string, string>>;
  /** How long it may say nothing, and how long all of it may take. */
  silentMs?: number;
  wholeMs?: number;
  /** Called now and then with a stage, such as "receiving", and how much of it is done in percent. */
  progress?: (stage: string, percent: number) => void;
  /** What to do about an error whose text fits, before the general hints. */
  hints?: readonly [RegExp, string][];
}

const defaultWholeMs = 15 * 60_000;

/** Configuration of every run: nothing that a repository or a user names is run or obeyed. */
export const safeConfig: readonly string[] = [
  'core.hooksPath=/dev/null', 'core.attributesFile=/dev/null', 'core.fsmonitor=false', 'core.excludesFile=/dev/null',
  'protocol.allow=never', ...['file', 'http', 'https', 'ssh'].map((name) => `protocol.${name}.allow=always`), 'protocol.ext.allow=never',
  'submodule.recurse=false', 'gc.autoDetach=false', 'advice.detachedHead=false',
];

/**
 * Runs commands of git, with an end to it, and nothing of root's own configuration.
 * @returns what the action gives, trimmed
 * @throws SitegenError with git's own reason in one line, and a hint where there is one
 */
export async function run(setting: Setting, action: (git: SimpleGit) => Promise<string>): Promise<string> {
  const whole = new AbortController();
  const wholeMs = setting.wholeMs ?? defaultWholeMs;
  const timer = setTimeout(() => { whole.abort(); }, wholeMs);
  try {
    return (await action(open(setting, whole.signal))).trim();
  } catch (error) {
    const late = whole.signal.aborted ? `it took longer than ${formatMs(wholeMs)}` : undefined;
    throw toSitegenError(setting, error, late);
  } finally {
    clearTimeout(timer);
  }
}

function open({ cwd, gitDir, index, silentMs, progress, config = [], environment = {} }: Setting, abort: AbortSignal): SimpleGit {
  return simpleGit({
    baseDir: cwd,
    abort,
    trimmed: true,
    // By default it waits for 50 ms after the exit, in which a busy machine may not have read what git
    // wrote: a server's backup would seem not to be there. Not for ever, as an ssh that outlives its
    // git has the pipes open.
    completion: { onClose: true, onExit: 5000 },
    ...(silentMs !== undefined && { timeout: { block: silentMs } }),
    ...(progress && { progress: ({ stage, progress: percent }: SimpleGitProgressEvent) => { progress(stage, percent); } }),
    config: [...safeConfig, ...config],
    // It takes a git that was killed for one that is done.
    errors: (error, { exitCode }) => error ?? ((exitCode as number | null) === null ? new Error('git was killed') : undefined),
    // All of these guard against arguments of strangers; ours are constant or checked in the settings.
    unsafe: {
      allowUnsafeHooksPath: true, allowUnsafeFsMonitor: true, allowUnsafeProtocolOverride: true, allowUnsafeTemplateDir: true,
      allowUnsafeConfigPaths: true, allowUnsafeConfigEnvCount: true, allowUnsafeSshCommand: true,
    },
  }).env({ ...gitEnvironment(), ...environment, ...(gitDir !== undefined && { GIT_DIR: gitDir }), ...(index !== undefined && { GIT_INDEX_FILE: index, GIT_WORK_TREE: cwd }) });
}

/** Nothing of the machine's or root's own configuration, and nobody to answer questions. */
export function gitEnvironment(): Record<string, string> {
  const passed = ['PATH', 'TMPDIR', 'SSH_AUTH_SOCK', 'http_proxy', 'https_proxy', 'HTTPS_PROXY', 'no_proxy', 'NO_PROXY'];
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

/** What git, or the attempt to start it, said, as an error for the admin. @param late why it was ended */
export function toSitegenError({ what, hints: own = [] }: Pick<Setting, 'what' | 'hints'>, error: unknown, late?: string): SitegenError {
  const said = error instanceof Error ? error.message : String(error);
  if ((error as NodeJS.ErrnoException | undefined)?.code === 'ENOENT' || said.includes('spawn git ENOENT')) {
    return new SitegenError('git is not installed', { hint: 'apt-get install git', cause: error });
  }
  // Progress is written over itself, and says nothing about the reason.
  const lines = withoutCredentials(said).split(/[\r\n]+/).map((line) => line.trim()).filter((line) => line !== '' && !/\d+% \(\d+\/\d+\)|^(remote: )?Enumerating objects: /.test(line));
  const told = lines.filter((line) => !/^fatal: Could not read from remote repository|^Please make sure you have the correct access|^and the repository exists/.test(line));
  const reason = late ?? (said.includes('block timeout reached') ? 'it was silent for too long' : undefined)
    ?? told.find((line) => /^(fatal|error|remote|ssh|.*denied|.*failed):/i.test(line)) ?? told.at(-1) ?? lines[0] ?? 'no reason was given';
  return new SitegenError(`cannot ${what}: ${reason.replace(/^(fatal|error): /, '')}`, { cause: error, hint: [...own, ...hints].find(([pattern]) => pattern.test(said))?.[1] });
}

const hints: readonly [RegExp, string][] = [
  [/Could not resolve host|Name or service not known|Temporary failure in name resolution/, 'is the name right, and does DNS work?'],
  [/No space left/, 'make room: df -h; then try again'],
];
