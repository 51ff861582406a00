import { createHash } from 'node:crypto';
import { SitegenError } from '../errors.ts';
import type { SiteNames } from '../names.ts';
import { shared } from '../paths.ts';
import { capabilityOf, dataVolumes } from './check.ts';
import { entryOf, readProject, type ComposeSite } from './read.ts';
import type { ComposeProject, ComposeService, ComposeSettings, Permission } from './schema.ts';

/** A site's Compose project with everything decided that does not depend on the machine. */
export interface Project {
  /** Service that visitors reach. */
  entry: string;
  compose: ComposeProject;
  variables: Readonly<Record<string, string>>;
  allowed: readonly Permission[];
  /** Names of all services, each after those that it depends on. */
  order: readonly string[];
  /** Those that end by themselves: somebody waits for that. */
  oneShot: ReadonlySet<string>;
}

/** Reads a site's project, which its settings' own check has found to be right. @throws SitegenError when it is not */
export function resolveProject(site: ComposeSite & { domain: string; compose: ComposeSettings }): Project {
  const { project, faults: [fault] = [] } = readProject(site);
  if (!project) throw new SitegenError(`${site.domain}: ${fault?.path.join('.') ?? ''}: ${fault?.message ?? ''}`);
  const waited = Object.values(project.services).flatMap(({ depends_on: needs = {} }) =>
    Object.entries(needs).filter(([, { condition }]) => condition === 'service_completed_successfully').map(([name]) => name));
  return {
    entry: entryOf(site.compose),
    compose: project,
    variables: { ...site.env, ...site.secrets },
    allowed: site.compose.allow ?? [],
    order: orderOf(project),
    oneShot: new Set(waited),
  };
}

/** Capabilities with which a container could send with another's address. */
const disguises = ['ALL', 'NET_ADMIN', 'NET_RAW', 'SYS_ADMIN'];

/** Refuses a project whose packets cannot be told from others', so that nothing could keep it from a place. @throws SitegenError that names the service */
export function requireKept(domain: string, project: Project): void {
  for (const name of project.order) {
    const service = serviceOf(project, name);
    const disguise = (service.cap_add ?? []).map((each) => capabilityOf(each)).find((each) => disguises.includes(each));
    const why = service.network_mode === 'host' ? 'it has the network of this machine'
      : networksOfService(service).some((network) => project.compose.networks?.[network]?.external === true) ? 'it has a network of somebody else'
        : service.privileged === true || disguise !== undefined ? `with ${disguise ?? 'privileged'} it can send as another container` : undefined;
    if (why !== undefined) throw new SitegenError(`${domain}: egress: service ${name} cannot be kept to a list, as ${why}: take that out, or write egress: any`);
  }
}

/** All services, each after those that it depends on; else in the order of their names, so that nothing changes when lines are moved. */
export function orderOf({ services }: Pick<ComposeProject, 'services'>): string[] {
  const done: string[] = [];
  const visit = (name: string) => {
    if (done.includes(name) || !Object.hasOwn(services, name)) return;
    for (const needed of Object.keys(services[name]?.depends_on ?? {}).sort()) visit(needed);
    done.push(name);
  };
  for (const name of Object.keys(services).sort()) visit(name);
  return done;
}

/** How many steps after the first each service is started: those of one step do not wait for each other. */
export function depthsOf({ compose: { services }, order }: Pick<Project, 'compose' | 'order'>): ReadonlyMap<string, number> {
  const depths = new Map<string, number>();
  for (const name of order) depths.set(name, Math.max(0, ...Object.keys(services[name]?.depends_on ?? {}).map((needed) => 1 + (depths.get(needed) ?? 0))));
  return depths;
}

/** A service by a name that is known to be one. */
export function serviceOf({ compose }: Pick<Project, 'compose'>, name: string): ComposeService {
  const service = compose.services[name];
  if (!service) throw new SitegenError(`there is no service ${name} in the project`);
  return service;
}

/** All images of a project, each once. */
export function imagesOf(project: Project): string[] {
  return [...new Set(project.order.map((name) => serviceOf(project, name).image ?? ''))];
}

/** Directories of the site's data that services see, each once; files are not among them. */
export function directoriesOf({ compose }: Pick<Project, 'compose'>): { directory: string; target: string; readOnly: boolean }[] {
  const found = new Map(dataVolumes(compose).filter(({ file }) => !file).reverse().map(({ directory, target, readOnly }) => [directory, { directory, target, readOnly }]));
  return [...found.values()].sort((a, b) => (a.directory < b.directory ? -1 : 1));
}

/** What must be in the site's data before the project can start. */
export function filesOf({ compose }: Pick<Project, 'compose'>): string[] {
  return [...new Set(dataVolumes(compose).filter(({ file }) => file).map(({ directory }) => directory))];
}

/** The container of a service; "__" is in no site's id, so it is never another site's. @param service undefined for the one that visitors reach */
export function serviceContainer({ container }: Pick<SiteNames, 'container'>, service: string | undefined): string {
  return service === undefined ? container : `${container}__${service}`;
}

/** A network of the project. */
export interface ProjectNetwork {
  name: string;
  /** Of somebody else; it is only joined. */
  external: boolean;
  internal: boolean;
  bridge: string;
}

/**
 * Docker's network for one of the project's. After that of all sites in the order of their names, by
 * which Docker chooses the way to the world: answers to visitors have to go back where they came from.
 */
export function networkOf(names: Pick<SiteNames, 'id'>, { compose }: Pick<Project, 'compose'>, network: string): ProjectNetwork {
  const declared = compose.networks?.[network];
  const name = declared?.external === true ? declared.name ?? network : `${shared.network}_${names.id}_${network}`;
  // Linux allows 15 characters (IFNAMSIZ).
  const bridge = `${shared.projectBridge}${createHash('sha256').update(name).digest('hex').slice(0, 15 - shared.projectBridge.length)}`;
  return { name, external: declared?.external === true, internal: declared?.internal === true, bridge };
}

/** Networks of a service, by the project's names, in order. */
export function networksOfService(service: ComposeService): string[] {
  return service.network_mode === undefined ? Object.keys(service.networks ?? { default: null }).sort() : [];
}
