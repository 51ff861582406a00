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
  /** What the site held when it last ran. */
  before?: number;
  most?: number | 'max';
}

/** Runs that part of wake.sh for a site of a machine that says this; gives what it starts, and what it says. */
async function makeRoom(t: ExecutionContext, { budget, held, swapped, cache = 0, before, most = 'max' }: Counts, code = 0): Promise<string[]> {
  const root = folder(t);
  const site = `${root}/site.slice/site-a.slice`;
  mkdirSync(site, { recursive: true });
  const write = (file: string, value: number | string | undefined) => { if (value !== undefined) writeFileSync(`${root}/${file}`, `${value}\n`); };
  write('budget', budget);
  write('site.slice/memory.current', held);
  write('site.slice/memory.swap.current', swapped);
  write('site.slice/memory.stat', `anon 5\nfile 7\ninactive_anon 3\ninactive_file ${cache}\nactive_file 9`);
  write('a.memory', before);
  write('site.slice/site-a.slice/memory.max', most);
  const [text] = /^make_room\(\) \{$.*?^\} 2>\/dev\/null$/ms.exec(await readFile(`${repository}/cmd/wake.sh`, 'utf8')) ?? [];
  if (text === undefined) throw new Error('wake.sh has no make_room');
  // The path from the place of the site's own files, which here are in one folder.
  const script = `set -u; SITEGEN_CGROUP=${site}/app.slice; state=${root}/a; timeout() { echo "$*"; return ${code}; }\n${text.replace('/run/sitegen/budget', `${root}/budget`)}\nmake_room; :`;
  const { stdout, stderr } = await promisify(execFile)('bash', ['-c', script]);
  t.is(stderr, '');
  return stdout.split('\n').filter((line) => line !== '');
}

const asked = (need: number) => `5 systemctl start sitegen-room@${need}:a.service`;

test('a site that fits starts without asking anybody', async (t) => {
  t.deepEqual(await makeRoom(t, { budget: 1000, held: 700, swapped: 100, before: 200 }), []);
  t.deepEqual(await makeRoom(t, { budget: 1000, held: 900, swapped: 100, cache: 200, before: 200 }), [], 'without what can be read again');
});

test('for one that does not fit others make room, and the journal has it', async (t) => {
  t.deepEqual(await makeRoom(t, { budget: 1000, held: 900, swapped: 100, cache: 199, before: 200 }),
    [asked(200), 'memory is short, so others have made room: they held 801 of 1000 bytes, and it takes 200']);
  t.deepEqual(await makeRoom(t, { budget: 1000, held: 900, before: 101 }, 124),
    [asked(101), 'memory is short, and it starts before others have made room: they hold 900 of 1000 bytes, and it takes 101']);
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
