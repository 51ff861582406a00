import { createHash } from 'node:crypto';
import type { Ranges, SiteAddress } from './addresses.ts';
import { SitegenError } from './errors.ts';
import { processId, type SiteNames } from './names.ts';
import { paths } from './paths.ts';
import { escapeUnit, render, type View } from './render.ts';
import type { ProcessSettings } from './schema-process.ts';

/**
 * A site whose program runs without a container, as a service of systemd in the slice where a
 * container would be: what is made of its settings.
 */

/** Where a program listens. */
export interface Place {
  address: string;
  port: number;
}

/** What a program is started as. */
export interface ProcessSpec {
  argv: readonly string[];
  cwd: string;
  env: Readonly<Record<string, string>>;
  listenFds: boolean;
}

/** A setting of a service, as it stands in a unit and as systemd-run takes it. */
export type Setting = readonly [name: string, value: string];

/** Everything that systemd has to know of a site's program. */
export interface DesiredProcess {
  unit: string;
  user: string;
  /** What it may do and see, and what else runs for the site has to be given too. */
  sandbox: readonly Setting[];
}

/**
 * The loopback address of a site's program: all of 127/8 is this host's, so that each has one of its
 * own without a route, and two may listen on the same port.
 * @param container the address that the site's container would have, or a range of them; all are of one range within a /8
 */
export function loopbackOf(container: string): string {
  return container.replace(/^\d+/, '127');
}

/** A site's addresses, with that of its program where it has no container. */
export function addressFor(workload: { program: object | undefined } | undefined, address: SiteAddress): SiteAddress {
  return workload?.program ? { ...address, container: loopbackOf(address.container) } : address;
}

/**
 * Decides what a site's program is started as.
 * @param others places of other sites' programs, by domain
 * @param secrets environment beside that of the settings
 * @throws SitegenError for a variable that nobody has
 */
export function resolveProcess(settings: ProcessSettings, names: Pick<SiteNames, 'domain' | 'dataDir'>, own: Place, others: ReadonlyMap<string, Place>, secrets: Readonly<Record<string, string>> = {}): ProcessSpec {
  const fill = (text: string) => substitute(text, names.domain, own, others);
  const { command = [], script, args = [], cwd = '.', env = {}, listenFds = false } = settings;
  const given = script === undefined ? command : ['/bin/sh', '-ec', script, 'script'];
  const filled = Object.fromEntries(Object.entries({ PORT: '${port}', HOST: '${address}', HOME: names.dataDir, ...env }).map(([name, text]) => [name, fill(text)]));
  return {
    argv: [...given, ...args].map((text) => fill(text)),
    cwd: cwd.startsWith('/') ? cwd : cwd === '.' ? names.dataDir : `${names.dataDir}/${cwd}`,
    env: { ...filled, ...secrets },
    listenFds,
  };
}

const variable = /\$\{(?:([A-Za-z0-9.-]+)\.)?(port|address)\}/g;

/** Other variables stay as they are: they are the program's, or its shell's. */
function substitute(text: string, domain: string, own: Place, others: ReadonlyMap<string, Place>): string {
  return text.replaceAll(variable, (whole, other: string | undefined, what: keyof Place) => {
    const place = other === undefined || other === domain ? own : others.get(other);
    if (!place) throw new SitegenError(`${domain}: process: ${whole}: there is no site ${other ?? ''} with a program of its own`);
    return String(place[what]);
  });
}

/** Domains of other sites that a program's settings name as `${DOMAIN.port}` or `${DOMAIN.address}`. */
export function sitesNamed({ command = [], script = '', args = [], env = {} }: ProcessSettings): string[] {
  const found = [...command, script, ...args, ...Object.values(env)].flatMap((text) => [...text.matchAll(variable)].flatMap(([, other]) => (other === undefined ? [] : [other])));
  return [...new Set(found)];
}

/**
 * What a site's program may do and see. Every program that runs for such a site has it.
 * @param reachable places of other programs that it may connect to
 */
