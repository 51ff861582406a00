import { remove, writeAtomic } from '../effects/files.ts';
import { giveTree, makeUser, removeUser } from '../effects/process.ts';
import type { Desired } from '../pure/desired.ts';
import { SitegenError } from '../pure/errors.ts';
import type { SiteNames } from '../pure/names.ts';
import { suggestedUid, userOf } from '../pure/process.ts';
import type { runArguments } from '../pure/process-state.ts';
import { siteOfId } from './read-sites.ts';

/**
 * Makes what a site's program needs beside its units: its user, whom all of the site's data is then.
 * The user is a static one, as a dynamic one's number may be another at the next start, and data would
 * be whose it then is; it is made anew on each machine, so that data from a backup is given to it here.
 * The program must not run.
 * @returns what stands for it where a container has its id
 */
export async function createProcess({ names, files }: Pick<Desired, 'names' | 'files'>, { unit, user }: NonNullable<Desired['process']>): Promise<string> {
  await makeUser(user, suggestedUid(names), names.domain);
  await giveTree(names.dataDir, user);
  // Units are for apply to write, as only it knows whether systemd has to read them again.
  await writeAtomic(...files.filter((file) => file.path === names.environmentFile));
  return unit;
}

/** Takes away what a site without such a program has no use for; its data keeps its numbers. */
export async function forgetProcess(names: Pick<SiteNames, 'id' | 'environmentFile'>): Promise<void> {
  await remove(names.environmentFile);
  await removeUser(userOf(names));
}

/** What commands beside the program of a site are given, as its settings have it now. @throws SitegenError where it has none */
export async function processOf(id: string): Promise<Parameters<typeof runArguments>[0]> {
  // Settings need the templates and all that sites can be, which the stop of a program does not.
  const [{ loadSettings }, { wantOf }] = await Promise.all([import('./settings.ts'), import('./want.ts')]);
  const domain = (await siteOfId(id))?.domain;
  const { sites: [loaded], faults: [fault] } = await loadSettings(domain === undefined ? [] : [domain]);
  const want = loaded && await wantOf(loaded);
  if (!want?.process) throw new SitegenError(fault?.reason ?? `${id}: it has no program of its own`);
  return { ...want.process, slice: want.names.appSlice };
}
