import test from 'ava';
import { stringify } from 'yaml';
import type { z } from 'zod';
import { addressAt } from '../../lib/pure/addresses.ts';
import { parseApp, parseDefaults } from '../../lib/pure/config.ts';
import { desired } from '../../lib/pure/desired.ts';
import { SitegenError } from '../../lib/pure/errors.ts';
import { appSchema, defaultsSchema, siteSchema } from '../../lib/pure/schema.ts';
import { builtIn, type Site } from '../../lib/pure/site.ts';
import { desiredOf, resolveTexts, templates, unitText } from './_site.ts';
import { environmentOf, readUnit, shapeOf } from './_systemd.ts';

const hostile: Record<string, string> = {
  'a line break': 'x\nExecStartPre=/bin/reboot',
  'a line break and a section': '/x\n[Service]\nExecStartPre=/bin/reboot\n',
  'a carriage return': '/x\rExecStartPre=/bin/reboot',
  'a continued line': '/x\\\nExecStartPre=/bin/reboot',
  'a backslash at the end': '/x\\',
  'an escaped line break': '/x\\nExecStartPre=/bin/reboot',
  'a closing quote': '/x" "SITEGEN_PORT=1',
  'a single quote': "/x' 'SITEGEN_PORT=1",
  'a specifier': '/%n%H%%',
  'a command': '/$(reboot)`reboot`;reboot|reboot&',
  'a variable': '/${HOME}$HOME',
  'a comment': '# x',
  'a line separator': '/x\u2028ExecStartPre=/bin/reboot',
  'a next line character': '/x\u0085ExecStartPre=/bin/reboot',
  'a zero byte': '/x\0ExecStartPre=/bin/reboot',
  'an escape sequence': '/\u001B[31mx',
  'letters of other scripts': '/é漢🙂\u202Ex',
  'half a character': '/\uD800x',
  'a way up': '../../../../etc',
  'a tag of mustache': '/{{&codeDir}}{{missing}}',
  'a very long text': `/${'x'.repeat(70_000)}`,
  nothing: '',
};

type Path = readonly string[];

/** Paths of everything in a schema that may be text; "0" stands for a list's items, "*" for any key. */
function textPaths(schema: unknown, at: Path = []): Path[] {
  const { def } = schema as { def: Record<string, unknown> & { type: string } };
  switch (def.type) {
    case 'string': return [at];
    case 'object': return Object.entries((schema as z.ZodObject).shape).flatMap(([key, inner]) => textPaths(inner, [...at, key]));
    case 'record': return [[...at, '*'], ...textPaths(def['valueType'], [...at, 'KEY'])];
    case 'array': return textPaths(def['element'], [...at, '0']);
    case 'union': return (def['options'] as unknown[]).flatMap((option) => textPaths(option, at));
    case 'pipe': return textPaths(def['in'], at);
    case 'optional': return textPaths(def['innerType'], at);
    case 'number': case 'int': case 'boolean': case 'literal': return [];
    default: throw new Error(`${at.join('.')}: ${def.type} is new here`);
  }
}

/** An object that has only a value at a path. */
function holding(path: Path, value: string): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return value;
  if (key === '*') return { [value]: 'x' };
  return key === '0' ? [holding(rest, value)] : { [key]: holding(rest, value) };
}

const harmless = desiredOf({ site: 'domain: example.com\nimage: x\n' });
const allLimits = '{memoryMax: 1G, memoryHigh: 1G, cpuWeight: 1, cpuQuota: 1%, ioWeight: 1, tasksMax: 1}';
const limited = desiredOf({ site: `domain: example.com\nimage: x\nlimits: ${allLimits}\n` });
const kinds = ['socket', 'service', 'slice', 'app-slice'] as const;

test('the walk over the schema finds text at all levels', (t) => {
  const found = textPaths(siteSchema).map((path) => path.join('.'));
  for (const path of ['domain', 'aliases.0', 'app', 'image', 'env.*', 'env.KEY', 'volumes.0', 'limits.memoryMax', 'limits.cpuQuota', 'ready.path', 'ready.timeout', 'stop.timeout', 'address']) {
    t.true(found.includes(path), `${path} among ${found.join(' ')}`);
  }
  t.true(textPaths(appSchema).some((path) => path.join('.') === 'build.hostFiles.*'));
  t.true(textPaths(defaultsSchema).some((path) => path.join('.') === 'alerts.command.0'));
});

