import { createHash } from 'node:crypto';
import { capabilities, type ContainerSpec } from '../container-spec.ts';
import type { SiteNames } from '../names.ts';
import { shared } from '../paths.ts';
import { capabilityOf } from './check.ts';
import { readDevice, readPort, type Device } from './host.ts';
import { depthsOf, networkOf, networksOfService, serviceContainer, serviceOf, type Project, type ProjectNetwork } from './project.ts';
import type { ComposeService, conditions } from './schema.ts';
import { readVolume } from './volumes.ts';

/** Body of Docker's `POST /containers/create` for a service: that of a plain site, and what a service may say beyond. */
export interface ServiceSpec extends Omit<ContainerSpec, 'HostConfig' | 'NetworkingConfig'> {
  Cmd?: string[];
  Entrypoint?: string[];
  WorkingDir?: string;
  User?: string;
  Tty?: boolean;
  OpenStdin?: boolean;
  StopSignal?: string;
  /** Of Docker's own, without a name: they go with the container. */
  Volumes?: Record<string, Record<string, never>>;
  ExposedPorts?: Record<string, Record<string, never>>;
  HostConfig: Omit<ContainerSpec['HostConfig'], 'RestartPolicy'> & {
    RestartPolicy: { Name: 'no' } | { Name: 'on-failure'; MaximumRetryCount: number };
    Binds?: string[];
    Tmpfs?: Record<string, string>;
    Init?: boolean;
    ReadonlyRootfs?: boolean;
    ShmSize?: number;
    Privileged?: boolean;
    Devices?: Device[];
    PidMode?: 'host';
    IpcMode?: string;
    UsernsMode?: 'host';
    PortBindings?: Record<string, { HostIp: string; HostPort: string }[]>;
  };
  NetworkingConfig: { EndpointsConfig: Record<string, { IPAMConfig?: { IPv4Address: string }; Aliases?: string[] }> };
}

/** A container of a project, as it is created and started. */
export interface ProjectContainer {
  service: string;
  name: string;
  spec: ServiceSpec;
  /** Networks that it joins once it is there: older engines take one at a creation. */
  joins: readonly { network: string; aliases: string[] }[];
  /** What has to be before it is started. */
  needs: readonly { service: string; condition: (typeof conditions)[number] }[];
  /** Program in it that ends with 0 when it is healthy. */
  healthArgv: readonly string[] | undefined;
  /** It has done its work for good once it has ended with 0. */
  oneShot: boolean;
}

/** All that a project is made of on a machine. */
export interface DesiredProject {
  networks: readonly ProjectNetwork[];
  /** Each after those that it depends on; the one that visitors reach has the site's own name. */
  containers: readonly ProjectContainer[];
}

/** How often a service that failed is started again before it stays down until the next wake. */
const restarts = 5;

/**
 * The containers and networks of a project.
 * @param base specification of the site's container without a project: what all sites' containers have
 */
export function projectContainers(project: Project, names: SiteNames, base: ContainerSpec): DesiredProject {
  const used = new Map<string, ProjectNetwork>();
  for (const name of project.order) for (const network of networksOfService(serviceOf(project, name))) used.set(network, networkOf(names, project, network));
  const networks = [...used.values()];
  const containers = project.order.map((name) => containerOf(project, names, base, name));
  const entry = containers.find(({ service }) => service === project.entry);
  // So that apply, which compares the container that visitors reach, sees a change in any.
  if (entry) {
    entry.spec.Labels['sitegen.project'] = hashOf({ networks, containers });
    entry.spec.Labels[shared.labels.spec] = hashOf(entry.spec);
  }
  return { networks, containers };
}

