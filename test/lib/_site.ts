import path from 'node:path';
import { addressAt, chooseOffset } from '../../lib/pure/addresses.ts';
import { parseApp, parseDefaults, parseSite } from '../../lib/pure/config.ts';
import { desired, type ContainerSpec, type Desired } from '../../lib/pure/desired.ts';
import { parseDomain, paths, siteNames } from '../../lib/pure/names.ts';
import { appOf, rangesOf, resolve, type Site, type Workload } from '../../lib/pure/site.ts';
import { loadTemplates } from '../../lib/usecases/settings.ts';

export const repository = path.resolve(import.meta.dirname, '../..');

/** The templates as they are shipped. */
export const templates = await loadTemplates(`${repository}/templates`);

/** What the admin wrote, as texts of YAML. */
export interface Written {
  site: string;
  defaults?: string;
  /** Definition of the app that the site uses; one without settings when not given. */
  app?: string;
  /** Path of the site's file; by its domain when not given. */
  file?: string;
}

/** Reads and resolves settings in the way that all commands do. */
export function resolveTexts({ site, defaults = '', app = 'description: an app\nimage: app\n', file }: Written): Site {
  const machine = parseDefaults(defaults, paths.defaultsFile);
  const settings = parseSite(site, file ?? fileOf(site));
  const name = appOf(settings, machine);
  return resolve(settings, name === undefined ? undefined : { name, file: parseApp(app, `${name}/app.yaml`) }, machine);
}

/** The file that a site's settings belong into; some file when its domain is not valid. */
function fileOf(site: string): string {
  const domain = /^domain: *"?([^\s"]+)/m.exec(site)?.[1] ?? '';
  try {
    return siteNames(parseDomain(domain)).settingsFile;
  } catch {
    return `${paths.sitesDir}/example.com.yaml`;
  }
}

/** Everything that settings make of a machine, at the address of the domain's own hash. */
export function desiredOf(written: Written): Desired {
  const site = resolveTexts(written);
  const ranges = rangesOf(parseDefaults(written.defaults ?? '', paths.defaultsFile));
  const address = addressAt(chooseOffset(site.domain, ranges, new Set()).offset, ranges);
  const image = site.workload?.image ?? { reference: '' };
  return desired(site, address, 'reference' in image ? image.reference : `sitegen/${image.app}:0123456789ab`, templates);
}

/** The container of a site that has one. */
export function containerOf(want: Desired): ContainerSpec {
  if (!want.container) throw new Error(`${want.names.domain} has no container`);
  return want.container;
}

/** The workload of a site that has one. */
export function workloadOf(site: Site): Workload {
  if (!site.workload) throw new Error(`${site.domain} has no container`);
  return site.workload;
}

/** The same site with another workload. */
export function withWorkload(site: Site, changes: Partial<Workload>): Site {
  return { ...site, workload: { ...workloadOf(site), ...changes } };
}

/** Content of the rendered unit of one kind. */
export function unitText(want: Desired, kind: 'socket' | 'service' | 'slice' | 'app-slice' | 'entry-slice' | 'process' | 'process-socket'): string {
  const name = { socket: want.names.socket, service: want.names.service, slice: want.names.slice, 'app-slice': want.names.appSlice, 'entry-slice': want.names.entrySlice, process: want.names.processUnit, 'process-socket': want.names.processSocket }[kind];
  return want.files.find((file) => file.path === `${paths.unitsDir}/${name}`)?.content ?? '';
}
