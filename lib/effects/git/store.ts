import { createHash, randomBytes } from 'node:crypto';
import fs from 'node:fs/promises';
import path from 'node:path';
import { SitegenError } from '../../pure/errors.ts';
import { paths } from '../../pure/names.ts';
import { run, type Setting } from './run.ts';

/** A server that keeps backups, as `backup.servers` of the settings has it. */
export interface StoreServer {
  /** The directory with the repositories; each is called after its site. */
  url: string;
  /** Its host key: `ssh-ed25519 AAAA…`. No other is accepted. */
  hostKey: string;
}

/** What a server has of a site: no repository, one without a commit, or a commit. */
export type Found = { state: 'missing' | 'empty' } | { state: 'commit'; commit: string };

/**
 * Where backups are kept on another machine, seen from the machine that they are of: it can add to
 * them and read them. Retaining and erasing are for whoever keeps them alone; see held.ts.
 * Every call asks the server anew, may be repeated, and has an end in time. It throws a SitegenError
 * when the server cannot be reached, is another one, lets nobody in, or says no.
 */
export interface Store {
  url: string;
  /** What it has of a site. A server without an answer is an error, never `missing`. */
  look(id: string): Promise<Found>;
  /** The same in short: the commit, or undefined when there is none. */
  head(id: string): Promise<string | undefined>;
  /**
   * Sends a commit of a local repository with all it needs, and moves the branch forward to it.
   * @returns `diverged` when the server has a commit that is no ancestor of it; nothing is moved then
   */
  push(repository: string, id: string, commit: string): Promise<'pushed' | 'diverged'>;
  /** Sends a commit to a branch of its own, such as `recover/host-2026-11-21T19-00-00Z`. */
  pushAside(repository: string, id: string, commit: string, branch: string): Promise<void>;
  /**
   * Brings the server's history into a local repository, which is made when it is missing, as
   * `serverRef(url)`; nothing else there changes.
   * @returns the commit
   * @throws SitegenError also when there is none
   */
  fetch(repository: string, id: string, progress?: Setting['progress']): Promise<string>;
  /**
   * What a local repository knows that this server has had; undefined before the first push. The
   * history up to there is never cut off locally, or the two could not be compared any more.
   */
  known(repository: string): Promise<string | undefined>;
}

/** How a store is opened; what settings cannot say. */
export interface StoreOptions {
  /** This server's private key. */
  keyFile?: string;
  /** Where the pinned host keys are written. */
  hostsDir?: string;
  /** Repositories on this machine, by path, instead of ssh: for tests. */
  local?: boolean;
  limits?: Partial<typeof timeLimits>;
}

/**
 * How long things may take. ssh ends what nobody answers after 5 s (connecting) or 45 s (later);
 * a server that hangs after the login is ended by these alone.
 */
const timeLimits = { askMs: 30_000, silentMs: 5 * 60_000, transferMs: 6 * 3_600_000 };

