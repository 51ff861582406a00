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

/** Whether an id is one of a range that containers are mapped to. */
export const isMapped = (id: number): boolean => id >= count;

/** The id in containers of one on the machine, where root of them is `root`; undefined when it has none there. */
export function idIn(id: number, root: number): number | undefined {
  return id >= root && id < root + count ? id - root : undefined;
}

/** The reverse. */
export const idOut = (id: number, root: number): number => id + root;

/** Root of containers, as Docker's `info` tells: it keeps what it has for each range in a directory of its name. */
export function rootIn(info: { SecurityOptions?: readonly string[] | null; DockerRootDir?: string }): Ids {
  const found = /\/(\d+)\.(\d+)$/.exec(info.DockerRootDir ?? '');
  if (!found || info.SecurityOptions?.includes('name=userns') !== true) return { uid: 0, gid: 0 };
  return { uid: Number(found[1]), gid: Number(found[2]) };
}
