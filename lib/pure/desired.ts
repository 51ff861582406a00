import { createHash } from 'node:crypto';
import { jobUnits, listenSocket, mail, mailFileOf, shared, siteNames, type SiteNames } from './names.ts';
import type { SiteAddress } from './addresses.ts';
import { projectContainers, type DesiredProject } from './compose/containers.ts';
import { filesOf } from './compose/project.ts';
import { capabilities, writable, type ContainerSpec } from './container-spec.ts';
import type { EgressSpec } from './egress.ts';
import { SitegenError } from './errors.ts';
import { calendarFault, type Job } from './jobs.ts';
import { formatListen, type ListenPort } from './listen.ts';
import { renderSenderSite } from './mail.ts';
import { addressFor, environmentText, processHash, processSocketUnit, processUnit, resolveProcess, sandboxOf, userOf, type DesiredProcess } from './process.ts';
import { escapeUnit, render, type View } from './render.ts';
import type { Limits } from './limits.ts';
import { hasAddress, type Owner, type Program, type Site, type Workload } from './site.ts';
import { paths } from './names.ts';

export type { ContainerSpec } from './container-spec.ts';

/** Text of the per-site templates, by file name without ending. */
export type Templates = Readonly<Record<'socket' | 'service' | 'slice' | 'app-slice' | 'entry-slice' | 'forward' | 'job' | 'listen' | 'process' | 'process-socket', string>>;

/** A file as it should be. */
export interface RenderedFile {
  path: string;
  content: string;
  /** 0644 unless given. */
  mode?: number;
}

/** Everything that a site is made of on a machine. */
export interface Desired {
  names: SiteNames;
  address: SiteAddress;
  enabled: boolean;
  files: readonly RenderedFile[];
  /** Timers of its jobs, among the files. */
  timers: readonly string[];
  /** Sockets of its public ports, among the files. */
  listens: readonly string[];
  /** Missing for a site without a container. */
  container: ContainerSpec | undefined;
  /** Of a Compose project: all of its containers, that one among them. */
  project: DesiredProject | undefined;
  /** A program that runs without a container. */
  process: DesiredProcess | undefined;
  /** Tells whether what runs is still what the settings say, be it a container or a program; undefined where nothing does. */
  spec: string | undefined;
  /** Each new container has something to do before it is visited. */
  launches: boolean;
  /** Data of another image has something to do in the first container of this one. */
  upgrades: boolean;
  /** Secrets without which there can be no container. */
  missingSecrets: readonly string[];
  /** False when the router answers without anything of systemd's. */
  hasSocket: boolean;
  /** Directories that must exist before the container can start. */
  dataDirs: readonly string[];
  /** What else must be there, and is not made. */
  dataFiles: readonly string[];
  /** Who owns those of them that are made for others than root. */
  owners: ReadonlyMap<string, Owner>;
  /** What it may reach outside; undefined for everything. */
  egress: EgressSpec | undefined;
  /** Room on the disk for its data, bytes; undefined without a limit. */
  diskBytes: number | undefined;
  /** What the relay for mail is to know of it; undefined for nothing. */
  mail: RenderedFile | undefined;
  /** Address of the relay, whether or not it listens. */
  gateway: string;
}

/** Time for the page that a failed wake shows, and for systemd itself, beyond the site's own limits. */
const marginMs = 30_000;

/** Time for a commit of the site's files while it stops; most take a second. */
const commitMs = 5 * 60_000;

/**
 * What a site should be on this machine; the one function behind apply, diff and the wake's repairs.
 * @param image reference under which Docker knows the site's image
 */
