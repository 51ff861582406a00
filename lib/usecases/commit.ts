import { createLines } from '../effects/data-tree/lines.ts';
import { openDataTree, openOne, roomOf, type DataTree, type Found, type OpenFile } from '../effects/data-tree/read.ts';
import { remove } from '../effects/files.ts';
import { prepareRepository } from '../effects/git/import.ts';
import { headOf } from '../effects/git/objects.ts';
import { SitegenError } from '../pure/errors.ts';
import { sameIds } from '../pure/ids.ts';
import { formatItem, manifestHead, manifestName, metaPrefix, showPath, storedMode, storedPath, type Item } from '../pure/manifest.ts';
import type { SiteNames } from '../pure/names.ts';
import { formatBytes } from '../pure/quantities.ts';
import { settledNs } from '../pure/seen.ts';
import { inMemory, openStore, type Store } from './commit-store.ts';
import { usersOf } from './data-ids.ts';

/** Puts everything that a site is into a commit of its repository. */

/** A file of the commit besides the data. */
export interface MetaFile {
  /** Below `meta/`. */
  name: string;
  /** Its content, or the file that has it, which nobody changes meanwhile. */
  content: Buffer | { file: string };
}

export interface CommitOptions {
  names: Pick<SiteNames, 'domain' | 'dataDir' | 'repository' | 'backupCache' | 'usersFile'>;
  /** Paths below the data that are left out; `*` stands for a part of a name. */
  exclude: readonly string[];
  meta: readonly MetaFile[];
  message: string;
  date: Date;
  /** File with the ssh key that signs the commit. */
  signingKey: string | undefined;
  /** Told in a line of what takes long. */
  report: (line: string) => void;
  /** How long ago a file must have changed for its times to be believed, ns. */
  settled?: bigint;
}

export interface CommitResult {
  /** The new commit, or the last one when nothing has changed. */
  commit: string;
  changed: boolean;
  /** What was left out, or may not be as it was at one moment; a line each. */
  warnings: string[];
  /** All of the site's files, and their bytes. */
  files: number;
  bytes: number;
}

/** Room that must be left on the disk, bytes. */
const reserve = 64 * 1024 * 1024;
/** From how much on people are told that it is read, bytes. */
const muchBytes = 256 * 1024 * 1024;
const readsMax = 3;
const warningsMax = 100;

/**
 * Commits a site's data as it is now, and `meta/` with just the files given. The branch moves at
 * the very end; before that nothing can be seen of it. Files that have not changed since the last
 * commit are not read. The caller holds the site's dump lock.
 * @throws SitegenError when something cannot be read, or there is no room for it
 */
export async function commitSite(options: CommitOptions): Promise<CommitResult> {
  const { names: { repository, dataDir, backupCache }, meta } = options;
  await prepareRepository(repository);
  const parent = await headOf(repository);
  const { root, next } = await usersOf(options.names);
  const tree = openDataTree(dataDir, root);
  const store = await openStore(repository, parent, backupCache);
  const warnings = warningList();
  // A line for each entry, which git wants to know the size of before it gets it.
  const manifest = `${backupCache}.manifest`;
  try {
    await requireRoom(options, tree, store);
    const { files, bytes } = await gather(options, { tree, store, manifest, warn: warnings.add });
    await putFile(store, metaPrefix + manifestName, manifest);
    // Of one half of it nobody could tell whose it was.
    const after = await usersOf(options.names);
    if (next || after.next || !sameIds(root, after.root)) throw new SitegenError(`${options.names.domain}: its data was given to other users meanwhile`, { hint: 'it is tried again by itself' });
    for (const { name, content } of meta) await putMeta(store, name, content);
    const commit = await store.commit(options);
    return { commit, changed: commit !== parent, warnings: warnings.all(), files, bytes };
  } finally {
    tree.close();
    await store.close();
    await remove(manifest);
  }
}

interface Gathering {
  tree: DataTree;
  store: Store;
  /** File that gets the manifest. */
  manifest: string;
  warn: (line: string) => void;
}