function containerOf(project: Project, names: SiteNames, base: ContainerSpec, name: string): ProjectContainer {
  const service = serviceOf(project, name);
  const isEntry = name === project.entry;
  const aliases = (network: string) => [...new Set([name, ...service.networks?.[network]?.aliases ?? []])];
  const networks = networksOfService(service).map((network) => ({ network: networkOf(names, project, network).name, aliases: aliases(network) }));
  const [first, ...others] = networks;
  const joins = isEntry ? networks : others;
  const { Healthcheck, HostConfig: { ExtraHosts, ...plainHost } } = base;
  const hostname = service.hostname ?? (isEntry ? base.Hostname : name.replaceAll(/[^A-Za-z0-9-]/g, '-').replace(/-+$/, ''));
  const spec: ServiceSpec = {
    Image: service.image ?? '',
    Hostname: hostname,
    Env: [...(isEntry ? base.Env.filter((each) => each.startsWith('SITEGEN_SMTP=')) : []), ...envOf(service, project.variables)],
    Labels: {
      ...labelsOf(service),
      ...base.Labels,
      [shared.labels.spec]: '',
      [shared.labels.order]: String(depthsOf(project).get(name) ?? 0),
      ...(!isEntry && { [shared.labels.member]: names.container }),
    },
    StopTimeout: service.stop_grace_period === undefined ? base.StopTimeout : Math.ceil(service.stop_grace_period / 1000),
    // Those that somebody waits for are asked during the wake, by the program that waits.
    Healthcheck,
    ...commandOf(service),
    HostConfig: {
      ...plainHost,
      // The relay knows sites by the address that the entrypoint has.
      ...(isEntry && ExtraHosts && { ExtraHosts }),
      ...hostConfig(service, project, names),
      CgroupParent: isEntry ? names.entrySlice : names.appSlice,
      NetworkMode: service.network_mode ?? (isEntry ? shared.network : first?.network ?? 'none'),
      LogConfig: { Type: 'journald', Config: { labels: 'OBJECT_SYSTEMD_UNIT', tag: serviceContainer(names, isEntry ? undefined : name) } },
      // Docker would not start "always" again at its own start alone, but also what sleeps.
      RestartPolicy: !isEntry && !project.oneShot.has(name) && (service.restart ?? 'no') !== 'no' ? { Name: 'on-failure', MaximumRetryCount: restarts } : { Name: 'no' },
    },
    NetworkingConfig: isEntry ? base.NetworkingConfig : { EndpointsConfig: first && service.network_mode === undefined ? { [first.network]: { Aliases: first.aliases } } : {} },
  };
  const ports = (service.ports ?? []).flatMap((port) => readPort(port) ?? []);
  if (ports.length > 0) spec.ExposedPorts = Object.fromEntries(ports.map(({ inside }) => [inside, {}]));
  for (const { kind, target } of volumesOf(service, project)) if (kind === 'anonymous') spec.Volumes = { ...spec.Volumes, [target]: {} };
  const dependsOn: Readonly<Record<string, { condition: (typeof conditions)[number] }>> = service.depends_on ?? {};
  const needs = Object.entries(dependsOn).map(([needed, { condition }]) => ({ service: needed, condition }));
  return { service: name, name: serviceContainer(names, isEntry ? undefined : name), spec, joins, needs, healthArgv: healthArgv(service), oneShot: project.oneShot.has(name) };
}

function commandOf(service: ComposeService): Partial<ServiceSpec> {
  const { command, entrypoint, working_dir: workingDir, user, tty, stdin_open: stdin, stop_signal: signal } = service;
  return {
    ...(command != null && { Cmd: command }),
    ...(entrypoint != null && { Entrypoint: entrypoint }),
    ...(workingDir !== undefined && { WorkingDir: workingDir }),
    ...(user !== undefined && { User: user }),
    ...(tty === true && { Tty: true }),
    ...(stdin === true && { OpenStdin: true }),
    ...(signal !== undefined && { StopSignal: signal }),
  };
}

