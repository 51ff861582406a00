import { isMap, isScalar, isSeq, LineCounter, parseDocument, visit, type Document } from 'yaml';
import type { z } from 'zod';
import { envFaults } from './app-env.ts';
import { migrateApp } from './app-migrations.ts';
import { reasonOf, SitegenError } from './errors.ts';
import { readProject, servicesSaid } from './compose/read.ts';
import { forwardFault } from './mail.ts';
import { paths, siteNames } from './names.ts';
import { appSchema, defaultsSchema, siteSchema, type AppFile, type DefaultsFile, type SiteFile } from './schema.ts';

/**
 * Reads a site's settings.
 * @param text the file's content
 * @param file its path, for messages; its name must fit the domain in it
 * @throws SitegenError with one line per fault: file, line, key path and what is allowed
 */
export function parseSite(text: string, file: string): SiteFile {
  return parseWith(siteSchema, text, file, (site) => {
    const expected = siteNames(site.domain).settingsFile.split('/').at(-1);
    const misnamed = file.split('/').at(-1) !== expected;
    return [
      ...(misnamed ? [{ path: ['domain'], message: `"${site.domain}" belongs into ${expected}: rename the file or correct the domain` }] : []),
      ...twice(site),
      ...circle(site),
      ...[forwardFault(site)].flatMap((message) => (message === undefined ? [] : [{ path: ['mail', 'otherEmail'], message }])),
      ...volumeFaults(site.volumes ?? []),
      ...portFaults(site),
      ...composeFaults(site),
    ];
  });
}

/** Reads `sitegen.yaml`; an empty file sets nothing. Errors as for `parseSite`. */
export function parseDefaults(text: string, file: string): DefaultsFile {
  return parseWith(defaultsSchema, text, file);
}

/** Reads an app's definition, be it of an earlier form. Errors as for `parseSite`. */
export function parseApp(text: string, file: string): AppFile {
  return parseWith(appSchema, text, file, (app) => [...volumeFaults(app.volumes ?? []), ...envFaults(app.env ?? {}), ...servicesSaid(app).map(({ path }) => ({ path, message: 'is for a site with compose: take it out' }))], migrateApp);
}

/**
 * The same settings with some keys set anew; comments and order stay.
 * @param changes key and value; undefined takes the key out
 */
export function editYaml(text: string, changes: Readonly<Record<string, unknown>>): string {
  const document = parseDocument(text);
  for (const [key, value] of Object.entries(changes)) {
    if (value === undefined) document.delete(key);
    else document.set(key, value);
  }
  return document.toString({ lineWidth: 0, flowCollectionPadding: false });
}

/**
 * The same settings with a value added to a list, unless it is there; comments and order stay.
 * @param path keys that lead to the list; what is missing is made
 */
export function addToList(text: string, path: readonly [string, string], value: string): string {
  const document = parseDocument(text);
  const [section, key] = path;
  // A section whose keys are all comments is a null.
  const list = document.getIn(path);
  if (!isMap(document.get(section))) document.set(section, document.createNode({ [key]: [value] }));
  else if (!isSeq(list)) document.setIn(path, document.createNode([value]));
  else if (list.items.some((item) => isScalar(item) && item.value === value)) return text;
  else list.add(document.createNode(value));
  return document.toString({ lineWidth: 0, flowCollectionPadding: false });
}

/**
 * The same settings with keys of sections set anew; comments, order and other keys stay.
 * @param changes a section's name, a key in it, and the value
 */
export function setInSections(text: string, changes: readonly (readonly [section: string, key: string, value: unknown])[]): string {
  const document = parseDocument(text);
  for (const [section, key, value] of changes) {
    // A section whose keys are all comments is a null.
    if (isMap(document.get(section))) document.setIn([section, key], document.createNode(value));
    else document.set(section, document.createNode({ [key]: value }));
  }
  return document.toString({ lineWidth: 0, flowCollectionPadding: false });
}

/** Whether settings say anything about a key. */
export function hasKey(text: string, key: string): boolean {
  return parseDocument(text).has(key);
}

/**
 * Whether a settings file mentions a domain at all: a quick look before the file is parsed,
 * so that adding a site does not get slower with the number of sites. International names are
 * written in either form, so such a file is always parsed.
 */
export function mayMention(text: string, domain: string): boolean {
  return text.toLowerCase().includes(domain) || /[^\0-\x7f]|\\/.test(text);
}

