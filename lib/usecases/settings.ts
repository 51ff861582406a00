import fs from 'node:fs/promises';
import { exists, namesIn, readIfThere, readMany } from '../effects/files.ts';
import { offsetOf, type Ranges } from '../pure/addresses.ts';
import { mayMention, parseDefaults, parseSite } from '../pure/config.ts';
import type { Templates } from '../pure/desired.ts';
import { namesSaid } from '../pure/entry.ts';
import { reasonOf, SitegenError } from '../pure/errors.ts';
import { loadApp, templatesDir, type App } from './apps.ts';
import { fencedSettings } from './fence.ts';
import { noSuchSite, settingsFiles } from './domains.ts';
import { originOf, type ImageOrigin } from './image-of.ts';
import { readableSites } from './read-sites.ts';
import { paths, siteNames } from '../pure/names.ts';
import { placesOf } from './process-places.ts';
import type { DefaultsFile, SiteFile } from '../pure/schema.ts';
import { appOf, rangesOf, resolve, type Site } from '../pure/site.ts';

/** A site's settings, read and resolved. */
export interface LoadedSite {
  site: Site;
  file: SiteFile;
  text: string;
  app: App | undefined;
  /** Docker's name of the image. */
  image: string;
  /** How the image is had; undefined for a site without one. */
  origin: ImageOrigin | undefined;
}

/** What was wrong with one of many sites. */
export interface Fault {
  domain: string;
  reason: string;
}

/** Everything below /etc/sitegen that applies to some sites. */
export interface Settings {
  defaults: DefaultsFile;
  ranges: Ranges;
  sites: readonly LoadedSite[];
  faults: readonly Fault[];
}

/** Reads `sitegen.yaml`; a missing file sets nothing. */
export async function loadDefaults(): Promise<DefaultsFile> {
  return parseDefaults((await readIfThere(paths.defaultsFile)) ?? '', paths.defaultsFile);
}

/**
 * Reads the settings of some sites, or of all. One bad file is a fault, not an error.
 * @param domains only these; one without settings is a fault
 */
export async function loadSettings(domains?: readonly string[]): Promise<Settings> {
  const defaults = await loadDefaults();
  const files = domains?.map((domain) => siteNames(domain).settingsFile) ?? await settingsFiles();
  const sites: LoadedSite[] = [];
  const faults: Fault[] = [];
  const apps = new Map<string, Promise<App>>();
  for (const [index, file] of files.entries()) {
    try {
      const text = await readIfThere(file);
      if (text === undefined) throw noSuchSite(domains?.[index] ?? file);
      sites.push(await loadSite(text, file, defaults, apps));
    } catch (error) {
      faults.push({ domain: domains?.[index] ?? domainAtLeast(file), reason: error instanceof SitegenError ? error.message : reasonOf(error) });
    }
  }
  return { defaults, ranges: rangesOf(defaults), sites, faults };
}

/** Resolves the settings in `text`, as if they were in `file`; of a site that another server has, as `fencedSettings` has them. */
export async function loadSite(text: string, file: string, defaults: DefaultsFile, apps = new Map<string, Promise<App>>()): Promise<LoadedSite> {
  return loadParsed(fencedSettings(parseSite(text, file)), text, defaults, apps);
}

/** The same of a site that is about to be this server's, whoever has it now. */
export async function loadOwnSite(text: string, file: string, defaults: DefaultsFile): Promise<LoadedSite> {
  return loadParsed(parseSite(text, file), text, defaults, new Map());
}

async function loadParsed(parsed: SiteFile, text: string, defaults: DefaultsFile, apps: Map<string, Promise<App>>): Promise<LoadedSite> {
  const name = appOf(parsed, defaults);
  let app: App | undefined;
  if (name !== undefined) {
    const loading = apps.get(name) ?? loadApp(name);
    apps.set(name, loading);
    app = await loading;
  }
  const site = await placesOf(resolve(parsed, app, defaults));
  const image = site.workload?.image;
  const origin = image && await originOf(image, app);
  return { site, file: parsed, text, app, image: origin?.reference ?? '', origin };
}