/** Opens the store of one server. Nothing is asked yet. */
export function openStore(server: StoreServer, options: StoreOptions = {}): Store {
  const { url } = server;
  const limits = { ...timeLimits, ...options.limits };
  const base = url.replace(/\/+$/, '');
  const ref = serverRef(url);
  const remote = (id: string) => `${base}/${id}.git`;

  // What is fetched comes in a pack, which a repack at the same time leaves alone.
  const setting = async (what: string, wholeMs: number): Promise<Omit<Setting, 'cwd'>> => ({
    what,
    config: ['pack.threads=1', 'pack.windowMemory=64m', 'pack.deltaCacheSize=32m', 'core.fsync=all', 'core.fsyncMethod=batch', 'gc.auto=0', 'push.default=nothing', 'fetch.fsckObjects=true', 'fetch.unpackLimit=1'],
    environment: { GIT_ALLOW_PROTOCOL: options.local === true ? 'file' : 'ssh', ...(options.local !== true && await sshEnvironment(server, options, wholeMs)) },
    wholeMs,
    hints,
  });
  const inside = async (repository: string, what: string): Promise<Setting> =>
    ({ ...await setting(what, limits.transferMs), cwd: repository, gitDir: repository, silentMs: limits.silentMs });
  const note = (repository: string, commit: string) => run({ what: `write down what ${url} has`, cwd: repository, gitDir: repository }, (git) => git.raw(['update-ref', ref, commit]));

  const send = async (repository: string, id: string, commit: string, target: string): Promise<'pushed' | 'diverged'> => {
    if (!/^[0-9a-f]{40,64}$/.test(commit)) throw new Error(`not a commit: ${commit}`);
    try {
      // With progress it is silent only when it hangs.
      await run(await inside(repository, `push to ${remote(id)}`), (git) => git.raw(['push', '--porcelain', '--progress', '--no-verify', '--no-follow-tags', '--recurse-submodules=no', '--', remote(id), `${commit}:${target}`]));
      return 'pushed';
    } catch (error) {
      if (/\[(remote )?rejected\] \((non-fast-forward|fetch first)\)/.test(saidBy(error))) return 'diverged';
      throw error;
    }
  };

  const look = async (id: string): Promise<Found> => {
    const what = `ask ${base} for ${id}`;
    let answer: string;
    try {
      answer = await run({ ...await setting(what, limits.askMs), cwd: '/' }, (git) => git.raw(['ls-remote', '--', remote(id)]));
    } catch (error) {
      if (noRepository.test(saidBy(error))) return { state: 'missing' };
      throw error;
    }
    const refs = answer.split('\n').filter((line) => /^[0-9a-f]{40,64}\t/.test(line));
    const commit = refs.find((line) => line.endsWith('\trefs/heads/main'))?.split('\t')[0];
    if (commit !== undefined) return { state: 'commit', commit };
    if (refs.length === 0) return { state: 'empty' };
    throw new SitegenError(`${remote(id)} has no branch "main", but others`, { hint: `look at what is there: git ls-remote ${remote(id)}` });
  };

  return {
    url,
    look,
    async head(id) {
      const found = await look(id);
      return found.state === 'commit' ? found.commit : undefined;
    },
    async push(repository, id, commit) {
      const result = await send(repository, id, commit, 'refs/heads/main');
      if (result === 'pushed') await note(repository, commit);
      return result;
    },
    async pushAside(repository, id, commit, branch) {
      if (await send(repository, id, commit, `refs/heads/${branch}`) === 'diverged') throw new SitegenError(`${remote(id)} has another branch "${branch}"`);
    },
    async fetch(repository, id, progress) {
      await fs.mkdir(repository, { recursive: true, mode: 0o700 });
      return run({ ...await inside(repository, `fetch ${remote(id)}`), ...(progress && { progress }) }, async (git) => {
        await git.raw(['init', '--quiet', '--bare', '--template=', '-b', 'main', '.']);
        await git.raw(['fetch', '--progress', '--no-tags', '--no-recurse-submodules', '--no-write-fetch-head', '--force', '--update-shallow', '--', remote(id), `+refs/heads/main:${ref}`]);
        return git.raw(['rev-parse', '--verify', `${ref}^{commit}`]);
      });
    },
    async known(repository) {
      const text = await run({ what: `read ${repository}`, cwd: repository, gitDir: repository }, (git) => git.raw(['for-each-ref', '--format=%(objectname)', ref]));
      return text === '' ? undefined : text;
    },
  };
}

/** Where a local repository has what a server has. */
export function serverRef(url: string): string {
  return `refs/remotes/${createHash('sha256').update(url).digest('hex').slice(0, 16)}/main`;
}

/** All that git and the server have said, without the credentials that URLs of ssh cannot have anyway. */
function saidBy(error: unknown): string {
  return error instanceof SitegenError && error.cause instanceof Error ? error.cause.message : '';
}

/** In the words of git's own server, which the receiving side of sitegen uses too. */
const noRepository = /fatal: '[^']*' does not appear to be a git repository/;