function parseWith<Schema extends z.ZodType>(schema: Schema, text: string, file: string, check?: (data: z.output<Schema>) => Fault[], migrate?: Migrate): z.output<Schema> {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, stringKeys: true });
  const broken = document.errors[0];
  if (broken) {
    throw new SitegenError(`${file}:${lines.linePos(broken.pos[0]).line}: is not valid YAML: ${broken.message}`);
  }
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 20 }) ?? {};
  } catch (error) {
    throw new SitegenError(`${file}:${lineOfAlias(document, lines)}: is not valid YAML: ${reasonOf(error)}`, { cause: error });
  }
  const migrated = migrate?.(value) ?? { value };
  if ('value' in migrated) value = withoutEmpty(migrated.value, schema);
  const result = schema.safeParse(value);
  const faults = 'fault' in migrated ? [migrated.fault] : result.success ? (check?.(result.data) ?? []) : result.error.issues.flatMap((issue) => faultsOf(issue, schema, value));
  if (result.success && faults.length === 0) return result.data;
  const written = 'written' in migrated ? migrated.written : undefined;
  const texts = faults.map(({ path, message }) => ({ path: written?.(path) ?? path, message })).map(({ path, message }) => `${file}:${lineOf(document, path, lines)}: ${path.length > 0 ? `${path.join('.')}: ` : ''}${message}`);
  throw new SitegenError(texts.join('\n'), { hint: `all keys are explained in ${paths.settings}/example-site.yaml and ${paths.codeDir}/templates/sitegen.yaml` });
}

/** The first alias without an anchor, or else the last alias: the one that makes too many. */
function lineOfAlias(document: Document, lines: LineCounter): number {
  let line = 1;
  visit(document, {
    Alias(_, alias) {
      if (alias.range) line = lines.linePos(alias.range[0]).line;
      return alias.resolve(document) === undefined ? visit.BREAK : undefined;
    },
  });
  return line;
}

/** Brings what was read into the form that the schema knows. */
type Migrate = (value: unknown) => { value: unknown; written?: (path: readonly PropertyKey[]) => PropertyKey[] } | { fault: Fault };

interface Fault {
  path: PropertyKey[];
  message: string;
}

function faultsOf(issue: z.core.$ZodIssue, schema: z.ZodType, value: unknown): Fault[] {
  if (issue.code === 'unrecognized_keys') {
    const allowed = keysAt(schema, issue.path);
    return issue.keys.map((key) => ({ path: [...issue.path, key], message: `unknown key; allowed: ${allowed.join(', ')}` }));
  }
  if (issue.code === 'invalid_key') return [{ path: issue.path, message: issue.issues[0]?.message ?? issue.message }];
  const given = issue.path.reduce<unknown>((at, key) => (at as Record<PropertyKey, unknown> | undefined)?.[key], value);
  const shown = given === undefined || typeof given === 'object' ? '' : `${typeof given === 'number' ? given : JSON.stringify(given)} `;
  const wrong = given === undefined ? 'is missing' : given === null ? 'is empty' : `${shown}is of the wrong type`;
  if (issue.code === 'invalid_type') return [{ path: issue.path, message: `${wrong}; allowed: ${typeNames[issue.expected] ?? issue.expected}` }];
  if (issue.code === 'invalid_union') {
    const options = issue.errors.filter((inner) => inner.length > 0 && inner.every((each) => isWithin(each)));
    if (options.length === 1) return (options[0] ?? []).flatMap((inner) => faultsOf({ ...inner, path: [...issue.path, ...inner.path] }, schema, value));
  }
  if (issue.code === 'invalid_union' && issue.message === 'Invalid input') return [{ path: issue.path, message: `${wrong}; allowed: text or a number` }];
  const message = issue.message.charAt(0).toLowerCase() + issue.message.slice(1);
  return [{ path: issue.path, message: message.startsWith('"') ? message : `${shown}${message}` }];
}

/** True for a fault of the option of a union that the value is meant for. */
function isWithin(issue: z.core.$ZodIssue): boolean {
  return issue.path.length > 0 || !['invalid_type', 'invalid_value', 'unrecognized_keys'].includes(issue.code);
}

/** Sections whose keys are all commented out read as null; they say nothing. Lists and values keep it, as it may be a slip. */
function withoutEmpty(value: unknown, schema: unknown): unknown {
  const shape = shapeOf(schema);
  if (shape === undefined || typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).flatMap(([key, inner]) =>
    (inner === null && ['object', 'array', 'record'].includes(typeOf(shape[key]) ?? '') ? [] : [[key, withoutEmpty(inner, shape[key])]])));
}

function typeOf(schema: unknown): string | undefined {
  const def = (schema as { def?: { type?: string; innerType?: unknown } } | undefined)?.def;
  return def?.innerType === undefined ? def?.type : typeOf(def.innerType);
}

/** Zod's types in the words of somebody who writes YAML. */
const typeNames: Record<string, string> = {
  object: 'keys with values', record: 'names with values', array: 'a list', string: 'text', number: 'a number', int: 'a whole number', boolean: 'true or false',
};

