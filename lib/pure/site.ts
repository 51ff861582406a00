import { resolveEnv, type MissingSecret } from './app-env.ts';
import { directoryOf } from './config.ts';
import { resolveDump, type Dump } from './dump.ts';
import { resolveEntry, type Entry } from './entry.ts';
import { SitegenError } from './errors.ts';
import { networkOf, type Ranges } from './addresses.ts';
import { parseAwakeTimes, type IdleRules } from './idle.ts';
import type { Job } from './jobs.ts';
import type { ListenPort } from './listen.ts';
import { toDisk, toLimits, type Limits } from './limits.ts';
import { builtInMail, type SiteMail } from './mail.ts';
import { parseSize, parseSpan } from './quantities.ts';
import { directoriesOf, requireKept, resolveProject, serviceOf, type Project } from './compose/project.ts';
import { portOf } from './compose/read.ts';
import { kinds, runsSomething } from './kinds.ts';
import type { Place } from './process.ts';
import type { ProcessSettings } from './schema-process.ts';
import type { AppFile, DefaultsFile, SiteFile } from './schema.ts';
import { imageSettings, type ImageSettings } from './schema-image.ts';

/** A site with everything decided: presets and defaults are resolved away. */
export interface Site {
  domain: string;
  aliases: readonly string[];
  enabled: boolean;
  /** Site address that was recorded because the domain's own was taken. */
  recordedAddress: string | undefined;
  entry: Entry;
  /** Names that only redirect to the site. */
  redirects: readonly string[];
  /** What runs for the site; undefined where the router needs nothing of ours to answer. */
  workload: Workload | undefined;
  /** An upstream's unix socket, which the site's address is spliced to. */
  unixUpstream: string | undefined;
  /** Paths below the data that backups leave out; `*` stands for a part of a name. */
  exclude: readonly string[];
  backedUp: boolean;
  mail: SiteMail;
}

/** True when systemd holds an address for the site. */
export function hasAddress(site: Site): boolean {
  return site.workload !== undefined || site.unixUpstream !== undefined;
}

/** What runs for a site. */
export interface Workload {
  /** Of a Compose project, that of the container that visitors reach; missing for a program without a container. */
  image: ImageSource | undefined;
  /** A program that runs without a container. */
  program: Program | undefined;
  /** All that runs, where that is more than one container. */
  project: Project | undefined;
  port: number;
  /** Ports for the world, in the order of their numbers. */
  listen: readonly ListenPort[];
  env: Readonly<Record<string, string>>;
  /** Of its environment what the app wants made for it, and is not yet. */
  missingSecrets: readonly MissingSecret[];
  mounts: readonly Mount[];
  /** Owners of directories below its data, by name. */
  owners: Readonly<Record<string, Owner>>;
  /** The container cannot write outside its data but where that is lost with its end. */
  readOnly: boolean;
  /** A newer image is taken without being asked for. */
  updates: 'auto' | 'report';
  limits: Limits;
  /** Room on the disk for its data, bytes; undefined without a limit. */
  diskBytes: number | undefined;
  ready: { path: string | undefined; timeoutMs: number };
  /** Bound for requests in flight, and again for the container's own end. */
  stopTimeoutMs: number;
  idle: IdleRules & { busy: readonly string[] | undefined };
  /** In the order of their names. */
  jobs: readonly Job[];
  /** How its database gets into backups; undefined when it has none. */
  dump: Dump | undefined;
  hooks: Hooks;
  /** Places outside that it may reach; undefined for all. */
  egress: readonly string[] | undefined;
}

/** A site's program, as systemd is to run it. */
export interface Program {
  settings: ProcessSettings;
  /** Where programs of other sites listen that it is to be told of, by domain. */
  places: ReadonlyMap<string, Place>;
  /** Addresses that sites have: it reaches none but those. */
  ranges: Ranges;
}

/** Programs run in the container at turns of the site's life; schema-backup.ts says when each is. */
export type Hooks = Readonly<Record<(typeof hookNames)[number], Hook | undefined>>;

export interface Hook {
  argv: readonly string[];
  /** Of a Compose project; undefined for the one that visitors reach. */
  service?: string | undefined;
  timeoutMs: number;
}

export const hookNames = ['install', 'load', 'launch', 'upgrade', 'rename'] as const;

/**
 * An image by reference, loaded from a tar unless it comes from a registry; or one that is built on
 * this machine, of an app's folder or another. `pin` is the version that was recorded.
 */
export type ImageSource = { reference: string; tar?: string | undefined } | { build: string; app: string | undefined; base: string | undefined; hostFiles: Readonly<Record<string, string>>; pin: string | undefined };

export interface Owner {
  uid: number;
  gid: number;
}

