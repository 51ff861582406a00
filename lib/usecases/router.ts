import { execFile } from 'node:child_process';
import fs from 'node:fs/promises';
import { promisify } from 'node:util';
import { exists, linkInto, readIfThere, remove, writeAtomic, type FileToWrite } from '../effects/files.ts';
import { wildcardListeners } from '../effects/network.ts';
import { connectRouter, routerRuns, type Router } from '../effects/router.ts';
import type { Systemd } from '../effects/systemd.ts';
import { addressAt } from '../pure/addresses.ts';
import { wwwCounterpart } from '../pure/entry.ts';
import { reasonOf, SitegenError } from '../pure/errors.ts';
import { builtInRouter, parseUsers, routerConfig, routerDropIns, usersConfig } from '../pure/haproxy.ts';
import { mapFile, paths, router, shared } from '../pure/names.ts';
import { entriesOf, mapNames, mapText, noEntries, ownerOfEntry, parseMap, runtimeMaps, withEntries, type MapEntries } from '../pure/routes.ts';
import type { DefaultsFile, SiteFile } from '../pure/schema.ts';
import { hasAddress, rangesOf, type Site } from '../pure/site.ts';
import { ensureSelfSigned, routerOwner } from './certs.ts';
import { ownerOf, templatesDir, type LoadedSite } from './settings.ts';

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

const execute = promisify(execFile);

/** From here on one command for a whole map is less work than one an entry. */
const many = 40;

/**
 * What the router is to know of some sites.
 * @param offsets of the sites' addresses, by domain
 * @param all whether `sites` are all there are; otherwise the files of others are asked for names
 * @param leaving a site that is about to be removed, and claims nothing any more
 */
