import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { constants, readFileSync } from 'node:fs';
import fs from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { SitegenError } from '../pure/errors.ts';

/** A file to write; mode is 0644 unless given, and the owner whoever runs this. */
export interface FileToWrite {
  path: string;
  content: string;
  mode?: number;
  owner?: { uid: number; gid: number } | undefined;
}

/**
 * Writes files so that after a crash each has either its old or its new content: a temporary
 * file in the same directory, fsync, rename, and at the end one fsync of each directory.
 */
export async function writeAtomic(...files: readonly FileToWrite[]): Promise<void> {
  const directories = new Set<string>();
  for (const { path: file, content, mode = 0o644, owner } of files) {
    const directory = path.dirname(file);
    // Not derived from the name, which may already be as long as a file system allows.
    const temporary = path.join(directory, `.sitegen-${process.pid}-${randomBytes(6).toString('hex')}.tmp`);
    try {
      if (!directories.has(directory)) await fs.mkdir(directory, { recursive: true });
      const handle = await fs.open(temporary, 'wx', mode);
      try {
        // Before there is anything to read in it.
        if (owner) await handle.chown(owner.uid, owner.gid);
        await handle.writeFile(content);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await fs.rename(temporary, file);
    } catch (error) {
      await fs.rm(temporary, { force: true });
      throw fileError('write', file, error);
    }
    directories.add(directory);
  }
  for (const directory of directories) await syncDirectory(directory);
}

/**
 * Makes symbolic links to a file of the same name, relative or not; those that exist stay.
 * The directory is synced, so the links are there after a crash.
 */
export async function linkInto(directory: string, targets: readonly string[]): Promise<void> {
  if (targets.length === 0) return;
  try {
    await fs.mkdir(directory, { recursive: true });
    for (const target of targets) {
      await fs.symlink(target, path.join(directory, path.basename(target))).catch((error: unknown) => {
        if (codeOf(error) !== 'EEXIST') throw error;
      });
    }
  } catch (error) {
    throw fileError('link into', directory, error);
  }
  await syncDirectory(directory);
}

/** Content of a text file, or undefined when it does not exist. */
export async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await fs.readFile(file, 'utf8');
  } catch (error) {
    // The kernel's word for a control group that has gone since its file was opened.
    if (['ENOENT', 'ENODEV'].includes(codeOf(error) ?? '')) return undefined;
    throw fileError('read', file, error);
  }
}

/** When a file was last written, ms since 1970; undefined when it does not exist. */
export async function modifiedAt(file: string): Promise<number | undefined> {
  try {
    return (await fs.stat(file)).mtimeMs;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw fileError('look at', file, error);
  }
}

/**
 * Content of many small text files, in order; those that do not exist are left out. Synchronous:
 * for hundreds of files a promise each costs ten times the reading.
 */
export function readMany(files: readonly string[]): { path: string; content: string }[] {
  return files.flatMap((file) => {
    try {
      return [{ path: file, content: readFileSync(file, 'utf8') }];
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return [];
      throw fileError('read', file, error);
    }
  });
}

/** Removes a file or a whole tree; what is not there counts as removed. Links are never followed. */
export async function remove(target: string): Promise<void> {
  try {
    await fs.rm(target, { recursive: true, force: true }).catch((error: unknown) => {
      if (codeOf(error) !== 'ENAMETOOLONG') throw error;
      // Node goes by whole paths; a container can make trees that are too deep for that.
      return promisify(execFile)('rm', ['-rf', '--', target]);
    });
  } catch (error) {
    throw fileError('remove', target, error);
  }
}

/** Removes what killed processes left of `writeAtomic` in some directories; others are still at it. */
export async function removeTemporary(directories: readonly string[]): Promise<void> {
  for (const directory of directories) {
    for (const name of await namesIn(directory)) {
      const pid = /^\.sitegen-(\d+)-[0-9a-f]+\.tmp$/.exec(name)?.[1];
      if (pid !== undefined && !await exists(`/proc/${pid}`)) await remove(path.join(directory, name));
    }
  }
}

