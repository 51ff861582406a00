import { readDevice, readPort } from './host.ts';
import { permissions, type ComposeProject, type ComposeService, type Permission } from './schema.ts';
import { reachesDocker, readVolume, type Volume } from './volumes.ts';

/** What is wrong, and where in the project. */
export interface Fault {
  path: PropertyKey[];
  message: string;
}

/** Keys of services that no permission opens, with why. */
const refusedKeys: Readonly<Record<string, string>> = {
  build: 'images are not built here: build it, and name the result as image',
  cgroup_parent: 'the site\'s slice is the parent, with its limits: take it out',
  cgroup: 'it would see the control groups of this machine: take it out',
  uts: 'it would see, and could set, this machine\'s host name: take it out',
  runtime: 'containers run as this machine runs them: take it out',
  gpus: 'devices of this machine are not handed out so: take it out',
  device_cgroup_rules: 'it would open devices of this machine: name them as devices',
  sysctls: 'settings of the kernel are this machine\'s: take it out',
  oom_score_adj: 'whom the kernel kills first is decided by the site\'s limits: take it out',
  oom_kill_disable: 'a site at its limit would stand still for ever: take it out',
  volumes_from: 'volumes are named where they are used: take it out',
  external_links: 'it would reach containers of others: take it out',
  env_file: 'files are not read: write its lines into environment, and secrets into those of the site',
  extends: 'one file is the whole project: write out what it extends',
  secrets: 'not supported: use secrets of the site, as variables in environment',
  configs: 'not supported: put the file below the site\'s data, and mount it',
  profiles: 'a service is there, or it is not: take the service or its profiles out',
  deploy: 'limits are the site\'s: take it out',
  logging: 'logs go to the site\'s journal: take it out',
  ulimits: 'limits are the site\'s: take it out',
  mem_limit: 'limits are the site\'s: take it out, and set limits.memoryMax',
  cpus: 'limits are the site\'s: take it out, and set limits.cpuQuota',
  pids_limit: 'limits are the site\'s: take it out, and set limits.tasksMax',
  extra_hosts: 'names lead where DNS says: take it out',
  dns: 'Docker\'s own name server knows the services: take it out',
  links: 'services reach each other by their names: take it out',
  container_name: 'containers are called after the site: take it out',
  platform: 'images are this machine\'s: take it out',
};

/** The same of a whole project. */
const refusedSections: Readonly<Record<string, string>> = {
  include: 'one file is the whole project: write out what it includes',
  secrets: refusedKeys['secrets'] ?? '',
  configs: refusedKeys['configs'] ?? '',
};

