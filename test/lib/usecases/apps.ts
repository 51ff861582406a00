import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { Docker } from '../../../lib/effects/docker.ts';
import { makeSecret } from '../../../lib/effects/secret.ts';
import { paths, siteNames } from '../../../lib/pure/names.ts';
import type { Site, Workload } from '../../../lib/pure/site.ts';
import { folder } from './_cgroup.ts';

const app = 'schema: 1\ndescription: an app\nimage: shop:1\nvolumes: [files:/files]\nenv: {PASSWORD: {secret: 24}, KEY: {secret: 12}}\nhooks: {install: [install-it], upgrade: [bring-it-up]}\n';
const digest = (letter: string) => `sha256:${letter.repeat(64)}`;

/** A machine in a folder, with an app "shop" of the admin's and a site that is made of it. Imported late, as templates are looked for then. */
async function machine(t: ExecutionContext, settings = '') {
  const root = folder(t);
  const below = (name: string) => `${root}/${name}`;
  for (const name of ['sites', 'apps/shop', 'apps/welcome', 'apps/broken', 'state', 'images', 'run/sites', 'units', 'backup']) mkdirSync(below(name), { recursive: true });
  Object.assign(paths, { defaultsFile: below('sitegen.yaml'), sitesDir: below('sites'), appsDir: below('apps'), stateDir: below('state'), imagesDir: below('images'), runDir: below('run'), unitsDir: below('units'), backupDir: below('backup') });
  process.env['SITEGEN_TEMPLATES'] = path.resolve(import.meta.dirname, '../../../templates');
  writeFileSync(below('apps/shop/app.yaml'), app);
  writeFileSync(below('apps/welcome/app.yaml'), 'schema: 1\ndescription: mine\nimage: {tar: /srv/mine.tar, name: "mine:1"}\n');
  writeFileSync(below('apps/broken/app.yaml'), 'schema: 1\nimage: x\n');
  const names = siteNames('example.com');
  writeFileSync(names.settingsFile, `# mine\ndomain: example.com\napp: shop\n${settings}`);
  const { loadSettings } = await import('../../../lib/usecases/settings.ts');
  const load = async () => {
    const { sites: [loaded], faults } = await loadSettings(['example.com']);
    if (!loaded) throw new Error(faults[0]?.reason);
    return loaded;
  };
  return { names, below, load };
}

test.serial('the admin\'s apps stand in for those of the catalogue, and one with a fault keeps no other', async (t) => {
  await machine(t);
  const { listApps, loadApp } = await import('../../../lib/usecases/apps.ts');
  const { apps, faults } = await listApps();
  const find = (name: string) => apps.find((each) => each.name === name);
  t.like(find('welcome'), { description: 'mine', own: true, image: 'from /srv/mine.tar', tested: false });
  t.like(find('wordpress'), { own: false, image: 'built here on debian:trixie-slim' });
  t.like(find('shop'), { own: true, image: 'shop:1' });
  t.deepEqual(faults.map(({ domain }) => domain), ['broken']);
  t.regex(faults[0]?.reason ?? '', /broken\/app\.yaml:1: description: is missing/);
  await t.throwsAsync(loadApp('nothing'), { message: /there is no app "nothing"; there are: broken, cozy, .*shop, / });
});

