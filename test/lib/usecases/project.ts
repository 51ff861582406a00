import test from 'ava';
import type { ContainerEnd } from '../../../lib/effects/docker.ts';
import { createProject, isIncomplete, ServiceError, startSite } from '../../../lib/usecases/project.ts';
import { desiredOf } from '../_site.ts';

const text = `domain: example.com
compose:
  entrypoint: web
  project:
    services:
      web: {image: w, depends_on: {db: {condition: service_healthy}, migrate: {condition: service_completed_successfully}}, networks: [front, back]}
      worker: {image: w, depends_on: [migrate, db], networks: [back]}
      migrate: {image: w, depends_on: {db: {condition: service_healthy}}, networks: [back]}
      db: {image: d, healthcheck: {test: [CMD, ready]}, networks: [back]}
    networks: {front: , back: {internal: true}}
`;
const want = desiredOf({ site: text });
const project = want.project ?? (() => { throw new Error('no project'); })();
const nameOf = (name: string) => (name === 'id-of-web' ? 'web' : name.replace(/^site-example\.com(__)?/, '') || 'web');

/** An engine in which the database is healthy at its third look, and the migration ends at once with a code. */
function engine({ code = 0, before = [] as string[] } = {}) {
  const done: string[] = [];
  const ends = new Map<string, ContainerEnd>();
  const end = (running: boolean, exitCode = 0): ContainerEnd => ({ running, pid: 0, exitCode, finishedAt: running ? undefined : 'then', outOfMemory: false, error: '' });
  for (const name of before) ends.set(name, end(false));
  let looks = 0;
  return {
    done,
    docker: {
      start: (id: string) => {
        const name = nameOf(id);
        done.push(name);
        ends.set(name, name === 'migrate' ? end(false, code) : end(true));
        return Promise.resolve();
      },
      end: (id: string) => Promise.resolve(ends.get(nameOf(id)) ?? { ...end(false), finishedAt: undefined }),
      exec: (id: string, { argv }: { argv: readonly string[] }) => {
        looks += 1;
        if (looks === 3) done.push(`${nameOf(id)} is healthy: ${argv.join(' ')}`);
        return Promise.resolve({ exitCode: looks < 3 ? 1 : 0, stderrTail: '' });
      },
    },
  };
}

const soon = () => Date.now() + 5000;

test('services are started once what they wait for is as they want it', async (t) => {
  const { docker, done } = engine();
  await startSite(docker, want, 'id-of-web', soon());
  t.deepEqual(done.slice(0, 3), ['db', 'db is healthy: ready', 'migrate']);
  t.deepEqual(done.slice(3).sort(), ['web', 'worker']);
});

test('a service that works once is not started again when it has', async (t) => {
  const { docker, done } = engine({ before: ['migrate'] });
  await startSite(docker, want, 'id-of-web', soon());
  t.false(done.includes('migrate'));
  t.true(done.includes('web'));
});

test('a service that fails keeps those from starting that wait for it, and is named', async (t) => {
  const { docker, done } = engine({ code: 3 });
  const error = await t.throwsAsync(startSite(docker, want, 'id-of-web', soon()), { instanceOf: ServiceError });
  t.regex(error.message, /service migrate ended with exit code 3/);
  t.false(done.includes('web'));
});

test('a service that does not become healthy in time is named', async (t) => {
  const { docker, done } = engine();
  const error = await t.throwsAsync(startSite({ ...docker, exec: () => Promise.resolve({ exitCode: 1, stderrTail: '' }) }, want, 'id-of-web', Date.now() + 250), { instanceOf: ServiceError });
  t.regex(error.message, /service db did not become healthy in time \(exit code 1\)/);
  t.deepEqual(done, ['db']);
});

test('a site without a project has its container started', async (t) => {
  const { docker, done } = engine();
  await startSite(docker, desiredOf({ site: 'domain: example.com\nimage: x\n' }), 'id-of-web', soon());
  t.deepEqual(done, ['web']);
});

test('a project is created with its networks first and its entrypoint last, in whose absence it is made anew', async (t) => {
  const done: string[] = [];
  const note = (what: string) => { done.push(what); };
  const id = await createProject({
    create: (name) => { note(`create ${name}`); return Promise.resolve(`id of ${name}`); },
    remove: (name) => { note(`remove ${name}`); return Promise.resolve(); },
    makeNetwork: (_, { name, internal }) => { note(`network ${name} ${internal}`); return Promise.resolve(); },
    join: (container, network, aliases) => { note(`${container} joins ${network} as ${aliases.join()}`); return Promise.resolve(); },
  }, want, project);
  t.is(id, 'id of site-example.com');
  t.is(done[0], 'remove site-example.com');
  t.deepEqual(done.slice(1, 3).sort(), ['network sitegen_example.com_back true', 'network sitegen_example.com_front false']);
  t.deepEqual(done.slice(-3), ['create site-example.com', 'id of site-example.com joins sitegen_example.com_back as web', 'id of site-example.com joins sitegen_example.com_front as web']);
  t.is(done.filter((line) => line.startsWith('create ')).length, 4);
});

test('a project is incomplete when a container of it is missing', async (t) => {
  const members = (...services: string[]) => ({ members: () => Promise.resolve(services.map((service) => ({ id: service, name: `site-example.com__${service}`, running: false, order: 0 }))) });
  t.false(await isIncomplete(members('db', 'migrate', 'worker'), want));
  t.true(await isIncomplete(members('db', 'migrate'), want));
  t.false(await isIncomplete(members(), desiredOf({ site: 'domain: example.com\nimage: x\n' })));
});

test('a change in any service changes the container that apply compares', (t) => {
  const other = desiredOf({ site: text.replace('image: d', 'image: e') });
  t.not(other.container?.Labels['sitegen.spec'], want.container?.Labels['sitegen.spec']);
  t.is(desiredOf({ site: text }).container?.Labels['sitegen.spec'], want.container?.Labels['sitegen.spec']);
});
