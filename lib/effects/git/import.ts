import { createHash } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs/promises';
import os from 'node:os';
import { SitegenError } from '../../pure/errors.ts';
import { askGit, startGit } from './process.ts';

/**
 * Writes commits into a site's repository with `git fast-import`, as an index cannot hold all that
 * a site's data can have. Whoever calls holds the site's lock for that.
 */

/** An entry of a commit that differs from its parent's. */
export interface Change {
  /** In the commit; one character a byte. */
  path: string;
  mode: '100644' | '100755' | '120000';
  id: string;
}

export interface NewCommit {
  /** The commit before it; undefined for the first. */
  parent: string | undefined;
  /** Paths that the parent has and this one does not. */
  removed: readonly string[];
  changed: readonly Change[];
  message: string;
  date: Date;
  /** File with the ssh key that signs it. */
  signingKey: string | undefined;
}

export interface Import {
  /** Stores content, which has exactly this many bytes; each part is written out before the next is asked for. @returns its id */
  blob(size: number, content: AsyncIterable<Buffer> | Iterable<Buffer>): Promise<string>;
  /** Makes a commit of what was stored. Only at its very end does the branch move. @returns its id */
  commit(commit: NewCommit): Promise<string>;
  /** Gives everything up; nothing of it stays. Does nothing after a commit. */
  abandon(): Promise<void>;
}

export const branch = 'refs/heads/main';
const scratch = 'refs/sitegen/next';

/**
 * Holds for everything that is done with the repository here. Loose objects are not synced
 * otherwise (git-config(1), core.fsync); without limits a repack takes all memory.
 */
const configuration: Record<string, string> = {
  'gc.auto': '0', 'maintenance.auto': 'false', 'core.logAllRefUpdates': 'false', 'core.looseCompression': '1', 'pack.compression': '1',
  'core.fsync': 'all', 'core.fsyncMethod': 'batch', 'core.bigFileThreshold': '64m',
  'pack.windowMemory': '64m', 'pack.threads': '1', 'pack.deltaCacheSize': '32m', 'pack.writeBitmaps': 'false', 'repack.writeBitmaps': 'false',
  'core.packedGitWindowSize': '8m', 'core.packedGitLimit': '64m', 'core.deltaBaseCacheLimit': '16m',
  // A server that refuses objects with faults must never refuse ours.
  'transfer.fsckObjects': 'true', 'transfer.credentialsInUrl': 'die',
};

/** Uploads hardly ever resemble each other; dumps and the manifest resemble their last ones. */
export const attributes = '* -text -filter -ident -delta\nmeta/** delta\n';

/**
 * Makes a site's repository, or brings one that is there into shape: settings, attributes, and
 * without what a killed git has left.
 * @throws SitegenError when it cannot be made
 */
export async function prepareRepository(repository: string): Promise<void> {
  try {
    await fs.mkdir(repository, { recursive: true, mode: 0o700 });
    await removeLeftovers(repository);
    if (!await isRepository(repository)) await askGit({ repository, what: `make ${repository}`, args: ['init', '--quiet', '--bare', '--template=', '--object-format=sha1', '-b', 'main'] });
    const lines = Object.entries(configuration).map(([key, value]) => `\t${key.slice(key.indexOf('.') + 1)} = ${value}\n`);
    const sections = Object.keys(configuration).map((key) => `[${key.slice(0, key.indexOf('.'))}]\n`);
    const config = `[core]\n\trepositoryformatversion = 0\n\tbare = true\n${sections.map((section, index) => section + (lines[index] ?? '')).join('')}`;
    await fs.mkdir(`${repository}/info`, { recursive: true });
    await writeIfOther(`${repository}/config`, config);
    await writeIfOther(`${repository}/info/attributes`, attributes);
  } catch (error) {
    if (error instanceof SitegenError) throw error;
    throw new SitegenError(`cannot make ${repository}: ${(error as NodeJS.ErrnoException).code ?? String(error)}`, { hint: 'run it as root; is there room? df -h', cause: error });
  }
}

async function isRepository(repository: string): Promise<boolean> {
  const found = await Promise.all(['HEAD', 'objects', 'refs', 'config'].map((name) => fs.lstat(`${repository}/${name}`).then(() => true, () => false)));
  return found.every(Boolean);
}

async function writeIfOther(file: string, content: string): Promise<void> {
  if (await fs.readFile(file, 'utf8').catch(() => undefined) === content) return;
  const temporary = `${file}.new`;
  const handle = await fs.open(temporary, 'w', 0o600);
  await handle.writeFile(content).then(() => handle.sync()).finally(() => handle.close());
  await fs.rename(temporary, file);
}

/**
 * Removes what killed runs of git have left. Locks on what only the holder of the caller's lock
 * changes go at once; of the rest, which a push or a fetch may be at work on, what no process has open.
 */
