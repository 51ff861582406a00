import fs from 'node:fs/promises';
import { SitegenError } from '../../pure/errors.ts';
import type { Remote } from '../../pure/static.ts';
import { run, type Setting } from './run.ts';

/** How long a server may be silent before it is asked, and while it sends. */
const timeLimits = { askMs: 30_000, silentMs: 60_000 };

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
  const answer = await run({ ...settingOf(remote), cwd: '/', silentMs: timeLimits.askMs }, (git) => git.raw(['ls-remote', '--', remote.url, refOf(branch)]));
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
    return run({ ...settingOf(remote), cwd: directory, gitDir: directory, silentMs: timeLimits.silentMs, ...(progress && { progress }) }, async (git) => {
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
    await run({ ...settingOf(remote), cwd: directory, gitDir: repository, index }, async (git) => {
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

function settingOf(remote: Remote): Omit<Setting, 'cwd'> {
  return {
    what: `pull ${remote.url}`,
    config: ['gc.pruneExpire=1.day.ago', 'gc.auto=500', 'gc.autoPackLimit=20', 'http.lowSpeedLimit=1000', 'http.lowSpeedTime=30'],
    environment: authorization(remote),
    hints,
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

const hints: readonly [RegExp, string][] = [
  [/could not read Username|Authentication failed|Permission denied \(|HTTP Basic|40[13]/, 'is it private? Write https://user:token@… or let root log in there with a key in /root/.ssh'],
  [/dubious ownership/, 'a repository on this machine must be root\'s: chown -R root it, or take it over ssh'],
  [/does not appear to be a git repository|not found|does not exist/i, 'is the address right, and may this server read it?'],
];
