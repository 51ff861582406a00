import test from 'ava';
import { envFaults, notesFor, resolveEnv } from '../../../lib/pure/app-env.ts';
import { migrateApp } from '../../../lib/pure/app-migrations.ts';
import { parseApp, parseSite } from '../../../lib/pure/config.ts';
import { describeWorkload } from '../../../lib/pure/describe-app.ts';
import { SitegenError } from '../../../lib/pure/errors.ts';
import { buildVersion, digestIn, repositoryOf, sameImage, upgradesIn } from '../../../lib/pure/image-names.ts';
import { pinned } from '../../../lib/pure/site.ts';
import { desiredOf, resolveTexts, workloadOf } from '../_site.ts';

const app = (text: string) => parseApp(text, 'app.yaml');
const refusal = (text: string) => {
  try {
    app(text);
  } catch (error) {
    if (error instanceof SitegenError) return error.message;
    throw error;
  }
  return 'was taken';
};
const digest = `sha256:${'a'.repeat(64)}`;

test('an app of the first form is read as one of now, and says where its faults are', (t) => {
  t.deepEqual(app('description: d\nbuild:\n  hostFiles: {a: /bin/a}\n'), { schema: 1, description: 'd', image: { build: '.', hostFiles: { a: '/bin/a' } } });
  t.deepEqual(app('description: d\nbuild: {}\n').image, { build: '.' });
  t.regex(refusal('description: d\nbuild:\n  x: y\n'), /^app\.yaml:3: build\.x: unknown key/);
});

test('an app of a newer form is refused, and so is a number that is none', (t) => {
  t.is(refusal('description: d\nschema: 2\nimage: x\n'), 'app.yaml:2: schema: 2 is of a newer sitegen; this one knows forms up to 1');
  t.regex(refusal('schema: one\ndescription: d\nimage: x\n'), /^app\.yaml:1: schema: is not the number of a form/);
  t.deepEqual(migrateApp('text'), { value: 'text' });
});

test('an image comes from one place', (t) => {
  t.regex(refusal('schema: 1\ndescription: d\nimage: {pull: a, build: .}\n'), /^app\.yaml:3: image: has both pull and build: keep one$/);
  t.regex(refusal('schema: 1\ndescription: d\nimage: {base: a}\n'), /needs one of pull, build and tar/);
  t.regex(refusal('schema: 1\ndescription: d\nimage: {pull: a, base: b}\n'), /image\.base: .*belongs to build/);
  t.regex(refusal('schema: 1\ndescription: d\nimage: {tar: /a.tar}\n'), /needs tar and name together/);
  t.regex(refusal('schema: 1\ndescription: d\nimage: {build: a/b}\n'), /is not a folder/);
  const site = (text: string) => parseSite(`domain: example.com\n${text}`, '/etc/sitegen/sites/example.com.yaml');
  t.throws(() => site('image: {build: .}\n'), { message: /:2: image\.build: .*is the folder of an app/ });
  t.deepEqual(site('image: {build: /srv/app, base: debian:13}\n').image, { build: '/srv/app', base: 'debian:13' });
});

test('secrets are missing until the site has them, and others may refer to them', (t) => {
  const env = { DB_PASSWORD: { secret: 24 }, URL: 'db://u:${DB_PASSWORD}@h', HOME: '${url}/a', NAME: '${domain}', PRICE: '5$' };
  t.deepEqual(resolveEnv(env, 'example.com', {}).missing, [{ name: 'DB_PASSWORD', length: 24 }]);
  t.deepEqual(resolveEnv(env, 'example.com', { DB_PASSWORD: 'p', NAME: 'own' }), {
    env: { URL: 'db://u:p@h', HOME: 'https://example.com/a', NAME: 'own', PRICE: '5$', DB_PASSWORD: 'p' }, missing: [],
  });
});

test('what refers to nothing is refused with what there is', (t) => {
  t.deepEqual(envFaults({ A: { secret: 12 }, B: '${A}${domain}' }), []);
  t.deepEqual(envFaults({ A: { secret: 12 }, B: '${C}' }), [{ path: ['env', 'B'], message: '${C} stands for nothing; there are: ${domain}, ${url}, ${A}' }]);
  t.regex(refusal('schema: 1\ndescription: d\nimage: x\nenv:\n  B: ${C}\n'), /^app\.yaml:5: env\.B: /);
  t.regex(refusal('schema: 1\ndescription: d\nimage: x\nenv: {A: {secret: 3}}\n'), /env\.A\.secret/);
  t.throws(() => parseSite('domain: example.com\nimage: x\nenv: {A: {secret: 24}}\n', '/etc/sitegen/sites/example.com.yaml'), { message: /env\.A/ });
});

