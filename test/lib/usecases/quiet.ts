import { existsSync, readFileSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { siteNames } from '../../../lib/pure/names.ts';
import { freezeQuiet, isInactive, stopQuiet, stopSite, thawSite } from '../../../lib/usecases/quiet.ts';
import { folder, group } from './_cgroup.ts';

type Running = 'stopped' | 'running' | 'frozen';

/**
 * A site in a state of its own, with what was done to it, and what stood in the lock's file at that
 * time. Its container does what it is told, and `visitAt` has a visitor come after one of the steps.
 */
function machine(t: ExecutionContext, { runs = 'running', service = 'inactive', visitAt = '', dumpFails = false }: { runs?: Running; service?: string; visitAt?: string; dumpFails?: boolean } = {}) {
  const root = folder(t);
  const names = { ...siteNames('example.com'), appCgroup: `${root}/app.slice`, lockFile: `${root}/lock` };
  const done: string[] = [];
  let state = service;
  const run = (next: Running) => { group(names.appCgroup, { populated: next !== 'stopped', frozen: next === 'frozen' }); };
  const step = async (what: string, effect: () => void | Promise<void>) => {
    const mark = existsSync(names.lockFile) ? readFileSync(names.lockFile, 'utf8').trim() : '';
    done.push(mark === '' ? what : `${what} (${mark})`);
    await effect();
    if (what === visitAt) {
      state = 'active';
      run('running');
    }
  };
  run(runs);
  const systemd = {
    list: () => Promise.resolve(state === 'unknown' ? [] : [{ name: names.service, activeState: state, subState: '', loadState: 'loaded' }]),
    thaw: (unit: string) => step(`thaw ${unit}`, () => { run('running'); }),
    freeze: (unit: string) => step(`freeze ${unit}`, () => { run('frozen'); }),
    enqueue: (unit: string) => step(`enqueue ${unit}`, () => undefined),
    start: (unit: string) => step(`start ${unit}`, () => (dumpFails ? Promise.reject(new Error('failed')) : undefined)),
    stop: (unit: string) => step(`stop ${unit}`, () => {
      if (state === 'active') run('stopped');
      state = 'inactive';
    }),
  };
  const docker = { stop: (name: string) => step(`docker stop ${name}`, () => { run('stopped'); }) };
  return { deps: { systemd, docker }, systemd, names, done };
}

test('a site is inactive unless its service is up, on its way there, or from there', async (t) => {
  for (const [service, expected] of [['inactive', true], ['failed', true], ['unknown', true], ['active', false], ['activating', false], ['deactivating', false], ['reloading', false]] as const) {
    const { systemd, names } = machine(t, { service });
    t.is(await isInactive(systemd, names), expected, service);
  }
});

test('only what is frozen is thawed', async (t) => {
  for (const runs of ['stopped', 'running', 'frozen'] as const) {
    const { systemd, names, done } = machine(t, { runs });
    await thawSite(systemd, names);
    t.deepEqual(done, runs === 'frozen' ? [`thaw ${names.appSlice}`] : [], runs);
  }
});

test('what runs without visitors is frozen, while wakes wait, and the guard is started', async (t) => {
  const { systemd, names, done } = machine(t);
  t.true(await freezeQuiet(systemd, names, 'guard.service'));
  t.deepEqual(done, [`freeze ${names.appSlice} (freezing)`, 'enqueue guard.service (freezing)']);
  t.is(readFileSync(names.lockFile, 'utf8'), '', 'wakes go on');
});

test('nothing is frozen that has a visitor, is frozen already, or does not run', async (t) => {
  for (const state of [{ service: 'active' }, { service: 'activating' }, { runs: 'frozen' }, { runs: 'stopped' }] as const) {
    const { systemd, names, done } = machine(t, state);
    t.false(await freezeQuiet(systemd, names, 'guard.service'), JSON.stringify(state));
    t.deepEqual(done, [], JSON.stringify(state));
  }
});

test('what is frozen is thawed before it is stopped, while wakes wait', async (t) => {
  const frozen = machine(t, { runs: 'frozen' });
  t.true(await stopQuiet(frozen.deps, frozen.names));
  t.deepEqual(frozen.done, [`thaw ${frozen.names.appSlice} (stopping)`, `docker stop ${frozen.names.container} (stopping)`]);
  const visited = machine(t, { service: 'activating' });
  t.false(await stopQuiet(visited.deps, visited.names));
  t.deepEqual(visited.done, []);
});

test('a site that is awake is stopped by its service alone', async (t) => {
  const { deps, names, done } = machine(t, { service: 'active' });
  await stopSite(deps, names);
  t.deepEqual(done, [`stop ${names.service}`]);
});

test('a frozen site is thawed, dumped, and then stopped under its lock', async (t) => {
  const { deps, names, done } = machine(t, { runs: 'frozen' });
  await stopSite(deps, names);
  t.deepEqual(done, [`stop ${names.service}`, `thaw ${names.appSlice}`, `start ${names.dumpUnit}`, `stop ${names.service} (stopping)`, `docker stop ${names.container} (stopping)`]);
});

test('who has the lock already is not made to wait for it', async (t) => {
  const { deps, names, done } = machine(t, { runs: 'frozen' });
  await stopSite(deps, names, true);
  t.deepEqual(done.slice(-2), [`stop ${names.service}`, `docker stop ${names.container}`]);
});

test('a dump that fails keeps no site running', async (t) => {
  const { deps, names, done } = machine(t, { runs: 'frozen', dumpFails: true });
  await stopSite(deps, names);
  t.is(done.at(-1), `docker stop ${names.container} (stopping)`);
});

test('a visitor who came during the dump is served by the service\'s own stop', async (t) => {
  const { deps, names, done } = machine(t, { runs: 'frozen', visitAt: `start ${siteNames('example.com').dumpUnit}` });
  await stopSite(deps, names);
  t.is(done.indexOf(`stop ${names.service} (stopping)`), done.length - 2);
});