export async function publishedOf(sites: readonly LoadedSite[], offsets: ReadonlyMap<string, number>, defaults: DefaultsFile, all: boolean, leaving?: string): Promise<Published[]> {
  const ranges = rangesOf(defaults);
  const named = new Set(sites.flatMap(({ site }) => [site.domain, ...site.aliases, ...site.redirects]));
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
 * @returns what was done, a line each
 */
export async function syncRouter(systemd: Systemd, change: RouterChange, dryRun = false): Promise<string[]> {
  const { defaults } = change;
  if (defaults.router?.enabled === false) return switchOff(systemd, dryRun);
  const before = await readMaps();
  const now = merge(change.published.map(({ entries }) => entries));
  const replaced = change.domains ?? ownersIn(before, change.keep);
  const after = withEntries(before, replaced, now);
  const users = await usersAfter(change, replaced);
  const files = await filesOf(defaults, after, users);
  const changed = await differing(files);
  const dropIns = await differingDropIns(defaults);
  const constant = changed.filter(({ path }) => !path.startsWith(`${router.mapsDir}/`));
  const runs = await routerRuns();
  const lines: string[] = [];
  if (dryRun) {
    lines.push(...changed.map(({ path }) => `router: change ${path}`), ...dropIns.map(({ path }) => `router: change ${path}`));
    if (!runs) lines.push(`router: start ${router.unit}`);
    else if (constant.length > 0) lines.push(`router: reload ${router.unit}, which loses no request`);
    return runs && constant.length === 0 ? [...lines, ...await correct(connectRouter(), after, change.domains, true)] : lines;
  }

  // Without any certificate it does not start.
  lines.push(...await ensureSelfSigned());
  await writeChecked(files, changed);
  await writeDropIns(systemd, dropIns, lines);
  for (const unit of [router.socketUnit, router.unit]) await linkInto(wantsOf(unit), [`${paths.unitsDir}/${unit}`]);
  if (!runs) {
    await startRouter(systemd);
    lines.push(`router: started ${router.unit}`);
  } else if (constant.length > 0) {
    await reloadRouter(systemd);
    lines.push(`router: reloaded, as ${constant.map(({ path }) => path.slice(path.lastIndexOf('/') + 1)).join(', ')} changed; no request is lost by that`);
  } else {
    lines.push(...await correct(connectRouter(), after, change.domains, false));
  }
  return lines;
}

/** Reloads the router and waits until the new process answers. @throws SitegenError when its configuration is refused */
export async function reloadRouter(systemd: Pick<Systemd, 'reloadUnit'>): Promise<void> {
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

/** Maps as their files have them. */
export async function readMaps(): Promise<MapEntries> {
  const maps = noEntries();
  for (const name of mapNames) maps[name] = parseMap((await readIfThere(mapFile(name))) ?? '');
  return maps;
}

/** Text of the configuration as it would be written; for `sitegen router config`. */
export async function currentConfig(defaults: DefaultsFile): Promise<string> {
  const maps = await readMaps();
  const [config] = await filesOf(defaults, maps, parseUsers((await readIfThere(router.users)) ?? ''));
  return config?.content ?? '';
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

/** All files that the router reads, but for certificates; the configuration is the first. */
async function filesOf(defaults: DefaultsFile, maps: MapEntries, users: ReadonlyMap<string, string>): Promise<FileToWrite[]> {
  const directory = `${templatesDir}/router`;
  const [template, logFormat] = await Promise.all([fs.readFile(`${directory}/haproxy.cfg.mustache`, 'utf8'), fs.readFile(`${directory}/log-format.txt`, 'utf8')]);
  const headers = new Set([...maps.headers.keys()].map((key) => key.slice(key.indexOf('|') + 1)));
  const config = routerConfig(template, logFormat.trim(), defaults.router, headers, `${directory}/pages`, await hasIpv6());
  return [
    { path: router.config, content: config },
    // HAProxy reads it as its own user, and hashed passwords are nobody else's.
    { path: router.users, content: usersConfig(users), mode: 0o600, owner: await routerOwner() },
    { path: router.probes, content: (defaults.router?.probes ?? builtInRouter.probes).map((path) => `${path}\n`).join('') },
    { path: router.upstreamCa, content: await authorities(defaults.router?.upstreamCa) },
    ...mapNames.map((name) => ({ path: mapFile(name), content: mapText(maps[name]) })),
  ];
}

/** What https upstreams are checked with: the system's authorities, and one more file. */
async function authorities(own: string | undefined): Promise<string> {
  const system = (await readIfThere('/etc/ssl/certs/ca-certificates.crt')) ?? '';
  if (own === undefined) return system;
  const text = await readIfThere(own);
  if (text === undefined) throw new SitegenError(`router.upstreamCa: ${own} does not exist`, { hint: `correct it in ${paths.defaultsFile}` });
  return `${system}${text}`;
}

async function differing(files: readonly FileToWrite[]): Promise<FileToWrite[]> {
  const changed: FileToWrite[] = [];
  for (const file of files) if (await readIfThere(file.path) !== file.content) changed.push(file);
  return changed;
}

/** Writes files; what HAProxy would refuse takes nobody's place, and nothing changes. */
async function writeChecked(files: readonly FileToWrite[], changed: readonly FileToWrite[]): Promise<void> {
  const needed = [...mapNames, ...runtimeMaps].map((name) => mapFile(name));
  for (const path of [...needed, router.certList]) if (!await exists(path)) await writeAtomic({ path, content: '' });
  const constant = files.filter(({ path }) => !path.startsWith(`${router.mapsDir}/`));
  if (changed.some((file) => constant.includes(file))) await check(constant);
  await writeAtomic(...changed);
}

/** @throws SitegenError with HAProxy's own words when it would refuse these files */
async function check(files: readonly FileToWrite[]): Promise<void> {
  const trial = (path: string) => `${path}.new`;
  const trials = files.map((file) => ({
    ...file,
    path: trial(file.path),
    content: file.path !== router.config ? file.content : file.content
      // Descriptors are the service's own; what is checked does not bind anything.
      .replaceAll(/bind fd@(\d)/g, `bind unix@${paths.runDir}/trial-$1.sock`)
      .replaceAll(router.probes, trial(router.probes)).replaceAll(router.upstreamCa, trial(router.upstreamCa)),
  }));
  try {
    await writeAtomic(...trials);
    await execute('haproxy', ['-c', '-f', trial(router.config), '-f', trial(router.users)]);
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    const said = `${stderr}${stdout}`.split('\n').filter((line) => /ALERT|error/i.test(line)).slice(0, 3).join('; ');
    throw new SitegenError(`HAProxy refuses the configuration, and the old one stays: ${said || reasonOf(error)}`, { cause: error });
  } finally {
    for (const { path } of trials) await remove(path);
  }
}

/** Makes the running maps equal to the wanted ones, where they differ. */
async function correct(api: Router, after: MapEntries, domains: ReadonlySet<string> | undefined, dryRun: boolean): Promise<string[]> {
  const lines: string[] = [];
  // Names come last, as they let visitors in, and go first.
  const differences = await Promise.all(mapNames.map(async (name) => {
    const running = await api.map(mapFile(name));
    const wanted = after[name];
    return { name, wanted, set: [...wanted].filter(([key, value]) => running.get(key) !== value), gone: [...running.keys()].filter((key) => !wanted.has(key)) };
  }));
  const byOrder = differences.sort((a, b) => Number(a.name === 'names') - Number(b.name === 'names'));
  const repaired = domains === undefined ? differences.reduce((sum, { set, gone }) => sum + set.length + gone.length, 0) : 0;
  if (repaired > 0) lines.push(`router: ${dryRun ? 'correct' : 'corrected'} ${repaired} entries of its maps`);
  if (dryRun) return lines;
  for (const { name, gone } of [...byOrder].reverse()) if (gone.length <= many) for (const key of gone) await api.deleteEntry(mapFile(name), key);
  for (const { name, set, gone, wanted } of byOrder) {
    if (set.length + gone.length > many) await api.replaceMap(mapFile(name), wanted);
    else for (const [key, value] of set) await api.setEntry(mapFile(name), key, value);
  }
  return lines;
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
  const up = (await systemd.list(units)).filter(({ activeState }) => activeState === 'active');
  if (up.length === 0) return [];
  if (!dryRun) {
    for (const unit of units) await systemd.stop(unit);
    for (const unit of units) await remove(`${wantsOf(unit)}/${unit}`);
  }
  return [`router: ${dryRun ? 'stop' : 'stopped'}, as router.enabled is false`];
}

/** Where a unit is linked to start at boot. */
function wantsOf(unit: string): string {
  return unit.endsWith('.socket') ? paths.enabledDir : paths.enabledServicesDir;
}

async function differingDropIns(defaults: DefaultsFile) {
  const wanted = routerDropIns(defaults.router, await hasIpv6());
  const different: typeof wanted = [];
  for (const file of wanted) if (await readIfThere(file.path) !== file.content) different.push(file);
  return different;
}

async function writeDropIns(systemd: Systemd, files: readonly { path: string; content: string | undefined }[], lines: string[]): Promise<void> {
  if (files.length === 0) return;
  for (const { path, content } of files) await (content === undefined ? remove(path) : writeAtomic({ path, content }));
  await systemd.reload();
  for (const { path } of files) {
    const unit = path.includes(`/${router.socketUnit}.d/`) ? router.socketUnit : shared.metricsSocketUnit;
    if ((await systemd.list([unit])).some(({ activeState }) => activeState === 'active')) await systemd.restart(unit);
    lines.push(`router: ${unit} listens anew`);
  }
}

async function hasIpv6(): Promise<boolean> {
  return exists('/proc/net/if_inet6');
}

/** Domains whose entries a change of one site may touch: its own, and that of the site which has its other name by implication. */
export function neighbours(domain: string): string[] {
  const other = wwwCounterpart(domain);
  return other === undefined ? [domain] : [domain, other];
}
