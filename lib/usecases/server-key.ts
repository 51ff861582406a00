import os from 'node:os';
import path from 'node:path';
import { exists, readIfThere } from '../effects/files.ts';
import { makePrivate } from '../effects/folder.ts';
import { withLock } from '../effects/lock.ts';
import { makeKeyPair } from '../effects/ssh-keygen.ts';
import { SitegenError } from '../pure/errors.ts';
import { paths } from '../pure/names.ts';

/**
 * This server's own key pair, made when it is missing. It opens the backup servers and signs
 * backups, so a server that is to take over this one's sites unasked has it among its signers.
 * @returns the path of the private key, and the public one as a line
 */
export async function ensureServerKey(): Promise<{ file: string; publicKey: string }> {
  const file = paths.serverKey;
  if (!await exists(file)) {
    await withLock(`${paths.runDir}/server-key.lock`, {}, async () => {
      await makePrivate(path.dirname(file));
      if (!await exists(file)) await makeKeyPair(file, `sitegen@${os.hostname()}`);
    });
  }
  const publicKey = (await readIfThere(`${file}.pub`))?.trim();
  if (publicKey === undefined) throw new SitegenError(`${file}.pub is missing`, { hint: `make it again: ssh-keygen -y -f ${file} > ${file}.pub` });
  return { file, publicKey };
}
