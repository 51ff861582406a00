import test, { type ExecutionContext } from 'ava';
import { stringify } from 'yaml';
import type { Entry, Target } from '../../lib/pure/entry.ts';
import { SitegenError } from '../../lib/pure/errors.ts';
import { parseUsers, usersConfig } from '../../lib/pure/haproxy.ts';
import { mapNames, mapText, ownerOfEntry, parseMap, type MapEntries } from '../../lib/pure/routes.ts';
import { defaultsSchema, siteSchema } from '../../lib/pure/schema.ts';
import type { Site } from '../../lib/pure/site.ts';
import { harmlessHash, hostile, hostileFor, holding, settingsWith, textPaths } from './_hostile.ts';
import { configOf, mapsOf, routedOf } from './_router.ts';
import { resolveTexts } from './_site.ts';

/** Sections and the first two words of every line: what a configuration does, without its values. */
function shapeOf(config: string): string[] {
  return config.split('\n').map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#')).map((line) => line.split(/\s+/, 2).join(' '));
}

/** A map is one line an entry, in the order of its fields, and all of it belongs to the site. */
function checkMaps(t: ExecutionContext, maps: MapEntries, what: string): void {
  const fields: Record<string, number[]> = { names: [2], passthrough: [5], options: [7], nets: [2], routes: [4, 6, 8] };
  for (const name of mapNames) {
    const text = mapText(maps[name]);
    const lines = text.split('\n').slice(0, -1);
    t.is(lines.length, maps[name].size, `${what}: ${name}`);
    for (const line of lines) {
      t.regex(line, /^(?!#)[!-~]+ [!-~]([ -~]*[!-~])?$/, `${what}: ${name}`);
      t.true(line.length < 8000, `${what}: ${name}`);
    }
    t.deepEqual(new Map([...parseMap(text)].sort()), new Map([...maps[name]].sort()), `${what}: ${name}`);
    for (const value of maps[name].values()) {
      t.is(ownerOfEntry(value), 'example.com', `${what}: ${name}`);
      if (name !== 'headers') t.true(fields[name]?.includes(value.split('|').length), `${what}: ${name}: ${value}`);
      if (name === 'routes') t.regex(value.split('|')[1] ?? '', /^(be_site|be_http|be_https|be_static|(redirect|goto)30[1278])$/, what);
    }
  }
}

function checkUsers(t: ExecutionContext, config: string, count: number, what: string): void {
  t.is(parseUsers(config).size, count, what);
  t.regex(config, /^# Made by sitegen[^\n]*\nuserlist sites\n(\tuser example\.com\/[!-~]+ password [!-~]+\n)*$/, what);
  t.is(config.split('\n').length, count + 3, what);
}

for (const path of textPaths(siteSchema)) {
  test(`hostile text in ${path.join('.')} of a site is refused or says nothing more to the router`, (t) => {
    const expected = configOf(undefined, path[0] === 'headers' ? [path[1] === '*' ? 'x-a' : 'key'] : []);
    const taken: string[] = [];
    for (const [name, value] of hostileFor(path)) {
      let routed;
      try {
        routed = routedOf({ site: stringify(settingsWith(path, value), { lineWidth: 0 }), file: '/etc/sitegen/sites/example.com.yaml' });
      } catch (error) {
        t.true(error instanceof SitegenError, `${name}: ${String(error)}`);
        continue;
      }
      taken.push(name);
      t.is(routed.config, expected, name);
      checkUsers(t, routed.users, path[0] === 'auth' ? 1 : 0, name);
      checkMaps(t, routed.maps, name);
    }
    const nothing = ['domain', 'aliases', 'redirects', 'allow', 'maintenance', 'timeouts', 'maxBody', 'www', 'http', 'certificate', 'hsts', 'passthrough'];
    // An opening alone is what belongs there.
    if (nothing.includes(path[0] ?? '')) t.deepEqual(taken.filter((name) => !name.endsWith('and nothing')), []);
    // A hash may have dots and slashes.
    if (path[0] === 'auth') t.deepEqual(taken.filter((name) => !/and (nothing|a way up|one dot more)$/.test(name)), []);
    if (path.join('.') === 'headers.KEY') t.true(taken.length > 10, taken.join(' '));
    if (path[0] === 'redirect' && path.length === 1) t.true(taken.includes('https://example.org and a fetch of HAProxy'), taken.join(' '));
  });
}

for (const path of textPaths(defaultsSchema).filter(([first]) => first === 'router')) {
  test(`hostile text in ${path.join('.')} of sitegen.yaml is refused or adds nothing to the configuration`, (t) => {
    const expected = shapeOf(configOf(undefined));
    for (const [name, value] of hostileFor(path)) {
      let routed;
      try {
        routed = routedOf({ site: 'domain: example.com\nimage: x\n', defaults: stringify(holding(path, value), { lineWidth: 0 }) });
      } catch (error) {
        t.true(error instanceof SitegenError, `${name}: ${String(error)}`);
        continue;
      }
      if (path[1] === 'unknown') t.true(name.endsWith('and nothing'), name);
      else t.deepEqual(shapeOf(routed.config), expected, name);
      for (const probe of routed.probes) t.regex(probe, /^\/[!-~]{1,499}$/, name);
    }
  });
}

const site = resolveTexts({ site: 'domain: example.com\nimage: x\n' });
const withEntry = (changes: Partial<Entry>): Site => ({ ...site, entry: { ...site.entry, ...changes } });
const withTarget = (target: Target): Site => withEntry({ targets: new Map([['', target]]) });

/** Sites that validation would never let through. */
const sitesWith: Record<string, (value: string) => Site> = {
  'a header\'s name': (value) => withEntry({ headers: { [value]: 'x' } }),
  'a header\'s value': (value) => withEntry({ headers: { 'X-A': value } }),
  'a redirect\'s target': (to) => withTarget({ kind: 'redirect', to, status: 308, keepPath: true }),
  'a directory': (root) => withTarget({ kind: 'static', root, notFound: undefined }),
  'a page': (notFound) => withTarget({ kind: 'static', root: '/srv', notFound }),
  'an upstream\'s host': (host) => withTarget({ kind: 'upstream', to: { protocol: 'http', host, port: 80, base: undefined }, host: undefined }),
  'an upstream\'s base': (base) => withTarget({ kind: 'upstream', to: { protocol: 'http', host: 'a', port: 80, base }, host: undefined }),
  'an upstream\'s Host header': (host) => withTarget({ kind: 'upstream', to: { protocol: 'http', host: 'a', port: 80, base: undefined }, host }),
  'a path': (value) => withEntry({ targets: new Map([[value, { kind: 'address' }]]) }),
  'a server of passthrough': (host) => withEntry({ passthrough: { to: { host, port: 443 }, proxyProtocol: false } }),
  'the time of HSTS': (hsts) => withEntry({ hsts }),
  'an alias': (value) => ({ ...site, aliases: [value] }),
};

for (const [what, make] of Object.entries(sitesWith)) {
  test(`what validation would let through as ${what} is refused when maps are written, or stays one entry`, (t) => {
    for (const [name, value] of Object.entries(hostile)) {
      let maps;
      try {
        maps = mapsOf(make(value));
        for (const map of mapNames) mapText(maps[map]);
      } catch (error) {
        t.true(error instanceof SitegenError, `${name}: ${String(error)}`);
        continue;
      }
      checkMaps(t, maps, name);
    }
  });
}

test('what validation would let through is refused when the configuration is written', (t) => {
  const expected = shapeOf(configOf(undefined));
  for (const [name, value] of Object.entries(hostile).filter(([, text]) => !/^[A-Za-z0-9_./:[\]-]*$/.test(text))) {
    t.throws(() => configOf(undefined, [value]), undefined, `${name} as a header's name`);
    t.throws(() => configOf({ statePath: value }), undefined, `${name} as a path`);
    t.throws(() => configOf({ unknown: { https: { host: value, port: 443 }, http: undefined } }), undefined, `${name} as a host`);
    t.throws(() => usersConfig(new Map([[`example.com/${value}`, harmlessHash]])), undefined, `${name} as a user`);
    t.throws(() => usersConfig(new Map([['example.com/alice', `${harmlessHash}${value}`]])), undefined, `${name} as a hash`);
  }
  t.deepEqual(shapeOf(configOf({ statePath: '/x/y' })), expected);
});

test('a reader of configurations and maps sees what a value that is let through would do', (t) => {
  const shape = shapeOf(configOf(undefined));
  t.notDeepEqual(shapeOf(configOf(undefined).replace('/.well-known/sitegen/state', hostile['a directive of HAProxy'] ?? '')), shape);
  const entries = mapsOf(withEntry({ headers: { 'X-A': hostile['another entry of a map'] ?? '' } })).headers;
  t.is(parseMap([...entries].map(([key, value]) => `${key} ${value}\n`).join('')).size, 2);
});
