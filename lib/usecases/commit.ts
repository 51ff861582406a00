import { openDataTree, openOne, roomOf, type DataTree, type Found, type OpenFile } from '../effects/data-tree/read.ts';
import { readIfThere, writeAtomic } from '../effects/files.ts';
import { prepareRepository } from '../effects/git/import.ts';
import { headOf } from '../effects/git/objects.ts';
import { SitegenError } from '../pure/errors.ts';
import { formatManifest, manifestName, metaPrefix, showPath, sortItems, storedMode, storedPath, type Item } from '../pure/manifest.ts';
import type { SiteNames } from '../pure/names.ts';
import { formatBytes } from '../pure/quantities.ts';
import { formatSeen, isSeen, parseSeen, settledNs, type Seen } from '../pure/seen.ts';
import { inMemory, openStore, type Store } from './commit-store.ts';

/** Puts everything that a site is into a commit of its repository. */

/** A file of the commit besides the data. */
export interface MetaFile {
  /** Below `meta/`. */
  name: string;
  /** Its content, or the file that has it, which nobody changes meanwhile. */
  content: Buffer | { file: string };
}

export interface CommitOptions {
  names: Pick<SiteNames, 'domain' | 'dataDir' | 'repository' | 'backupCache'>;
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
  const { names: { repository, dataDir, backupCache }, exclude, meta } = options;
  await prepareRepository(repository);
  const parent = await headOf(repository);
  const warnings = warningList();
  const tree = openDataTree(dataDir);
  const store = await openStore(repository, parent);
  try {
    const found: Found[] = [];
    const { all: diskBytes } = roomOf(dataDir);
    for await (const item of tree.walk({ exclude, warn: warnings.add })) {
      if ((item.size ?? 0) > diskBytes) warnings.add(`${showPath(item.path)} was left out: it claims to be larger than the disk`);
      else found.push(item);
    }
    const seen = parseSeen(await readIfThere(backupCache));
    const unread = (item: Found) => item.kind === 'file' && !(isSeen(seen.get(item.path), item.stat) && store.has(storedPath(item.path), seen.get(item.path)?.blob));
    requireRoom(options, found.filter(unread));
    const nowSeen = new Map<string, Seen>();
    const items = await gather({ options, tree, store, found, unread, seen, nowSeen, warn: warnings.add });
    await store.put(metaPrefix + manifestName, '100644', inMemory(Buffer.from(formatManifest(items), 'latin1')));
    for (const { name, content } of meta) await putMeta(store, name, content);
    const commit = await store.commit(options);
    await writeAtomic({ path: backupCache, content: formatSeen(nowSeen), mode: 0o600 });
    const files = items.filter(({ kind }) => kind === 'file');
    return { commit, changed: commit !== parent, warnings: warnings.all(), files: files.length, bytes: files.reduce((sum, { size = 0 }) => sum + size, 0) };
  } finally {
    tree.close();
    await store.close();
  }
}

interface Gathering {
  options: CommitOptions;
  tree: DataTree;
  store: Store;
  found: readonly Found[];
  unread: (item: Found) => boolean;
  /** Files as they were at the last commit, and as they are now. */
  seen: ReadonlyMap<string, Seen>;
  nowSeen: Map<string, Seen>;
  warn: (line: string) => void;
}

/** Stores all data and says what it is; what disappears meanwhile is left out. */
async function gather({ options, tree, store, found, unread, seen, nowSeen, warn }: Gathering): Promise<Item[]> {
  const items: Item[] = [];
  for (const entry of sortItems(found)) {
    const { stat: _, ...item } = entry;
    const at = storedPath(item.path);
    if (item.kind === 'directory') {
      items.push(item);
    } else if (item.kind === 'link') {
      await store.put(at, storedMode(item), inMemory(Buffer.from(item.target ?? '', 'latin1')));
      items.push(item);
    } else if (!unread(entry)) {
      const last = seen.get(item.path);
      if (last) nowSeen.set(item.path, last);
      store.keep(at, storedMode(item), last?.blob ?? '');
      items.push({ ...item, blob: last?.blob });
    } else {
      const read = await readSettled(() => tree.open(item), store, at, () => {
        warn(`${showPath(item.path)} was written to each of the ${readsMax} times that it was read: its backup may be partly old and partly new`);
      });
      if (!read) continue;
      const { file: { stat: now, ...file }, blob, same } = read;
      items.push({ ...file, blob });
      const settled = now !== undefined && BigInt(Date.now()) * 1_000_000n - (options.settled ?? settledNs) > now.ctimeNs;
      if (now && same && settled) nowSeen.set(item.path, { ...now, blob });
    }
  }
  return items;
}

/** Stores a file, again while it changes under our hands. */
async function readSettled(open: () => OpenFile | undefined, store: Store, at: string, unsettled: () => void): Promise<{ file: Found; blob: string; same: boolean } | undefined> {
  for (let round = 1; ; round += 1) {
    const file = open();
    if (!file) return undefined;
    try {
      const blob = await store.put(at, storedMode(file.item), { size: file.item.size ?? 0, read: file.read });
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
  if (Buffer.isBuffer(content)) return void await store.put(metaPrefix + name, '100644', inMemory(content));
  const file = openOne(content.file);
  try {
    await store.put(metaPrefix + name, '100644', { size: file.item.size ?? 0, read: file.read });
    if (!file.isSame()) throw new SitegenError(`${content.file} was written to while it was read`, { hint: 'is something else than sitegen at work there?' });
  } finally {
    file.close();
  }
}

function requireRoom({ names, meta, report }: CommitOptions, unread: readonly Found[]): void {
  let bytes = 0;
  for (const { content } of meta) bytes += Buffer.isBuffer(content) ? content.length : sizeOfMeta(content.file);
  // Holes take next to nothing once they are compressed.
  for (const { stat } of unread) bytes += Math.min(stat?.size ?? 0, (stat?.allocated ?? 0) + (stat?.size ?? 0) / 100);
  const { free } = roomOf(names.repository);
  if (free < bytes + reserve) {
    throw new SitegenError(`no room to back up ${names.domain}: ${formatBytes(free)} are free below ${names.repository}, up to ${formatBytes(bytes + reserve)} are needed; its history is intact`, { hint: 'make room: df -h; then run "sitegen backup" again' });
  }
  if (bytes > muchBytes) report(`${names.domain}: reading ${formatBytes(bytes)} in ${unread.length} files`);
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