export function desired(site: Site, given: SiteAddress, image: string, templates: Templates): Desired {
  const names = siteNames(site.domain);
  const { workload } = site;
  const address = addressFor(workload, given);
  const view = {
    ...stringsOf(names),
    siteAddress: address.site,
    upstream: site.unixUpstream ?? '',
    codeDir: paths.codeDir,
    dump: site.backedUp ? [{ name: names.dumpUnit.replace(/\.service$/, ''), limit: seconds(dumpLimitMs(workload)) }] : [],
    listen: [],
    project: [],
    program: workload?.program ? [{}] : [],
    ...(workload ? workloadView(workload, names, address, site.backedUp) : { limits: [] }),
  };
  const unit = (name: string, template: keyof Templates, more: View = {}): RenderedFile =>
    ({ path: `${paths.unitsDir}/${name}`, content: render(templates[template], { ...view, ...more }, escapeUnit) });
  const jobs = (workload?.jobs ?? []).map((job) => ({ job, timer: jobUnits(names, job.name).timer }));
  const listens = (workload?.listen ?? []).map((port) => ({ port, socket: listenSocket(names, port.public) }));
  const program = workload?.program && programOf(workload, workload.program, names, address, templates);
  const base = workload && !program ? containerSpec(site, workload, names, address, image) : undefined;
  const project = base && workload?.project && projectContainers(workload.project, names, base);
  // That of the entrypoint has the network and the address of any site's container.
  const container = project ? project.containers.find(({ service }) => service === workload?.project?.entry)?.spec as ContainerSpec : base;
  const units = hasAddress(site) ? [unit(names.slice, 'slice'), unit(names.service, workload ? 'service' : 'forward'), unit(names.socket, 'socket')] : [];
  return {
    names,
    address,
    enabled: site.enabled,
    hasSocket: hasAddress(site),
    files: workload ? [...units.slice(0, 1), unit(names.appSlice, 'app-slice'), ...(project ? [unit(names.entrySlice, 'entry-slice')] : []), ...(program?.files ?? []), ...units.slice(1), ...listens.map(({ port, socket }) => unit(socket, 'listen', { ...port, listenSocket: socket })), ...jobs.map(({ job, timer }) => unit(timer, 'job', jobView(job, timer)))] : units,
    timers: jobs.map(({ timer }) => timer),
    listens: listens.map(({ socket }) => socket),
    container,
    project,
    process: program?.process,
    spec: program ? processHash(program.files.map(({ content }) => content)) : container?.Labels[shared.labels.spec],
    launches: workload?.hooks.launch !== undefined,
    upgrades: workload?.hooks.upgrade !== undefined,
    missingSecrets: (workload?.missingSecrets ?? []).map(({ name }) => name),
    dataDirs: [names.dataDir, ...(workload?.mounts ?? []).map((mount) => sourceOf(names, mount.directory)), ...(program?.cwd.startsWith(`${names.dataDir}/`) === true ? [program.cwd] : []), ...staticDirs(site, names)],
    dataFiles: workload?.project ? filesOf(workload.project).map((file) => sourceOf(names, file)) : [],
    owners: new Map(Object.entries(workload?.owners ?? {}).map(([directory, owner]) => [sourceOf(names, directory), owner])),
    egress: egressOf(site, names, address, project),
    diskBytes: workload?.diskBytes,
    mail: mailFile(site, names, address),
    gateway: site.mail.gateway,
  };
}

/** What a site's program is as files, and what else runs for the site is given of it. */
function programOf(workload: Workload, { settings, places, ranges }: Program, names: SiteNames, address: SiteAddress, templates: Templates): { files: RenderedFile[]; process: DesiredProcess; cwd: string } {
  const own = { site: address.site, address: address.container, port: workload.port };
  const spec = resolveProcess(settings, names, own, places, workload.env);
  const sandbox = sandboxOf(names, spec, own, ranges, [...places.values()]);
  const files: RenderedFile[] = [
    { path: names.environmentFile, content: environmentText(names, spec.env), mode: 0o600 },
    { path: `${paths.unitsDir}/${names.processUnit}`, content: processUnit(templates.process, names, spec, sandbox, workload.stopTimeoutMs) },
    ...(spec.listenFds ? [{ path: `${paths.unitsDir}/${names.processSocket}`, content: processSocketUnit(templates['process-socket'], names, own) }] : []),
  ];
  return { files, process: { unit: names.processUnit, user: userOf(names), sandbox }, cwd: spec.cwd };
}

function egressOf({ domain, workload }: Site, names: SiteNames, address: SiteAddress, project: DesiredProject | undefined): EgressSpec | undefined {
  if (!workload?.egress) return undefined;
  const sources = workload.program ? { user: userOf(names) } : { address: address.container, bridges: (project?.networks ?? []).map(({ bridge }) => bridge) };
  return { domain, sources, places: workload.egress };
}

function mailFile({ domain, aliases, redirects, workload, mail: { gateway: _, ...rules } }: Site, names: SiteNames, address: SiteAddress): RenderedFile | undefined {
  if (rules.relay === undefined && rules.otherEmail === undefined) return undefined;
  const content = renderSenderSite({ ...rules, id: names.id, domain, service: names.service, names: [domain, ...aliases, ...redirects], address: workload && address.container });
  return { path: mailFileOf(names.id), content };
}

function workloadView(workload: Workload, names: SiteNames, address: SiteAddress, backedUp: boolean): View {
  return {
    listen: listenView(workload.listen, names),
    project: workload.project ? [{ entrySlice: names.entrySlice, entryCgroup: names.entryCgroup }] : [],
    containerAddress: address.container,
    port: workload.port,
    readyPath: workload.ready.path ?? '',
    readyMs: Math.round(workload.ready.timeoutMs),
    stopMs: Math.round(workload.stopTimeoutMs),
    startLimit: seconds(workload.ready.timeoutMs + marginMs),
    stopLimit: seconds(workload.stopTimeoutMs + endMs(workload) + marginMs + (backedUp ? 2 * dumpLimitMs(workload) : 0)),
    limits: limitLines(workload.limits),
  };
}