function hostConfig(service: ComposeService, project: Project, names: SiteNames): Partial<ServiceSpec['HostConfig']> & Pick<ContainerSpec['HostConfig'], 'Mounts' | 'CapAdd' | 'SecurityOpt'> {
  const volumes = volumesOf(service, project);
  const bind = (source: string, { target, readOnly }: { target: string; readOnly: boolean }) =>
    ({ Type: 'bind' as const, Source: source, Target: target, ReadOnly: readOnly, BindOptions: { CreateMountpoint: false as const } });
  const external = volumes.flatMap((volume) => (volume.kind === 'external' ? [`${volume.source}:${volume.target}${volume.readOnly ? ':ro' : ''}`] : []));
  const tmpfs = [...volumes.flatMap((volume) => (volume.kind === 'tmpfs' ? [[volume.target, volume.options] as const] : [])), ...(service.tmpfs ?? []).map((text) => {
    const [target = '', options = ''] = text.split(/:(.*)/s);
    return [target, options] as const;
  })];
  const dropped = new Set((service.cap_drop ?? []).map((each) => capabilityOf(each)));
  const added = (service.cap_add ?? []).map((each) => capabilityOf(each));
  const devices = (service.devices ?? []).flatMap((device) => readDevice(device) ?? []);
  const ports = (service.ports ?? []).flatMap((port) => readPort(port) ?? []);
  return {
    Mounts: volumes.flatMap((volume) => {
      if (volume.kind === 'data') return [bind(volume.directory === '.' ? names.dataDir : `${names.dataDir}/${volume.directory}`, volume)];
      return volume.kind === 'host' ? [bind(volume.source, volume)] : [];
    }),
    CapAdd: [...new Set([...(dropped.has('ALL') ? [] : capabilities), ...added])].filter((each) => !dropped.has(each) || added.includes(each)),
    SecurityOpt: securityOf(service.security_opt ?? []),
    ...(external.length > 0 && { Binds: external }),
    ...(tmpfs.length > 0 && { Tmpfs: Object.fromEntries(tmpfs) }),
    ...(service.init === true && { Init: true }),
    ...(service.read_only === true && { ReadonlyRootfs: true }),
    ...(service.shm_size !== undefined && { ShmSize: service.shm_size }),
    ...(service.privileged === true && { Privileged: true }),
    ...(devices.length > 0 && { Devices: devices }),
    ...(service.pid === 'host' && { PidMode: 'host' }),
    ...(service.ipc !== undefined && { IpcMode: service.ipc }),
    ...(service.userns_mode === 'host' && { UsernsMode: 'host' }),
    ...(ports.length > 0 && { PortBindings: bindings(ports) }),
  };
}

/** The first of Docker's two words on new privileges would win, so ours gives way to one that was allowed. */
function securityOf(options: readonly string[]): string[] {
  return options.some((option) => option.startsWith('no-new-privileges')) ? [...options] : ['no-new-privileges', ...options];
}

function bindings(ports: readonly { inside: string; HostIp: string; HostPort: string }[]): Record<string, { HostIp: string; HostPort: string }[]> {
  const bound: Record<string, { HostIp: string; HostPort: string }[]> = {};
  for (const { inside, ...host } of ports) bound[inside] = [...bound[inside] ?? [], host];
  return bound;
}

function volumesOf(service: ComposeService, project: Project) {
  return (service.volumes ?? []).flatMap((given) => {
    const volume = readVolume(given, project.compose);
    return typeof volume === 'string' ? [] : [volume];
  });
}

/** A name without a value gets it from the variables, or is left out. */
function envOf({ environment = {} }: ComposeService, variables: Readonly<Record<string, string>>): string[] {
  return Object.entries(environment).flatMap(([name, given]) => {
    const value = given ?? (Object.hasOwn(variables, name) ? variables[name] : undefined);
    return value === undefined ? [] : [`${name}=${value}`];
  });
}

function labelsOf({ labels = {} }: ComposeService): Record<string, string> {
  return Object.fromEntries(Object.entries(labels).map(([name, value]) => [name, value ?? '']));
}

function healthArgv({ healthcheck }: ComposeService): string[] | undefined {
  const [kind, ...rest] = healthcheck?.disable === true ? [] : healthcheck?.test ?? [];
  if (kind === 'CMD') return rest;
  return kind === 'CMD-SHELL' ? ['/bin/sh', '-c', rest.join(' ')] : undefined;
}

function hashOf(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 16);
}