test.serial('secrets are made once, are root\'s alone, and come back when a site is added again', async (t) => {
  const { names, load } = await machine(t, 'secrets: {KEY: of the admin}\n');
  const { keepSecrets, recordSecrets, secretsOf, withSecrets } = await import('../../../lib/usecases/secrets.ts');
  const said: string[] = [];
  const loaded = await recordSecrets(await load(), (line) => said.push(line));
  const { PASSWORD = '', KEY } = await secretsOf('example.com');
  t.regex(PASSWORD, /^[A-Za-z0-9]{24}$/);
  t.is(KEY, 'of the admin');
  const workload = workloadOf(loaded.site);
  t.deepEqual([workload.env, workload.missingSecrets], [{ KEY: 'of the admin', PASSWORD }, []]);
  t.false(said.join('').includes(PASSWORD));
  t.regex(readFileSync(names.settingsFile, 'utf8'), /^# mine\n/);
  for (const file of [names.settingsFile, names.secretsFile]) t.is(statSync(file).mode & 0o777, 0o600, file);
  t.is(statSync(names.metaDir).mode & 0o777, 0o700);
  t.is(await withSecrets(await load()), undefined);
  await keepSecrets(names);
  writeFileSync(names.settingsFile, 'domain: example.com\napp: shop\n');
  await recordSecrets(await load(), () => undefined);
  t.deepEqual(await secretsOf('example.com'), { PASSWORD, KEY: 'of the admin' });
});

test.serial('a container without its secrets is refused, with what helps', async (t) => {
  const { load } = await machine(t);
  const [{ createContainer }, { wantOf }] = await Promise.all([import('../../../lib/usecases/containers.ts'), import('../../../lib/usecases/want.ts')]);
  const never = dockerThat(() => Promise.reject(new Error('was made')));
  await t.throwsAsync(createContainer(never, await wantOf(await load())), { message: 'example.com: PASSWORD, KEY of its app must be made first' });
});

test.serial('the image of the data is written down, and another one is seen', async (t) => {
  const { names, load } = await machine(t, 'secrets: {PASSWORD: a, KEY: b}\n');
  const [{ createContainer, formerImage, makeDataDir }, { needsFirstStart }, { wantOf }] = await Promise.all([
    import('../../../lib/usecases/containers.ts'), import('../../../lib/usecases/first-start.ts'), import('../../../lib/usecases/want.ts')]);
  const docker = dockerThat(() => Promise.resolve('id1'));
  const one = await load();
  const want = await wantOf(one);
  const workload = workloadOf(one.site);
  for (const directory of want.dataDirs) await makeDataDir(want, directory);
  await createContainer(docker, want);
  t.is(readFileSync(names.imageFile, 'utf8'), 'shop:1\n');
  t.is(readFileSync(names.cidFile, 'utf8'), 'id1\n');
  t.false(await needsFirstStart(want, workload, 'id1'));
  writeFileSync(names.settingsFile, `domain: example.com\napp: shop\npin: ${digest('a')}\nsecrets: {PASSWORD: a, KEY: b}\n`);
  const next = await wantOf(await load());
  t.is(await formerImage(next), 'shop:1');
  t.true(await needsFirstStart(next, workload, 'id1'));
  await createContainer(docker, next);
  // Whoever starts it has to have its data brought up to date first.
  t.throws(() => readFileSync(names.cidFile), { code: 'ENOENT' });
  t.is(readFileSync(names.imageFile, 'utf8'), 'shop:1\n');
});

function dockerThat(create: Docker['create']): Pick<Docker, 'create' | 'remove' | 'makeNetwork' | 'join' | 'containerRoot'> {
  const never = () => Promise.reject(new Error('belongs to a Compose project'));
  return { create, remove: never, makeNetwork: never, join: never, containerRoot: () => Promise.resolve({ uid: 0, gid: 0 }) };
}

/** That of _site.ts looks for templates as soon as it is imported. */
function workloadOf({ domain, workload }: Site): Workload {
  if (!workload) throw new Error(`${domain} has no container`);
  return workload;
}

/** A Docker whose one container does what a test says; what is done is written down. */
function fakeDocker(exec: (argv: readonly string[], env: Readonly<Record<string, string>>) => number) {
  const done: string[] = [];
  let status: string | undefined;
  const docker: Partial<Docker> = {
    find: (name, domain) => Promise.resolve(status === undefined ? undefined : { id: 'id', name, domain, specHash: '', running: status === 'running', status }),
    create: () => { status = 'created'; done.push('create'); return Promise.resolve('id'); },
    start: () => { status = 'running'; done.push('start'); return Promise.resolve(); },
    remove: () => { if (status !== undefined) done.push('remove'); status = undefined; return Promise.resolve(); },
    containerRoot: () => Promise.resolve({ uid: 0, gid: 0 }),
    exec: (_, { argv, env = {} }) => { done.push(argv.join(' ')); return Promise.resolve({ exitCode: exec(argv, env), stderrTail: '' }); },
  };
  return { docker: docker as Docker, done };
}

test.serial('an installation that fails leaves no data, and nothing that could be started; the next begins anew', async (t) => {
  const { names, load } = await machine(t, 'secrets: {PASSWORD: a, KEY: b}\n');
  const [{ firstStart, writePending, readPending }, { makeDataDir }, { wantOf }, { pendingOf }] = await Promise.all([
    import('../../../lib/usecases/first-start.ts'), import('../../../lib/usecases/containers.ts'), import('../../../lib/usecases/want.ts'), import('../../../lib/pure/pending.ts')]);
  const loaded = await load();
  const want = await wantOf(loaded);
  for (const directory of want.dataDirs) await makeDataDir(want, directory);
  await writePending(names, pendingOf({ install: true }));
  let fails = true;
  const seen: (string | undefined)[] = [];
  const { docker, done } = fakeDocker((_, env) => {
    seen.push(env['SITEGEN_HOOK'], env['SITEGEN_URL']);
    t.deepEqual(readdirSync(`${names.dataDir}/files`), []);
    writeFileSync(`${names.dataDir}/files/half`, 'much');
    return fails ? 28 : 0;
  });
  const start = () => firstStart(docker, { want, loaded, workload: workloadOf(loaded.site), ready: () => { done.push('ready'); return Promise.resolve(); }, report: () => undefined });
  await t.throwsAsync(start(), { message: /install-it failed: exit code 28/ });
  t.deepEqual(readdirSync(`${names.dataDir}/files`), []);
  t.true((await readPending(names))?.install);
  t.throws(() => readFileSync(names.cidFile), { code: 'ENOENT' });
  t.deepEqual(done.splice(0), ['create', 'start', 'install-it', 'remove']);
  fails = false;
  t.is(await start(), 'id');
  t.deepEqual(done, ['create', 'start', 'install-it', 'ready']);
  t.deepEqual(seen.slice(0, 2), ['install', 'https://example.com']);
  t.is(await readPending(names), undefined);
  t.is(readFileSync(names.imageFile, 'utf8'), 'shop:1\n');
});

test.serial('data of another image is brought up to date before anybody visits it, again after a failure', async (t) => {
  const { names, load } = await machine(t, `secrets: {PASSWORD: a, KEY: b}\npin: ${digest('a')}\n`);
  const [{ firstStart }, { makeDataDir }, { wantOf }] = await Promise.all([
    import('../../../lib/usecases/first-start.ts'), import('../../../lib/usecases/containers.ts'), import('../../../lib/usecases/want.ts')]);
  const loaded = await load();
  const want = await wantOf(loaded);
  for (const directory of want.dataDirs) await makeDataDir(want, directory);
  writeFileSync(`${names.dataDir}/files/kept`, '');
  mkdirSync(names.metaDir, { recursive: true });
  writeFileSync(names.imageFile, 'shop:0\n');
  let fails = true;
  const { docker, done } = fakeDocker(() => (fails ? 1 : 0));
  const start = () => firstStart(docker, { want, loaded, workload: workloadOf(loaded.site), ready: () => Promise.resolve(), report: () => undefined });
  const upgrade = `bring-it-up shop:0 shop@${digest('a')}`;
  await t.throwsAsync(start(), { message: /bring-it-up failed/ });
  t.is(readFileSync(names.imageFile, 'utf8'), 'shop:0\n');
  fails = false;
  await start();
  t.deepEqual(done, ['create', 'start', upgrade, 'remove', 'create', 'start', upgrade]);
  t.deepEqual(readdirSync(`${names.dataDir}/files`), ['kept']);
  t.is(readFileSync(names.imageFile, 'utf8'), `shop@${digest('a')}\n`);
});

test.serial('a newer image is told, once a reference is asked, and one that was never in a registry is left alone', async (t) => {
  await machine(t, 'update: auto\nsecrets: {PASSWORD: a, KEY: b}\n');
  const { findNewer } = await import('../../../lib/usecases/images.ts');
  const docker = (names: readonly string[]): Pick<Docker, 'imageState' | 'newestDigest' | 'runOnce'> => ({
    imageState: () => Promise.resolve({ id: 'i', names, bytes: 1, createdMs: 0 }),
    newestDigest: () => Promise.resolve(digest('b')),
    runOnce: () => Promise.reject(new Error('was run')),
  });
  const look = async (...names: string[]) => (await findNewer(docker(names), new Date(0), ['example.com'])).newer;
  t.deepEqual(await look('shop:1', `shop@${digest('a')}`), [{ domain: 'example.com', what: 'shop:1 is now sha256:bbbbbbbbbbbb, and it has sha256:aaaaaaaaaaaa', pin: digest('b'), updates: 'auto' }]);
  t.deepEqual(await look('shop:1', `shop@${digest('b')}`), []);
  t.deepEqual(await look('shop:1'), []);
});

test.serial('only what came by sitegen and no site names is removed, and nothing while a site cannot be read', async (t) => {
  const { below } = await machine(t, 'secrets: {PASSWORD: a, KEY: b}\n');
  const [{ pruneImages }, { imageRecord }] = await Promise.all([import('../../../lib/usecases/images.ts'), import('../../../lib/usecases/containers.ts')]);
  for (const reference of ['shop:1', 'old:1', 'gone:1']) writeFileSync(imageRecord(reference), `${reference}\n`);
  const removed: string[] = [];
  const docker: Pick<Docker, 'images' | 'removeImage'> = {
    images: () => Promise.resolve(['shop:1', 'old:1', 'others:1'].map((name) => ({ id: name, names: [name], bytes: 5, createdMs: 0 }))),
    removeImage: (reference) => { removed.push(reference); return Promise.resolve(); },
  };
  t.deepEqual((await pruneImages(docker, true)).removed.map(({ reference }) => reference), ['gone:1', 'old:1']);
  t.deepEqual(removed, []);
  await pruneImages(docker, false);
  t.deepEqual(removed, ['old:1']);
  t.deepEqual((await pruneImages(docker, false)).removed, []);
  writeFileSync(below('sites/bad.example.yaml'), 'domain: bad.example\nbogus: 1\n');
  await t.throwsAsync(pruneImages(docker, false), { message: /nothing is removed, as nobody knows which image bad\.example has/ });
});

test('a secret has its length, and is another each time', (t) => {
  const made = Array.from({ length: 50 }, () => makeSecret(32));
  t.is(new Set(made).size, 50);
  for (const secret of made) t.regex(secret, /^[A-Za-z0-9]{32}$/);
});
