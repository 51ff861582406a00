import { execFile } from 'node:child_process';
import fs from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { SitegenError } from '../pure/errors.ts';

/** A site's tree as a whole: replaced, put back, emptied. Links in it are never followed. */

/** The three places of a tree that is being replaced; all in one directory. */
export interface Places {
  /** Where it is used. */
  current: string;
  /** What is to take its place. */
  next: string;
  /** Where it is while that is not certain. */
  former: string;
}

/**
 * Puts `next` in the place of `current`. Node has no renameat2(2), so there are two renames;
 * `settleTree` puts things right after a crash between them.
 */
export async function replaceTree({ current, next, former }: Places): Promise<void> {
  await sync('--file-system', next);
  if (await isThere(current)) await fs.rename(current, former);
  await fs.rename(next, current);
  await sync(path.dirname(current));
}

/**
 * What a killed replacement left: before `next` has its new name all is as it was, from then on it
 * is done.
 * @returns true when the tree was put back
 * @throws SitegenError when somebody has put files where the tree belongs: both are kept
 */
export async function settleTree({ current, next, former }: Places): Promise<boolean> {
  if (!await isThere(former)) return false;
  if (!await isThere(next) && await isThere(current)) {
    await removeTree(former);
    return false;
  }
  if (await isThere(current)) {
    if (!await hasOnlyDirectories(current)) {
      throw new SitegenError(`${current} and ${former} are both there: a restore was interrupted, and then somebody wrote into the first`, {
        hint: `move one of them away; ${former} is what was there before the restore`,
      });
    }
    await removeTree(current);
  }
  await fs.rename(former, current);
  await sync(path.dirname(current));
  return true;
}

/** True for a tree without anything but directories, and for none. */
export async function hasOnlyDirectories(directory: string): Promise<boolean> {
  const entries = await fs.readdir(directory, { withFileTypes: true }).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  });
  for (const entry of entries) if (!entry.isDirectory() || !await hasOnlyDirectories(path.join(directory, entry.name))) return false;
  return true;
}

/** Takes everything out of a directory, which stays; one that is missing counts as empty. */
export async function emptyDirectory(directory: string): Promise<void> {
  const status = await fs.lstat(directory).catch(() => undefined);
  if (status === undefined) return;
  // What a link leads to is somebody else's.
  if (!status.isDirectory()) return void await fs.rm(directory, { force: true });
  for (const name of await fs.readdir(directory)) await removeTree(path.join(directory, name));
}

/** Node goes by whole paths; a container can make trees that are too deep for that. */
async function removeTree(target: string): Promise<void> {
  await promisify(execFile)('rm', ['-rf', '--', target]);
}

/**
 * Empties what some patterns stand for: directories stay, files go.
 * @param patterns paths below the root, in which `*` stands for a part of a name
 */
export async function emptyMatching(root: string, patterns: readonly string[]): Promise<void> {
  for (const pattern of patterns) {
    let found = [root];
    for (const part of pattern.split('/')) {
      const matches = matcherOf(part);
      const below = await Promise.all(found.map(async (directory) => {
        const status = await fs.lstat(directory).catch(() => undefined);
        const names = status?.isDirectory() === true ? await fs.readdir(directory) : [];
        return names.filter((name) => matches.test(name)).map((name) => path.join(directory, name));
      }));
      found = below.flat();
    }
    for (const target of found) await emptyDirectory(target);
  }
}

/**
 * Puts a file or a tree into a tree that a container may be changing meanwhile, in the place of what
 * has its name. Directories are opened one by one and never by a path that could lead elsewhere by now.
 * @param below where to, below the root
 * @param aside where what has the name goes, on the same file system; nothing is there yet
 * @throws SitegenError when a link, or a file, stands where a directory is needed
 */
export async function putInto(root: string, below: string, source: string, aside: string): Promise<void> {
  const parts = below.split('/');
  const name = parts.pop() ?? '';
  const flags = fs.constants.O_DIRECTORY | fs.constants.O_NOFOLLOW;
  let at = await fs.open(root, flags);
  try {
    for (const part of parts) {
      const next = `/proc/self/fd/${at.fd}/${part}`;
      await fs.mkdir(next).catch(() => undefined);
      const inner = await fs.open(next, flags).catch((error: unknown) => {
        throw new SitegenError(`${root}/${below} cannot be put back: ${part} is no directory there`, { hint: 'move it away, or restore the directory instead', cause: error });
      });
      await at.close();
      at = inner;
    }
    const target = `/proc/self/fd/${at.fd}/${name}`;
    await fs.rename(target, aside).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    });
    await fs.rename(source, target);
  } finally {
    await at.close();
  }
}

/** Moves a tree to a place that nothing has yet, on the same file system. */
export async function moveTree(from: string, to: string): Promise<void> {
  await fs.mkdir(path.dirname(to), { recursive: true });
  await fs.rename(from, to);
  await sync(path.dirname(to));
}

function matcherOf(part: string): RegExp {
  return new RegExp(`^${part.split('*').map((text) => text.replaceAll(/[.+?^${}()|[\]\\]/g, String.raw`\$&`)).join('[^/]*')}$`);
}

async function isThere(target: string): Promise<boolean> {
  return fs.lstat(target).then(() => true, () => false);
}

/** sync(1), as Node has no syncfs(2). */
async function sync(...args: readonly string[]): Promise<void> {
  await promisify(execFile)('sync', args);
}
