import { runState } from '../effects/cgroup.ts';
import { giveTree } from '../effects/data-tree/give.ts';
import { readIfThere, remove, writeAtomic } from '../effects/files.ts';
import { makePrivate } from '../effects/folder.ts';
import { extendTimeout } from '../effects/notify.ts';
import { SitegenError } from '../pure/errors.ts';
import { formatUsers, nobodyMapped, overlaps, parseUsers, sameIds, type Ids, type Users } from '../pure/ids.ts';
import type { SiteNames } from '../pure/names.ts';

type DataNames = Pick<SiteNames, 'domain' | 'dataDir' | 'metaDir' | 'usersFile' | 'appCgroup'>;

/** How a site's data is mapped: what a backup brings is not. @throws SitegenError when that cannot be told */
export async function usersOf({ usersFile }: Pick<SiteNames, 'usersFile'>): Promise<Users> {
  const text = await readIfThere(usersFile);
  const users = text === undefined ? { root: nobodyMapped } : parseUsers(text);
  if (!users) throw new SitegenError(`${usersFile} does not say whose the site's data is`, { hint: 'it has the user and group of root in its containers, such as "100000 100000"; look at who owns the data' });
  return users;
}

/**
 * Gives a site's data to the users that its containers have on this machine, when Docker maps them otherwise than
 * it did. What is to be done is written down first, so that one that was interrupted is gone on with.
 * @param to whom root of its containers is from now on
 * @returns whether there was something to do
 * @throws SitegenError also while something runs in its containers, which could work against it
 */
export async function giveData(names: DataNames, to: Ids): Promise<boolean> {
  const { root, next } = await usersOf(names);
  if (sameIds(root, to) && !next) return false;
  if (runState(names.appCgroup) !== 'stopped') throw new SitegenError(`${names.domain}: its data is to be given to other users, as Docker maps them otherwise now, and its container runs`, { hint: `stop it first: sitegen stop ${names.domain}` });
  void extendTimeout(60_000);
  const alive = setInterval(() => { void extendTimeout(60_000); }, 10_000);
  try {
    if (next) await give(names, root, next);
    const from = next ?? root;
    if (!sameIds(from, to)) await give(names, from, to);
  } finally {
    clearInterval(alive);
  }
  return true;
}

async function give(names: DataNames, root: Ids, next: Ids): Promise<void> {
  if (overlaps(root, next)) throw new SitegenError(`${names.domain}: its data belongs to ids from ${root.uid} on, and Docker maps to ids from ${next.uid} on now: these ranges overlap`, { hint: 'give Docker a range of its own in /etc/subuid and /etc/subgid' });
  await makePrivate(names.metaDir);
  const note = (users: Users) => writeAtomic({ path: names.usersFile, content: formatUsers(users), mode: 0o600 });
  await note({ root, next });
  await giveTree(names.dataDir, root, next);
  if (sameIds(next, nobodyMapped)) await remove(names.usersFile);
  else await note({ root: next });
}