/** Stores all data and writes down what it is; what disappears meanwhile is left out. */
async function gather({ names: { dataDir }, exclude, settled = settledNs }: CommitOptions, { tree, store, manifest, warn }: Gathering): Promise<{ files: number; bytes: number }> {
  const { all: diskBytes } = roomOf(dataDir);
  const lines = createLines(manifest);
  const sum = { files: 0, bytes: 0 };
  const add = (item: Item) => {
    lines.add(formatItem(item));
    if (item.kind === 'file') [sum.files, sum.bytes] = [sum.files + 1, sum.bytes + (item.size ?? 0)];
  };
  try {
    lines.add(manifestHead);
    for await (const item of tree.walk({ exclude, warn })) {
      const at = storedPath(item.path);
      const blob = store.unchanged(at, item.stat);
      if (item.kind === 'directory') {
        await store.directory(at);
        add(item);
      } else if (item.kind === 'link') {
        store.note(at, storedMode(item), await store.put(at, storedMode(item), inMemory(Buffer.from(item.target ?? '', 'latin1'))));
        add(item);
      } else if ((item.size ?? 0) > diskBytes) {
        warn(`${showPath(item.path)} was left out: it claims to be larger than the disk`);
      } else if (blob !== undefined) {
        await store.keep(at, storedMode(item));
        add({ ...item, blob });
      } else {
        const read = await readSettled(() => tree.open(item), store, at, () => {
          warn(`${showPath(item.path)} was written to each of the ${readsMax} times that it was read: its backup may be partly old and partly new`);
        });
        if (!read) {
          await store.drop(at);
          continue;
        }
        const { file, blob: id, same } = read;
        const isSettled = same && file.stat !== undefined && BigInt(Date.now()) * 1_000_000n - settled > file.stat.ctimeNs;
        store.note(at, storedMode(file), id, isSettled ? file.stat : undefined);
        add({ ...file, blob: id });
      }
    }
    lines.finish();
  } finally {
    lines.abandon();
  }
  return sum;
}

/** Stores a file, again while it changes under our hands. */
async function readSettled(open: () => OpenFile | undefined, store: Store, at: string, unsettled: () => void): Promise<{ file: Found; blob: string; same: boolean } | undefined> {
  for (let round = 1; ; round += 1) {
    const file = open();
    if (!file) return undefined;
    try {
      const blob = await store.put(at, storedMode(file.item), { size: file.item.size ?? 0, read: file.read }, round > 1);
      const same = file.isSame();
      if (!same && round < readsMax) continue;
      if (!same) unsettled();
      return { file: file.item, blob, same };
    } finally {
      file.close();
    }
  }
}

async function putMeta(store: Store, name: string, content: MetaFile['content']): Promise<void> {
  if (!/^[A-Za-z0-9_][A-Za-z0-9_.-]*(\/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$/.test(name) || name === manifestName) throw new Error(`${name} is no name below ${metaPrefix}`);
  const at = metaPrefix + name;
  const parts = at.split('/');
  for (let count = 2; count < parts.length; count += 1) await store.directory(parts.slice(0, count).join('/'));
  if (Buffer.isBuffer(content)) store.note(at, '100644', await store.put(at, '100644', inMemory(content)));
  else await putFile(store, at, content.file);
}

async function putFile(store: Store, at: string, from: string): Promise<void> {
  const file = openOne(from);
  try {
    store.note(at, '100644', await store.put(at, '100644', { size: file.item.size ?? 0, read: file.read }));
    if (!file.isSame()) throw new SitegenError(`${from} was written to while it was read`, { hint: 'is something else than sitegen at work there?' });
  } finally {
    file.close();
  }
}

async function requireRoom({ names, exclude, meta, report }: CommitOptions, tree: DataTree, store: Store): Promise<void> {
  let bytes = meta.reduce((sum, { content }) => sum + (Buffer.isBuffer(content) ? content.length : sizeOfMeta(content.file)), 0);
  let files = 0;
  const { all } = roomOf(names.dataDir);
  for await (const { kind, path, stat, size = 0 } of tree.walk({ exclude, warn: () => undefined })) {
    if (kind !== 'file' || size > all || store.unchanged(storedPath(path), stat) !== undefined) continue;
    files += 1;
    // Holes take next to nothing once they are compressed.
    bytes += Math.min(size, (stat?.allocated ?? 0) + size / 100);
  }
  const { free } = roomOf(names.repository);
  if (free < bytes + reserve) {
    throw new SitegenError(`no room to back up ${names.domain}: ${formatBytes(free)} are free below ${names.repository}, up to ${formatBytes(bytes + reserve)} are needed; its history is intact`, { hint: 'make room: df -h; then run "sitegen backup" again' });
  }
  if (bytes > muchBytes) report(`${names.domain}: reading ${formatBytes(bytes)} in ${files} files`);
}

function sizeOfMeta(file: string): number {
  const opened = openOne(file);
  opened.close();
  return opened.item.size ?? 0;
}

/** Warnings, up to so many that people still read them. */
function warningList() {
  const lines: string[] = [];
  let more = 0;
  return {
    add: (line: string) => {
      if (lines.length < warningsMax) lines.push(line);
      else more += 1;
    },
    all: () => (more === 0 ? lines : [...lines, `and ${more} more of this kind`]),
  };
}
