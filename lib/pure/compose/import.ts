import path from 'node:path/posix';
import { parse } from 'yaml';
import { reasonOf, SitegenError } from '../errors.ts';
import { interpolate } from './interpolate.ts';
import { readLabels, type Routed } from './traefik.ts';
import { volumesDir } from './volumes.ts';

/** What is known of a project's folder. */
export interface Folder {
  /** As Compose calls the project. */
  project: string;
  /** The Compose file's text. */
  text: string;
  /** Variables of `.env`. */
  variables: Readonly<Record<string, string>>;
  /** Lines of each `env_file`, by path as it is written. */
  envFiles: ReadonlyMap<string, Readonly<Record<string, string>>>;
  /** Whether a path below the folder is a file. */
  isFile: (path: string) => boolean;
}

/** What is to become of a project. */
export interface Import {
  /** The site's settings, but for its domain. */
  settings: Record<string, unknown>;
  hosts: string[];
  /** What is copied into the site's data: below the folder, or of a named volume. */
  copies: { from: { path: string } | { volume: string }; to: string }[];
  /** What is otherwise than in the file. */
  notes: string[];
}

type Fields = Record<string, unknown>;

/** Keys that limit, log or publish in ways that are the site's here; the project works without them. */
const dropped: Readonly<Record<string, string>> = {
  deploy: 'its limits are the site\'s: limits', logging: 'logs go to the journal', mem_limit: 'limits.memoryMax', cpus: 'limits.cpuQuota', pids_limit: 'limits.tasksMax',
  ulimits: 'limits are the site\'s', links: 'services reach each other by their names', container_name: 'containers are called after the site', platform: 'images are this machine\'s',
};

/**
 * Turns a project that Compose runs, behind Traefik, into a site's settings. Nothing is allowed on
 * the way: what the project must not do stays in it, and is refused by name when the settings are read.
 * @param entrypoint SERVICE[:PORT]; that which Traefik routes to unless given
 * @throws SitegenError when nobody says which service visitors reach
 */
