import fs from 'node:fs';
import path from 'node:path';
import { SitegenError } from '../../pure/errors.ts';
import { showPath, type Item } from '../../pure/manifest.ts';
import { idIn, type Ids } from '../../pure/ids.ts';
import { openClones } from './clones.ts';
import { codeOf, lstat, namesIn, readLink, tryOpen } from './at.ts';

/**
 * Reads a tree that a hostile program changes at the same time. Every step is taken from an open
 * directory to one name in it, through /proc/self/fd as Node has no openat(2), and without
 * following a link: whatever is swapped meanwhile, nothing outside is ever looked at.
 */

/** What the kernel says about an entry. */
export interface Found extends Item {
  /** Of files: as `Item` has it, but to the nanosecond; when it last changed in any way; and which it is. */
  stat: { mtimeNs: bigint; ctimeNs: bigint; ino: bigint; size: number; allocated: number } | undefined;
}

/** A file as it is read. */
export interface OpenFile {
  item: Found;
  /** Its first `item.size` bytes, with zeros in place of what has gone meanwhile; a part holds until the next one is asked for. */
  read: () => AsyncGenerator<Buffer>;
  /** False when it has changed since `item` was made. */
  isSame(): boolean;
  close(): void;
}

/** What of a tree is left out. */
export interface WalkOptions {
  /** Paths below the root, in which `*` stands for a part of a name; what is in one is left out, and it itself unless it is a directory. */
  exclude: readonly string[];
  /** Told of everything else that is left out. */
  warn: (line: string) => void;
}

export interface DataTree {
  /** All entries, the root itself first; a directory before what is in it. */
  walk(options: WalkOptions): AsyncGenerator<Found>;
  /** Opens a file that was found, or what has taken its place; undefined when that is no file any more. */
  open(item: Pick<Item, 'path'>): OpenFile | undefined;
  close(): void;
}

/** Longer ones could not be made again with a whole path, and git refuses deeper trees (core.maxTreeDepth). */
const limits = { pathBytes: 3500, depth: 1000, chunk: 256 * 1024 };

const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK, O_NOCTTY } = fs.constants;
const asDirectory = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;

/**
 * Opens a tree. Synchronous calls throughout: a promise for each of thousands of entries costs ten
 * times the work.
 * @param root in a directory that no other user can write to; nobody else reads it so at the same time
 * @param ids whom root of the site's containers is on this machine; entries have the ids that they have there
 * @throws SitegenError when there is no such directory
 */
export function openDataTree(root: string, ids: Ids): DataTree {
  let rootFd: number;
  try {
    rootFd = fs.openSync(root, asDirectory);
  } catch (error) {
    throw new SitegenError(`cannot read ${root}: ${codeOf(error) === 'ENOENT' ? 'it is missing' : (codeOf(error) ?? String(error))}`, { hint: 'run it as root; "sitegen apply" makes a missing directory', cause: error });
  }
  const chain = openChain(rootFd);
  const clones = openClones(path.dirname(root));
  return {
    walk: (options) => walk(rootFd, ids, options),
    open: (item) => openFile(chain, clones, ids, item.path),
    close: () => {
      chain.close();
      clones.close();
      fs.closeSync(rootFd);
    },
  };
}

/**
 * Opens a file of ours by its name.
 * @throws SitegenError when there is none
 */
