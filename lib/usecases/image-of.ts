import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import fs from 'node:fs/promises';
import path from 'node:path';
import type { ContextFile } from '../effects/docker/images.ts';
import { imagesOf } from '../pure/compose/project.ts';
import { SitegenError } from '../pure/errors.ts';
import type { ImageSource, Site } from '../pure/site.ts';
import { filesBelow, type App } from './apps.ts';

/** What Docker calls the image of a site, and how it is had where it is missing. */

export type ImageOrigin =
  | { way: 'pull'; reference: string }
  | { way: 'tar'; reference: string; file: string }
  | { way: 'build'; reference: string; context: readonly ContextFile[]; base: string | undefined };

/**
 * Finds out where a site's image comes from.
 * @param app the site's, if it has one: its folder may be what is built
 * @throws SitegenError when a file that it is built from is missing
 */
export async function originOf(source: ImageSource, app: App | undefined): Promise<ImageOrigin> {
  if ('reference' in source) {
    const { reference, tar } = source;
    return tar === undefined ? { way: 'pull', reference } : { way: 'tar', reference, file: tar };
  }
  const { build, base, hostFiles, pin } = source;
  const directory = build === '.' ? (app?.directory ?? build) : build.replace(/\/+$/, '');
  const context = await readContext(directory, hostFiles);
  if (!context.some(({ name }) => name === 'Dockerfile')) throw new SitegenError(`${directory} has no Dockerfile, and an image is to be built from it`);
  const hash = await hashOf(context, base);
  // A tag of its own for each version of the packages in it, so that the one before is still there.
  return { way: 'build', reference: `sitegen/${source.app ?? nameOf(directory)}:${hash}${pin === undefined ? '' : `-${pin}`}`, context, base };
}

/** All images of a site: of a Compose project those of all services, else the one that it has, if any. */
export function originsOf({ origin, site: { workload } }: { origin: ImageOrigin | undefined; site: Pick<Site, 'workload'> }): ImageOrigin[] {
  if (workload?.project) return imagesOf(workload.project).map((reference) => ({ way: 'pull', reference }));
  return origin ? [origin] : [];
}

/** A folder's name as Docker takes it. */
function nameOf(directory: string): string {
  return path.basename(directory).toLowerCase().replaceAll(/[^a-z0-9]+/g, '-').replaceAll(/^-|-$/g, '') || 'image';
}

async function readContext(directory: string, hostFiles: Readonly<Record<string, string>>): Promise<ContextFile[]> {
  const files: ContextFile[] = await filesBelow(directory);
  for (const [name, hostFile] of Object.entries(hostFiles)) {
    const status = await fs.stat(hostFile).catch((error: unknown) => {
      throw new SitegenError(`${hostFile} is missing, and the image is built from it`, { hint: 'run install.sh again', cause: error });
    });
    files.push({ name, hostFile, size: status.size, mode: 0o755 });
  }
  return files.sort((a, b) => (a.name < b.name ? -1 : 1));
}

async function hashOf(files: readonly ContextFile[], base: string | undefined): Promise<string> {
  const hash = createHash('sha256');
  if (base !== undefined) hash.update(`base ${base}\0`);
  for (const file of files) {
    hash.update(`${file.name}\0${file.mode}\0`);
    if ('content' in file) hash.update(file.content);
    else for await (const chunk of createReadStream(file.hostFile)) hash.update(chunk as Buffer);
  }
  return hash.digest('hex').slice(0, 12);
}
