import test from 'ava';
import { stringify } from 'yaml';
import { addressAt } from '../../lib/pure/addresses.ts';
import { parseApp, parseDefaults } from '../../lib/pure/config.ts';
import { desired } from '../../lib/pure/desired.ts';
import { SitegenError } from '../../lib/pure/errors.ts';
import { appSchema, defaultsSchema, siteSchema } from '../../lib/pure/schema.ts';
import { builtIn } from '../../lib/pure/site.ts';
import { holding, hostile, hostileFor, settingsWith, textPaths } from './_hostile.ts';
import { containerOf, desiredOf, resolveTexts, templates, unitText, withWorkload, workloadOf } from './_site.ts';
import { environmentOf, readUnit, shapeOf } from './_systemd.ts';

const harmless = desiredOf({ site: 'domain: example.com\nimage: x\n' });
const allLimits = '{memoryMax: 1G, memoryHigh: 1G, cpuWeight: 1, cpuQuota: 1%, ioWeight: 1, tasksMax: 1}';
const limited = desiredOf({ site: `domain: example.com\nimage: x\nlimits: ${allLimits}\n` });
const listening = desiredOf({ site: 'domain: example.com\nimage: x\nlisten: [25]\n' });
const programmed = desiredOf({ site: 'domain: example.com\nprocess: {command: [/x]}\n' });
const spliced = desiredOf({ site: 'domain: example.com\nproxy: unix:/run/x.sock\n' });
const kinds = ['socket', 'service', 'slice', 'app-slice', 'process'] as const;

test('the walk over the schema finds text at all levels', (t) => {
  const found = textPaths(siteSchema).map((path) => path.join('.'));
  for (const path of ['domain', 'aliases.0', 'app', 'image', 'env.*', 'env.KEY', 'volumes.0', 'limits.memoryMax', 'limits.cpuQuota', 'listen.0', 'ready.path', 'ready.timeout', 'stop.timeout', 'address',
    'static', 'static.git', 'proxy.host', 'passthrough.http', 'redirect.to', 'paths.*', 'paths./key', 'paths./key.proxy.to', 'paths./key.redirect.to', 'auth.*', 'auth.KEY', 'allow.0',
    'maintenance.allow.0', 'headers.*', 'headers.KEY', 'www', 'hsts', 'timeouts.tunnel', 'maxBody', 'redirects.0']) {
    t.true(found.includes(path), `${path} among ${found.join(' ')}`);
  }
  t.true(textPaths(appSchema).some((path) => path.join('.') === 'image.hostFiles.*'));
  t.true(textPaths(defaultsSchema).some((path) => path.join('.') === 'alerts.command.0'));
  t.true(textPaths(defaultsSchema).some((path) => path.join('.') === 'router.unknown.https'));
});

for (const path of textPaths(siteSchema)) {
  test(`hostile text in ${path.join('.')} of a site is refused or changes no unit's settings`, (t) => {
    const taken: string[] = [];
    for (const [name, value] of hostileFor(path)) {
      let want;
      try {
        want = desiredOf({ site: stringify(settingsWith(path, value), { lineWidth: 0 }), file: '/etc/sitegen/sites/example.com.yaml' });
      } catch (error) {
        t.true(error instanceof SitegenError, `${name}: ${String(error)}`);
        t.regex((error as Error).message, /^\/etc\/sitegen\/sites\/example\.com\.yaml:\d+: /, name);
        continue;
      }
      taken.push(name);
      if (!want.hasSocket) {
        t.deepEqual(want.files, [], name);
        continue;
      }
      const like = want.listens.length > 0 ? listening : want.process ? programmed : want.container ? harmless : spliced;
      for (const kind of kinds) {
        t.deepEqual(shapeOf(readUnit(unitText(want, kind))), shapeOf(readUnit(unitText(like, kind))), `${name}: ${kind}`);
      }
      t.deepEqual(Object.keys(environmentOf(readUnit(unitText(want, 'service')))), Object.keys(environmentOf(readUnit(unitText(like, 'service')))), name);
      if (want.process) t.regex(want.process.sandbox.find(([setting]) => setting === 'BindPaths')?.[1] ?? '', /^\/var\/lib\/sitegen\/sites\/example\.com\/data$/, name);
      for (const socket of want.listens) t.regex(socket, /^sitegen-listen@example\.com:25\.socket$/, name);
      if (want.container) for (const { Source } of containerOf(want).HostConfig.Mounts) t.regex(Source, /^\/var\/lib\/sitegen\/sites\/example\.com\/data(\/[\w.-]+)*$/, name);
    }
    if (path.join('.') === 'ready.path') t.deepEqual(taken, ['a backslash at the end', 'an escaped line break', 'a specifier', 'a command', 'a variable', 'a tag of mustache', 'a very long text', 'another field of an entry', 'a fetch of HAProxy', 'one dot more']);
    if (path[0] === 'listen') t.deepEqual(taken, ['25 and nothing', '25:25 and nothing']);
    // Folders and files of the host may be called anything; no unit ever has them.
    if (['limits', 'domain', 'image'].includes(path[0] ?? '') && !/\.(build|hostFiles|tar)\b/.test(path.join('.'))) t.deepEqual(taken, []);
  });
}