export function sandboxOf(names: SiteNames, spec: Pick<ProcessSpec, 'cwd' | 'listenFds'>, own: { site: string } & Place, ranges: Ranges, reachable: readonly Place[]): Setting[] {
  return [
    ['User', userOf(names)],
    ['WorkingDirectory', spec.cwd],
    ['EnvironmentFile', names.environmentFile],
    ['UMask', '0077'],
    // A system that it can only read, and of all that sitegen keeps there its own data alone.
    ['ProtectSystem', 'strict'],
    ['TemporaryFileSystem', `${paths.stateDir}:ro`],
    ['BindPaths', names.dataDir],
    ['InaccessiblePaths', `-${paths.settings} -${paths.dockerSocket} -/run/containerd -${paths.runDir} -/run/sitegen-router`],
    ['ProtectHome', 'yes'],
    ['PrivateTmp', 'yes'],
    ['PrivateDevices', 'yes'],
    ['RemoveIPC', 'yes'],
    ['ProtectProc', 'invisible'],
    ['ProtectClock', 'yes'],
    ['ProtectHostname', 'yes'],
    ['ProtectKernelLogs', 'yes'],
    ['ProtectKernelModules', 'yes'],
    ['ProtectKernelTunables', 'yes'],
    ['ProtectControlGroups', 'yes'],
    ['RestrictNamespaces', 'yes'],
    ['RestrictRealtime', 'yes'],
    ['RestrictSUIDSGID', 'yes'],
    // The last one for what looks at the machine's addresses, as Node does.
    ['RestrictAddressFamilies', 'AF_UNIX AF_INET AF_INET6 AF_NETLINK'],
    ['LockPersonality', 'yes'],
    ['NoNewPrivileges', 'yes'],
    ['CapabilityBoundingSet', ''],
    ['SystemCallArchitectures', 'native'],
    ['SystemCallFilter', '@system-service'],
    // A program that tries another call goes on without it.
    ['SystemCallErrorNumber', 'EPERM'],
    // Other ports are other sites', or the machine's.
    ['SocketBindDeny', 'any'],
    ...(spec.listenFds ? [] : [['SocketBindAllow', `ipv4:tcp:${own.port}`] as const]),
    // Other sites are reached through the router, as by anybody, or by their own consent.
    // The last is where clouds give their machine's credentials to whoever asks from it.
    ['IPAddressDeny', [ranges.sites, ranges.containers, loopbackOf(ranges.containers), '169.254.0.0/16'].join(' ')],
    ['IPAddressAllow', [own.site, own.address, ...new Set(reachable.map(({ address }) => address))].join(' ')],
  ];
}

/** The unit of a site's program. @param template its text */
export function processUnit(template: string, names: SiteNames, spec: ProcessSpec, sandbox: readonly Setting[], stopMs: number): string {
  const [program = '', ...rest] = spec.argv;
  if (!/^[A-Za-z0-9_./]/.test(program)) throw new SitegenError(`${names.domain}: process: ${JSON.stringify(program)} is not a program`);
  const view: View = {
    domain: names.domain, settingsFile: names.settingsFile, appSlice: names.appSlice, program, unit: names.processUnit,
    stopSeconds: Math.ceil(stopMs / 1000),
    arguments: rest.map((argument) => ({ argument })),
    sandbox: sandbox.map(([name, value]) => ({ name, value })),
    socket: spec.listenFds ? [{ socket: names.processSocket }] : [],
  };
  return render(template, view, escapeUnit);
}

/** Where systemd listens for a program that takes its socket from it. @param template its text */
export function processSocketUnit(template: string, names: SiteNames, { address, port }: Place): string {
  const { domain, settingsFile, processUnit: unit, processSocket: socket } = names;
  return render(template, { domain, settingsFile, unit, socket, address, port }, escapeUnit);
}

/** A file of variables as EnvironmentFile= reads it (systemd.exec(5)): in quotes "\" stands before what would mean something. */
export function environmentText({ settingsFile }: Pick<SiteNames, 'settingsFile'>, env: Readonly<Record<string, string>>): string {
  const lines = Object.entries(env).map(([name, text]) => `${name}="${text.replaceAll(/["\\`$]/g, (char) => `\\${char}`)}"\n`);
  return `# Made by sitegen from ${settingsFile}; "sitegen apply" writes it again.\n${lines.join('')}`;
}

/** What tells whether a program is still the one that its files describe. */
export function processHash(contents: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(contents)).digest('hex').slice(0, 16);
}

/** The domain of the site whose program a unit's file is of; undefined for a file that is not ours. */
export function domainOfProcess(content: string): string | undefined {
  return /^# Made by sitegen[^]*^Description=(\S+): its program$/m.exec(content)?.[1];
}

/** The id of the site that a container's name stands for, or the unit of a program. */
export function siteIdOf(name: string): string | undefined {
  return processId(name) ?? /^site-(.+)$/.exec(name)?.[1];
}

/** The user that is made for a site's program. */
export function userOf({ id }: Pick<SiteNames, 'id'>): string {
  // Linux allows 31 characters, and most programs no dots.
  const plain = id.replaceAll(/[^a-z0-9]/g, '-').slice(0, 16);
  return `sg-${plain}-${checksum(id).toString(16).padStart(8, '0')}`;
}

/**
 * The number that such a user gets unless somebody has it: of those that systemd hands out for a service's
 * time (https://systemd.io/UIDS-GIDS), as journald keeps a journal of its own for each user with a larger one.
 */
export function suggestedUid({ id }: Pick<SiteNames, 'id'>): number {
  return 61_184 + (checksum(id) % (65_519 - 61_184 + 1));
}

/** FNV-1a: two sites whose names are cut alike must not share a user. */
function checksum(text: string): number {
  let hash = 0x811c9dc5;
  for (const char of text) hash = Math.imul(hash ^ char.charCodeAt(0), 0x01000193) >>> 0;
  return hash;
}
