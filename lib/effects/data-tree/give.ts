import fs from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { SitegenError } from '../../pure/errors.ts';
import { idIn, idOut, type Ids } from '../../pure/ids.ts';
import { at, codeOf, lstat, namesIn, tryOpen, unlessGone } from './at.ts';

const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = fs.constants;
const asDirectory = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;

/** For so many entries nothing else is done. */
const atOnce = 500;

interface Level {
  fd: number;
  names: readonly string[];
  next: number;
}

/**
 * Gives what is in a directory, and it itself at the end, to those who have the same ids in containers as its
 * owners have now. What is of nobody in containers stays; what was given already too, as ranges do not overlap, so
 * this can be done again after an interruption. Set-ID bits of files go by that (chown(2)).
 * @param from whom root of containers was on this machine @param to whom it is
 * @param chown for tests: only root may
 * @throws SitegenError when an entry cannot be given
 */
export async function giveTree(root: string, from: Ids, to: Ids, chown: (path: Buffer | string, uid: number, gid: number) => void = fs.lchownSync): Promise<void> {
  const give = (path: Buffer | string, { uid, gid }: { uid: number | bigint; gid: number | bigint }) => {
    const [user, group] = [idIn(Number(uid), from.uid), idIn(Number(gid), from.gid)];
    if (user === undefined && group === undefined) return;
    unlessGone(() => { chown(path, user === undefined ? Number(uid) : idOut(user, to.uid), group === undefined ? Number(gid) : idOut(group, to.gid)); });
  };
  const levels: Level[] = [];
  const enter = (fd: number) => levels.push({ fd, names: namesIn(fd), next: 0 });
  try {
    enter(fs.openSync(root, asDirectory));
    for (let count = 1, level = levels.at(-1); level !== undefined; count++, level = levels.at(-1)) {
      if (count % atOnce === 0) await setImmediate();
      const name = level.names[level.next++];
      if (name === undefined) {
        levels.pop();
        give(`/proc/self/fd/${level.fd}/.`, fs.fstatSync(level.fd));
        fs.closeSync(level.fd);
        continue;
      }
      const status = lstat(level.fd, name);
      const inside = status?.isDirectory() === true ? tryOpen(level.fd, name, asDirectory) : undefined;
      if (inside !== undefined) enter(inside);
      else if (status && !status.isDirectory()) give(at(level.fd, name), status);
    }
  } catch (error) {
    const code = codeOf(error instanceof SitegenError ? error.cause : error);
    throw new SitegenError(`${root} cannot be given to the users that containers have on this machine: ${code ?? String(error)}`, { hint: code === 'EPERM' ? 'run it as root' : undefined, cause: error });
  } finally {
    for (const { fd } of levels) fs.closeSync(fd);
  }
}
