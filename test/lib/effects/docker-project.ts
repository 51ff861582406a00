import test from 'ava';
import { makeNetwork, removeMembers, stopAll } from '../../../lib/effects/docker/project.ts';

/** An engine with an entrypoint "e" and members of a project, whose orders are given. */
function engine(members: Record<string, number>, order = 9) {
  const done: string[] = [];
  const failure = (statusCode: number) => Promise.reject(Object.assign(new Error('no'), { statusCode }));
  const networks: string[] = [];
  return {
    done,
    api: {
      listContainers: () => Promise.resolve(Object.entries(members).map(([id, at]) => ({ Id: id, Names: [`/${id}`], Labels: { 'sitegen.order': String(at) }, State: id === 'off' ? 'exited' : 'running' }))),
      getContainer: (id: string) => ({
        stop: () => { done.push(`stop ${id}`); return id === 'gone' ? failure(404) : id === 'broken' ? failure(500) : Promise.resolve(); },
        remove: () => { done.push(`remove ${id}`); return Promise.resolve(); },
        inspect: () => Promise.resolve({ Config: { Labels: { 'sitegen.order': String(order) } } }),
      }),
      getVolume: () => ({ inspect: () => failure(404) }),
      listNetworks: () => Promise.resolve(networks.map((Name) => ({ Name }))),
      createNetwork: ({ Name }: { Name?: string }) => { networks.push(Name ?? ''); return Promise.resolve(); },
      getNetwork: (name: string) => ({ connect: () => Promise.resolve(), remove: () => { done.push(`remove network ${name}`); return Promise.resolve(); } }),
    },
  };
}

test('what was started last ends first, and what does not run is left alone', async (t) => {
  const { api, done } = engine({ db: 0, off: 1, migrate: 1, worker: 2 }, 2);
  await stopAll(api, 'e');
  t.deepEqual(done.slice(0, 2).sort(), ['stop e', 'stop worker']);
  t.deepEqual(done.slice(2), ['stop migrate', 'stop db']);
});

test('one that is gone is no error, and one that cannot be stopped is', async (t) => {
  await t.notThrowsAsync(stopAll(engine({ gone: 0 }).api, 'e'));
  await t.throwsAsync(stopAll(engine({ broken: 0 }).api, 'e'));
});

test('a container without a project is stopped alone', async (t) => {
  const { api, done } = engine({});
  await stopAll(api, 'e');
  t.deepEqual(done, ['stop e']);
});

test('members and networks go together, and a network is made once', async (t) => {
  const { api, done } = engine({ db: 0 });
  const network = { name: 'n', internal: false, bridge: 'b' };
  await makeNetwork(api, 'e', network);
  await makeNetwork(api, 'e', network);
  await removeMembers(api, 'e');
  t.deepEqual(done, ['remove db', 'remove network n']);
});
