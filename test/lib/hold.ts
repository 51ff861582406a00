import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import test from 'ava';
import { IdleClock, inheritedSockets } from '../../lib/effects/sockets.ts';
import { makeDecision, makeReport } from '../../lib/usecases/hold.ts';

test('a name that the map has by now is passed on, wildcards too; passthrough and strangers are refused', async (t) => {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'sitegen-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const file = path.join(directory, 'names.map');
  const decide = makeDecision({ names: file, adoptable: `${file}.none`, adopt: () => Promise.reject(new Error('nobody asked')), now: () => 0 });
  t.is(await decide('a.example.com'), 'refuse', 'without a map');
  await writeFile(file, 'a.example.com a.example.com|serve\n*.w.example.com a.example.com|serve\np.example.com p.example.com|pass\n');
  t.is(await decide('a.example.com'), 'pass');
  t.is(await decide('x.w.example.com'), 'pass');
  for (const name of ['w.example.com', 'y.x.w.example.com', 'p.example.com', 'b.example.com', 'example.com', '*.w.example.com.evil']) t.is(await decide(name), 'refuse', name);
  await writeFile(file, 'b.example.com b.example.com|redirect\n');
  t.is(await decide('b.example.com'), 'pass', 'after a change of the map');
  t.is(await decide('a.example.com'), 'refuse');
});

test('a name that may be adopted is passed on once its site is here, and else refused at once for a while', async (t) => {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'sitegen-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const [names, adoptable] = [path.join(directory, 'names.map'), path.join(directory, 'adoptable.map')];
  await writeFile(names, '');
  await writeFile(adoptable, '*.example.com adopt\n');
  const asked: string[] = [];
  let now = 0;
  const adopt = async (name: string) => {
    asked.push(name);
    if (name !== 'a.example.com') return 'refused';
    await writeFile(names, 'a.example.com a.example.com|serve\n');
    return 'adopted';
  };
  const decide = makeDecision({ names, adoptable, adopt, now: () => now });
  t.is(await decide('a.example.com'), 'pass');
  t.is(await decide('a.example.com'), 'pass');
  for (let count = 0; count < 3; count += 1) t.is(await decide('b.example.com'), 'refuse');
  t.is(await decide('a.b.example.com'), 'refuse', 'a wildcard is for one label');
  t.is(await decide('c.example.org'), 'refuse');
  t.deepEqual(asked, ['a.example.com', 'b.example.com']);
  now = 61_000;
  t.is(await decide('b.example.com'), 'refuse');
  t.is(asked.length, 3, 'asked again later');
});

test('of a flood of names only the first get a line, and the others one together', (t) => {
  const lines: string[] = [];
  let now = 0;
  const report = makeReport((line) => { lines.push(line); }, () => now);
  for (let count = 0; count < 2000; count += 1) report.refused(`n${count}.example.com`);
  t.is(lines.length, 20);
  now = 61_000;
  report.refused(undefined);
  t.deepEqual(lines.slice(20), ['refused 1980 more', 'refused a client that asks for no name: no site has it']);
  report.flush();
  t.is(lines.length, 22);
});

test('sockets come with their names, and only to the process that they are for', (t) => {
  const env = { LISTEN_PID: '7', LISTEN_FDS: '3', LISTEN_FDNAMES: 'adopt:metrics:metrics' };
  t.deepEqual(inheritedSockets(env, 7), [{ name: 'adopt', fd: 3 }, { name: 'metrics', fd: 4 }, { name: 'metrics', fd: 5 }]);
  t.deepEqual(inheritedSockets(env, 8), []);
  t.deepEqual(inheritedSockets({}, 7), []);
});

test('the program is idle only when everything has ended, and that once', async (t) => {
  let idle = 0;
  const clock = new IdleClock(50, () => { idle += 1; });
  const [first, second] = [clock.begin(), clock.begin()];
  first();
  first();
  await new Promise((resolve) => setTimeout(resolve, 120));
  t.is(idle, 0);
  second();
  await new Promise((resolve) => setTimeout(resolve, 120));
  t.is(idle, 1);
});
