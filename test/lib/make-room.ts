import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { repository } from './_site.ts';
import { folder } from './usecases/_cgroup.ts';

interface Counts {
  budget?: number;
  held?: number;
  swapped?: number;
  cache?: number;
  /** How many percent of swap count. */
  zram?: number;
  /** Others that start: what they take, and what they hold of it; `dead`: their wakes were killed. */
  starting?: { takes: number; holds?: number; dead?: boolean }[];
  /** What the site held when it last ran. */
  before?: number;
  most?: number | 'max';
}

/** Runs that part of wake.sh for a site of a machine that says this; gives what it starts, and what it says. */
async function makeRoom(t: ExecutionContext, { budget, held, swapped, cache = 0, zram, starting = [], before, most = 'max' }: Counts, code = 0): Promise<string[]> {
  const root = folder(t);
  const site = `${root}/site.slice/site-a.slice`;
  mkdirSync(site, { recursive: true });
  const write = (file: string, value: number | string | undefined) => { if (value !== undefined) writeFileSync(`${root}/${file}`, `${value}\n`); };
  write('budget', zram === undefined ? budget : `${budget ?? ''} ${zram}`);
  write('site.slice/memory.current', held);
  write('site.slice/memory.swap.current', swapped);
  write('site.slice/memory.stat', `anon 5\nfile 7\ninactive_anon 3\ninactive_file ${cache}\nactive_file 9`);
  write('a.memory', before);
  write('site.slice/site-a.slice/memory.max', most);
  mkdirSync(`${root}/starts`);
  for (const [index, { takes, holds, dead }] of starting.entries()) {
    mkdirSync(`${root}/site.slice/site-${index}.slice`);
    write(`site.slice/site-${index}.slice/memory.current`, holds);
    // No process has so high a number.
    write(`starts/need.${index}`, `${takes} ${dead === true ? 5_000_000 : process.pid} ${root}/site.slice/site-${index}.slice`);
  }
  // One that is ready, and what a try of this very site that was killed has left.
  writeFileSync(`${root}/starts/need.ready`, '');
  writeFileSync(`${root}/starts/need.a`, `5000 ${process.pid} ${site}\n`);
  const text = (await readFile(`${repository}/cmd/wake.sh`, 'utf8')).split('\n\n').filter((part) => /^(budget|# Has others)/m.test(part)).join('\n');
  t.regex(text, /^reserve\(\).*^make_room\(\)/ms);
  // The path from the place of the site's own files, which here are in one folder.
  const script = `set -u; SITEGEN_CGROUP=${site}/app.slice; state=${root}/a; timeout() { echo "$*"; return ${code}; }\n${text.replaceAll('/run/sitegen/', `${root}/`)}\nreserve; make_room; :`;
  const { stdout, stderr } = await promisify(execFile)('bash', ['-c', script]);
  t.is(stderr, '');
  const [reserved] = (await readFile(`${root}/starts/need.a`, 'utf8')).split(' ');
  if (budget !== undefined) t.is(reserved, String(before ?? Math.min(Math.floor(budget / 8), most === 'max' ? Infinity : most)));
  return stdout.split('\n').filter((line) => line !== '');
}

const asked = (need: number, reserved = 0) => `5 systemctl start sitegen-room@${need}:${reserved}:a.service`;

test('a site that fits starts without asking anybody', async (t) => {
  t.deepEqual(await makeRoom(t, { budget: 1000, held: 700, swapped: 100, before: 200 }), []);
  t.deepEqual(await makeRoom(t, { budget: 1000, held: 900, swapped: 100, cache: 200, before: 200 }), [], 'without what can be read again');
});

test('for one that does not fit others make room, and the journal has it', async (t) => {
  t.deepEqual(await makeRoom(t, { budget: 1000, held: 900, swapped: 100, cache: 199, before: 200 }),
    [asked(200), 'memory is short, so others have made room: they held 801 of 1000 bytes, and it takes 200']);
  t.deepEqual(await makeRoom(t, { budget: 1000, held: 900, before: 101 }, 124),
    [asked(101), 'memory is short, and it starts before others have made room: they held 900 of 1000 bytes, and it takes 101']);
});

test('one that has not run yet takes an eighth of the budget, or all that it may have', async (t) => {
  t.deepEqual(await makeRoom(t, { budget: 800, held: 700 }), []);
  t.is((await makeRoom(t, { budget: 800, held: 701 }))[0], asked(100));
  t.is((await makeRoom(t, { budget: 800, held: 800, most: 900 }))[0], asked(100));
  t.is((await makeRoom(t, { budget: 800, held: 800, most: 50 }))[0], asked(50));
});

test('where memory is not counted, or no budget is known, nobody is asked', async (t) => {
  t.deepEqual(await makeRoom(t, { budget: 1000, before: 2000 }), []);
  t.deepEqual(await makeRoom(t, { held: 5000, before: 2000 }), []);
});

test('what others take that start at the same time counts, as far as they do not hold it yet', async (t) => {
  const machine = { budget: 1000, held: 500, before: 200 };
  t.deepEqual(await makeRoom(t, { ...machine, starting: [{ takes: 300 }] }), []);
  t.deepEqual(await makeRoom(t, { ...machine, starting: [{ takes: 200 }, { takes: 101 }] }),
    [asked(200, 301), 'memory is short, so others have made room: they held 500 of 1000 bytes, and it takes 200, those that start with it 301']);
  t.deepEqual(await makeRoom(t, { ...machine, starting: [{ takes: 400, holds: 100 }, { takes: 50, holds: 70 }] }), []);
  t.is((await makeRoom(t, { ...machine, starting: [{ takes: 401, holds: 100 }] }))[0], asked(200, 301));
});

test('what a wake that was killed has reserved is free', async (t) => {
  t.deepEqual(await makeRoom(t, { budget: 1000, held: 500, before: 200, starting: [{ takes: 500, dead: true }] }), []);
});

test('of swap that part counts which is memory still', async (t) => {
  t.deepEqual(await makeRoom(t, { budget: 1000, held: 500, swapped: 900, zram: 33, before: 203 }), []);
  t.is((await makeRoom(t, { budget: 1000, held: 500, swapped: 900, zram: 33, before: 204 }))[0], asked(204));
  t.deepEqual(await makeRoom(t, { budget: 1000, held: 500, swapped: 900, zram: 0, before: 500 }), []);
});