async function removeLeftovers(repository: string): Promise<void> {
  const root = await fs.realpath(repository);
  const ours = /^(HEAD|config|packed-refs|shallow)\.lock$|^(config|attributes)\.new$|^fast_import_crash_|^refs\/(heads|sitegen)\/.*\.lock$/;
  const others = /(^|\/)(tmp_|\.tmp-|incoming-)[^/]*$|\.lock$|^gc\.pid$/;
  const found: string[] = [];
  const search = async (below: string): Promise<void> => {
    for (const entry of await fs.readdir(`${root}/${below}`, { withFileTypes: true }).catch(() => [])) {
      const name = below + entry.name;
      if (ours.test(name)) await fs.rm(`${root}/${name}`, { recursive: true, force: true });
      else if (others.test(name)) found.push(`${root}/${name}`);
      else if (entry.isDirectory()) await search(`${name}/`);
    }
  };
  await search('');
  if (found.length === 0) return;
  const open = await openFiles(await fs.readdir('/proc').catch(() => []));
  for (const file of found) {
    const status = await fs.lstat(file).catch(() => undefined);
    // A file that was just closed is about to get its name.
    const settled = status !== undefined && Date.now() - status.mtimeMs > leftoverMs;
    if (settled && ![...open].some((name) => name === file || name.startsWith(`${file}/`))) await fs.rm(file, { recursive: true, force: true });
  }
}

const leftoverMs = 60_000;

/** Names of all files that some processes have open. */
async function openFiles(pids: readonly string[]): Promise<Set<string>> {
  const names = new Set<string>();
  for (const pid of pids.filter((name) => /^\d+$/.test(name))) {
    for (const fd of await fs.readdir(`/proc/${pid}/fd`).catch(() => [])) names.add(await fs.readlink(`/proc/${pid}/fd/${fd}`).catch(() => ''));
  }
  return names;
}

/**
 * Begins a commit. Blobs of over a megabyte are passed through without being held in memory.
 * @param repository as `prepareRepository` left it
 */
export function openImport(repository: string): Import {
  const what = `write to ${repository}`;
  const { child, ended } = startGit({
    repository, what, args: ['fast-import', '--quiet', '--done', '--force', '--depth=0', '--date-format=raw'],
    // Packs stay packs, as each loose object would be synced alone.
    config: ['core.bigFileThreshold=1m', 'fastimport.unpackLimit=0'],
  });
  child.stdout.resume();
  let over = false;
  const gone = ended.then(() => { throw new SitegenError(`cannot ${what}: git ended too early`); });
  gone.catch(() => undefined);
  const write = async (data: Buffer | string) => {
    if (child.exitCode !== null || child.signalCode !== null) await gone;
    const buffer = typeof data === 'string' ? Buffer.from(data, 'latin1') : data;
    // A broken pipe is told better by what git says at its end.
    if (!child.stdin.write(buffer)) await Promise.race([once(child.stdin, 'drain').catch(() => gone), gone]);
  };
  const writeOut = async (part: Buffer) => {
    if (child.exitCode !== null || child.signalCode !== null) await gone;
    await Promise.race([new Promise<void>((resolve) => { child.stdin.write(part, (error) => { if (!error) resolve(); }); }), gone]);
  };
  return {
    async blob(size, content) {
      const hash = createHash('sha1').update(`blob ${size}\0`);
      await write(`blob\ndata ${size}\n`);
      let left = size;
      for await (const part of content) {
        left -= part.length;
        // git would take the rest for commands.
        if (left < 0) break;
        hash.update(part);
        await writeOut(part);
      }
      if (left !== 0) throw new Error(`content of ${size} bytes had ${size - left}`);
      await write('\n');
      return hash.digest('hex');
    },
    async commit({ parent, removed, changed, message, date, signingKey }) {
      const seconds = `${Math.floor(date.getTime() / 1000)} +0000`;
      await write(`commit ${scratch}\ncommitter sitegen <sitegen> ${seconds}\ndata 0\n${parent === undefined ? '' : `from ${parent}\n`}`);
      // A name may have become a directory, or the other way round: what goes, goes first.
      for (const path of removed) await write(`D ${quote(path)}\n`);
      for (const { path, mode, id } of changed) await write(`M ${mode} ${id} ${quote(path)}\n`);
      await write('done\n');
      child.stdin.end();
      await ended;
      over = true;
      const tree = await askGit({ repository, what, args: ['rev-parse', '--verify', `${scratch}^{tree}`] });
      const identity = { NAME: 'sitegen', EMAIL: `sitegen@${os.hostname()}`, DATE: seconds };
      const commit = await askGit({
        repository, what,
        args: ['commit-tree', ...(parent === undefined ? [] : ['-p', parent]), ...(signingKey === undefined ? [] : ['-S']), tree],
        config: signingKey === undefined ? [] : ['gpg.format=ssh', `user.signingKey=${signingKey}`],
        environment: Object.fromEntries(['AUTHOR', 'COMMITTER'].flatMap((who) => Object.entries(identity).map(([key, value]) => [`GIT_${who}_${key}`, value]))),
      }, `${message}\n`);
      const moves = `update ${branch} ${commit} ${parent ?? '0'.repeat(40)}\ndelete ${scratch}\n`;
      await askGit({ repository, what, args: ['update-ref', '--stdin', '--no-deref'] }, moves);
      return commit;
    },
    async abandon() {
      if (over) return;
      over = true;
      const written = await openFiles([String(child.pid)]);
      child.kill('SIGKILL');
      await ended.catch(() => undefined);
      const root = await fs.realpath(repository);
      for (const file of written) if (file.startsWith(`${root}/objects/pack/tmp_`)) await fs.rm(file, { force: true });
      await removeLeftovers(repository);
    },
  };
}

/** As fast-import reads paths: what is not plain ASCII as octal bytes (git-fast-import(1)). */
function quote(path: string): string {
  return `"${path.replaceAll(/[^\x20-\x7e]|["\\]/g, (character) => `\\${character.charCodeAt(0).toString(8).padStart(3, '0')}`)}"`;
}