/**
 * The one ssh that a server is reached with. Nothing of root's own configuration counts (`-F`), no
 * agent, no password, no other key or host key. The host key is looked up under an alias, as known
 * hosts would otherwise depend on how the address is written.
 *
 * `timeout` is around it because simple-git ends git and leaves git's ssh running.
 */
async function sshEnvironment(server: StoreServer, options: StoreOptions, wholeMs: number): Promise<Record<string, string>> {
  if (!server.url.startsWith('ssh://')) throw new SitegenError(`${server.url} is not an ssh URL`, { hint: 'write ssh://user@host/directory in backup.servers' });
  const [type = '', blob = ''] = server.hostKey.trim().split(/\s+/);
  const alias = `sitegen-${createHash('sha256').update(`${type} ${blob}`).digest('hex').slice(0, 16)}`;
  const file = path.join(options.hostsDir ?? paths.hostsDir, alias);
  await writeOnce(file, `${alias} ${type} ${blob}\n`);
  const settings = {
    BatchMode: 'yes', StrictHostKeyChecking: 'yes', UserKnownHostsFile: file, GlobalKnownHostsFile: '/dev/null', HostKeyAlias: alias, CheckHostIP: 'no',
    UpdateHostKeys: 'no', VerifyHostKeyDNS: 'no', HostKeyAlgorithms: type === 'ssh-rsa' ? 'rsa-sha2-512,rsa-sha2-256' : type,
    ConnectTimeout: '5', ServerAliveInterval: '15', ServerAliveCountMax: '3',
    IdentityFile: options.keyFile ?? paths.serverKey, IdentitiesOnly: 'yes', IdentityAgent: 'none', PreferredAuthentications: 'publickey',
    ClearAllForwardings: 'yes', ForwardAgent: 'no', PermitLocalCommand: 'no', ControlPath: 'none', RequestTTY: 'no', LogLevel: 'ERROR',
  };
  const words = Object.entries(settings).map(([name, value]) => `-o ${name}=${quote(value)}`);
  return {
    GIT_SSH_COMMAND: `timeout --kill-after=5 ${Math.ceil(wholeMs / 1000) + 5} ssh -F /dev/null ${words.join(' ')}`,
    // Or git would try out what kind of ssh "timeout" is.
    GIT_SSH_VARIANT: 'ssh',
  };
}

/** For the shell that git starts the command with; what comes from the settings has no quotes in it. */
function quote(text: string): string {
  return /^[A-Za-z0-9/.,_@-]+$/.test(text) ? text : `'${text.replaceAll('\'', String.raw`'\''`)}'`;
}

async function writeOnce(file: string, content: string): Promise<void> {
  if (await fs.readFile(file, 'utf8').catch(() => undefined) === content) return;
  const temporary = `${file}.${randomBytes(6).toString('hex')}`;
  try {
    await fs.mkdir(path.dirname(file), { recursive: true });
    await fs.writeFile(temporary, content, { mode: 0o644 });
    await fs.rename(temporary, file);
  } catch (error) {
    throw new SitegenError(`cannot write ${file}: ${(error as NodeJS.ErrnoException).code ?? String(error)}`, { hint: 'run it as root', cause: error });
  }
}

const hints: readonly [RegExp, string][] = [
  [/Host key verification failed|host key type found|IDENTIFICATION HAS CHANGED/, 'its host key is not the one in backup.servers; if its admin has changed it, write the new one there: ssh-keyscan HOST'],
  [/Permission denied \(/, 'has its admin let this server in? There: sitegen buddy allow NAME --key "KEY"; "sitegen backup key" prints the key'],
  [/Connection (refused|timed out)|No route to host|Network is unreachable|closed by/, 'it is tried again by itself; is the server up?'],
  [noRepository, 'on a server without sitegen, make it: git init --bare -b main DIRECTORY'],
  [/over quota|quota/, 'ask its admin for more: sitegen buddy allow NAME --quota SIZE'],
];
