import { mkdirSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import type { Docker } from '../../../lib/effects/docker.ts';
import { takeTurn } from '../../../lib/effects/turn.ts';
import { SitegenError } from '../../../lib/pure/errors.ts';
import { paths } from '../../../lib/pure/paths.ts';
import { jobMachine, type Machine } from './_job.ts';

const never = new AbortController().signal;
const timer = 'enqueue sitegen-idle.timer';

/** Imported late, as it looks for its templates when it is. */
async function runJob(machine: ReturnType<typeof jobMachine>, name = 'hello', signal = never): Promise<string | undefined> {
  const job = await import('../../../lib/usecases/job.ts');
  return job.runJob({ ...machine.deps, signal }, 'example.com', name);
}

/** A program that ends when it is killed. */
const endless: Docker['exec'] = (_container, _command, streams) => new Promise((_resolve, reject) => {
  const stop = () => { reject(streams?.signal?.reason as Error); };
  if (streams?.signal?.aborted === true) stop();
  else streams?.signal?.addEventListener('abort', stop);
});

async function until(what: () => boolean): Promise<void> {
  while (!what()) await sleep(20);
}

test.serial('a frozen site is thawed for its job, and frozen again; the idle timer runs should we be killed', async (t) => {
  const machine = jobMachine(t, { exec: async (_container, _command, streams) => {
    await streams?.stdout?.(Buffer.from('one\ntwo'));
    await streams?.stderr?.(Buffer.from('three\n'));
    return { exitCode: 0, stderrTail: 'three' };
  } });
  t.is(await runJob(machine), undefined);
  t.deepEqual(machine.done, [timer, 'thaw', timer, 'run hello', 'freeze', 'enqueue sitegen-guard.service']);
  const said = machine.said();
  t.deepEqual(said.slice(0, 3).sort(), ['hello: one', 'hello: three', 'hello: two']);
  t.regex(said[3] ?? '', /^hello: done: frozen; wait \d+ ms, wake \d+ ms, run \d+/);
  for (const field of ['OBJECT_SYSTEMD_UNIT=site-example.com.service', 'SITEGEN_JOB=hello', 'SITEGEN_DOMAIN=example.com']) t.true(machine.journal().includes(`${field}\n`), field);
});

test.serial('a site that does not like to stand still is stopped instead', async (t) => {
  const machine = jobMachine(t, { runs: 'running', settings: 'idle: {freeze: false}\n' });
  await runJob(machine);
  t.deepEqual(machine.done, [timer, 'run hello', 'docker stop']);
});

test.serial('of a site that is visited nothing is changed, and no turn is waited for', async (t) => {
  const machine = jobMachine(t, { service: 'active', runs: 'running' });
  await machine.hold(`${path.dirname(machine.names.lockFile)}/../starts/queue`);
  await runJob(machine);
  t.deepEqual(machine.done, ['run hello']);
  t.regex(machine.said()[0] ?? '', /^hello: done: awake/);
});

test.serial('a site that was visited meanwhile stays awake', async (t) => {
  const machine = jobMachine(t, { exec: () => {
    machine.lives.state = 'activating';
    return Promise.resolve({ exitCode: 0, stderrTail: '' });
  } });
  await runJob(machine);
  t.is(machine.done.at(-1), 'run hello');
});

test.serial('a service that comes or goes is waited for', async (t) => {
  const machine = jobMachine(t, { service: 'deactivating' });
  const job = runJob(machine);
  await sleep(600);
  t.deepEqual(machine.done, []);
  machine.lives.state = 'inactive';
  await job;
  t.true(machine.done.includes('run hello'));
});

for (const [what, how, reason] of [
  ['of a site that is disabled', { settings: 'enabled: false\n' }, 'the site is disabled'],
  ['of a site whose container was never made', { runs: 'stopped', container: undefined }, 'its container has to be made first: its next visitor causes that, or: sitegen start example.com'],
] satisfies [string, Machine, string][]) {
  test.serial(`a job ${what} has nothing to do`, async (t) => {
    const machine = jobMachine(t, how);
    t.is(await runJob(machine), reason);
    t.deepEqual(machine.done, []);
    t.deepEqual(machine.said(), [`hello: skipped: ${reason}`]);
    // Its turn is given back.
    await (await takeTurn(never))();
  });
}

test.serial('a job that the settings do not have any more, and one of a site that is gone, have nothing to do', async (t) => {
  const machine = jobMachine(t);
  t.is(await runJob(machine, 'former'), 'its settings have no such job');
  const { runJob: run } = await import('../../../lib/usecases/job.ts');
  t.is(await run({ ...machine.deps, signal: never }, 'gone.example.com', 'hello'), 'gone.example.com: there is no such site any more');
  t.deepEqual(machine.done, []);
});

test.serial('a container that has to load a backup first waits for a visitor', async (t) => {
  const machine = jobMachine(t, { runs: 'stopped' });
  mkdirSync(path.dirname(machine.names.pendingFile), { recursive: true });
  writeFileSync(machine.names.pendingFile, 'load\n');
  t.regex(await runJob(machine) ?? '', /^its first start has to .+ yet: its next visitor causes that/);
  t.deepEqual(machine.done, []);
});

test.serial('a container that cannot be started is the job\'s failure, and nothing else is done', async (t) => {
  const machine = jobMachine(t, { runs: 'stopped', start: () => Promise.reject(new SitegenError('no such image')) });
  await t.throwsAsync(runJob(machine), { message: 'no such image' });
  t.deepEqual(machine.done, [timer, 'docker start']);
  t.deepEqual(machine.said(), ['hello: failed: no such image']);
  await (await takeTurn(never))();
});

/** Docker's engine, as far as it is asked how a container is. */
async function engine(t: ExecutionContext, State: object, before?: () => Promise<unknown>): Promise<void> {
  const server = http.createServer((_request, response) => {
    void (async () => {
      await before?.();
      response.setHeader('content-type', 'application/json').end(JSON.stringify({ State: { Pid: 1, ExitCode: 0, FinishedAt: '2026-01-01T00:00:00Z', OOMKilled: false, Error: '', ...State } }));
    })();
  });
  await new Promise<void>((resolve) => { server.listen(paths.dockerSocket, resolve); });
  t.teardown(() => server.close());
}

test.serial('a container that ends before it is ready is the job\'s failure', async (t) => {
  const machine = jobMachine(t, { runs: 'stopped' });
  await engine(t, { Running: false, ExitCode: 7 });
  await t.throwsAsync(runJob(machine), { message: 'its container ended with exit code 7 before it was ready' });
  t.deepEqual(machine.done, [timer, 'docker start', timer, 'docker stop']);
});

test.serial('a job that is stopped does not wait until its container is ready', async (t) => {
  const machine = jobMachine(t, { runs: 'stopped', settings: 'ready: {timeout: 1h}\n', exec: endless });
  const stop = new AbortController();
  // Whether its address takes a connection is the network's of this very machine.
  await engine(t, { Running: true }, () => until(() => stop.signal.aborted));
  const job = runJob(machine, 'hello', stop.signal);
  await until(() => machine.done.length === 3);
  stop.abort(new SitegenError('it was stopped before its end'));
  await t.throwsAsync(job, { message: 'it was stopped before its end' });
  // What goes on is sitegen-shutdown's, or the idle round's.
  t.deepEqual(machine.done.slice(0, 3), [timer, 'docker start', timer]);
  t.false(machine.done.includes('docker stop'));
});

test.serial('a program that takes too long is killed, what it began to say is told, and the site sleeps again', async (t) => {
  const machine = jobMachine(t, { exec: async (container, command, streams) => {
    await streams?.stdout?.(Buffer.from('begun, and'));
    return endless(container, command, streams);
  } });
  await t.throwsAsync(runJob(machine), { instanceOf: SitegenError, message: 'it took longer than 300 ms and was killed' });
  t.deepEqual(machine.done.slice(3), ['run hello', 'freeze', 'enqueue sitegen-guard.service']);
  t.deepEqual(machine.said(), ['hello: begun, and', 'hello: failed: it took longer than 300 ms and was killed; set jobs.hello.timeout to a longer time']);
});

test.serial('an exit code is told with the last words', async (t) => {
  const machine = jobMachine(t, { exec: async (_container, _command, streams) => {
    await streams?.stderr?.(Buffer.from('one\ntwo\n\nthree\nfour\n'));
    return { exitCode: 3, stderrTail: '' };
  } });
  await t.throwsAsync(runJob(machine), { message: 'exit code 3: three; four' });
});

test.serial('what a program says moves nobody\'s cursor', async (t) => {
  const machine = jobMachine(t, { exec: async (_container, _command, streams) => {
    await streams?.stdout?.(Buffer.from('\u001b[31mred\u001b[0m\tand \u001b]0;title\u0007\r\n'));
    return { exitCode: 1, stderrTail: '' };
  } });
  await t.throwsAsync(runJob(machine), { message: 'exit code 1: red    and \ufffd]0;title\ufffd' });
  t.is(machine.said()[0], 'hello: red    and \ufffd]0;title\ufffd');
});

test.serial('jobs of a site run one after the other, and one that is stopped stops waiting', async (t) => {
  const machine = jobMachine(t);
  const end = await machine.hold(machine.names.jobLock);
  const stop = new AbortController();
  const [first, second] = [runJob(machine, 'hello', stop.signal), runJob(machine, 'other')];
  for (let tries = 0; machine.said().length < 2 && tries < 200; tries++) await sleep(100);
  t.deepEqual(machine.done, []);
  t.deepEqual(machine.said().sort(), ['hello: waits for another job of the site', 'other: waits for another job of the site']);
  stop.abort(new SitegenError('it was stopped before its end'));
  await t.throwsAsync(first, { message: 'it was stopped before its end' });
  await end();
  t.is(await second, undefined);
  t.deepEqual(machine.done.filter((step) => step.startsWith('run')), ['run other']);
});

test.serial('a restore, a move or a replacement of the container is waited for, and no turn is taken meanwhile', async (t) => {
  const machine = jobMachine(t);
  const end = await machine.hold(machine.names.lockFile);
  const job = runJob(machine);
  await sleep(500);
  t.deepEqual(machine.done, []);
  await (await takeTurn(never))();
  await end();
  t.is(await job, undefined);
});

test.serial('a site that another server has got while its job waited does not run here', async (t) => {
  const machine = jobMachine(t, { runs: 'stopped' });
  const end = await machine.hold(`${path.dirname(machine.names.lockFile)}/../starts/queue`);
  const job = runJob(machine);
  await sleep(700);
  writeFileSync(machine.names.fenceFile, JSON.stringify({ epoch: 2, server: 'new.example.net', key: 'SHA256:x', address: '192.0.2.7', commit: 'c', at: '' }));
  await end();
  t.is(await job, 'new.example.net has the site now');
  t.deepEqual(machine.done, []);
});

test.serial('a container that was stopped under its job is left alone, and not dumped', async (t) => {
  const machine = jobMachine(t, { exec: () => {
    machine.run('stopped');
    return Promise.reject(new SitegenError('the container ended'));
  } });
  await t.throwsAsync(runJob(machine), { message: 'the container ended' });
  t.is(machine.done.at(-1), 'run hello');
});

test.serial('what a job has changed is dumped before the site sleeps; who stops the job does not wait for that', async (t) => {
  const backedUp = (how: Machine) => {
    const machine = jobMachine(t, how);
    writeFileSync(machine.names.settingsFile, 'domain: example.com\nimage: x\njobs: {hello: {calendar: daily, command: [hello]}}\n');
    return machine;
  };
  const plain = backedUp({});
  await runJob(plain);
  t.deepEqual(plain.done.slice(3), ['run hello', `start ${plain.names.dumpUnit}`, 'freeze', 'enqueue sitegen-guard.service']);
  const stuck = backedUp({ dump: () => new Promise(() => undefined) });
  const stop = new AbortController();
  const job = runJob(stuck, 'hello', stop.signal);
  await until(() => stuck.done.includes(`start ${stuck.names.dumpUnit}`));
  stop.abort(new SitegenError('it was stopped before its end'));
  t.is(await job, undefined);
  t.is(stuck.done.at(-1), `start ${stuck.names.dumpUnit}`);
  t.is(stuck.said().at(-1), 'hello: the site stays as it is for now: it was stopped before its end');
});

test.serial('who has begun to change the site when its job ends is not kept waiting', async (t) => {
  const machine = jobMachine(t, { exec: async () => {
    await machine.hold(machine.names.lockFile);
    return { exitCode: 0, stderrTail: '' };
  } });
  const began = performance.now();
  t.is(await runJob(machine), undefined);
  t.true(performance.now() - began < 15_000);
  t.regex(machine.said().at(-1) ?? '', /^hello: the site stays as it is for now: somebody else has held/);
});