/** How long the containers may take to end: those of a project, in the worst case, one after the other. */
function endMs({ project, stopTimeoutMs }: Workload): number {
  if (!project) return stopTimeoutMs;
  return project.order.reduce((sum, name) => sum + (project.compose.services[name]?.stop_grace_period ?? stopTimeoutMs), 0);
}

function listenView(ports: readonly ListenPort[], names: SiteNames): View[] {
  if (ports.length === 0) return [];
  return [{ ports: formatListen(ports), sockets: ports.map((port) => listenSocket(names, port.public)).join(' ') }];
}

/** @throws SitegenError for a calendar that could be more than one setting: the schema refuses it too */
function jobView({ name, calendar, persistent, delayMs }: Job, timer: string): View {
  const fault = calendarFault(calendar);
  if (fault !== undefined) throw new SitegenError(`${timer}: OnCalendar=${JSON.stringify(calendar)} cannot be written into a unit: ${fault}`);
  return { timer, job: name, calendar, persistent: persistent ? 'yes' : 'no', delay: `${Math.round(delayMs)}ms` };
}

/** How long a backup may hold a stop up, each time that it is made. */
function dumpLimitMs(workload: Workload | undefined): number {
  return (workload?.dump?.timeoutMs ?? 0) + commitMs;
}

/** Directories that are served and lie in the site's data; the admin's own elsewhere are left alone. */
function staticDirs(site: Site, names: SiteNames): string[] {
  const roots = [...site.entry.targets.values()].flatMap((target) => (target.kind === 'static' ? [target.root] : []));
  return roots.filter((root) => root.startsWith(`${names.dataDir}/`));
}

/** The label by which apply sees whether a container is still the one that it would create. */
export function specHash(spec: ContainerSpec): string {
  return createHash('sha256').update(JSON.stringify({ ...spec, Labels: { ...spec.Labels, [shared.labels.spec]: '' } })).digest('hex').slice(0, 16);
}

function containerSpec({ domain, mail: { relay, gateway } }: Site, workload: Workload, names: SiteNames, address: SiteAddress, image: string): ContainerSpec {
  const sends = relay !== undefined;
  const spec: ContainerSpec = {
    Image: image,
    // Linux allows 64 characters (gethostname(2)).
    Hostname: domain.length <= 64 ? domain : (domain.split('.', 1)[0] ?? 'site'),
    Env: Object.entries({ ...(sends && { SITEGEN_SMTP: `${mail.host}:${mail.port}` }), ...workload.env }).map(([name, value]) => `${name}=${value}`),
    Labels: {
      [shared.labels.domain]: domain,
      [shared.labels.spec]: '',
      // journald attributes what root logs with this field to the unit (systemd.journal-fields(7)).
      OBJECT_SYSTEMD_UNIT: names.service,
    },
    StopTimeout: Math.ceil(workload.stopTimeoutMs / 1000),
    Healthcheck: { Test: ['NONE'] },
    HostConfig: {
      NetworkMode: shared.network,
      CgroupParent: names.appSlice,
      Mounts: workload.mounts.map((mount) => ({
        Type: 'bind',
        Source: sourceOf(names, mount.directory),
        Target: mount.target,
        ReadOnly: mount.readOnly,
        BindOptions: { CreateMountpoint: false },
      })),
      LogConfig: { Type: 'journald', Config: { labels: 'OBJECT_SYSTEMD_UNIT', tag: names.container } },
      CapDrop: ['ALL'],
      CapAdd: capabilities,
      SecurityOpt: ['no-new-privileges'],
      ...(workload.readOnly && { ReadonlyRootfs: true as const, Tmpfs: Object.fromEntries(writable.filter((path) => !workload.mounts.some(({ target }) => target.replace(/(?<=.)\/+$/, '') === path)).map((path) => [path, ''])) }),
      ...(sends && { ExtraHosts: [`${mail.host}:${gateway}`] }),
      RestartPolicy: { Name: 'no' },
    },
    NetworkingConfig: { EndpointsConfig: { [shared.network]: { IPAMConfig: { IPv4Address: address.container } } } },
  };
  spec.Labels[shared.labels.spec] = specHash(spec);
  return spec;
}

function sourceOf(names: SiteNames, directory: string): string {
  return directory === '.' ? names.dataDir : `${names.dataDir}/${directory}`;
}

/** Unescaped in the template: systemd knows no specifiers in limits and ignores one that says "20%%". */
function limitLines(limits: Limits): Record<string, string>[] {
  return Object.entries(limits).map(([name, value]) => {
    if (!/^[A-Za-z0-9.%]+$/.test(value)) throw new SitegenError(`${name}=${JSON.stringify(value)} cannot be written into a unit`);
    return { name, value };
  });
}

function stringsOf(names: SiteNames): Record<string, string> {
  const { units: _, moreUnits: __, ...rest } = names;
  return rest;
}

function seconds(ms: number): string {
  return `${Math.ceil(ms / 1000)}s`;
}
