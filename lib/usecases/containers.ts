import type { Docker } from '../effects/docker.ts';
import { exists, remove, requireBelow, writeAtomic } from '../effects/files.ts';
import type { Desired } from '../pure/desired.ts';
import { imagesOf } from '../pure/compose/project.ts';
import { SitegenError } from '../pure/errors.ts';
import { paths, type SiteNames } from '../pure/names.ts';
import type { Deps } from './machine.ts';
import { createProject } from './project.ts';
import type { LoadedSite } from './settings.ts';

/**
 * Creates a site's container, and writes down which one it is: unless its first start has something
 * to do, which is when that is written down.
 * @throws SitegenError also when a link stands where a directory is to be mounted: an earlier
 *   container may have made it, and Docker would follow it out of the site's data
 */
export async function createContainer(docker: Pick<Docker, 'create' | 'remove' | 'makeNetwork' | 'join'>, want: Desired): Promise<string> {
  if (!want.container) throw new SitegenError(`${want.names.domain}: it has no container`);
  for (const directory of want.dataDirs) await requireBelow(paths.stateDir, directory);
  const id = want.project ? await createProject(docker, want, want.project) : await docker.create(want.names.container, want.container);
  // Whatever kept the former one from starting may be mended.
  await remove(want.names.failedFile);
  if (want.launches || await exists(want.names.pendingFile)) await remove(want.names.cidFile);
  else await writeAtomic({ path: want.names.cidFile, content: `${id}\n` });
  return id;
}

/** Removes a site's container, and what was written down of it. */
export async function removeContainer(docker: Pick<Docker, 'remove'>, names: SiteNames): Promise<void> {
  await docker.remove(names.container, names.domain);
  await remove(names.cidFile);
}

/** Images of a site that Docker does not have. */
export async function missingImages({ docker }: { docker: Pick<Docker, 'hasImage'> }, { image, site }: Pick<LoadedSite, 'image' | 'site'>): Promise<string[]> {
  const { project } = site.workload ?? {};
  const missing: string[] = [];
  for (const each of project ? imagesOf(project) : [image]) if (!await docker.hasImage(each)) missing.push(each);
  return missing;
}

/**
 * Makes an image available, and all that a Compose project has: builds or pulls what is missing.
 * @returns true when one was missing
 */
export async function ensureImage(deps: Pick<Deps, 'docker' | 'report'>, loaded: Pick<LoadedSite, 'image' | 'app' | 'site'>): Promise<boolean> {
  const missing = await missingImages(deps, loaded);
  if (missing.length === 0) return false;
  if (loaded.app?.context.length) {
    deps.report(`building image ${loaded.image} of app ${loaded.app.name}`);
    await deps.docker.build(loaded.image, loaded.app.context);
    return true;
  }
  for (const image of missing) {
    deps.report(`pulling image ${image}`);
    await deps.docker.pull(image, deps.report);
  }
  return true;
}
