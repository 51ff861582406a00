import { execFile } from 'node:child_process';
import fs from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';

/** Trees of files of which a link shows one at a time. */

/** Makes directories that everybody may read, whatever the umask; those that exist are made so. */
export async function makeReadable(...directories: readonly string[]): Promise<void> {
  for (const directory of directories) {
    await fs.mkdir(directory, { recursive: true });
    await fs.chmod(directory, 0o755);
  }
}

/** Copies a tree by hard links; neither files nor symbolic links are followed or read. */
export async function linkTree(from: string, to: string): Promise<void> {
  await makeReadable(to);
  for (const entry of await fs.readdir(from, { withFileTypes: true })) {
    const [source, target] = [path.join(from, entry.name), path.join(to, entry.name)];
    if (entry.isDirectory()) await linkTree(source, target);
    else await fs.link(source, target);
  }
}

/** Gives a tree its final name, which nothing may have yet. */
export async function renameTree(from: string, to: string): Promise<void> {
  await fs.rename(from, to);
}

/** The target of a symbolic link, or undefined when there is none. */
export async function linkTarget(link: string): Promise<string | undefined> {
  return fs.readlink(link).catch(() => undefined);
}

/**
 * Lets a link show another tree from one moment to the next. After a crash it shows the one or the
 * other, and the new one only once all of it is on the disk.
 * @param target relative to the link's directory
 */
export async function showTree(link: string, target: string): Promise<void> {
  const directory = path.dirname(link);
  await sync(path.join(directory, target));
  const temporary = `${link}.new`;
  await fs.rm(temporary, { force: true, recursive: true });
  await fs.symlink(target, temporary);
  await fs.rename(temporary, link);
  await sync(directory);
}

/** True for a directory that is reached from a root without any link. */
export async function isPlainDirectory(root: string, below: readonly string[]): Promise<boolean> {
  let at = root;
  for (const part of ['', ...below]) {
    at = path.join(at, part);
    const status = await fs.lstat(at).catch(() => undefined);
    if (status?.isDirectory() !== true) return false;
  }
  return true;
}

/** Everything that was written to the file system is on the disk; Node has no syncfs(2). */
async function sync(directory: string): Promise<void> {
  await promisify(execFile)('sync', ['--file-system', directory]);
}