/** A directory below the site's data, and where the container sees it. */
export interface Mount {
  directory: string;
  target: string;
  readOnly: boolean;
}

/** What holds where no file says anything. */
export const builtIn = {
  app: 'welcome',
  ranges: { sites: '10.213.0.0/16', containers: '10.214.0.0/16' } satisfies Ranges,
  limits: { memoryMax: '512M', tasksMax: '512' },
  readyTimeout: '60s',
  stopTimeout: '10s',
  idleAfter: '5min',
  idleStopAfter: '6h',
  memory: '70%',
  dumpTimeout: '10min',
  hookTimeout: '10min',
  processPort: 8080,
  jobTimeout: '10min',
  jobDelay: '1min',
} as const;

/** The machine's address ranges. */
export function rangesOf(defaults: DefaultsFile): Ranges {
  const { sites, containers } = defaults.network ?? {};
  return { sites: sites ?? builtIn.ranges.sites, containers: containers ?? builtIn.ranges.containers };
}

/** Name of the app that a site uses, or undefined when it names something else. */
export function appOf(file: SiteFile, defaults: DefaultsFile): string | undefined {
  return kinds.every((kind) => kind === 'app' || file[kind] === undefined) ? (file.app ?? defaults.defaults?.app ?? builtIn.app) : undefined;
}

/**
 * Merges a site's own settings over its app's over the machine's defaults.
 * @param app definition of `appOf(file, defaults)`, with its name; undefined for a plain image
 */
export function resolve(file: SiteFile, app: { name: string; file: AppFile } | undefined, defaults: DefaultsFile): Site {
  const unixUpstream = file.proxy?.to.protocol === 'unix' ? file.proxy.to.host : undefined;
  const workload = runsSomething(file) ? workloadOf(file, app, defaults) : undefined;
  return {
    domain: file.domain,
    aliases: file.aliases ?? [],
    redirects: file.redirects ?? [],
    enabled: file.enabled ?? true,
    recordedAddress: file.address,
    entry: resolveEntry(file, defaults, workload?.ready.timeoutMs ?? 0),
    workload,
    unixUpstream,
    exclude: [...new Set([...app?.file.exclude ?? [], ...file.exclude ?? [], ...databaseDirs(workload, (file.dump ?? app?.file.dump)?.way)])],
    backedUp: file.backup ?? true,
    mail: mailOf(file, defaults, workload !== undefined),
  };
}

function mailOf({ domain, mail = {} }: SiteFile, defaults: DefaultsFile, hasContainer: boolean): SiteMail {
  const machine = defaults.mail ?? {};
  const relay = mail.relay ?? machine.relay;
  return {
    relay: hasContainer && relay !== false ? relay : undefined,
    from: mail.from ?? machine.from?.replaceAll('${domain}', domain),
    perHour: mail.perHour ?? machine.perHour ?? builtInMail.perHour,
    maxBytes: machine.maxSize === undefined ? builtInMail.maxBytes : parseSize(machine.maxSize) ?? builtInMail.maxBytes,
    otherEmail: mail.otherEmail,
    gateway: networkOf(rangesOf(defaults).containers).gateway,
  };
}

/** Where servers keep their databases in a container. */
const databaseHomes: Readonly<Record<string, string>> = { mariadb: '/var/lib/mysql', mysql: '/var/lib/mysql', postgresql: '/var/lib/postgresql' };

/** What the dump has in it is not backed up once more, as files that change while they are read. */
function databaseDirs(workload: Workload | undefined, way: string | undefined): string[] {
  const home = databaseHomes[way ?? ''];
  const isHome = (target: string) => home !== undefined && (target === home || target.startsWith(`${home}/`));
  return (workload?.mounts ?? []).filter(({ directory, target }) => directory !== '.' && isHome(target.replace(/\/+$/, ''))).map(({ directory }) => directory);
}

