import { headOf, isAncestor } from './objects.ts';

/** How the commits of a site stand to each other, for whoever pushes them. */

/** This machine's last commit of a site; undefined without one, or without a repository. */
export async function mainCommit(repository: string): Promise<string | undefined> {
  return headOf(repository);
}

/** Whether a commit is in a repository. */
export async function hasCommit(repository: string, commit: string): Promise<boolean> {
  return await headOf(repository, commit) !== undefined;
}

/** How our commit stands to another one; both are in the repository. */
export async function relationOf(repository: string, ours: string, theirs: string): Promise<'same' | 'ahead' | 'behind' | 'diverged'> {
  if (ours === theirs) return 'same';
  if (await isAncestor(repository, theirs, ours)) return 'ahead';
  return await isAncestor(repository, ours, theirs) ? 'behind' : 'diverged';
}