for (const [what, schema, parse, needed] of [
  ['an app', appSchema, parseApp, { description: 'x', image: 'x' }],
  ['sitegen.yaml', defaultsSchema, parseDefaults, {}],
] as const) {
  test(`hostile text in any key of ${what} is refused with its place, or taken`, (t) => {
    for (const path of textPaths(schema)) {
      for (const [name, value] of hostileFor(path)) {
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
    const paths = withWorkload(site, { ready: { path: value, timeoutMs: 1000 } });
    const want = desired(paths, address, value, templates);
    for (const kind of kinds) t.deepEqual(shapeOf(readUnit(unitText(want, kind))), shapeOf(readUnit(unitText(limited, kind))), `${name}: ${kind}`);
    // A file is UTF-8, which has no half characters.
    t.is(environmentOf(readUnit(unitText(want, 'service')))['SITEGEN_READY_PATH'], value, name);
    const limits = withWorkload(site, { limits: { ...workloadOf(site).limits, MemoryMax: value } });
    t.throws(() => desired(limits, address, 'x', templates), { instanceOf: SitegenError, message: /^MemoryMax=.* cannot be written/s }, name);
  }
});

test('a reader of units sees what an unescaped value would do', (t) => {
  const raw = Object.fromEntries(Object.entries(templates).map(([name, text]) => [name, text.replaceAll(/\{\{(\w+)\}\}/g, '{{&$1}}')])) as unknown as typeof templates;
  const site = resolveTexts({ site: 'domain: example.com\nimage: x\n' });
  const want = desired(withWorkload(site, { ready: { path: hostile['a line break and a section'] ?? '', timeoutMs: 1000 } }), addressAt(5000, builtIn.ranges), 'x', raw);
  t.true(shapeOf(readUnit(unitText(want, 'service'))).includes('Service.ExecStartPre'));
});

const ofServices = ['image', 'command', 'entrypoint', 'working_dir', 'user', 'hostname', 'restart', 'stop_signal', 'stop_grace_period', 'shm_size', 'tmpfs', 'volumes.0', 'labels.KEY', 'environment.KEY', 'environment.0',
  'depends_on.0', 'cap_add.0', 'cap_drop.0', 'security_opt.0', 'networks.0', 'network_mode', 'pid', 'ipc', 'userns_mode', 'healthcheck.test', 'expose.0', 'ports.0', 'devices.0', '*'];
const composed = desiredOf({ site: 'domain: example.com\ncompose: {entrypoint: web, project: {services: {web: {image: x}, other: {image: x}}}}\n' });

for (const key of ofServices) {
  test(`hostile text in ${key} of a service is refused with its place, or stays in its container`, (t) => {
    for (const [name, value] of hostileFor(key.startsWith('volumes') ? ['volumes', '0'] : [key]).map(([what, text]): [string, string] => [what, key.startsWith('volumes') ? `${text}:/x` : text])) {
      const service = { image: 'x', ...holding(key.split('.'), value) as object };
      try {
        const want = desiredOf({ site: stringify({ domain: 'example.com', compose: { entrypoint: 'web', project: { services: { web: { image: 'x' }, other: service } } } }, { lineWidth: 0 }) });
        for (const kind of [...kinds, 'entry-slice'] as const) t.is(unitText(want, kind).replace(/^TimeoutStopSec=.*$/m, ''), unitText(composed, kind).replace(/^TimeoutStopSec=.*$/m, ''), `${name}: ${kind}`);
        const spec = want.project?.containers.find((container) => container.service === 'other')?.spec;
        for (const { Source } of spec?.HostConfig.Mounts ?? []) t.regex(Source, /^\/var\/lib\/sitegen\/sites\/example\.com\/data(\/(?!\.\.?(\/|$))[^/]+)*$/, name);
        t.deepEqual(Object.keys(spec?.HostConfig ?? {}).filter((each) => /Privileged|Devices|PidMode|UsernsMode|Binds|PortBindings/.test(each)), [], name);
        t.deepEqual([spec?.HostConfig.CapDrop, spec?.HostConfig.CgroupParent, spec?.Labels['sitegen.domain']], [['ALL'], want.names.appSlice, 'example.com'], name);
      } catch (error) {
        t.true(error instanceof SitegenError, `${name}: ${String(error)}`);
        t.regex((error as Error).message, /^\/etc\/sitegen\/sites\/example\.com\.yaml:\d+: compose\.project/, name);
      }
    }
  });
}
