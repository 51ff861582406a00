import fs from 'node:fs/promises';
import { exists, readIfThere, remove, writeAtomic, type FileToWrite } from '../effects/files.ts';
import { complaintsOf } from '../effects/router.ts';
import type { Systemd } from '../effects/systemd.ts';
import { SitegenError } from '../pure/errors.ts';
import { adoptableNames } from '../pure/adopt.ts';
import { builtInRouter, nameserversIn, parseUsers, routerConfig, routerDropIns, usersConfig, type RouterHost } from '../pure/haproxy.ts';
import { mapFile, paths, router, shared } from '../pure/names.ts';
import { routerPages } from '../pure/page.ts';
import { mapNames, mapText, noEntries, parseMap, runtimeMaps, type MapEntries } from '../pure/routes.ts';
import type { DefaultsFile } from '../pure/schema.ts';
import { routerOwner } from './certs.ts';
import { templatesDir } from './apps.ts';

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

/** All files that the router reads, but for certificates; the configuration is the first. */
export async function filesOf(defaults: DefaultsFile, maps: MapEntries, users: ReadonlyMap<string, string>): Promise<FileToWrite[]> {
  const directory = `${templatesDir}/router`;
  const [template, logFormat] = await Promise.all([fs.readFile(`${directory}/haproxy.cfg.mustache`, 'utf8'), fs.readFile(`${directory}/log-format.txt`, 'utf8')]);
  const headers = new Set([...maps.headers.keys()].map((key) => key.slice(key.indexOf('|') + 1)));
  const config = routerConfig(template, logFormat.trim(), defaults.router, headers, await hostOf());
  return [
    { path: router.config, content: config },
    // HAProxy reads it as its own user, and hashed passwords are nobody else's.
    { path: router.users, content: usersConfig(users), mode: 0o600, owner: await routerOwner() },
    { path: router.probes, content: (defaults.router?.probes ?? builtInRouter.probes).map((path) => `${path}\n`).join('') },
    { path: router.adoptable, content: mapText(new Map(adoptableNames(defaults.adopt).map((name) => [name, 'adopt']))) },
    ...[...routerPages()].map(([name, content]) => ({ path: `${router.pagesDir}/${name}`, content })),
    { path: router.upstreamCa, content: await authorities(defaults.router?.upstreamCa) },
    ...mapNames.map((name) => ({ path: mapFile(name), content: mapText(maps[name]) })),
  ];
}

async function hostOf(): Promise<RouterHost> {
  return {
    ipv6: await hasIpv6(),
    pages: router.pagesDir,
    nameservers: nameserversIn((await readIfThere('/etc/resolv.conf')) ?? ''),
  };
}

/** What https upstreams are checked with: the system's authorities, and one more file. */
async function authorities(own: string | undefined): Promise<string> {
  const system = (await readIfThere('/etc/ssl/certs/ca-certificates.crt')) ?? '';
  if (own === undefined) return system;
  const text = await readIfThere(own);
  if (text === undefined) throw new SitegenError(`router.upstreamCa: ${own} does not exist`, { hint: `correct it in ${paths.defaultsFile}` });
  return `${system}${text}`;
}

/** Those of some files that are not on the disk as they should be. */
export async function differing(files: readonly FileToWrite[]): Promise<FileToWrite[]> {
  const changed: FileToWrite[] = [];
  for (const file of files) if (await readIfThere(file.path) !== file.content) changed.push(file);
  return changed;
}

/** Writes files; what HAProxy would refuse takes nobody's place, and nothing changes. Those that need a reload are marked. */
export async function writeChecked(files: readonly FileToWrite[], changed: readonly FileToWrite[]): Promise<void> {
  const needed = [...mapNames, ...runtimeMaps].map((name) => mapFile(name));
  for (const path of [...needed, router.certList]) if (!await exists(path)) await writeAtomic({ path, content: '' });
  const constant = files.filter(({ path }) => !path.startsWith(`${router.mapsDir}/`));
  if (changed.some((file) => constant.includes(file))) {
    await check(constant);
    await writeAtomic({ path: router.unread, content: '' });
  }
  await writeAtomic(...changed);
}

/** @throws SitegenError with HAProxy's own words when it would refuse these files */
async function check(files: readonly FileToWrite[]): Promise<void> {
  const trial = (path: string) => `${path}.new`;
  // Descriptors are the service's own; what is checked does not bind anything.
  const unbound = (config: string) => config.replaceAll(/bind fd@(\d)/g, `bind unix@${paths.runDir}/trial-$1.sock`);
  const tried = (config: string) => files.reduce((text, { path }) => text.replaceAll(path, trial(path)), unbound(config));
  const trials = files.map((file) => ({ ...file, path: trial(file.path), content: file.path === router.config ? tried(file.content) : file.content }));
  try {
    await writeAtomic(...trials);
    const complaints = await complaintsOf(trial(router.config), trial(router.users));
    if (complaints !== undefined) throw new SitegenError(`HAProxy refuses the configuration, and the old one stays: ${complaints}`);
  } finally {
    for (const { path } of trials) await remove(path);
  }
}

/** Drop-ins for the units that are not as they should be. */
export async function differingDropIns(defaults: DefaultsFile) {
  const wanted = routerDropIns(defaults.router, await hasIpv6());
  const different: typeof wanted = [];
  for (const file of wanted) if (await readIfThere(file.path) !== file.content) different.push(file);
  return different;
}

/** Writes or removes drop-ins, and lets their sockets listen anew. */
export async function writeDropIns(systemd: Systemd, files: readonly { path: string; content: string | undefined }[], lines: string[]): Promise<void> {
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

