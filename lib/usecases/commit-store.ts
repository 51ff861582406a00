import { createHash } from 'node:crypto';
import { createLines, readLines } from '../effects/data-tree/lines.ts';
import { openImport, type Import, type Mode, type NewCommit } from '../effects/git/import.ts';
import { treeOf } from '../effects/git/objects.ts';
import { entryOf, formatSeen, isSeen, parseSeen, partsOf, type Stat } from '../pure/seen.ts';

/** Collects what a commit has, and stores what its parent has not. */

/** Something to be stored. */
export interface Content {
  size: number;
  /** Exactly `size` bytes; it may be read twice, and a part holds until the next one is asked for. */
  read: () => AsyncIterable<Buffer>;
}

export interface Store {
  /** The id of a file's content where it need not be read: the parent has it, and it has not changed since. */
  unchanged(path: string, stat: Stat | undefined): string | undefined;
  /** The commit has this file as the parent has it. */
  keep(path: string, mode: Mode): Promise<void>;
  /**
   * Stores what a path has, whatever was stored there before.
   * @param again it is not the first time in this commit
   * @returns git's id of it
   */
  put(path: string, mode: Mode, content: Content, again?: boolean): Promise<string>;
  /** The commit has this at a path. @param stat of a file that need not be read again while it is so */
  note(path: string, mode: Mode, id: string, stat?: Stat): void;
  /** Nothing is at a path any more, whatever was stored there before. */
  drop(path: string): Promise<void>;
  /** There is a directory at a path. */
  directory(path: string): Promise<void>;
  /** @returns the new commit, or the parent when it would be the same */
  commit(about: NewCommit): Promise<string>;
  /** Gives up what was not committed. */
  close(): Promise<void>;
}

/** Contents up to this are held in memory, bytes. */
const smallMax = 1024 * 1024;

/**
 * Begins a commit on top of another. git is started only once there is something new. Of what the
 * parent has there is one short text each in memory; all else passes through.
 * @param repository as `prepareRepository` left it
 * @param cache what is known of the parent's files
 */
export async function openStore(repository: string, parent: string | undefined, cache: string): Promise<Store> {
  const before = await readBefore(repository, parent, cache);
  const now = createLines(cache);
  let opened: Import | undefined;
  const importer = () => (opened ??= openImport(repository, parent));

  const note: Store['note'] = (path, mode, id, stat) => {
    before.delete(path);
    now.add(formatSeen(path, entryOf(mode, id, stat)));
  };
  return {
    unchanged(path, stat) {
      const entry = before.get(path);
      return isSeen(entry, stat) ? partsOf(entry).id : undefined;
    },
    async keep(path, mode) {
      const entry = before.get(path) ?? '';
      if (partsOf(entry).mode !== mode) await importer().set(path, mode, partsOf(entry).id);
      before.delete(path);
      now.add(formatSeen(path, mode + entry.slice(6)));
    },
    note,
    async put(path, mode, { size, read }, again = false) {
      const entry = before.get(path);
      const small = size <= smallMax ? await collect(read()) : undefined;
      // A large one is read twice only where it may be the parent's.
      if (entry !== undefined && !again) {
        const id = await idOf(size, small === undefined ? read() : [small]);
        if (entry.startsWith(`${mode} ${id}`)) return id;
      }
      return importer().put(path, mode, size, small === undefined ? read() : [small]);
    },
    async drop(path) {
      before.delete(path);
      if (parent !== undefined || opened !== undefined) await importer().remove(path);
    },
    async directory(path) {
      // Nothing of it may be in the commit, and then git would keep the file that was there.
      if (before.delete(path)) await importer().remove(path);
    },
    async commit(about) {
      for (const path of before.keys()) await importer().remove(path);
      const commit = opened === undefined && parent !== undefined ? parent : await importer().commit(about);
      now.finish(commit);
      return commit;
    },
    async close() {
      now.abandon();
      await opened?.abandon();
    },
  };
}

/** What the parent has: from the cache when that is of this very commit, else from git. */
async function readBefore(repository: string, parent: string | undefined, cache: string): Promise<Map<string, string>> {
  const before = new Map<string, string>();
  if (parent === undefined) return before;
  const known = readLines(cache, (line) => {
    const entry = parseSeen(line);
    if (entry) before.set(...entry);
  });
  if (known === parent) return before;
  before.clear();
  for await (const { path, mode, id } of treeOf(repository, parent)) before.set(path, entryOf(mode, id));
  return before;
}

async function collect(parts: AsyncIterable<Buffer>): Promise<Buffer> {
  const all: Buffer[] = [];
  for await (const part of parts) all.push(Buffer.from(part));
  return Buffer.concat(all);
}

async function idOf(size: number, parts: AsyncIterable<Buffer> | Iterable<Buffer>): Promise<string> {
  const hash = createHash('sha1').update(`blob ${size}\0`);
  for await (const part of parts) hash.update(part);
  return hash.digest('hex');
}

/** Content that is there already. */
export function inMemory(content: Buffer): Content {
  // eslint-disable-next-line @typescript-eslint/require-await -- as other contents are
  return { size: content.length, async *read() { yield content; } };
}
