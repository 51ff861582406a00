import { SitegenError } from './errors.ts';

/**
 * Users and groups of containers and of this machine. With Docker's user namespaces (dockerd(8), `userns-remap`)
 * id 0 of all containers is the first of a range of ids on the machine, such as 100000, and so on; else they are
 * the same. Backups have the ids of containers, so a site can come back where they are mapped otherwise.
 */
export interface Ids {
  uid: number;
  gid: number;
}

/** How many ids such a range has (subuid(5)); those below it are the machine's own. */
const count = 65_536;

/** Root of containers where Docker maps nobody. */
export const nobodyMapped: Ids = { uid: 0, gid: 0 };

export const sameIds = (a: Ids, b: Ids): boolean => a.uid === b.uid && a.gid === b.gid;

/** The id in containers of one on the machine, where root of them is `root`; undefined when it has none there. */
export function idIn(id: number, root: number): number | undefined {
  return id >= root && id < root + count ? id - root : undefined;
}

/** The reverse. An id that is none of containers, but one of the machine's beyond its own, is taken as it is. */
export const idOut = (id: number, root: number): number => (id < count ? id + root : id);

/** Whether an id could be of both, so that nobody could tell what was given already. */
export function overlaps(a: Ids, b: Ids): boolean {
  const near = (one: number, other: number) => one !== other && Math.abs(one - other) < count;
  return near(a.uid, b.uid) || near(a.gid, b.gid);
}

/** Root of containers, as Docker's `info` tells: it keeps what it has for each range in a directory of its name. @throws SitegenError when it cannot be told, or is one of the machine's own users */
export function rootIn({ SecurityOptions: options, DockerRootDir: directory = '' }: { SecurityOptions?: readonly string[] | null; DockerRootDir?: string }): Ids {
  if (options?.some((option) => /^name=userns\b/.test(option)) !== true) return nobodyMapped;
  const [, uid, gid] = /\/(\d+)\.(\d+)$/.exec(directory) ?? [];
  if (uid === undefined || gid === undefined) throw new SitegenError(`Docker maps users of containers (userns-remap), and its directory ${directory} does not say to whom`, { hint: 'look at: docker info' });
  if (Number(uid) < count || Number(gid) < count) throw new SitegenError(`Docker maps users of containers (userns-remap) to ids from ${uid}:${gid} on, of which those below ${count} are this machine's own`, { hint: 'give it a range from 65536 on in /etc/subuid and /etc/subgid, as: dockremap:100000:65536' });
  return { uid: Number(uid), gid: Number(gid) };
}

/** Whose a site's data is. */
export interface Users {
  /** Whom root of its containers is on this machine. */
  root: Ids;
  /** The same as it is to be: somebody has begun to give it. */
  next?: Ids | undefined;
}

/** A line of numbers. */
export const formatUsers = ({ root, next }: Users): string => `${[root, ...(next ? [next] : [])].map(({ uid, gid }) => `${uid} ${gid}`).join(' ')}\n`;

/** @returns undefined for what is no such line */
export function parseUsers(text: string): Users | undefined {
  const [, uid, gid, nextUid, nextGid] = /^(\d{1,10}) (\d{1,10})(?: (\d{1,10}) (\d{1,10}))?\n?$/.exec(text) ?? [];
  if (uid === undefined || gid === undefined) return undefined;
  return { root: { uid: Number(uid), gid: Number(gid) }, next: nextUid === undefined || nextGid === undefined ? undefined : { uid: Number(nextUid), gid: Number(nextGid) } };
}
