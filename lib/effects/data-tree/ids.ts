import fs from 'node:fs';
import { SitegenError } from '../../pure/errors.ts';
import { idIn, idOut, isMapped, type Ids } from '../../pure/ids.ts';

/** Whom root of a site's containers is on this machine, as the directory of its data tells. */
export function rootOf(dataDir: string): Ids {
  const { uid, gid } = fs.lstatSync(dataDir);
  return { uid: isMapped(uid) ? uid : 0, gid: isMapped(gid) ? gid : 0 };
}

/**
 * Gives a site's data to those who have the same ids in its containers as its owners have now, when Docker maps
 * ids otherwise than when it was written. Its directory comes last, so one that was interrupted is gone on with.
 * Set-ID bits of files go by that (chown(2)). Nothing may run in the site's containers meanwhile.
 * @param to whom root of its containers is from now on
 * @returns whether there was something to do
 */
export function giveData(dataDir: string, to: Ids): boolean {
  try {
    const from = rootOf(dataDir);
    if (from.uid === to.uid && from.gid === to.gid) return false;
    giveBelow(Buffer.from(dataDir), from, to);
    return true;
  } catch (error) {
    throw new SitegenError(`cannot give ${dataDir} to those who are its owners in containers: ${(error as Error).message}`, { hint: 'run it as root', cause: error });
  }
}

function giveBelow(at: Buffer, from: Ids, to: Ids): void {
  const status = fs.lstatSync(at);
  if (status.isDirectory()) {
    for (const name of fs.readdirSync(at, { encoding: 'buffer' })) giveBelow(Buffer.concat([at, Buffer.from('/'), name]), from, to);
  }
  // What is not of the range was given already, or is somebody's on this machine.
  const [uid, gid] = [idIn(status.uid, from.uid), idIn(status.gid, from.gid)];
  if (uid !== undefined || gid !== undefined) fs.lchownSync(at, uid === undefined ? status.uid : idOut(uid, to.uid), gid === undefined ? status.gid : idOut(gid, to.gid));
}