/** Names in a directory, sorted; none when it does not exist. */
export async function namesIn(directory: string): Promise<string[]> {
  try {
    const names = await fs.readdir(directory);
    return names.sort();
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return [];
    throw fileError('read', directory, error);
  }
}

/** True when something with this name exists, be it a dangling link. */
export async function exists(target: string): Promise<boolean> {
  try {
    await fs.lstat(target);
    return true;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false;
    throw fileError('look at', target, error);
  }
}

/**
 * Makes a directory below a root that a container may have written to.
 * @throws SitegenError when a link stands in its way, which would lead out of the root
 */
export async function makeBelow(root: string, directory: string, owner?: { uid: number; gid: number }): Promise<void> {
  try {
    await fs.mkdir(root, { recursive: true, mode: 0o755 });
    for (const at of stepsBelow(root, directory)) {
      if (await isDirectory(at)) continue;
      await fs.mkdir(at, { mode: 0o755 });
      if (owner && at === path.join(directory)) await fs.lchown(at, owner.uid, owner.gid);
    }
  } catch (error) {
    throw fileError('make', directory, error);
  }
}

/**
 * Checks that a directory is there, and no link on the way to it from the root.
 * @throws SitegenError when it is missing, or where a link stands
 */
export async function requireBelow(root: string, directory: string): Promise<void> {
  for (const at of stepsBelow(root, directory)) {
    if (!await isDirectory(at)) throw new SitegenError(`the directory ${at} is missing`, { hint: 'restore it, or run "sitegen apply" for an empty one' });
  }
}

/** The same for a file, or a directory that may be one. */
export async function requireFileBelow(root: string, file: string): Promise<void> {
  await requireBelow(root, path.dirname(file));
  const status = await fs.lstat(file).catch((error: unknown) => { throw new SitegenError(`${file} is missing, and a service mounts it`, { cause: error }); });
  if (!status.isFile() && !status.isDirectory()) throw new SitegenError(`${file} is ${status.isSymbolicLink() ? 'a link' : 'no file'} and will not be mounted`);
}

function stepsBelow(root: string, directory: string): string[] {
  const parts = path.relative(root, directory).split(path.sep).filter((part) => part !== '');
  return parts.map((_, index) => path.join(root, ...parts.slice(0, index + 1)));
}

/** False when nothing is there; throws for anything but a directory. */
async function isDirectory(target: string): Promise<boolean> {
  const status = await fs.lstat(target).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw fileError('look at', target, error);
  });
  if (status === undefined || status.isDirectory()) return status !== undefined;
  throw new SitegenError(`${target} is ${status.isSymbolicLink() ? 'a link' : 'no directory'} and will not be mounted`, {
    hint: 'replace it by a directory, or change the site\'s volumes',
  });
}

/** True when the running user may write into a directory, or into the nearest one above it that exists. */
export async function mayWrite(directory: string): Promise<boolean> {
  try {
    await fs.access(directory, constants.W_OK);
    return true;
  } catch (error) {
    const parent = path.dirname(directory);
    return codeOf(error) === 'ENOENT' && parent !== directory ? mayWrite(parent) : false;
  }
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await fs.open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function fileError(verb: string, file: string, error: unknown): SitegenError {
  if (error instanceof SitegenError) return error;
  const code = codeOf(error);
  const why = code === undefined ? String(error) : (reasons[code] ?? code);
  return new SitegenError(`cannot ${verb} ${file}: ${why}`, { cause: error, hint: code === undefined ? undefined : hints[code] });
}

const reasons: Record<string, string> = {
  ENOSPC: 'the disk is full', EACCES: 'permission denied', EPERM: 'not permitted', EROFS: 'the file system is read-only',
  EISDIR: 'it is a directory', ENOTDIR: 'a part of the path is no directory', EDQUOT: 'the quota is used up', ENAMETOOLONG: 'its name is too long',
};

const hints: Record<string, string> = {
  ENOSPC: 'make room: df -h; then try again', EACCES: 'run it as root', EPERM: 'run it as root',
};

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | undefined)?.code;
}
