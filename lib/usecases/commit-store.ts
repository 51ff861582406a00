import { createHash } from 'node:crypto';
import { openImport, type Change, type Import, type NewCommit } from '../effects/git/import.ts';
import { treeOf } from '../effects/git/objects.ts';

/** Collects what a commit has, and stores what its parent has not. */

/** Something to be stored. */
export interface Content {
  size: number;
  /** Exactly `size` bytes; it may be read twice, and a part holds until the next one is asked for. */
  read: () => AsyncIterable<Buffer>;
}

export interface Store {
  /** True when the parent has just this at a path. */
  has(path: string, id: string | undefined): boolean;
  /** The commit has this at a path; the repository has it already. */
  keep(path: string, mode: Change['mode'], id: string): void;
  /** The commit has this at a path. @returns git's id of it */
  put(path: string, mode: Change['mode'], content: Content): Promise<string>;
  /** @returns the new commit, or the parent when it would be the same */
  commit(about: Pick<NewCommit, 'message' | 'date' | 'signingKey'>): Promise<string>;
  /** Gives up what was not committed. */
  close(): Promise<void>;
}

/** Contents up to this are held in memory, bytes. */
const smallMax = 1024 * 1024;

/**
 * Begins a commit on top of another. git is started only once there is something new.
 * @param repository as `prepareRepository` left it
 */
export async function openStore(repository: string, parent: string | undefined): Promise<Store> {
  const before = new Map<string, string>();
  if (parent !== undefined) for await (const { path, mode, id } of treeOf(repository, parent)) before.set(path, `${mode} ${id}`);
  const known = new Set([...before.values()].map((entry) => entry.slice(7)));
  const removed = new Set(before.keys());
  const changed: Change[] = [];
  let opened: Import | undefined;
  const importer = () => (opened ??= openImport(repository));

  const keep: Store['keep'] = (path, mode, id) => {
    removed.delete(path);
    if (before.get(path) !== `${mode} ${id}`) changed.push({ path, mode, id });
  };
  const storeContent = async (path: string, { size, read }: Content): Promise<string> => {
    const small = size <= smallMax ? await collect(read()) : undefined;
    // A large one is read twice only where it may be the parent's.
    if (small !== undefined || before.has(path)) {
      const id = await idOf(size, small === undefined ? read() : [small]);
      if (known.has(id)) return id;
    }
    const id = await importer().blob(size, small === undefined ? read() : [small]);
    if (small !== undefined) known.add(id);
    return id;
  };
  return {
    has: (path, id) => id !== undefined && before.get(path)?.slice(7) === id,
    keep,
    async put(path, mode, content) {
      const id = await storeContent(path, content);
      keep(path, mode, id);
      return id;
    },
    async commit(about) {
      if (parent !== undefined && removed.size === 0 && changed.length === 0) return parent;
      return importer().commit({ ...about, parent, removed: [...removed], changed });
    },
    close: async () => { await opened?.abandon(); },
  };
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
