import { readdirSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import test from 'ava';
import { parse, stringify } from 'yaml';
import { notesFor } from '../../lib/pure/app-env.ts';
import { keysAt, parseApp, parseDefaults, parseSite } from '../../lib/pure/config.ts';
import { builtInEntry } from '../../lib/pure/entry.ts';
import { builtInRouter } from '../../lib/pure/haproxy.ts';
import { mail, paths, shared } from '../../lib/pure/names.ts';
import { refuseSpecial, render } from '../../lib/pure/render.ts';
import { appSchema, defaultsSchema, siteSchema } from '../../lib/pure/schema.ts';
import { kinds } from '../../lib/pure/kinds.ts';
import { imageSettings } from '../../lib/pure/schema-image.ts';
import { entryFields } from '../../lib/pure/schema-entry.ts';
import { builtIn, rangesOf } from '../../lib/pure/site.ts';
import { containerOf, desiredOf, repository, unitText } from './_site.ts';

const read = (file: string) => readFile(`${repository}/${file}`, 'utf8');

/** Keys and what they hold, of every form that a value may have; "*" stands for any key. */
function shapesOf(schema: unknown): Record<string, unknown>[] {
  const { def, shape } = schema as { def: Record<string, unknown>; shape?: Record<string, unknown> };
  if (shape) return [shape];
  if (def['valueType'] !== undefined) return [{ '*': def['valueType'] }];
  const inner = def['options'] ?? [def['innerType'] ?? def['in']];
  return (inner as unknown[]).flatMap((option) => (option === undefined ? [] : shapesOf(option)));
}

/** All keys that a schema knows, at all levels, as dotted paths, with their descriptions. */
function described(schema: unknown, at: readonly string[] = []): Map<string, string | undefined> {
  return new Map(shapesOf(schema).flatMap((shape) => Object.entries(shape)).flatMap(([key, inner]): [string, string | undefined][] => {
    const path = [...at, key];
    return [...(key === '*' ? [] : [[path.join('.'), descriptionOf(inner)] satisfies [string, string | undefined]]), ...described(inner, path)];
  }));
}

const schemaKeys = (schema: unknown) => [...described(schema).keys()];

/** Keys of a document, as far down as the schema has keys: what is below others is the user's. */
function documentKeys(value: unknown, schema: unknown, at: readonly string[] = []): string[] {
  const shapes = schema === undefined ? [] : shapesOf(schema);
  if (shapes.length === 0 || typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([given, inner]) => {
    const key = shapes.some((shape) => '*' in shape) ? '*' : given;
    const path = [...at, key];
    return [...(key === '*' ? [] : [path.join('.')]), ...documentKeys(inner, shapes.find((shape) => key in shape)?.[key], path)];
  });
}

/** Takes the comment marks off keys; prose stays a comment. A key has one word or a list after it, or nothing. */
function withCommentedKeys(text: string): string {
  return text.replaceAll(/^( *)# ( *)(\/?[A-Za-z-]+:(?: \S+| \[.*\])?)$/gm, '$1$2$3');
}

test('commented keys are told from prose', (t) => {
  t.is(withCommentedKeys('# limits:\n#   memoryMax: 1M\n  # tcp: true\n# false: nothing listens\n# Prose: with more words.\n#   command: [a, b c]\n'),
    'limits:\n  memoryMax: 1M\n  tcp: true\n# false: nothing listens\n# Prose: with more words.\n  command: [a, b c]\n');
  t.is(withCommentedKeys('# paths:\n#   /a: http://a\n#   X-A: b\n# In short: "static: www"\n'), 'paths:\n  /a: http://a\n  X-A: b\n# In short: "static: www"\n');
});

test('a schema\'s keys are found at all levels', (t) => {
  for (const key of ['domain', 'limits.memoryMax', 'ready.tcp', 'stop.timeout', 'address', 'static.git', 'redirect.keepPath', 'maintenance.allow', 'paths.*.proxy.host', 'paths.*.redirect.status']) t.true(schemaKeys(siteSchema).includes(key), key);
  for (const key of ['network.sites', 'defaults.limits.cpuQuota', 'alerts.email', 'router.unknown.https', 'router.limits.logins', 'acme.eab.kid']) t.true(schemaKeys(defaultsSchema).includes(key), key);
});

test('the example of a site shows every key that the schema knows, and no other', async (t) => {
  const text = withCommentedKeys(await read('templates/example-site.yaml'));
  // The long form of an image is explained in docs/apps.md.
  t.deepEqual([...new Set(documentKeys(parse(text), siteSchema))].sort(), schemaKeys(siteSchema).filter((key) => !key.startsWith('image.')).sort());
});

test('everything that the example of a site shows is valid where it belongs', async (t) => {
  const shown = parse(withCommentedKeys(await read('templates/example-site.yaml'))) as Record<string, unknown>;
  const valid = (settings: object) => parseSite(stringify({ domain: 'example.com', ...settings }, { lineWidth: 0 }), `${paths.sitesDir}/example.com.yaml`);
  // Of a program it shows both ways to name it.
  const { script: _, ...program } = shown['process'] as Record<string, unknown>;
  for (const kind of kinds) t.notThrows(() => valid({ [kind]: kind === 'process' ? program : shown[kind] }), kind);
  const everywhere = Object.fromEntries(Object.entries(shown).filter(([key]) => key in entryFields && !kinds.some((kind) => kind === key)));
  for (const kind of ['app', 'image', 'static', 'proxy'] as const) t.deepEqual(Object.keys(valid({ [kind]: shown[kind], ...everywhere })).sort(), ['domain', kind, ...Object.keys(everywhere)].sort());
});

test('what the example of a site sets as it stands is what holds without it', async (t) => {
  const { http, www, certificate, hsts, timeouts, maxBody, maintenance } = parseSite(await read('templates/example-site.yaml'), `${paths.sitesDir}/example.com.yaml`);
  t.deepEqual([www, http, certificate, hsts, timeouts, maxBody], ['redirect', 'redirect', 'acme', builtInEntry.hsts, { response: builtInEntry.response, tunnel: builtInEntry.tunnel }, builtInEntry.maxBody]);
  t.is(maintenance, undefined);
});

test('the example of a site is valid as it stands, and with each alternative', async (t) => {
  const text = await read('templates/example-site.yaml');
  const file = `${paths.sitesDir}/example.com.yaml`;
  const swap = (kept: string, other: string) => parseSite(text.replace(`${kept}: `, `# ${kept}: `).replace(`# ${other}: `, `${other}: `), file);
  t.is(parseSite(text, file).domain, 'example.com');
  t.is(swap('app', 'image').image, 'ghcr.io/someone/site:1.2');
  t.deepEqual(swap('path', 'tcp').ready, { tcp: true, timeout: '60s' });
  t.deepEqual(swap('way', 'command').dump?.command, ['/usr/local/bin/export-all']);
  t.is(swap('enabled', 'address').address, '10.213.7.9');
});

test('sitegen.yaml shows every key that the schema knows but the rarer limits, and no other', async (t) => {
  const text = withCommentedKeys(await read('templates/sitegen.yaml'));
  const shown = documentKeys(parse(text), defaultsSchema);
  const known = schemaKeys(defaultsSchema);
  t.deepEqual(shown.filter((key) => !known.includes(key)), []);
  // Limits without a default have no value to show; the file points to the example that explains them.
  t.deepEqual(known.filter((key) => !shown.includes(key)), ['memoryHigh', 'cpuWeight', 'cpuQuota', 'ioWeight', 'disk'].map((key) => `defaults.limits.${key}`));
  t.regex(text, /see example-site\.yaml/);
});

test('sitegen.yaml is valid, sets nothing as it stands, and shows the values that hold without it', async (t) => {
  const text = await read('templates/sitegen.yaml');
  t.deepEqual(parseDefaults(text, paths.defaultsFile), {});
  const shown = parseDefaults(withCommentedKeys(text), paths.defaultsFile);
  t.deepEqual(rangesOf(shown), builtIn.ranges);
  t.deepEqual(shown.defaults, { app: builtIn.app, egress: { places: undefined }, limits: builtIn.limits, ready: { timeout: builtIn.readyTimeout }, stop: { timeout: builtIn.stopTimeout }, idle: { after: builtIn.idleAfter, stopAfter: builtIn.idleStopAfter, freeze: true } });
  t.is(shown.machine?.memory, builtIn.memory);
  t.deepEqual(Object.keys(shown.alerts ?? {}), keysAt(defaultsSchema, ['alerts']));
  const { enabled, hsts, maxConnections, limits, maxBody, log, statePath, probes } = shown.router ?? {};
  const { connections, requests, logins } = builtInRouter;
  t.deepEqual({ enabled, hsts, maxBody }, { enabled: true, hsts: builtInEntry.hsts, maxBody: builtInEntry.maxBody });
  t.deepEqual({ maxConnections, log, statePath, limits }, { maxConnections: builtInRouter.maxConnections, log: builtInRouter.log, statePath: builtInRouter.statePath, limits: { connections, requests, logins } });
  for (const probe of probes ?? []) t.true(builtInRouter.probes.some((known) => known === probe), probe);
  t.deepEqual([shown.acme?.enabled, shown.acme?.keyType], [true, 'ecdsa-p256']);
});

test('every key that people write says what it is for', (t) => {
  for (const schema of [siteSchema, appSchema, defaultsSchema]) {
    for (const [key, description] of described(schema)) {
      const path = key.split('.');
      if (!path.includes('*')) t.true(keysAt(schema, path.slice(0, -1)).includes(path.at(-1) ?? ''), key);
      t.truthy(description, key);
    }
  }
});

const catalogue = readdirSync(`${repository}/templates/apps`).sort();

test('the catalogue has what it is said to have', (t) => {
  t.deepEqual(catalogue, ['cozy', 'ghost', 'known', 'lamp', 'nextcloud', 'owncloud', 'trovebox', 'welcome', 'wordpress']);
});

for (const name of catalogue) {
  test(`the app ${name} is valid, and a site of it has all that it refers to`, async (t) => {
    const text = await read(`templates/apps/${name}/app.yaml`);
    const app = parseApp(text, 'app.yaml');
    const made = Object.entries(app.env ?? {}).flatMap(([key, value]) => (typeof value === 'string' ? [] : [`${key}: ${'x'.repeat(value.secret)}`]));
    const site = `domain: shop.example.com\napp: ${name}\nsecrets: {${made.join(', ')}}\n`;
    const want = desiredOf({ site, app: text });
    t.deepEqual(want.missingSecrets, []);
    t.notRegex(containerOf(want).Env.join('\n'), /\$\{/);
    t.notRegex(notesFor(app.notes, 'shop.example.com').join('\n'), /\$\{/);
    for (const directory of want.owners.keys()) t.true(want.dataDirs.includes(directory), directory);
    const { build, base, hostFiles = {} } = imageSettings(app.image ?? '');
    if (build === undefined) return;
    const dockerfile = await read(`templates/apps/${name}/Dockerfile`);
    t.is(/^ARG BASE$/m.test(dockerfile), base !== undefined);
    const there = [...await readdir(`${repository}/templates/apps/${name}`), ...Object.keys(hostFiles)];
    for (const [, files = ''] of dockerfile.matchAll(/^COPY (.+) \S+$/gm)) for (const file of files.split(' ')) t.true(there.includes(file), file);
  });
}

test('what is not maintained says so', async (t) => {
  t.regex(parseApp(await read('templates/apps/trovebox/app.yaml'), 'app.yaml').warning ?? '', /no longer maintained/);
});

const full = desiredOf({
  site: `domain: my-site.example.com
image: ghcr.io/someone/site:1.2
port: 8080
limits: {memoryMax: 20%, memoryHigh: 400M, cpuWeight: 50, cpuQuota: 150%, ioWeight: 20, tasksMax: 300}
ready: {path: '/100%"ready"\\', timeout: 90s}
stop: {timeout: 15s}
`,
});
const program = desiredOf({ site: 'domain: my-site.example.com\nprocess: {command: [/usr/bin/node, server.mjs], listenFds: true}\n' });
const project = desiredOf({ site: 'domain: my-site.example.com\ncompose: {entrypoint: "web:8080", project: {services: {web: {image: x}, db: {image: y, stop_grace_period: 1m}}}}\n' });
const rendered: Record<string, () => Promise<string> | string> = {
  socket: () => unitText(full, 'socket'),
  service: () => unitText(full, 'service'),
  forward: () => unitText(desiredOf({ site: 'domain: my-site.example.com\nproxy: unix:/run/app/http.sock\n' }), 'service'),
  listen: () => desiredOf({ site: 'domain: my-site.example.com\nimage: x\nlisten: ["25:2525"]\n' }).files.find(({ path }) => path.includes('sitegen-listen@'))?.content ?? '',
  slice: () => unitText(full, 'slice'),
  'app-slice': () => unitText(full, 'app-slice'),
  'entry-slice': () => unitText(project, 'entry-slice'),
  'service-of-a-project': () => unitText(project, 'service'),
  process: () => unitText(program, 'process'),
  'process-socket': () => unitText(program, 'process-socket'),
  'service-of-a-process': () => unitText(program, 'service'),
  job: () => desiredOf({ site: 'domain: my-site.example.com\nimage: x\njobs: {cron: {calendar: "*:0/15", command: [php, cron.php]}}\n' }).files.at(-1)?.content ?? '',
  'network.nft': async () => render(await read('templates/network.nft.mustache'), { sites: '10.213.0.0/16', bridge: shared.bridge, projects: shared.projectBridge, gateway: '10.214.0.1', mailPort: mail.port, mailListenPort: mail.listenPort, egressDir: paths.egressDir }, refuseSpecial),
  'mail.socket': async () => render(await read('templates/mail-socket.mustache'), { gateway: '10.214.0.1', port: mail.listenPort }, refuseSpecial),
};

for (const [name, make] of Object.entries(rendered)) {
  test(`the template ${name} gives what test/cases/expected/${name} shows`, async (t) => {
    const file = `test/cases/expected/${name}`;
    const content = await make();
    if (process.env['UPDATE_EXPECTED'] === '1') await writeFile(`${repository}/${file}`, content);
    t.is(content, await read(file), 'after a wanted change: UPDATE_EXPECTED=1 npx ava test/lib/templates.ts');
  });
}

function descriptionOf(schema: unknown): string | undefined {
  const { description, def } = schema as { description?: string; def?: { innerType?: unknown } };
  return description ?? (def?.innerType === undefined ? undefined : descriptionOf(def.innerType));
}
