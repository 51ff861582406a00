import { createHash } from 'node:crypto';
import type { Docker } from '../effects/docker.ts';
import { exists, makeBelow, readIfThere, remove, requireBelow, writeAtomic } from '../effects/files.ts';
import { makePrivate } from '../effects/folder.ts';
import type { ContainerSpec, Desired } from '../pure/desired.ts';
import { SitegenError } from '../pure/errors.ts';
import { idOut } from '../pure/ids.ts';
import { paths, type SiteNames } from '../pure/names.ts';
import { giveData, usersOf } from './data-ids.ts';
import { enforceEgress } from './egress.ts';
import { originsOf, type ImageOrigin } from './image-of.ts';
import type { Deps } from './machine.ts';
import { createProcess } from './process.ts';
import { createProject } from './project.ts';
import type { LoadedSite } from './settings.ts';

/**
 * Creates a site's container, or what its program needs without one, and writes down which one it is: unless its first start has something
 * to do, which is when that is written down.
 * @throws SitegenError also when a link stands where a directory is to be mounted: an earlier
 *   container may have made it, and Docker would follow it out of the site's data
 */
export async function createContainer(docker: Pick<Docker, 'create' | 'remove' | 'makeNetwork' | 'join' | 'containerRoot'>, want: Desired, report?: (line: string) => void): Promise<string> {
  const { domain } = want.names;
  if (want.missingSecrets.length > 0) throw new SitegenError(`${domain}: ${want.missingSecrets.join(', ')} of its app must be made first`, { hint: `run: sitegen apply ${domain}` });
  for (const directory of want.dataDirs) await requireBelow(paths.stateDir, directory);
  // It may have come from a backup, or from a time when Docker mapped users otherwise.
  if (!want.process && want.dataDirs.length > 0 && await giveData(want.names, await docker.containerRoot())) report?.(`${domain}: its data was given to the users that its containers have on this machine now`);
  const id = await make(docker, want);
  // A user of a program that was made anew has another number.
  await enforceEgress(want, report);
  // Whatever kept the former one from starting may be mended.
  await remove(want.names.failedFile);
  const pending = await exists(want.names.pendingFile);
  if (want.launches || pending || await formerImage(want) !== undefined) await remove(want.names.cidFile);
  else await writeAtomic({ path: want.names.cidFile, content: `${id}\n` });
  // Data from a time when the app had nothing to do for another image counts as this one's.
  if (want.upgrades && !pending && await readIfThere(want.names.imageFile) === undefined) await recordImage(want);
  return id;
}

async function make(docker: Pick<Docker, 'create' | 'remove' | 'makeNetwork' | 'join'>, want: Desired): Promise<string> {
  if (want.process) return createProcess(want, want.process);
  if (want.project) return createProject(docker, want, want.project);
  if (!want.container) throw new SitegenError(`${want.names.domain}: it has no container`);
  return docker.create(want.names.container, want.container);
}

/** A site's image, as far as its data has to do with it. */
export type ImageUse = Pick<Desired, 'upgrades' | 'names'> & { container: Pick<ContainerSpec, 'Image'> | undefined };

/** The image that a site's data was last used with, when its app has something to do because it is another now. */
export async function formerImage(want: ImageUse): Promise<string | undefined> {
  if (!want.upgrades || !want.container) return undefined;
  const former = (await readIfThere(want.names.imageFile))?.trim();
  return former === want.container.Image ? undefined : former;
}

/** Writes down that a site's data is its image's. */
export async function recordImage({ names, container }: Pick<ImageUse, 'names' | 'container'>): Promise<void> {
  if (!container) return;
  await makePrivate(names.metaDir);
  await writeAtomic({ path: names.imageFile, content: `${container.Image}\n`, mode: 0o600 });
}

/**
 * Makes a directory of a site's data where it is missing, for whoever is to own it.
 * @param placeOf where something of the site's directory is, when that is not in its own place yet
 */
export async function makeDataDir({ owners, names: { usersFile } }: Pick<Desired, 'owners'> & { names: Pick<SiteNames, 'usersFile'> }, directory: string, placeOf = (own: string) => own): Promise<void> {
  const { root } = await usersOf({ usersFile: placeOf(usersFile) });
  const { uid, gid } = owners.get(directory) ?? { uid: 0, gid: 0 };
  await makeBelow(paths.stateDir, placeOf(directory), { uid: idOut(uid, root.uid), gid: idOut(gid, root.gid) });
}

/** Removes a site's container, and what was written down of it. */
export async function removeContainer(docker: Pick<Docker, 'remove'>, names: SiteNames): Promise<void> {
  await docker.remove(names.container, names.domain);
  await remove(names.cidFile);
}

/** An image that a site is made of. */
export interface PlannedImage {
  origin: ImageOrigin;
  /** Its size; undefined when it has to be built, loaded or pulled first. */
  bytes: number | undefined;
}

/** The images of a site, and which of them are there. */
export async function plannedImages({ docker }: { docker: Pick<Docker, 'imageState'> }, loaded: Pick<LoadedSite, 'origin' | 'site'>): Promise<PlannedImage[]> {
  const images: PlannedImage[] = [];
  for (const origin of originsOf(loaded)) images.push({ origin, bytes: (await docker.imageState(origin.reference))?.bytes });
  return images;
}

/**
 * Makes an image available, and all that a Compose project has: builds, loads or pulls what is missing.
 * @returns true when one was missing
 */
export async function ensureImage(deps: Pick<Deps, 'docker' | 'report'>, loaded: Pick<LoadedSite, 'origin' | 'site'>): Promise<boolean> {
  let missing = false;
  for (const origin of originsOf(loaded)) {
    if (await deps.docker.hasImage(origin.reference)) continue;
    missing = true;
    await fetchImage(deps, origin);
  }
  return missing;
}

/**
 * Builds, loads or pulls an image, be it there or not, and writes down that it is ours to remove.
 * @param fresh builds it anew, of the newest base and packages
 */
export async function fetchImage({ docker, report }: Pick<Deps, 'docker' | 'report'>, origin: ImageOrigin, fresh = false): Promise<void> {
  const { reference } = origin;
  if (origin.way === 'build') {
    report(`building image ${reference}`);
    await docker.build(reference, origin.context, { base: origin.base, fresh });
  } else if (origin.way === 'tar') {
    report(`loading image ${reference} from ${origin.file}`);
    await docker.load(origin.file);
    if (!await docker.hasImage(reference)) throw new SitegenError(`${origin.file} has no image called ${reference}`, { hint: 'see what is in it: docker load --input FILE' });
  } else {
    report(`pulling image ${reference}`);
    await docker.pull(reference, report);
  }
  await writeAtomic({ path: imageRecord(reference), content: `${reference}\n` });
}

/** The file that says that an image came by us. */
export function imageRecord(reference: string): string {
  return `${paths.imagesDir}/${createHash('sha256').update(reference).digest('hex').slice(0, 32)}`;
}