for (const path of textPaths(siteSchema)) {
  test(`hostile text in ${path.join('.')} of a site is refused or changes no unit's settings`, (t) => {
    const taken: string[] = [];
    for (const [name, value] of Object.entries(hostile)) {
      const settings = { domain: 'example.com', ...(path[0] === 'app' ? {} : { image: 'x' }), ...holding(path, value) as object };
      let want;
      try {
        want = desiredOf({ site: stringify(settings, { lineWidth: 0 }), file: '/etc/sitegen/sites/example.com.yaml' });
      } catch (error) {
        t.true(error instanceof SitegenError, `${name}: ${String(error)}`);
        t.regex((error as Error).message, /^\/etc\/sitegen\/sites\/example\.com\.yaml:\d+: /, name);
        continue;
      }
      taken.push(name);
      for (const kind of kinds) {
        t.deepEqual(shapeOf(readUnit(unitText(want, kind))), shapeOf(readUnit(unitText(harmless, kind))), `${name}: ${kind}`);
      }
      t.deepEqual(Object.keys(environmentOf(readUnit(unitText(want, 'service')))), Object.keys(environmentOf(readUnit(unitText(harmless, 'service')))), name);
      for (const { Source } of want.container.HostConfig.Mounts) t.regex(Source, /^\/var\/lib\/sitegen\/sites\/example\.com\/data(\/[\w.-]+)*$/, name);
    }
    if (path.join('.') === 'ready.path') t.deepEqual(taken, ['a backslash at the end', 'an escaped line break', 'a specifier', 'a command', 'a variable', 'a tag of mustache', 'a very long text']);
    if (path[0] === 'limits' || path[0] === 'domain' || path[0] === 'image') t.deepEqual(taken, []);
  });
}

for (const [what, schema, parse, needed] of [
  ['an app', appSchema, parseApp, { description: 'x', image: 'x' }],
  ['sitegen.yaml', defaultsSchema, parseDefaults, {}],
] as const) {
  test(`hostile text in any key of ${what} is refused with its place, or taken`, (t) => {
    for (const path of textPaths(schema)) {
      for (const [name, value] of Object.entries(hostile)) {
        try {
          parse(stringify({ ...needed, ...holding(path, value) as object }, { lineWidth: 0 }), 'file.yaml');
        } catch (error) {
          t.true(error instanceof SitegenError, `${path.join('.')}: ${name}: ${String(error)}`);
          t.regex((error as Error).message, /^file\.yaml:\d+: /, `${path.join('.')}: ${name}`);
        }
      }
    }
  });
}

test('hostile defaults and presets change no unit\'s settings either', (t) => {
  for (const [name, value] of Object.entries(hostile)) {
    for (const written of [
      { site: 'domain: example.com\n', app: stringify({ description: 'x', image: 'x', ready: { path: value } }) },
      { site: 'domain: example.com\n', app: stringify({ description: 'x', image: 'x', limits: { memoryMax: value } }) },
      { site: 'domain: example.com\nimage: x\n', defaults: stringify({ defaults: { limits: { memoryMax: value } } }) },
      { site: 'domain: example.com\nimage: x\n', defaults: stringify({ network: { sites: value } }) },
    ]) {
      let want;
      try {
        want = desiredOf(written);
      } catch (error) {
        t.true(error instanceof SitegenError, `${name}: ${String(error)}`);
        continue;
      }
      for (const kind of kinds) t.deepEqual(shapeOf(readUnit(unitText(want, kind))), shapeOf(readUnit(unitText(harmless, kind))), `${name}: ${kind}`);
    }
  }
});

test('what validation would let through is escaped, or refused, when units are written', (t) => {
  const site = resolveTexts({ site: `domain: example.com\nimage: x\nlimits: ${allLimits}\n` });
  const address = addressAt(5000, builtIn.ranges);
  for (const [name, value] of Object.entries(hostile)) {
    const paths: Site = { ...site, workload: { ...site.workload, ready: { path: value, timeoutMs: 1000 } } };
    const want = desired(paths, address, value, templates);
    for (const kind of kinds) t.deepEqual(shapeOf(readUnit(unitText(want, kind))), shapeOf(readUnit(unitText(limited, kind))), `${name}: ${kind}`);
    // A file is UTF-8, which has no half characters.
    t.is(environmentOf(readUnit(unitText(want, 'service')))['SITEGEN_READY_PATH'], value, name);
    const limits: Site = { ...site, workload: { ...site.workload, limits: { ...site.workload.limits, MemoryMax: value } } };
    t.throws(() => desired(limits, address, 'x', templates), { instanceOf: SitegenError, message: /^MemoryMax=.* cannot be written/s }, name);
  }
});

test('a reader of units sees what an unescaped value would do', (t) => {
  const raw = Object.fromEntries(Object.entries(templates).map(([name, text]) => [name, text.replaceAll(/\{\{(\w+)\}\}/g, '{{&$1}}')])) as unknown as typeof templates;
  const site = resolveTexts({ site: 'domain: example.com\nimage: x\n' });
  const want = desired({ ...site, workload: { ...site.workload, ready: { path: hostile['a line break and a section'], timeoutMs: 1000 } } }, addressAt(5000, builtIn.ranges), 'x', raw);
  t.true(shapeOf(readUnit(unitText(want, 'service'))).includes('Service.ExecStartPre'));
});