function workloadOf(file: SiteFile, app: { name: string; file: AppFile } | undefined, defaults: DefaultsFile): Workload {
  const preset = app?.file;
  const ready = { ...preset?.ready, ...file.ready };
  const path = file.ready?.tcp === true ? undefined : ready.path;
  const dump = file.dump ?? preset?.dump;
  const project = file.compose && resolveProject({ ...file, compose: file.compose });
  const user = file.process && { user: undefined };
  const environment = resolveEnv(preset?.env ?? {}, file.domain, { ...file.env, ...file.secrets });
  const egress = (file.egress ?? defaults.defaults?.egress)?.places;
  if (egress && project) requireKept(file.domain, project);
  return {
    egress,
    image: file.process ? undefined : project ? { reference: serviceOf(project, project.entry).image ?? '' } : imageOf(file, app),
    program: file.process && { settings: file.process, places: new Map(), ranges: rangesOf(defaults) },
    project,
    port: (file.compose && portOf(file.compose)) ?? file.port ?? preset?.port ?? (file.process ? builtIn.processPort : 80),
    listen: [...file.listen ?? []].sort((a, b) => a.public - b.public),
    env: environment.env,
    missingSecrets: environment.missing,
    owners: toOwners({ ...preset?.owners, ...file.owners }),
    readOnly: file.readOnly ?? preset?.readOnly ?? false,
    updates: file.update ?? 'report',
    mounts: project ? directoriesOf(project) : (file.volumes ?? preset?.volumes ?? []).map((volume) => toMount(volume)),
    limits: toLimits({ ...builtIn.limits, ...defaults.defaults?.limits, ...preset?.limits, ...file.limits }),
    diskBytes: toDisk(file.limits?.disk ?? preset?.limits?.disk ?? defaults.defaults?.limits?.disk),
    ready: { path, timeoutMs: toMs(ready.timeout ?? defaults.defaults?.ready?.timeout ?? builtIn.readyTimeout) },
    stopTimeoutMs: toMs(file.stop?.timeout ?? preset?.stop?.timeout ?? defaults.defaults?.stop?.timeout ?? builtIn.stopTimeout),
    idle: toIdle({ ...defaults.defaults?.idle, ...preset?.idle, ...file.idle }),
    jobs: toJobs({ ...preset?.jobs, ...file.jobs }).map(({ service, ...job }) => ({ ...job, ...beside(service, project), ...user })),
    dump: dump && { ...resolveDump(dump, toMs(dump.timeout ?? builtIn.dumpTimeout)), ...beside(dump.service, project), ...user },
    hooks: toHooks({ ...preset?.hooks, ...file.hooks }, beside(file.hooks?.service, project)),
  };
}

function toIdle(idle: NonNullable<SiteFile['idle']>): Workload['idle'] {
  return {
    afterMs: toMs(idle.after ?? builtIn.idleAfter),
    stopAfterMs: toMs(idle.stopAfter ?? builtIn.idleStopAfter),
    never: idle.never ?? false,
    freeze: idle.freeze ?? true,
    awake: (idle.awake ?? []).flatMap((text) => parseAwakeTimes(text) ?? []),
    busy: idle.busy,
  };
}

function toJobs(jobs: NonNullable<SiteFile['jobs']>): Job[] {
  return Object.entries(jobs).sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([name, job]) => (job === false ? [] : [{
    name,
    calendar: job.calendar,
    argv: job.command,
    service: job.service,
    user: job.user,
    timeoutMs: toMs(job.timeout ?? builtIn.jobTimeout),
    persistent: job.persistent ?? true,
    delayMs: toMs(job.delay ?? builtIn.jobDelay),
  }]));
}

/** A service of a project, unless it is the one that visitors reach. */
function beside(service: string | undefined, project: Project | undefined): { service?: string } {
  return service === undefined || service === project?.entry ? {} : { service };
}

function toHooks(hooks: NonNullable<SiteFile['hooks']>, where: { service?: string }): Hooks {
  const timeoutMs = toMs(hooks.timeout ?? builtIn.hookTimeout);
  const resolved = hookNames.map((name) => [name, hooks[name] && { argv: hooks[name], ...where, timeoutMs }] as const);
  return Object.fromEntries(resolved) as Record<(typeof hookNames)[number], Hook | undefined>;
}

function imageOf(file: SiteFile, app: { name: string; file: AppFile } | undefined): ImageSource {
  const given = file.image ?? app?.file.image;
  if (given === undefined) throw new SitegenError(`${file.domain}: has neither image nor app`);
  const { pull, build, base, hostFiles = {}, name = '', tar }: ImageSettings = imageSettings(given);
  if (build !== undefined) return { build, app: file.image === undefined ? app?.name : undefined, base, hostFiles, pin: file.pin };
  return pull === undefined ? { reference: name, tar } : { reference: pinned(pull, file.pin) };
}

/** The very image that a digest names, whatever the tag means by now. */
export function pinned(reference: string, digest: string | undefined): string {
  return digest?.startsWith('sha256:') === true ? `${reference.replace(/@.*$/, '').replace(/:[^/:]*$/, '')}@${digest}` : reference;
}

function toOwners(owners: Readonly<Record<string, string>>): Record<string, Owner> {
  return Object.fromEntries(Object.entries(owners).map(([directory, owner]) => {
    const [uid = 0, gid = 0] = owner.split(':').map(Number);
    return [directory, { uid, gid }];
  }));
}

function toMount(volume: string): Mount {
  const [, target = '', mode] = volume.split(':');
  return { directory: directoryOf(volume), target, readOnly: mode === 'ro' };
}

function toMs(span: string): number {
  return parseSpan(span) ?? 0;
}
