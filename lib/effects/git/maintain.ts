import fs from 'node:fs/promises';
import { SitegenError } from '../../pure/errors.ts';
import { formatBytes } from '../../pure/quantities.ts';
import { prepareRepository } from './import.ts';
import { askGit } from './process.ts';

/** What keeps a site's own repository small and sound. Memory is bounded by the repository's configuration. */

/** Up to this size all of a repository is packed anew each time, bytes. */
const smallMax = 256 * 1024 * 1024;
/** A larger one when this share of it is in other packs than the largest. */
const newShare = 0.25;
/** What no branch has is kept for so long, should somebody want it back. */
const keepUnreachable = '2.weeks.ago';

/**
 * Packs what commits have added, so that each dump is kept as its difference to another: all of a
 * small repository, else just the new packs until they are a good part of it, as rewriting
 * gigabytes for each night's few megabytes wears disks out. The caller holds the dump lock.
 * @param whole all of it, whatever its size
 * @returns bytes before and after
 * @throws SitegenError when it is damaged, or there is no room for a second copy; nothing is lost then
 */
export async function repack(repository: string, whole = false): Promise<{ before: number; after: number }> {
  await prepareRepository(repository);
  const { bytes, packs, largest } = await repositorySize(repository);
  const what = `repack ${repository}`;
  if (whole || bytes <= smallMax || bytes - largest > bytes * newShare) {
    const { bavail, bsize } = await fs.statfs(repository);
    if (bavail * bsize < bytes) throw new SitegenError(`cannot ${what}: it takes ${formatBytes(bytes)}, and ${formatBytes(bavail * bsize)} are free`, { hint: 'make room: df -h' });
    await askGit({ repository, what, args: ['repack', '-d', '--cruft', `--cruft-expiration=${keepUnreachable}`, '--quiet'] });
  } else if (packs > 1) {
    await askGit({ repository, what, args: ['repack', '-d', '--geometric=2', '--quiet'] });
  }
  await askGit({ repository, what, args: ['prune', `--expire=${keepUnreachable}`] });
  return { before: bytes, after: (await repositorySize(repository)).bytes };
}

/** What a repository takes on the disk: bytes of all its objects, and of the largest pack among its packs. */
export async function repositorySize(repository: string): Promise<{ bytes: number; packs: number; largest: number }> {
  let [bytes, packs, largest] = [0, 0, 0];
  for (const directory of await fs.readdir(`${repository}/objects`, { withFileTypes: true }).catch(() => [])) {
    if (!directory.isDirectory()) continue;
    for (const name of await fs.readdir(`${repository}/objects/${directory.name}`)) {
      const size = (await fs.lstat(`${repository}/objects/${directory.name}/${name}`).catch(() => undefined))?.size ?? 0;
      bytes += size;
      if (name.endsWith('.pack')) [packs, largest] = [packs + 1, Math.max(largest, size)];
    }
  }
  return { bytes, packs, largest };
}

/**
 * Reads all of a repository and compares each object with its id.
 * @throws SitegenError that says what is damaged
 */
export async function checkRepository(repository: string): Promise<void> {
  await askGit({ repository, what: `check ${repository}`, args: ['fsck', '--full', '--strict', '--no-dangling', '--no-progress'] });
}
