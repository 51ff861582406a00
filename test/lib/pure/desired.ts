import test from 'ava';
import { specHash, type ContainerSpec } from '../../../lib/pure/desired.ts';
import { SitegenError } from '../../../lib/pure/errors.ts';
import { paths } from '../../../lib/pure/names.ts';
import { limitNames } from '../../../lib/pure/limits.ts';
import { builtIn, rangesOf, resolve } from '../../../lib/pure/site.ts';
import { containerOf, desiredOf, resolveTexts, workloadOf } from '../_site.ts';

const plain = desiredOf({ site: 'domain: example.com\nimage: x\n' });

test('a site has four unit files, with the slices before what runs in them', (t) => {
  t.deepEqual(plain.files.map(({ path }) => path), plain.names.units.map((unit) => `${paths.unitsDir}/${unit}`));
  for (const { content, path } of plain.files) {
    t.true(content.startsWith('# Made by sitegen from /etc/sitegen/sites/example.com.yaml; "sitegen apply" writes it again.\n'), path);
    t.true(content.endsWith('\n'), path);
    t.notRegex(content, /\{\{|undefined|NaN|\[object/, path);
  }
});

test('the same settings always give the same', (t) => {
  t.deepEqual(desiredOf({ site: 'domain: example.com\nimage: x\n' }), plain);
});

test('the data directory comes before the volumes in it, and one that is all of it is there once', (t) => {
  t.deepEqual(desiredOf({ site: 'domain: example.com\nimage: x\nvolumes: [b:/b, a/c:/c]\n' }).dataDirs.map((directory) => directory.replace('/var/lib/sitegen/sites/example.com/', '')), ['data', 'data/b', 'data/a/c']);
  t.deepEqual([...new Set(desiredOf({ site: 'domain: example.com\nimage: x\nvolumes: [.:/all]\n' }).dataDirs)], [plain.names.dataDir]);
});

test('a host name longer than Linux allows is cut at its first dot', (t) => {
  const hostname = (domain: string) => containerOf(desiredOf({ site: `domain: ${domain}\nimage: x\n` })).Hostname;
  const fits = `${'a'.repeat(60)}.com`;
  t.is(fits.length, 64);
  t.is(hostname(fits), fits);
  t.is(hostname(`${'a'.repeat(61)}.com`), 'a'.repeat(61));
});

test('a container may do no more than what images for the web need', (t) => {
  const { HostConfig } = containerOf(plain);
  t.deepEqual(HostConfig.CapDrop, ['ALL']);
  for (const dangerous of ['SYS_ADMIN', 'NET_ADMIN', 'NET_RAW', 'SYS_PTRACE', 'MKNOD', 'SYS_CHROOT', 'DAC_READ_SEARCH']) t.false(HostConfig.CapAdd.includes(dangerous), dangerous);
  t.deepEqual(Object.keys(HostConfig).filter((key) => /Privileged|Devices|PidMode|IpcMode|Binds|PortBindings/.test(key)), []);
});

test('a container says what it was made from, whatever changes', (t) => {
  const hash = (site: string) => containerOf(desiredOf({ site: `domain: example.com\n${site}` })).Labels['sitegen.spec'];
  const hashes = ['image: x\n', 'image: y\n', 'image: x\nenv: {A: "1"}\n', 'image: x\nenv: {A: "2"}\n', 'image: x\nvolumes: [a:/a]\n', 'image: x\nvolumes: [a:/a:ro]\n', 'image: x\nvolumes: [a:/b]\n', 'image: x\nstop: {timeout: 11s}\n'].map((site) => hash(site) ?? '');
  t.is(new Set(hashes).size, hashes.length);
  for (const each of hashes) t.regex(String(each), /^[0-9a-f]{16}$/);
});

test('what only concerns units does not make a new container', (t) => {
  const hash = (site: string) => containerOf(desiredOf({ site: `domain: example.com\nimage: x\n${site}` })).Labels['sitegen.spec'];
  for (const site of ['port: 8080\n', 'limits: {memoryMax: 1G}\n', 'ready: {path: /, timeout: 5s}\n', 'idle: {after: 1min, never: true}\n', 'enabled: false\n', 'aliases: [www.example.com]\n']) t.is(hash(site), hash(''), site);
});

test('the hash does not count itself, nor change what it counts', (t) => {
  const spec: ContainerSpec = structuredClone(containerOf(plain));
  t.deepEqual([specHash(spec)], [containerOf(plain).Labels['sitegen.spec']].map(String));
  t.deepEqual(spec, plain.container);
});

test('a site that is switched off is made all the same', (t) => {
  const off = desiredOf({ site: 'domain: example.com\nimage: x\nenabled: false\n' });
  t.false(off.enabled);
  t.deepEqual(off.files, plain.files);
});

test('every limit of the schema has its name in units', (t) => {
  const site = resolveTexts({ site: 'domain: example.com\nimage: x\nlimits: {memoryMax: 1G, memoryHigh: 2G, cpuWeight: 3, cpuQuota: 4%, ioWeight: 5, tasksMax: 6}\n' });
  const { limits } = workloadOf(site);
  t.deepEqual(limits, { MemoryMax: '1G', MemoryHigh: '2G', CPUWeight: '3', CPUQuota: '4%', IOWeight: '5', TasksMax: '6' });
  t.deepEqual(Object.keys(limits).sort(), [...limitNames].sort());
});

test('what no file says is built in', (t) => {
  const { workload, entry, mail, ...site } = resolveTexts({ site: 'domain: example.com\nimage: x\n' });
  t.deepEqual(site, { domain: 'example.com', aliases: [], redirects: [], enabled: true, recordedAddress: undefined, unixUpstream: undefined, exclude: [], backedUp: true });
  t.deepEqual(mail, { relay: undefined, from: undefined, perHour: 100, maxBytes: 25 * 1024 ** 2, otherEmail: undefined, gateway: '10.214.0.1' });
  t.deepEqual(entry, {
    targets: new Map([['', { kind: 'address' }]]), passthrough: undefined, www: 'redirect', http: 'redirect', certificate: 'acme', hsts: 'max-age=15552000',
    maxBody: 2 ** 30, ownMaxBody: false, serverTimeoutMs: 130_000, tunnelTimeoutMs: 3_600_000,
    allow: undefined, maintenance: undefined, users: [], headers: {}, probes: false,
  });
  t.deepEqual(workload, { egress: undefined, image: { reference: 'x' }, program: undefined, project: undefined, port: 80, listen: [], env: {}, missingSecrets: [], owners: {}, readOnly: false, updates: 'report', mounts: [], limits: { MemoryMax: '512M', TasksMax: '512' }, diskBytes: undefined, ready: { path: undefined, timeoutMs: 60_000 }, stopTimeoutMs: 10_000, idle: { afterMs: 300_000, stopAfterMs: 21_600_000, never: false, freeze: true, awake: [], busy: undefined }, jobs: [], dump: undefined, hooks: { install: undefined, load: undefined, launch: undefined, upgrade: undefined, rename: undefined } });
  t.deepEqual(rangesOf({}), builtIn.ranges);
  t.deepEqual(rangesOf({ network: { sites: '10.1.0.0/16' } }), { sites: '10.1.0.0/16', containers: builtIn.ranges.containers });
});

test('an image that an app builds is known by the app', (t) => {
  const site = resolveTexts({ site: 'domain: example.com\napp: own\n', app: 'description: x\nbuild: {hostFiles: {busybox: /usr/bin/busybox}}\n' });
  t.deepEqual(workloadOf(site).image, { app: 'own', build: '.', base: undefined, hostFiles: { busybox: '/usr/bin/busybox' }, pin: undefined });
});

test('a site without image and app is an error that names it', (t) => {
  t.throws(() => resolve({ domain: 'example.com' }, undefined, {}), { instanceOf: SitegenError, message: 'example.com: has neither image nor app' });
});

test('room on the disk is the site\'s own, else its app\'s, else the machine\'s, else without a limit', (t) => {
  const bytes = (site: string, app = '', defaults = '{}\n') => workloadOf(resolveTexts({ site: `domain: example.com\n${site}`, app: `description: x\nimage: x\n${app}`, defaults })).diskBytes;
  const machine = 'defaults: {limits: {disk: 1G}}\n';
  t.is(bytes('image: x\n'), undefined);
  t.is(bytes('image: x\n', '', machine), 1024 ** 3);
  t.is(bytes('app: preset\n', 'limits: {disk: 2G}\n', machine), 2 * 1024 ** 3);
  t.is(bytes('app: preset\nlimits: {disk: 500}\n', 'limits: {disk: 2G}\n', machine), 500);
  t.is(bytes('image: x\nlimits: {disk: infinity}\n', '', machine), undefined);
});
