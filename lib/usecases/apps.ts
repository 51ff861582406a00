import fs from 'node:fs/promises';
import path from 'node:path';
import { exists, namesIn, readIfThere } from '../effects/files.ts';
import { parseApp } from '../pure/config.ts';
import { reasonOf, SitegenError } from '../pure/errors.ts';
import { paths } from '../pure/names.ts';
import type { AppFile } from '../pure/schema.ts';
import { imageSettings } from '../pure/schema-image.ts';

/** The apps that sites can be made of: those of the catalogue, and the admin's own, which stand in for them. */

/** Where templates and apps are; a checkout's own can be named for development. */
export const templatesDir = process.env['SITEGEN_TEMPLATES'] ?? `${paths.codeDir}/templates`;

export interface App {
  name: string;
  file: AppFile;
  /** Its folder, which a Dockerfile may be in. */
  directory: string;
}

/** An app for the list of them. */
export interface ListedApp {
  name: string;
  description: string;
  /** The admin has written it, or another one of this name. */
  own: boolean;
  /** Where its image comes from, in a few words. */
  image: string;
  /** Sitegen's own tests run it with the real image. */
  tested: boolean;
  warning: string | undefined;
  upstream: string | undefined;
  /** About how much its image takes on the disk. */
  size: string | undefined;
}

/**
 * Reads an app.
 * @throws SitegenError when there is none of the name, or its definition has a fault
 */
export async function loadApp(name: string): Promise<App> {
  for (const directory of foldersOf(name)) {
    const text = await readIfThere(`${directory}/app.yaml`);
    if (text !== undefined) return { name, file: parseApp(text, `${directory}/app.yaml`), directory };
  }
  throw new SitegenError(`there is no app "${name}"; there are: ${(await appNames()).join(', ')}`, { hint: 'see: sitegen apps' });
}

/** Reads all apps; one with a fault does not keep the others. */
export async function listApps(): Promise<{ apps: ListedApp[]; faults: { domain: string; reason: string }[] }> {
  const apps: ListedApp[] = [];
  const faults: { domain: string; reason: string }[] = [];
  for (const name of await appNames()) {
    try {
      const { file, directory } = await loadApp(name);
      const { description, tested = false, warning, upstream, size } = file;
      apps.push({ name, description, own: directory.startsWith(`${paths.appsDir}/`), image: imageText(file), tested, warning, upstream, size });
    } catch (error) {
      faults.push({ domain: name, reason: error instanceof SitegenError ? error.message : reasonOf(error) });
    }
  }
  return { apps, faults };
}

function imageText({ image = '' }: AppFile): string {
  const { pull, base, tar } = imageSettings(image);
  if (pull !== undefined) return pull;
  return tar === undefined ? `built here${base === undefined ? '' : ` on ${base}`}` : `from ${tar}`;
}

async function appNames(): Promise<string[]> {
  const names = new Set([...await namesIn(paths.appsDir), ...await namesIn(`${templatesDir}/apps`)]);
  const found: string[] = [];
  for (const name of [...names].sort()) {
    for (const folder of foldersOf(name)) {
      if (!await exists(path.join(folder, 'app.yaml'))) continue;
      found.push(name);
      break;
    }
  }
  return found;
}

function foldersOf(name: string): string[] {
  return [`${paths.appsDir}/${name}`, `${templatesDir}/apps/${name}`];
}

/** Files below a folder that an image is built from, with their modes; links are taken for what they lead to. */
export async function filesBelow(directory: string): Promise<{ name: string; content: Buffer; mode: number }[]> {
  const entries = await fs.readdir(directory, { recursive: true, withFileTypes: true }).catch((error: unknown) => {
    throw new SitegenError(`cannot read ${directory}, which an image is built from: ${reasonOf(error)}`, { cause: error });
  });
  const files: { name: string; content: Buffer; mode: number }[] = [];
  let bytes = 0;
  for (const entry of entries.filter((each) => each.isFile() && each.name !== 'app.yaml')) {
    const file = `${entry.parentPath ?? entry.path}/${entry.name}`;
    const { mode, size } = await fs.stat(file);
    bytes += size;
    if (bytes > maxBytes) throw new SitegenError(`${directory} has more than ${maxBytes / 1e6} MB, and an image is built from all of it`, { hint: 'move away what the Dockerfile does not need' });
    files.push({ name: file.slice(directory.length + 1), content: await fs.readFile(file), mode: (mode & 0o100) === 0 ? 0o644 : 0o755 });
  }
  return files;
}

const maxBytes = 200_000_000;
