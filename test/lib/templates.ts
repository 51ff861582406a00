import { readFile, writeFile } from 'node:fs/promises';
import test from 'ava';
import { parse } from 'yaml';
import type { z } from 'zod';
import { keysAt, parseApp, parseDefaults, parseSite } from '../../lib/pure/config.ts';
import { paths, shared } from '../../lib/pure/names.ts';
import { refuseSpecial, render } from '../../lib/pure/render.ts';
import { appSchema, defaultsSchema, siteSchema } from '../../lib/pure/schema.ts';
import { builtIn, rangesOf } from '../../lib/pure/site.ts';
import { desiredOf, repository, unitText } from './_site.ts';

const read = (file: string) => readFile(`${repository}/${file}`, 'utf8');

/** All keys that a schema knows, at all levels, as dotted paths. */
function schemaKeys(schema: z.ZodType, at: readonly string[] = []): string[] {
  return keysAt(schema, at).flatMap((key) => [[...at, key].join('.'), ...schemaKeys(schema, [...at, key])]);
}

/** Keys of a document, as far down as the schema has keys: what is below others is the user's. */
function documentKeys(value: unknown, schema: z.ZodType, at: readonly string[] = []): string[] {
  return Object.entries(value as Record<string, unknown>).flatMap(([key, inner]) => {
    const path = [...at, key];
    return [path.join('.'), ...(keysAt(schema, path).length > 0 ? documentKeys(inner, schema, path) : [])];
  });
}

/** Takes the comment marks off keys; prose stays a comment. A key has one word or a list after it, or nothing. */
function withCommentedKeys(text: string): string {
  return text.replaceAll(/^( *)# ( *)([A-Za-z]+:(?: \S+| \[.*\])?)$/gm, '$1$2$3');
}

test('commented keys are told from prose', (t) => {
  t.is(withCommentedKeys('# limits:\n#   memoryMax: 1M\n  # tcp: true\n# false: nothing listens\n# Prose: with more words.\n#   command: [a, b c]\n'),
    'limits:\n  memoryMax: 1M\n  tcp: true\n# false: nothing listens\n# Prose: with more words.\n  command: [a, b c]\n');
});

test('a schema\'s keys are found at all levels', (t) => {
  for (const key of ['domain', 'limits.memoryMax', 'ready.tcp', 'stop.timeout', 'address']) t.true(schemaKeys(siteSchema).includes(key), key);
  for (const key of ['network.sites', 'defaults.limits.cpuQuota', 'alerts.email']) t.true(schemaKeys(defaultsSchema).includes(key), key);
});

test('the example of a site shows every key that the schema knows, and no other', async (t) => {
  const text = withCommentedKeys(await read('templates/example-site.yaml'));
  t.deepEqual(documentKeys(parse(text), siteSchema).sort(), schemaKeys(siteSchema).sort());
});

test('the example of a site is valid as it stands, and with each alternative', async (t) => {
  const text = await read('templates/example-site.yaml');
  const file = `${paths.sitesDir}/example.com.yaml`;
  const swap = (kept: string, other: string) => parseSite(text.replace(`${kept}: `, `# ${kept}: `).replace(`# ${other}: `, `${other}: `), file);
  t.is(parseSite(text, file).domain, 'example.com');
  t.is(swap('app', 'image').image, 'ghcr.io/someone/site:1.2');
  t.deepEqual(swap('path', 'tcp').ready, { tcp: true, timeout: '60s' });
  t.is(swap('enabled', 'address').address, '10.213.7.9');
});

test('sitegen.yaml shows every key that the schema knows but the rarer limits, and no other', async (t) => {
  const text = withCommentedKeys(await read('templates/sitegen.yaml'));
  const shown = documentKeys(parse(text), defaultsSchema);
  const known = schemaKeys(defaultsSchema);
  t.deepEqual(shown.filter((key) => !known.includes(key)), []);
  // Limits without a default have no value to show; the file points to the example that explains them.
  t.deepEqual(known.filter((key) => !shown.includes(key)), ['memoryHigh', 'cpuWeight', 'cpuQuota', 'ioWeight'].map((key) => `defaults.limits.${key}`));
  t.regex(text, /see example-site\.yaml/);
});

test('sitegen.yaml is valid, sets nothing as it stands, and shows the values that hold without it', async (t) => {
  const text = await read('templates/sitegen.yaml');
  t.deepEqual(parseDefaults(text, paths.defaultsFile), {});
  const shown = parseDefaults(withCommentedKeys(text), paths.defaultsFile);
  t.deepEqual(rangesOf(shown), builtIn.ranges);
  t.deepEqual(shown.defaults, { app: builtIn.app, limits: builtIn.limits, ready: { timeout: builtIn.readyTimeout }, stop: { timeout: builtIn.stopTimeout } });
  t.deepEqual(Object.keys(shown.alerts ?? {}), keysAt(defaultsSchema, ['alerts']));
});

test('every key that people write says what it is for', (t) => {
  for (const schema of [siteSchema, appSchema, defaultsSchema]) {
    for (const key of schemaKeys(schema)) {
      const path = key.split('.');
      t.true(keysAt(schema, path.slice(0, -1)).includes(path.at(-1) ?? ''));
      t.truthy(descriptionAt(schema, path), key);
    }
  }
});

test('the apps of the catalogue are valid', async (t) => {
  const app = parseApp(await read('templates/apps/welcome/app.yaml'), 'app.yaml');
  t.is(app.port, 80);
  t.deepEqual(app.build, { hostFiles: { busybox: '/usr/bin/busybox' } });
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
const rendered: Record<string, () => Promise<string> | string> = {
  socket: () => unitText(full, 'socket'),
  service: () => unitText(full, 'service'),
  slice: () => unitText(full, 'slice'),
  'app-slice': () => unitText(full, 'app-slice'),
  'network.nft': async () => render(await read('templates/network.nft.mustache'), { sites: '10.213.0.0/16', bridge: shared.bridge }, refuseSpecial),
};

for (const [name, make] of Object.entries(rendered)) {
  test(`the template ${name} gives what test/cases/expected/${name} shows`, async (t) => {
    const file = `test/cases/expected/${name}`;
    const content = await make();
    if (process.env['UPDATE_EXPECTED'] === '1') await writeFile(`${repository}/${file}`, content);
    t.is(content, await read(file), 'after a wanted change: UPDATE_EXPECTED=1 npx ava test/lib/templates.ts');
  });
}

function descriptionAt(schema: unknown, path: readonly string[]): string | undefined {
  let at = schema as { description?: string; shape?: Record<string, unknown>; def?: { innerType?: unknown } };
  let description: string | undefined;
  for (const key of path) {
    while (at.shape === undefined && at.def?.innerType !== undefined) at = at.def.innerType as typeof at;
    at = at.shape?.[key] as typeof at;
    description = at.description;
    for (let inner = at; description === undefined && inner.def?.innerType !== undefined;) {
      inner = inner.def.innerType as typeof at;
      description = inner.description;
    }
  }
  return description;
}
