import { isMap, isScalar, LineCounter, parseDocument, type Document } from 'yaml';
import type { z } from 'zod';
import { SitegenError } from './errors.ts';
import { parseDomain, siteNames } from './names.ts';
import { appSchema, defaultsSchema, siteSchema, type AppFile, type DefaultsFile, type SiteFile } from './schema.ts';

/**
 * Reads a site's settings.
 * @param text the file's content
 * @param file its path, for messages; its name must fit the domain in it
 * @throws SitegenError with one line per fault: file, line, key path and what is allowed
 */
export function parseSite(text: string, file: string): SiteFile {
  const site = parseWith(siteSchema, text, file);
  const expected = siteNames(site.domain).settingsFile.split('/').at(-1);
  if (file.split('/').at(-1) !== expected) {
    throw new SitegenError(`${file}: domain: "${site.domain}" belongs into ${expected}`, { hint: 'rename the file or correct the domain' });
  }
  refuseNested(site.volumes ?? [], file);
  return site;
}

/** Reads `sitegen.yaml`; an empty file sets nothing. Errors as for `parseSite`. */
export function parseDefaults(text: string, file: string): DefaultsFile {
  return parseWith(defaultsSchema, text, file);
}

/** Reads an app's definition. Errors as for `parseSite`. */
export function parseApp(text: string, file: string): AppFile {
  const app = parseWith(appSchema, text, file);
  refuseNested(app.volumes ?? [], file);
  return app;
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
  return document.toString({ lineWidth: 0 });
}

/**
 * Whether a settings file mentions a domain at all: a quick look before the file is parsed,
 * so that adding a site does not get slower with the number of sites. International names are
 * written in either form, so such a file is always parsed.
 */
export function mayMention(text: string, domain: string): boolean {
  return text.toLowerCase().includes(domain) || /[^\0-\x7f]|\\/.test(text);
}

/** A settings file's domain by its name, or undefined when the name is not one of ours. */
export function domainOfFile(name: string): string | undefined {
  if (!name.endsWith('.yaml')) return undefined;
  try {
    return parseDomain(name.slice(0, -'.yaml'.length));
  } catch {
    return undefined;
  }
}

function parseWith<Schema extends z.ZodType>(schema: Schema, text: string, file: string): z.output<Schema> {
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
    throw new SitegenError(`${file}: is not valid YAML: ${String(error)}`, { cause: error });
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const faults = result.error.issues.flatMap((issue) => faultsOf(issue, schema, value));
  const texts = faults.map(({ path, message }) => `${file}:${lineOf(document, path, lines)}: ${path.length > 0 ? `${path.join('.')}: ` : ''}${message}`);
  throw new SitegenError(texts.join('\n'), { hint: 'sitegen help on the keys: see the commented example beside the file' });
}

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
  const shown = given === undefined || typeof given === 'object' ? '' : `${JSON.stringify(given)} `;
  if (issue.code === 'invalid_type' || issue.code === 'invalid_union') {
    const wanted = issue.code === 'invalid_type' ? issue.expected : 'text or number';
    return [{ path: issue.path, message: given === undefined ? `is missing; allowed: ${wanted}` : `${shown}is of the wrong type; allowed: ${wanted}` }];
  }
  const message = issue.message.charAt(0).toLowerCase() + issue.message.slice(1);
  return [{ path: issue.path, message: message.startsWith('"') ? message : `${shown}${message}` }];
}

/** The keys that a schema knows at a path, for "allowed:". */
export function keysAt(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  let at: unknown = schema;
  for (const key of path) at = shapeOf(at)?.[String(key)];
  return Object.keys(shapeOf(at) ?? {});
}

function shapeOf(schema: unknown): Record<string, unknown> | undefined {
  const inner = (schema as { def?: { innerType?: unknown } } | undefined)?.def?.innerType;
  if (inner !== undefined) return shapeOf(inner);
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

/** A container could replace a directory inside one volume by a link and have it mounted as another. */
function refuseNested(volumes: readonly string[], file: string): void {
  const directories = volumes.map((volume) => directoryOf(volume));
  for (const [index, directory] of directories.entries()) {
    const outer = directories.find((other, at) => at !== index && (other === '.' || other === directory || directory.startsWith(`${other}/`)));
    if (outer !== undefined) {
      throw new SitegenError(`${file}: volumes: "${directory}" lies inside "${outer}"`, { hint: 'use directories beside each other' });
    }
  }
}

/** The directory part of a volume, without a leading `./`. */
export function directoryOf(volume: string): string {
  const directory = volume.split(':', 1)[0] ?? '';
  return directory.startsWith('./') ? directory.slice(2) : directory;
}
