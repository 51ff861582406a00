import os from 'node:os';
import { readIfThere, remove, writeAtomic } from '../effects/files.ts';
import { makePrivate } from '../effects/folder.ts';
import { parseEpoch, type Epoch } from '../pure/backup.ts';
import { paths, type SiteNames } from '../pure/names.ts';
import type { DefaultsFile } from '../pure/schema.ts';
import { fingerprintOf } from '../pure/ssh-key.ts';
import { readMeta } from './extract.ts';
import { ensureServerKey } from './server-key.ts';

/**
 * Which server has a site is written in its backup, as a number that grows with each change. The
 * higher one counts, whatever clocks say; of this server's own the file beside the data holds
 * until the next commit.
 */

/** This server, as it names itself in backups. */
export async function thisServer(defaults: DefaultsFile): Promise<Omit<Epoch, 'epoch'>> {
  const { publicKey } = await ensureServerKey();
  return { server: os.hostname(), key: fingerprintOf(publicKey), address: defaults.backup?.address ?? os.hostname() };
}

/** The epoch that a commit of a site has; undefined where there is none. */
export async function epochOf(repository: string, commit: string): Promise<Epoch | undefined> {
  const text = await readMeta(repository, commit, 'epoch.json');
  return text === undefined ? undefined : parseEpoch(text.toString('utf8'));
}

/** The epoch that a site has on this machine; undefined for one that was never backed up. */
export async function localEpoch(names: SiteNames): Promise<Epoch | undefined> {
  const committed = await epochOf(names.repository, 'refs/heads/main').catch(() => undefined);
  const claimed = parseEpoch((await readIfThere(names.epochFile)) ?? '');
  return (claimed?.epoch ?? 0) > (committed?.epoch ?? 0) ? claimed : committed;
}

/**
 * Takes a site over: from now on this server's backups of it count, and a former server stops
 * serving it as soon as it sees that.
 * @param previous the highest epoch known of the site
 */
export async function claimEpoch(names: SiteNames, previous: Epoch | undefined, defaults: DefaultsFile, options: { proxyProtocol?: boolean } = {}): Promise<Epoch> {
  const epoch: Epoch = { epoch: (previous?.epoch ?? 0) + 1, ...await thisServer(defaults), ...(options.proxyProtocol === true && { proxyProtocol: true }) };
  await makePrivate(paths.backupDir);
  await writeAtomic({ path: names.epochFile, content: `${JSON.stringify(epoch, undefined, 2)}\n`, mode: 0o600 });
  await remove(names.fenceFile);
  return epoch;
}