/** Capabilities that cannot reach beyond a container, besides those that every site has. */
const harmless = ['AUDIT_WRITE', 'CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'IPC_LOCK', 'KILL', 'NET_BIND_SERVICE', 'SETGID', 'SETUID', 'SYS_CHROOT', 'SYS_NICE'];

/** Faults of keys that are known, but not to be used; the schema would only call them unknown. */
export function refusedByName(project: Readonly<Record<string, unknown>>): Fault[] {
  const faults: Fault[] = Object.keys(refusedSections).filter((key) => Object.hasOwn(project, key)).map((key) => ({ path: [key], message: refusedSections[key] ?? '' }));
  const { services } = project;
  if (typeof services !== 'object' || services === null) return faults;
  for (const [name, service] of Object.entries(services as Record<string, unknown>)) {
    if (typeof service !== 'object' || service === null) continue;
    for (const [key, reason] of Object.entries(refusedKeys)) if (Object.hasOwn(service, key)) faults.push({ path: ['services', name, key], message: reason });
  }
  return faults;
}

/**
 * What a project must not do: everything that reaches beyond its own containers, unless the admin has
 * allowed just that for the site.
 * @param entry service that visitors reach
 */
export function checkProject(project: ComposeProject, entry: string, allowed: readonly Permission[]): Fault[] {
  const faults: Fault[] = [];
  const known = new Set<string>(permissions.filter((each) => allowed.includes(each)));
  const need = (permission: Permission, path: PropertyKey[], message: string) => {
    if (!known.has(permission)) faults.push({ path, message: `${message}; the admin can allow it: compose.allow: [${permission}]` });
  };
  const refuse = (path: PropertyKey[], message: string) => { faults.push({ path, message }); };
  for (const [name, service] of Object.entries(project.services)) {
    const at = (...keys: PropertyKey[]) => ['services', name, ...keys];
    if (service.image === undefined) refuse(at(), 'has no image');
    checkPowers(service, at, need, refuse);
    checkNamespaces(service, at, need, refuse, name === entry);
    checkVolumes(service, project, at, need, refuse);
    for (const dependency of Object.keys(service.depends_on ?? {})) {
      if (!Object.hasOwn(project.services, dependency)) refuse(at('depends_on'), `${dependency} is not a service of the project`);
    }
    for (const network of Object.keys(service.networks ?? {})) {
      if (network !== 'default' && !Object.hasOwn(project.networks ?? {}, network)) refuse(at('networks'), `${network} is not a network of the project`);
    }
    checkConditions(service, project, at, refuse);
  }
  checkShared(project, need, refuse);
  faults.push(...nested(project));
  if (!Object.hasOwn(project.services, entry)) refuse(['services'], `there is no service ${entry}, which compose.entrypoint names`);
  const circle = circleIn(project);
  if (circle) refuse(['services', circle[0] ?? '', 'depends_on'], `goes in a circle: ${circle.join(' -> ')}`);
  return faults;
}

type At = (...keys: PropertyKey[]) => PropertyKey[];
type Need = (permission: Permission, path: PropertyKey[], message: string) => void;
type Refuse = (path: PropertyKey[], message: string) => void;

function checkPowers(service: ComposeService, at: At, need: Need, refuse: Refuse): void {
  for (const label of Object.keys(service.labels ?? {})) if (/^(sitegen\.|OBJECT_)/i.test(label)) refuse(at('labels', label), 'by this label sitegen knows its containers: take it out');
  if (service.privileged === true) need('privileged', at('privileged'), 'a privileged container is as good as root on this machine');
  for (const given of service.cap_add ?? []) {
    const capability = capabilityOf(given);
    if (!harmless.includes(capability)) need('capabilities', at('cap_add'), `${capability} reaches beyond the container`);
  }
  if ((service.devices?.length ?? 0) > 0) need('devices', at('devices'), 'devices are this machine\'s');
  if (service.devices?.some((device) => readDevice(device) === undefined) === true) refuse(at('devices'), 'has another form than /dev/NAME:/dev/NAME:rwm');
  for (const option of service.security_opt ?? []) {
    if (!/^no-new-privileges([:=]true)?$/.test(option)) need('security-opt', at('security_opt'), `${JSON.stringify(option)} takes protection away`);
  }
  if ((service.ports?.length ?? 0) > 0) need('ports', at('ports'), 'ports are not published past the router, and nothing would listen while the site sleeps: take them out, and use listen of the site for services beside the web');
  if (service.ports?.some((port) => readPort(port) === undefined) === true) refuse(at('ports'), 'has another form than "8080:80"');
}

function checkNamespaces(service: ComposeService, at: At, need: Need, refuse: Refuse, isEntry: boolean): void {
  const { network_mode: network, pid, ipc, userns_mode: users } = service;
  if (network === 'host' && isEntry) refuse(at('network_mode'), 'visitors reach the entrypoint at the site\'s own address, so it cannot have the network of this machine');
  else if (network === 'host') need('host-network', at('network_mode'), 'it would have the network of this machine, with all that listens there');
  else if (network !== undefined && !(network === 'none' && !isEntry)) refuse(at('network_mode'), `${JSON.stringify(network)}: services have the project's networks: take it out`);
  if (network !== undefined && service.networks !== undefined) refuse(at('networks'), 'does not go with network_mode');
  if (pid === 'host') need('host-pid', at('pid'), 'it would see and could signal the processes of this machine');
  else if (pid !== undefined) refuse(at('pid'), `${JSON.stringify(pid)}: it would see the processes of another container: take it out`);
  if (ipc === 'host') need('host-ipc', at('ipc'), 'it would share memory with programs of this machine');
  else if (ipc !== undefined && !['private', 'none'].includes(ipc)) refuse(at('ipc'), `${JSON.stringify(ipc)}: it would share memory with another container: take it out`);
  if (users === 'host') need('host-users', at('userns_mode'), 'its users would be those of this machine');
  else if (users !== undefined) refuse(at('userns_mode'), `${JSON.stringify(users)} is unknown: take it out`);
}

function checkVolumes(service: ComposeService, project: ComposeProject, at: At, need: Need, refuse: Refuse): void {
  const targets = new Set<string>();
  for (const [index, given] of (service.volumes ?? []).entries()) {
    const volume = readVolume(given, project);
    const path = at('volumes', index);
    if (typeof volume === 'string') {
      refuse(path, volume);
      continue;
    }
    if (volume.kind === 'host' && reachesDocker(volume.source)) need('docker-socket', path, `${volume.source} gives it Docker, and thereby this machine`);
    else if (volume.kind === 'host') need('host-paths', path, `${volume.source} is outside the site's data, and not in its backups: write a path such as ./files`);
    if (volume.kind === 'external') need('external-volumes', path, `the volume ${volume.source} belongs to somebody else, and is not in the site's backups`);
    if (targets.has(volume.target)) refuse(path, `${volume.target} has a volume already`);
    targets.add(volume.target);
  }
  for (const target of service.tmpfs ?? []) if (!target.startsWith('/')) refuse(at('tmpfs'), `${JSON.stringify(target)} is not a path in the container`);
}

function checkConditions(service: ComposeService, project: ComposeProject, at: At, refuse: Refuse): void {
  for (const [name, { condition }] of Object.entries(service.depends_on ?? {})) {
    const health = Object.hasOwn(project.services, name) ? project.services[name]?.healthcheck : undefined;
    const test = health?.disable === true ? undefined : health?.test;
    if (condition === 'service_healthy' && (test === undefined || test.length < 2)) refuse(at('depends_on', name), `waits until ${name} is healthy, and ${name} has no healthcheck with a test in the project`);
  }
  const { test } = service.healthcheck ?? {};
  if (test !== undefined && !['CMD', 'CMD-SHELL', 'NONE'].includes(test[0] ?? '')) refuse(at('healthcheck', 'test'), 'must begin with CMD, CMD-SHELL or NONE');
}

function checkShared(project: ComposeProject, need: Need, refuse: Refuse): void {
  for (const [name, volume] of Object.entries(project.volumes ?? {})) {
    if (volume?.driver !== undefined && volume.driver !== 'local') refuse(['volumes', name, 'driver'], 'volumes are directories of the site\'s data: take it out');
    if (volume?.driver_opts !== undefined) refuse(['volumes', name, 'driver_opts'], 'options of a driver can mount any path of this machine: take them out');
  }
  for (const [name, network] of Object.entries(project.networks ?? {})) {
    if (network?.external === true) need('external-networks', ['networks', name, 'external'], 'it would reach containers of others');
    if (network?.driver !== undefined && network.driver !== 'bridge') refuse(['networks', name, 'driver'], `${JSON.stringify(network.driver)} would join a network of this machine: take it out`);
    if (network?.driver_opts !== undefined) refuse(['networks', name, 'driver_opts'], 'options of a driver can open the network: take them out');
  }
}

/** All directories and files of the site's data that services see. */
export function dataVolumes(project: ComposeProject): (Extract<Volume, { kind: 'data' }> & { path: PropertyKey[] })[] {
  return Object.entries(project.services).flatMap(([name, service]) => (service.volumes ?? []).flatMap((given, index) => {
    const volume = readVolume(given, project);
    return typeof volume !== 'string' && volume.kind === 'data' ? [{ ...volume, path: ['services', name, 'volumes', index] }] : [];
  }));
}

/** A container could replace what lies inside its volume by a link, and another would have mounted where that leads. */
function nested(project: ComposeProject): Fault[] {
  const volumes = dataVolumes(project);
  return volumes.flatMap(({ path, directory }) => {
    const outer = volumes.find((other) => !other.readOnly && other.directory !== directory && (other.directory === '.' || directory.startsWith(`${other.directory}/`)));
    return outer === undefined ? [] : [{ path, message: `${directory} lies inside ${outer.directory}, which a service can write: use directories beside each other` }];
  });
}

function circleIn(project: ComposeProject): string[] | undefined {
  const done = new Set<string>();
  const search = (name: string, trail: readonly string[]): string[] | undefined => {
    if (trail.includes(name)) return [...trail.slice(trail.indexOf(name)), name];
    if (done.has(name) || !Object.hasOwn(project.services, name)) return undefined;
    for (const next of Object.keys(project.services[name]?.depends_on ?? {})) {
      const circle = search(next, [...trail, name]);
      if (circle) return circle;
    }
    done.add(name);
    return undefined;
  };
  for (const name of Object.keys(project.services)) {
    const circle = search(name, []);
    if (circle) return circle;
  }
  return undefined;
}

/** Docker's name of a capability, without the prefix that some write. */
export function capabilityOf(text: string): string {
  return text.toUpperCase().replace(/^CAP_/, '');
}