export function importProject(folder: Folder, entrypoint?: string): Import {
  const notes: string[] = [];
  let file: Fields;
  try {
    file = parse(folder.text, { merge: true, maxAliasCount: 100 }) as Fields;
  } catch (error) {
    throw new SitegenError(`its Compose file is not valid YAML: ${reasonOf(error)}`, { cause: error });
  }
  const services = fieldsOf(file['services']);
  const copies: Import['copies'] = [];
  const routes = new Map<string, Routed>();
  const kept: Record<string, Fields> = {};
  const external = externalNetworks(file, notes);
  for (const [name, given] of Object.entries(services)) {
    const service = { ...fieldsOf(given) };
    if (/(^|\/)traefik(:|@|$)/.test(textOf(service['image']))) {
      notes.push(`${name} is left out: the router takes its place`);
      continue;
    }
    const labels = pairsOf(interpolate(service['labels'] ?? {}, folder.variables));
    const routed = readLabels(labels);
    if (routed) routes.set(name, routed);
    delete service['labels'];
    simplify(name, service, folder, notes);
    withoutNetworks(service, external);
    service['volumes'] = volumesOf(name, service['volumes'], folder, copies, notes);
    if (service['volumes'] === undefined) delete service['volumes'];
    kept[name] = service;
  }
  for (const service of Object.values(kept)) withoutDependencies(service, kept);
  const [entry, port] = chooseEntry(entrypoint, routes, kept);
  const routed = routes.get(entry);
  for (const [name, { hosts }] of routes) if (name !== entry) notes.push(`${name} was reached as ${hosts.join(', ')}: give it a site of its own`);
  if (routed && routed.paths.length > 0) notes.push(`only ${routed.paths.join(', ')} led to ${entry}, and now all paths do`);
  for (const label of routed?.others ?? []) notes.push(`is not taken over: ${label}`);
  const users = Object.fromEntries(Object.entries(routed?.users ?? {}).filter(([user, hash]) => {
    const known = /^\$(2[aby]|5|6|y)\$/.test(hash);
    if (!known) notes.push(`the password of ${user} is hashed in a way that the router does not know: sitegen password`);
    return known;
  }));
  const project = { services: kept, ...volumesSection(file, copies), ...networksSection(file, external) };
  const used = new Set([...JSON.stringify(project).matchAll(/\$\{?([A-Za-z_][A-Za-z0-9_]*)/g)].map(([, name = '']) => name));
  for (const service of Object.values(kept)) for (const [name, value] of Object.entries(pairsOf(service['environment'] ?? {}))) if (value === null) used.add(name);
  const variables = Object.entries(folder.variables).filter(([name]) => used.has(name));
  const isSecret = ([name]: readonly [string, string]) => /pass|secret|token|key|pwd|salt/i.test(name);
  return {
    settings: {
      ...section('env', Object.fromEntries(variables.filter((each) => !isSecret(each)))),
      ...section('secrets', Object.fromEntries(variables.filter((each) => isSecret(each)))),
      ...section('auth', users),
      compose: { entrypoint: port === undefined ? entry : `${entry}:${port}`, project },
    },
    hosts: routed?.hosts ?? [], copies, notes,
  };
}

/** Brings a service into the form that a site's project has. */
function simplify(name: string, service: Fields, folder: Folder, notes: string[]): void {
  for (const [key, instead] of Object.entries(dropped)) {
    if (service[key] === undefined) continue;
    notes.push(`${name}: ${key} is left out: ${instead}`);
    delete service[key];
  }
  if (service['ports'] !== undefined) {
    notes.push(`${name}: its ports are published no more (${JSON.stringify(service['ports'])}): the site is reached through the router, and by listen for what is not the web`);
    delete service['ports'];
  }
  if (service['build'] !== undefined) {
    service['image'] ??= `${folder.project}-${name}`;
    notes.push(`${name}: is not built any more; its image is ${textOf(service['image'])}`);
    delete service['build'];
  }
  const files = [service['env_file'] ?? []].flat().map((each) => textOf(typeof each === 'object' && each !== null ? (each as Fields)['path'] : each));
  if (files.length > 0) {
    // What comes from files is no template, and a dollar sign in it is one.
    const lines = Object.assign({}, ...files.map((file) => folder.envFiles.get(file) ?? {})) as Record<string, string>;
    const escaped = Object.fromEntries(Object.entries(lines).map(([key, value]) => [key, value.replaceAll('$', '$$$$')]));
    service['environment'] = { ...escaped, ...pairsOf(service['environment'] ?? {}) };
    delete service['env_file'];
    notes.push(`${name}: the lines of ${files.join(', ')} are part of the settings now, and in backups: move what is secret to secrets`);
  }
}

function volumesOf(name: string, given: unknown, folder: Folder, copies: Import['copies'], notes: string[]): unknown[] | undefined {
  if (!Array.isArray(given)) return given === undefined ? undefined : [given];
  return (given as unknown[]).flatMap((volume) => {
    const parts = typeof volume === 'string' ? volume.split(':') : [];
    const long = typeof volume === 'object' && volume !== null ? volume as Fields : undefined;
    const source = long ? textOf(long['source']) : parts.length > 1 ? parts[0] ?? '' : '';
    const target = long ? textOf(long['target']) : parts[1] ?? parts[0] ?? '';
    if (target === '/etc/localtime' || target === '/etc/timezone') {
      notes.push(`${name}: ${target} is not mounted: set TZ in environment`);
      return [];
    }
    if (!source.startsWith('.')) {
      if (source !== '' && !/^[/~$]/.test(source) && long?.['type'] !== 'bind') copies.push({ from: { volume: source }, to: `${volumesDir}/${source}` });
      return [volume];
    }
    const below = path.normalize(source).replace(/\/$/, '');
    if (below.startsWith('..')) return [volume];
    if (!copies.some(({ to }) => to === below)) copies.push({ from: { path: below }, to: below });
    if (!folder.isFile(below)) return [volume];
    const readOnly = long ? long['read_only'] === true : (parts[2] ?? '').split(',').includes('ro');
    return [{ type: 'bind', source, target, ...(readOnly && { read_only: true }), bind: { create_host_path: false } }];
  });
}

/** Networks that Traefik shared with the project; visitors come from the router now. */
function externalNetworks(file: Fields, notes: string[]): ReadonlySet<string> {
  const names = Object.entries(fieldsOf(file['networks'])).filter(([, network]) => Boolean(fieldsOf(network)['external'])).map(([name]) => name);
  for (const name of names) notes.push(`the network ${name} is left out: it is not the project's own`);
  return new Set(names);
}

function withoutNetworks(service: Fields, external: ReadonlySet<string>): void {
  const { networks } = service;
  const names = Array.isArray(networks) ? networks.map(String) : Object.keys(fieldsOf(networks));
  const left = names.filter((name) => !external.has(name));
  if (names.length === 0) return;
  if (left.length === 0) delete service['networks'];
  else service['networks'] = Array.isArray(networks) ? left : Object.fromEntries(left.map((name) => [name, fieldsOf(networks)[name]]));
}

/** Nobody waits any more for what was left out. */
function withoutDependencies(service: Fields, kept: Readonly<Record<string, Fields>>): void {
  const { depends_on: needs } = service;
  if (Array.isArray(needs)) service['depends_on'] = needs.filter((name) => Object.hasOwn(kept, String(name)));
  else if (needs !== undefined) service['depends_on'] = Object.fromEntries(Object.entries(fieldsOf(needs)).filter(([name]) => Object.hasOwn(kept, name)));
}

function chooseEntry(wanted: string | undefined, routes: ReadonlyMap<string, Routed>, kept: Readonly<Record<string, Fields>>): [string, number | undefined] {
  const [name = '', port] = wanted?.split(':') ?? [];
  const names = Object.keys(kept);
  const [only, second] = routes.size > 0 ? [...routes.keys()] : names;
  const entry = wanted === undefined ? (second === undefined ? only : undefined) : name;
  if (entry === undefined) throw new SitegenError('several services could be the one that visitors reach', { hint: `say which: --entrypoint SERVICE:PORT; there are: ${(routes.size > 0 ? [...routes.keys()] : names).join(', ')}` });
  if (!Object.hasOwn(kept, entry)) throw new SitegenError(`the project has no service ${entry}`, { hint: `there are: ${names.join(', ')}` });
  return [entry, port === undefined ? routes.get(entry)?.port : Number(port)];
}

function volumesSection(file: Fields, copies: Import['copies']): Fields {
  const named = copies.flatMap(({ from }) => ('volume' in from ? [from.volume] : []));
  const given = fieldsOf(file['volumes']);
  // A name is Compose's own matter; drivers and owners are looked at when the settings are read.
  const entries = [...new Set([...named, ...Object.keys(given)])].map((name) => {
    const { name: _, ...rest } = fieldsOf(given[name]);
    return [name, rest['external'] === undefined ? rest : {}] as const;
  });
  return entries.length === 0 ? {} : { volumes: Object.fromEntries(entries) };
}

function networksSection(file: Fields, external: ReadonlySet<string>): Fields {
  const entries = Object.entries(fieldsOf(file['networks'])).filter(([name]) => !external.has(name));
  return entries.length === 0 ? {} : { networks: Object.fromEntries(entries) };
}

/** Docker's name of a named volume, as Compose has made it. */
export function volumeName(text: string, project: string, volume: string): string {
  const declared = fieldsOf(fieldsOf((parse(text, { merge: true, maxAliasCount: 100 }) as Fields)['volumes'])[volume]);
  const name = textOf(declared['name']);
  if (name !== '') return name;
  return declared['external'] === undefined || declared['external'] === false ? `${project}_${volume}` : volume;
}

/** Lines of a file of variables, as Compose reads it: no line is a program. */
export function parseEnv(text: string): Record<string, string> {
  return Object.fromEntries(text.split('\n').flatMap((line) => {
    const [, name, raw = ''] = /^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.]*)\s*=\s*(.*?)\s*$/.exec(line) ?? [];
    if (name === undefined) return [];
    const quote = /^(["'])(.*)\1(?:\s+#.*)?$/.exec(raw);
    return [[name, quote ? quote[2] ?? '' : raw.replace(/\s+#.*$/, '')] as const];
  }));
}

function section(key: string, value: Record<string, unknown>): Fields {
  return Object.keys(value).length === 0 ? {} : { [key]: value };
}

function pairsOf(value: unknown): Record<string, string | null> {
  if (Array.isArray(value)) {
    return Object.fromEntries(value.map(String).map((item) => {
      const at = item.indexOf('=');
      return at === -1 ? [item, null] : [item.slice(0, at), item.slice(at + 1)];
    }));
  }
  return Object.fromEntries(Object.entries(fieldsOf(value)).map(([key, inner]) => [key, inner === null || inner === undefined ? null : textOf(inner)]));
}

function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value as Fields : {};
}

function textOf(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? String(value) : '';
}
