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

/** What git calls the mode of an entry. */
export type Mode = '100644' | '100755' | '120000';

export interface NewCommit {
  message: string;
  date: Date;
  /** File with the ssh key that signs it. */
  signingKey: string | undefined;
}

/** A commit that is being made of changes to its parent; paths have one character a byte. */
export interface Import {
  /**
   * Stores content, which has exactly this many bytes, at a path, whatever was there. Each part is
   * written out before the next is asked for.
   * @returns its id
   */
  put(path: string, mode: Mode, size: number, content: AsyncIterable<Buffer> | Iterable<Buffer>): Promise<string>;
  /** Something that the repository has already is at a path. */
  set(path: string, mode: Mode, id: string): Promise<void>;
  /** Nothing is at a path any more; that it is gone already does no harm. */
  remove(path: string): Promise<void>;
  /** Makes the commit. Only at its very end does the branch move. @returns its id, or the parent's when it would be the same */
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
  const { names, hidden } = await openFiles(await fs.readdir('/proc').catch(() => []));
  for (const file of found) {
    const status = await fs.lstat(file).catch(() => undefined);
    // Locks are held for a moment; other files may be open for hours, or were just closed and are about to get their names.
    const isOpen = !file.endsWith('.lock') && names.some((name) => name === file || name.startsWith(`${file}/`));
    const age = status === undefined ? 0 : Date.now() - status.mtimeMs;
    if (!isOpen && age > (hidden && !file.endsWith('.lock') ? leftoverMs.hidden : leftoverMs.seen)) await fs.rm(file, { recursive: true, force: true });
  }
}

/** How old leftovers are at least; and where a git is at work whose files cannot be seen. */
const leftoverMs = { seen: 60_000, hidden: 86_400_000 };

/** Names of the files that some processes have open; hidden: one of them is a git that has more rights than this process. */
async function openFiles(pids: readonly string[]): Promise<{ names: string[]; hidden: boolean }> {
  const names: string[] = [];
  let hidden = false;
  for (const pid of pids.filter((name) => /^\d+$/.test(name))) {
    const isGit = async () => (await fs.readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')).startsWith('git');
    try {
      for (const fd of await fs.readdir(`/proc/${pid}/fd`)) {
        names.push(await fs.readlink(`/proc/${pid}/fd/${fd}`).catch((error: unknown) => {
          if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
          throw error;
        }));
      }
    } catch (error) {
      // A process that has ended hides nothing, and one that is no git has nothing open that matters here.
      if ((error as NodeJS.ErrnoException).code === 'EACCES') hidden ||= await isGit();
    }
  }
  return { names, hidden };
}

/**
 * Begins a commit. Contents of over a megabyte are passed through without being held in memory.
 * @param repository as `prepareRepository` left it
 * @param parent undefined for the first commit
 */
export function openImport(repository: string, parent: string | undefined): Import {
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
  // Of no branch, so its date is of no matter.
  let begun: Promise<void> | undefined;
  const change = async (line: string) => {
    await (begun ??= write(`commit ${scratch}\ncommitter sitegen <sitegen> 0 +0000\ndata 0\n${parent === undefined ? '' : `from ${parent}\n`}`));
    await write(line);
  };
  return {
    async put(path, mode, size, content) {
      const hash = createHash('sha1').update(`blob ${size}\0`);
      await change(`M ${mode} inline ${quote(path)}\ndata ${size}\n`);
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
    set: (path, mode, id) => change(`M ${mode} ${id} ${quote(path)}\n`),
    remove: (path) => change(`D ${quote(path)}\n`),
    async commit({ message, date, signingKey }) {
      const seconds = `${Math.floor(date.getTime() / 1000)} +0000`;
      await write('done\n');
      child.stdin.end();
      await ended;
      over = true;
      const [tree = '', before] = (await askGit({ repository, what, args: ['rev-parse', `${scratch}^{tree}`, ...(parent === undefined ? [] : [`${parent}^{tree}`])] })).split('\n');
      if (parent !== undefined && tree === before) return parent;
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
      const { names: written } = await openFiles([String(child.pid)]);
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
