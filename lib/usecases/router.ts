import { exists, linkInto, readIfThere, remove } from '../effects/files.ts';
import { withLock } from '../effects/lock.ts';
import { wildcardListeners } from '../effects/network.ts';
import { connectRouter, routerRuns } from '../effects/router.ts';
import type { Systemd } from '../effects/systemd.ts';
import { addressAt } from '../pure/addresses.ts';
import { namesSaid, wwwCounterpart } from '../pure/entry.ts';
import { SitegenError } from '../pure/errors.ts';
import { parseUsers } from '../pure/haproxy.ts';
import { paths, router } from '../pure/names.ts';
import { changedEntries, entriesOf, mapNames, noEntries, ownerOfEntry, withEntries, withoutOthers, type MapEntries } from '../pure/routes.ts';
import type { DefaultsFile, SiteFile } from '../pure/schema.ts';
import { hasAddress, rangesOf, type Site } from '../pure/site.ts';
import { ensureSelfSigned } from './certs.ts';
import { differing, differingDropIns, filesOf, readMaps, writeChecked, writeDropIns } from './router-files.ts';
import { correct, driftOf, runningMaps } from './router-maps.ts';
import { ownerOf, type LoadedSite } from './settings.ts';

/** One site as the router is to know it. */
export interface Published {
  file: SiteFile;
  site: Site;
  entries: MapEntries;
}

/** What a change of the router needs. */
export interface RouterChange {
  defaults: DefaultsFile;
  /** Sites that are to be known as given here. */
  published: readonly Published[];
  /** Domains whose entries are replaced: those of `published`, and those that go; undefined for all there are. */
  domains: ReadonlySet<string> | undefined;
  /** With all: domains that keep what they have, as their settings cannot be read. */
  keep?: ReadonlySet<string> | undefined;
}

/** What was done, or would be. */
export interface RouterResult {
  /** About the router itself, a line each. */
  lines: string[];
  /** Entries of sites that came and went. */
  changes: { domain: string; text: string }[];
}

/**
 * What the router is to know of some sites.
 * @param offsets of the sites' addresses, by domain
 * @param all whether `sites` are all there are; otherwise the files of others are asked for names
 * @param leaving a site that is about to be removed, and claims nothing any more
 */
export async function publishedOf(sites: readonly LoadedSite[], offsets: ReadonlyMap<string, number>, defaults: DefaultsFile, all: boolean, leaving?: string): Promise<Published[]> {
  const ranges = rangesOf(defaults);
  const named = new Set(sites.flatMap(({ site }) => namesSaid(site)));
  return Promise.all(sites.map(async ({ site, file }) => {
    const other = site.entry.www === 'none' ? undefined : wwwCounterpart(site.domain);
    const free = other !== undefined && !named.has(other) && (all || [undefined, leaving].includes((await ownerOf([other], site.domain))?.owner));
    const offset = offsets.get(site.domain);
    const address = hasAddress(site) && offset !== undefined ? addressAt(offset, ranges).site : '';
    return { file, site, entries: entriesOf(site, address, free ? other : undefined) };
  }));
}

/**
 * Makes files, maps and the running router equal to the settings. Most changes need no reload;
 * those that do are said, and lose no request.
 * @param dryRun only says what would be done
 */
export async function syncRouter(systemd: Systemd, change: RouterChange, dryRun = false): Promise<RouterResult> {
  const { defaults } = change;
  if (defaults.router?.enabled === false) return { lines: await switchOff(systemd, dryRun), changes: [] };
  const before = await readMaps();
  const replaced = change.domains ?? ownersIn(before, change.keep);
  const said = new Set(change.published.flatMap(({ site }) => namesSaid(site)));
  const now = withoutOthers(merge(change.published.map(({ entries }) => entries)), before, replaced, said);
  const after = withEntries(before, replaced, now);
  const users = await usersAfter(change, replaced);
  const files = await filesOf(defaults, after, users);
  const changed = await differing(files);
  const dropIns = await differingDropIns(defaults);
  const constant = changed.filter(({ path }) => !path.startsWith(`${router.mapsDir}/`));
  const runs = await routerRuns();
  const lines: string[] = [];
  const changes = changedEntries(before, after);
  // An apply that was killed, or whose reload failed, has left it to this one.
  const stale = runs && (constant.length > 0 || await exists(router.unread));
  const running = runs && !stale ? await runningMaps(connectRouter()) : undefined;
  const drift = running ? driftOf(running, before) : 0;
  if (dryRun) {
    lines.push(...[...constant, ...dropIns].map(({ path }) => `router: change ${path}`));
    if (!runs) lines.push(`router: start ${router.unit}`);
    else if (stale) lines.push(`router: reload ${router.unit}, which loses no request`);
    if (drift > 0) lines.push(`router: correct ${drift} entries of its maps, which are not as their files say`);
    return { lines, changes };
  }

  // Without any certificate it does not start, nor is its configuration right; one that runs has it.
  if (!running) lines.push(...await ensureSelfSigned());
  await writeChecked(files, changed);
  await writeDropIns(systemd, dropIns, lines);
  for (const unit of [router.socketUnit, router.unit]) await linkInto(wantsOf(unit), [`${paths.sharedUnitsDir}/${unit}`]);
  if (running) {
    await correct(connectRouter(), running, after);
    if (drift > 0) lines.push(`router: corrected ${drift} entries of its maps, which were not as their files say`);
  } else if (!runs) {
    await startRouter(systemd);
    await remove(router.unread);
    lines.push(`router: started ${router.unit}`);
  } else {
    await reloadRouter(systemd);
    const files = constant.map(({ path }) => path.slice(path.lastIndexOf('/') + 1)).join(', ');
    lines.push(`router: reloaded, as ${files === '' ? 'its files' : files} changed; no request is lost by that`);
  }
  return { lines, changes };
}