const preset = `schema: 1
description: an app
image: preset:1
port: 8080
volumes: [db:/db, files:/files]
owners: {db: "999:999", files: "33:33"}
env: {PASSWORD: {secret: 20}}
hooks: {install: [make-it], upgrade: [bring-it-up]}
limits: {memoryMax: 1G}
`;

test('a site\'s own settings stand in for those of its app, down to owners and the pinned image', (t) => {
  const workload = workloadOf(resolveTexts({ app: preset, site: `domain: example.com\napp: preset\nport: 81\nowners: {files: "5:6"}\npin: ${digest}\nupdate: auto\nsecrets: {PASSWORD: made}\n` }));
  t.deepEqual(workload.image, { reference: `preset@${digest}` });
  t.deepEqual(workload.owners, { db: { uid: 999, gid: 999 }, files: { uid: 5, gid: 6 } });
  t.deepEqual([workload.port, workload.updates, workload.env, workload.missingSecrets], [81, 'auto', { PASSWORD: 'made' }, []]);
});

test('a container waits for its secrets, and directories know their owners', (t) => {
  const want = desiredOf({ app: preset, site: 'domain: example.com\napp: preset\n' });
  t.deepEqual(want.missingSecrets, ['PASSWORD']);
  t.true(want.upgrades);
  t.deepEqual([...want.owners], [['/var/lib/sitegen/sites/example.com/data/db', { uid: 999, gid: 999 }], ['/var/lib/sitegen/sites/example.com/data/files', { uid: 33, gid: 33 }]]);
});

test('what will be is told without a secret', (t) => {
  const texts = { app: preset, site: 'domain: example.com\napp: preset\nenv: {TOKEN: hush}\n' };
  const lines = describeWorkload(resolveTexts(texts), desiredOf(texts));
  t.true(lines.includes('limits: MemoryMax=1G TasksMax=512'));
  t.true(lines.includes('data: db at /db, owned by 999:999'));
  t.true(lines.includes('environment: TOKEN PASSWORD (made: 20 characters)'));
  t.true(lines.includes('install: make-it, for 10 min 0 s at most'));
  t.notRegex(lines.join('\n'), /hush/);
  t.deepEqual(describeWorkload(resolveTexts({ site: 'domain: example.com\nredirect: https://example.org\n' }), desiredOf({ site: 'domain: example.com\nredirect: https://example.org\n' })), []);
});

test('notes name the site', (t) => {
  t.deepEqual(notesFor('Open ${url}/setup.\n\nIt is ${domain}; ${other} stays.\n', 'a.example'), ['Open https://a.example/setup.', '', 'It is a.example; ${other} stays.']);
  t.deepEqual(notesFor(undefined, 'a.example'), []);
});

test('a digest takes the place of a tag', (t) => {
  t.is(pinned('ghost:5', digest), `ghost@${digest}`);
  t.is(pinned('localhost:5000/a/b', digest), `localhost:5000/a/b@${digest}`);
  t.is(pinned(`a:1@sha256:${'b'.repeat(64)}`, digest), `a@${digest}`);
  t.is(pinned('ghost:5', undefined), 'ghost:5');
  t.deepEqual(workloadOf(resolveTexts({ app: preset, site: 'domain: example.com\nimage: {tar: /a.tar, name: "a:1"}\n' })).image, { reference: 'a:1', tar: '/a.tar' });
});

test('names of one image are known as such', (t) => {
  t.is(repositoryOf('docker.io/library/ghost:5'), 'ghost');
  t.is(repositoryOf('localhost:5000/a:1'), 'localhost:5000/a');
  t.true(sameImage('ghost', 'docker.io/library/ghost:latest'));
  t.false(sameImage('ghost:5', 'ghost:6'));
  t.is(digestIn(['ghost:5', `other@sha256:${'b'.repeat(64)}`, `ghost@${digest}`], 'ghost:5'), digest);
  t.is(digestIn(['ghost:5'], 'ghost:5'), undefined);
});

test('versions of built images are ordered by time, and their packages are read from apt', (t) => {
  t.is(buildVersion(new Date('2026-11-27T20:15:09.123Z')), '20261127201509');
  t.deepEqual(upgradesIn('Reading lists\r\nInst openssl [3.5.1] (3.5.2 Debian)\r\nConf openssl (3.5.2)\r\n'), ['openssl']);
});