/** The keys that a schema knows at a path, for "allowed:". */
export function keysAt(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  let at: unknown = schema;
  for (const key of path) at = shapeOf(at)?.[String(key)];
  return Object.keys(shapeOf(at) ?? {});
}

/** Keys and what they hold; of a union, those of the one option that has any. */
function shapeOf(schema: unknown): Record<string, unknown> | undefined {
  const def = (schema as { def?: { innerType?: unknown; options?: readonly unknown[] } } | undefined)?.def;
  if (def?.innerType !== undefined) return shapeOf(def.innerType);
  const shapes = (def?.options ?? []).map((option) => shapeOf(option)).filter((shape) => shape !== undefined);
  if (shapes.length > 0) return shapes.length === 1 ? shapes[0] : undefined;
  return (schema as { shape?: Record<string, unknown> } | undefined)?.shape;
}

function lineOf(document: Document, path: readonly PropertyKey[], lines: LineCounter): number {
  for (let length = path.length; length > 0; length--) {
    const parent: unknown = length === 1 ? document.contents : document.getIn(path.slice(0, length - 1), true);
    if (isMap(parent)) {
      const pair = parent.items.find((item) => isScalar(item.key) && item.key.value === path[length - 1]);
      if (pair && isScalar(pair.key) && pair.key.range) return lines.linePos(pair.key.range[0]).line;
    }
    const node: unknown = document.getIn(path.slice(0, length), true);
    const range = (node as { range?: [number, number, number] } | undefined)?.range;
    if (range) return lines.linePos(range[0]).line;
  }
  return 1;
}

/** Names that stand twice in a site's settings. */
function twice(site: SiteFile): Fault[] {
  const seen = new Set([site.domain]);
  return (['aliases', 'redirects'] as const).flatMap((key) => (site[key] ?? []).flatMap((name, index) => {
    const known = seen.has(name);
    seen.add(name);
    return known ? [{ path: [key, index], message: `"${name}" is a name of the site already` }] : [];
  }));
}

/** Every path of a redirected site is redirected, also one that the redirect itself leads to. */
function circle({ domain, aliases = [], redirects = [], redirect }: SiteFile): Fault[] {
  const host = /^https?:\/\/([^/:]+)/.exec(redirect?.to ?? '')?.[1]?.toLowerCase();
  return host !== undefined && [domain, ...aliases, ...redirects].includes(host) ? [{ path: ['redirect'], message: `leads to the site itself: visitors would go in circles` }] : [];
}

/** Public ports that stand twice in a site's settings. */
function portFaults({ listen = [] }: SiteFile): Fault[] {
  const ports = listen.map((port) => port.public);
  return ports.flatMap((port, index) => (ports.indexOf(port) < index ? [{ path: ['listen', index], message: `port ${port} is named already` }] : []));
}

/** A container could replace a directory inside one volume by a link and have it mounted as another. */
function volumeFaults(volumes: readonly string[]): Fault[] {
  const directories = volumes.map((volume) => directoryOf(volume));
  const targets = volumes.map((volume) => volume.split(':')[1]?.replace(/\/+$/, ''));
  return directories.flatMap((directory, index) => {
    const outer = directories.find((other, at) => at !== index && (other === '.' || other === directory || directory.startsWith(`${other}/`)));
    if (outer !== undefined) return [{ path: ['volumes', index], message: `"${directory}" lies inside "${outer}": use directories beside each other` }];
    const [top = ''] = (targets[index] ?? '').split('/').filter((part) => part !== '' && part !== '.');
    // The kernel's own: a directory over them leaves programs without their devices, or blind.
    if (['proc', 'sys', 'dev'].includes(top)) return [{ path: ['volumes', index], message: `/${top} is the kernel's: choose another place in the container` }];
    return targets.indexOf(targets[index]) < index ? [{ path: ['volumes', index], message: `${targets[index]} has a volume already` }] : [];
  });
}

/** What a site's Compose project must not be, and services that it does not have. */
function composeFaults(site: SiteFile): Fault[] {
  const said = servicesSaid(site);
  if (!site.compose) return said.map(({ path }) => ({ path, message: 'is for a site with compose: take it out' }));
  const { project, faults } = readProject({ ...site, compose: site.compose });
  if (!project) return faults;
  const { entrySlice } = siteNames(site.domain);
  return [
    ...said.filter(({ service }) => !Object.hasOwn(project.services, service)).map(({ path, service }) => ({ path, message: `there is no service ${service} in the project` })),
    // Of units: UNIT_NAME_MAX less the terminating zero.
    ...(entrySlice.length > 255 ? [{ path: ['domain'], message: 'is too long for the units of a Compose project' }] : []),
  ];
}

/** The directory part of a volume, without a leading `./`. */
export function directoryOf(volume: string): string {
  const directory = volume.split(':', 1)[0] ?? '';
  return directory.startsWith('./') ? directory.slice(2) : directory;
}