/**
 * Reloads the router and waits until the new process answers. Certificates that come meanwhile wait:
 * one could be told to the old process after the new one has read its file.
 * @throws SitegenError when its configuration is refused
 */
export async function reloadRouter(systemd: Pick<Systemd, 'reloadUnit'>): Promise<void> {
  await withLock(paths.certsLock, {}, () => reload(systemd));
  await remove(router.unread);
}

async function reload(systemd: Pick<Systemd, 'reloadUnit'>): Promise<void> {
  const api = connectRouter();
  const pid = async () => /^Pid: (\d+)/m.exec(await api.show('show info').catch(() => ''))?.[1];
  const old = await pid();
  await systemd.reloadUnit(router.unit);
  const end = Date.now() + 30_000;
  for (let now = await pid(); now === undefined || now === old; now = await pid()) {
    if (Date.now() > end) throw new SitegenError(`${router.unit} was not reloaded within 30 s`, { hint: `look at: journalctl -u ${router.unit} -n 30` });
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function merge(all: readonly MapEntries[]): MapEntries {
  const result = noEntries();
  for (const name of mapNames) for (const entries of all) for (const [key, value] of entries[name]) result[name].set(key, value);
  return result;
}

/** Domains that have entries, but for some. */
function ownersIn(maps: MapEntries, except: ReadonlySet<string> = new Set()): Set<string> {
  const owners = mapNames.flatMap((name) => [...maps[name].values()].map((value) => ownerOfEntry(value)));
  return new Set(owners.filter((owner) => !except.has(owner)));
}

async function usersAfter({ published }: RouterChange, replaced: ReadonlySet<string>): Promise<Map<string, string>> {
  const before = parseUsers((await readIfThere(router.users)) ?? '');
  const users = new Map([...before].filter(([name]) => !replaced.has(name.slice(0, name.indexOf('/')))));
  for (const { site } of published) {
    if (site.enabled) for (const { name, hash } of site.entry.users) users.set(`${site.domain}/${name}`, hash);
  }
  return users;
}

/** A web server that was there before is why the router usually cannot start. */
async function startRouter(systemd: Systemd): Promise<void> {
  try {
    await systemd.start(router.socketUnit);
  } catch (error) {
    const others = [...new Set([...await wildcardListeners(80), ...await wildcardListeners(443)])];
    if (others.length === 0) throw error;
    throw new SitegenError(`the router cannot listen: ${others.join(', ')} has port 80 or 443`, {
      hint: `stop it and run "sitegen apply"; or, to go without the router, set router.enabled to false in ${paths.defaultsFile}`, cause: error,
    });
  }
  await systemd.start(router.unit);
}

async function switchOff(systemd: Systemd, dryRun: boolean): Promise<string[]> {
  const units = [router.socketUnit, router.unit];
  const up = (await systemd.list(units)).some(({ activeState }) => !['inactive', 'failed'].includes(activeState));
  // A router that could never start would take the ports at the next boot, before their owner does.
  const linked = await Promise.all(units.map((unit) => exists(`${wantsOf(unit)}/${unit}`)));
  if (!up && !linked.includes(true)) return [];
  if (!dryRun) {
    for (const unit of units) await systemd.stop(unit);
    for (const unit of units) await systemd.resetFailed(unit);
    for (const unit of units) await remove(`${wantsOf(unit)}/${unit}`);
  }
  return [`router: ${dryRun ? 'stop' : 'stopped'}, as router.enabled is false`];
}

/** Where a unit is linked to start at boot. */
function wantsOf(unit: string): string {
  return unit.endsWith('.socket') ? paths.enabledDir : paths.enabledServicesDir;
}

/** Domains of the sites that would have one of some names by implication. */
export function neighbours(names: readonly string[]): string[] {
  const others = new Set(names.map((name) => wwwCounterpart(name)));
  return [...others].filter((other) => other !== undefined && !names.includes(other)) as string[];
}