/** Reads the templates of a site's units. */
export async function loadTemplates(directory = templatesDir): Promise<Templates> {
  const read = (name: string) => fs.readFile(`${directory}/site/${name}.mustache`, 'utf8');
  const [socket, service, slice, appSlice, entrySlice, forward, job, listen, program, programSocket] = await Promise.all([read('socket'), read('service'), read('slice'), read('app-slice'), read('entry-slice'), read('forward'), read('job'), read('listen'), read('process'), read('process-socket')]);
  return { socket, service, slice, 'app-slice': appSlice, 'entry-slice': entrySlice, forward, job, listen, process: program, 'process-socket': programSocket };
}

/**
 * The other site that uses one of some domains as its name or alias, if any. Files that cannot
 * mean it are not parsed, so this stays quick with many sites.
 */
export async function ownerOf(domains: readonly string[], except: string): Promise<{ domain: string; owner: string } | undefined> {
  const own = siteNames(except).settingsFile;
  const others = await readableSites((text, path) => path !== own && domains.some((domain) => mayMention(text, domain)));
  for (const other of others) {
    const domain = domains.find((name) => namesSaid(other).includes(name));
    if (domain !== undefined) return { domain, owner: other.domain };
  }
  return undefined;
}

/**
 * Names that two sites claim. A site's main name is its own; of two aliases the one keeps it
 * that is set up already, so that a new file takes nothing from a running site.
 * @param all whether `sites` are all there are; otherwise the files of others are looked at too
 */
export async function nameClashes(sites: readonly LoadedSite[], all: boolean): Promise<Fault[]> {
  const files: Pick<SiteFile, 'domain' | 'aliases' | 'redirects'>[] = sites.map(({ file }) => file);
  const own = new Set(files.map(({ domain }) => domain));
  const names = files.flatMap((file) => namesSaid(file));
  // A file with a fault has no say; it is reported where it is applied itself.
  const others = all ? [] : await readableSites((text) => names.some((name) => mayMention(text, name)));
  files.push(...others.filter(({ domain }) => !own.has(domain)));
  const claims = new Map<string, string[]>();
  for (const file of files) for (const name of namesSaid(file)) claims.set(name, [...(claims.get(name) ?? []), file.domain]);
  const faults: Fault[] = [];
  for (const [name, domains] of claims) {
    if (domains.length < 2) continue;
    const ranked = await Promise.all(domains.map(async (domain) =>
      `${domain === name ? 0 : await exists(`${paths.unitsDir}/${siteNames(domain).socket}`) ? 1 : 2} ${domain}`));
    const [winner, ...losers] = ranked.sort().map((entry) => entry.slice(2));
    for (const domain of losers) if (own.has(domain)) faults.push({ domain, reason: `aliases: ${name} belongs to the site ${winner ?? ''}` });
  }
  return faults;
}

/** Offsets of the site addresses in use, by socket unit: read from the unit files, which is where they count. */
export async function takenOffsets(ranges: Ranges): Promise<Map<string, number>> {
  const taken = new Map<string, number>();
  const names = await namesIn(paths.unitsDir);
  const sockets = names.filter((unit) => /^site-.*\.socket$/.test(unit)).map((unit) => `${paths.unitsDir}/${unit}`);
  for (const { path: file, content } of readMany(sockets)) {
    const name = file.slice(paths.unitsDir.length + 1);
    const address = /^ListenStream=([\d.]+):/m.exec(content)?.[1];
    const offset = address === undefined ? undefined : offsetOf(address, ranges);
    if (offset !== undefined) taken.set(name, offset);
  }
  return taken;
}

function domainAtLeast(file: string): string {
  return (file.split('/').at(-1) ?? file).replace(/\.yaml$/, '');
}