export function openOne(file: string): OpenFile {
  let fd: number;
  try {
    fd = fs.openSync(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (error) {
    throw new SitegenError(`cannot read ${file}: ${codeOf(error) ?? String(error)}`, { hint: 'run it as root', cause: error });
  }
  const status = fs.fstatSync(fd, { bigint: true });
  const close = () => { fs.closeSync(fd); };
  return { item: toFound(path.basename(file), 'file', status, { uid: 0, gid: 0 }), read: () => chunksOf(fd, Number(status.size)), isSame: () => isSame(status, fs.fstatSync(fd, { bigint: true })), close };
}

/** Room of the file system that something is on, bytes: free for us, and all in all. */
export function roomOf(at: string): { free: number; all: number } {
  const { bavail, blocks, bsize } = fs.statfsSync(at);
  return { free: bavail * bsize, all: blocks * bsize };
}

interface Level {
  fd: number;
  /** Below the root; empty or with a slash at its end. */
  prefix: string;
  names: readonly string[];
  next: number;
}

// eslint-disable-next-line @typescript-eslint/require-await -- its consumers wait between entries
async function* walk(rootFd: number, ids: Ids, { exclude, warn }: WalkOptions): AsyncGenerator<Found> {
  const isExcluded = matcher(exclude);
  const own = fs.fstatSync(rootFd, { bigint: true });
  yield toFound('', 'directory', own, ids);
  const levels: Level[] = [{ fd: rootFd, prefix: '', names: namesIn(rootFd), next: 0 }];
  try {
    for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
      const name = level.names[level.next++];
      if (name === undefined) {
        levels.pop();
        if (level.fd !== rootFd) fs.closeSync(level.fd);
        continue;
      }
      const below = level.prefix + name;
      const status = lstat(level.fd, name);
      if (status === undefined) continue;
      if (isExcluded(below)) {
        // Whose a cache is has to come back, as its program could not write into it.
        if (status.isDirectory()) yield toFound(below, 'directory', status, ids);
        continue;
      }
      if (below.length > limits.pathBytes || levels.length > limits.depth) {
        warn(`${showPath(below.slice(0, 100))}… was left out: its path is too long`);
      } else if (status.isDirectory()) {
        const fd = tryOpen(level.fd, name, asDirectory);
        if (fd === undefined) continue;
        const inside = fs.fstatSync(fd, { bigint: true });
        if (inside.dev !== own.dev) warn(`${showPath(below)} is on another file system, which a restore puts on this one`);
        levels.push({ fd, prefix: `${below}/`, names: namesIn(fd), next: 0 });
        yield toFound(below, 'directory', inside, ids);
      } else if (status.isFile()) {
        yield toFound(below, 'file', status, ids);
      } else if (status.isSymbolicLink()) {
        const target = readLink(level.fd, name);
        if (target !== undefined) yield { ...toFound(below, 'link', status, ids), target };
      } else {
        warn(`${showPath(below)} was left out: it is a ${kindOf(status)}`);
      }
    }
  } finally {
    for (const { fd } of levels) if (fd !== rootFd) fs.closeSync(fd);
  }
}

function kindOf(status: fs.BigIntStats): string {
  if (status.isSocket()) return 'socket';
  return status.isFIFO() ? 'fifo' : 'device';
}

/** Whether a path is left out; patterns are UTF-8 text, paths are bytes. */
function matcher(patterns: readonly string[]): (path: string) => boolean {
  if (patterns.length === 0) return () => false;
  const sources = patterns.map((pattern) => Buffer.from(pattern.replaceAll(/^\/+|\/+$/g, '')).toString('latin1')
    .replaceAll(/[.+?^${}()|[\]\\]/g, String.raw`\$&`).replaceAll('*', '[^/]*'));
  const pattern = new RegExp(`^(?:${sources.join('|')})$`, 's');
  return (below) => pattern.test(below);
}

/** The way of open directories to the one that was used last: files come sorted, so it is mostly the same. */
function openChain(rootFd: number) {
  const levels: { name: string; fd: number }[] = [];
  const cut = (length: number) => { for (const { fd } of levels.splice(length)) fs.closeSync(fd); };
  return {
    /** The directory of that path, or undefined when there is none any more. */
    directory(names: readonly string[]): number | undefined {
      const differs = levels.findIndex(({ name }, index) => names[index] !== name);
      cut(differs === -1 ? Math.min(levels.length, names.length) : differs);
      for (const name of names.slice(levels.length)) {
        const fd = tryOpen(levels.at(-1)?.fd ?? rootFd, name, asDirectory);
        if (fd === undefined) return undefined;
        levels.push({ name, fd });
      }
      return levels.at(-1)?.fd ?? rootFd;
    },
    close: () => { cut(0); },
  };
}

function openFile(chain: ReturnType<typeof openChain>, clones: ReturnType<typeof openClones>, ids: Ids, below: string): OpenFile | undefined {
  const names = below.split('/');
  const directory = chain.directory(names.slice(0, -1));
  // Not blocking, as it may have become a fifo.
  const fd = directory === undefined ? undefined : tryOpen(directory, names.at(-1) ?? '', O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
  if (fd === undefined) return undefined;
  let clone: number | undefined;
  const close = () => {
    fs.closeSync(fd);
    if (clone !== undefined) fs.closeSync(clone);
  };
  try {
    const before = fs.fstatSync(fd, { bigint: true });
    if (!before.isFile()) {
      close();
      return undefined;
    }
    clone = clones.clone(fd);
    const status = clone === undefined ? before : fs.fstatSync(fd, { bigint: true });
    const size = clone === undefined ? Number(status.size) : fs.fstatSync(clone).size;
    const from = clone ?? fd;
    return {
      item: { ...toFound(below, 'file', status, ids), size },
      read: () => chunksOf(from, size),
      isSame: () => (from === fd ? isSame(status, fs.fstatSync(fd, { bigint: true })) : isSame(before, status) && size === Number(status.size)),
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

function isSame(a: fs.BigIntStats, b: fs.BigIntStats): boolean {
  return a.size === b.size && a.mtimeNs === b.mtimeNs && a.ctimeNs === b.ctimeNs;
}

async function* chunksOf(fd: number, size: number): AsyncGenerator<Buffer> {
  // One for all parts: a new one each would be garbage as large as the file before it is collected.
  const buffer = Buffer.allocUnsafe(Math.min(limits.chunk, size));
  for (let at = 0; at < size;) {
    const part = buffer.subarray(0, Math.min(buffer.length, size - at));
    const count = await new Promise<number>((resolve, reject) => {
      fs.read(fd, part, 0, part.length, at, (error, bytes) => { if (error) reject(error); else resolve(bytes); });
    });
    const read = count === 0 ? part.fill(0) : part.subarray(0, count);
    yield read;
    at += read.length;
  }
}

function toFound(below: string, kind: Item['kind'], status: fs.BigIntStats, ids: Ids): Found {
  const { mtimeNs, ctimeNs, ino } = status;
  const [size, uid, gid] = [Number(status.size), Number(status.uid), Number(status.gid)];
  return {
    path: below, kind, mode: Number(status.mode & 0o7777n), uid: idIn(uid, ids.uid) ?? uid, gid: idIn(gid, ids.gid) ?? gid,
    ...(kind === 'file' && { size, mtimeNs: String(mtimeNs - mtimeNs % 1000n) }),
    stat: kind === 'file' ? { mtimeNs, ctimeNs, ino, size, allocated: Number(status.blocks) * 512 } : undefined,
  };
}
