import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import test from 'ava';
import { SitegenError } from '../../../lib/pure/errors.ts';
import { paths } from '../../../lib/pure/paths.ts';
import { group } from './_cgroup.ts';
import { jobMachine } from './_job.ts';

const timer = 'enqueue sitegen-idle.timer';

/** Imported late, as it looks for its templates when it is. */
async function runJob(machine: ReturnType<typeof jobMachine>): Promise<void> {
  const job = await import('../../../lib/usecases/job.ts');
  await job.runJob({ ...machine.deps, signal: new AbortController().signal }, 'example.com', 'hello');
}

/** Has the kernel say what all sites hold, and what wakes are told of the budget. */
function memoryOf({ names }: ReturnType<typeof jobMachine>, { budget, held, before }: { budget: number; held: number; before?: number }): void {
  writeFileSync(paths.budgetFile, `${budget} 33\n`);
  group(path.dirname(names.cgroup), { 'memory.current': `${held}\n`, 'memory.stat': 'inactive_file 100\n', 'memory.swap.current': '300\n' });
  if (before !== undefined) writeFileSync(names.memoryFile, `${before}\n`);
}

/** Ends a job once its site is to start. */
const noStart = { runs: 'stopped', start: () => Promise.reject(new SitegenError('no such image')) } as const;

test.serial('a job that starts a stopped site asks for room when it does not fit, and keeps what it needs until then', async (t) => {
  let reserved = '';
  const machine = jobMachine(t, { runs: 'stopped', start: () => {
    reserved = readFileSync(`${paths.startsDir}/need.job:example.com`, 'utf8');
    return Promise.reject(new SitegenError('no such image'));
  } });
  memoryOf(machine, { budget: 1000, held: 700, before: 302 });
  await t.throwsAsync(runJob(machine), { message: 'no such image' });
  t.deepEqual(machine.done, [timer, 'start sitegen-room@302:0:example.com:job.service', 'docker start']);
  t.regex(machine.said()[0] ?? '', /^hello: memory is short, others have made room: they held 699B of 1000B, and the site takes 302B$/);
  t.is(reserved, `302 ${process.pid} ${machine.names.cgroup}\n`);
  t.deepEqual(readdirSync(paths.startsDir).filter((name) => name.startsWith('need')), []);
});

test.serial('a job whose site fits asks nobody, and one that is thawed neither', async (t) => {
  const fits = jobMachine(t, noStart);
  memoryOf(fits, { budget: 1000, held: 700, before: 301 });
  await t.throwsAsync(runJob(fits));
  t.deepEqual(fits.done, [timer, 'docker start']);
  const frozen = jobMachine(t);
  memoryOf(frozen, { budget: 1000, held: 5000 });
  await runJob(frozen);
  t.deepEqual(frozen.done.filter((step) => step.includes('room')), []);
});

test.serial('what wakes have reserved counts, unless they were killed, and a site that never ran takes an eighth', async (t) => {
  const machine = jobMachine(t, noStart);
  memoryOf(machine, { budget: 800, held: 500 });
  group(`${path.dirname(machine.names.cgroup)}/site-b.slice`, { 'memory.current': '50\n' });
  writeFileSync(`${paths.startsDir}/need.b`, `152 ${process.pid} ${path.dirname(machine.names.cgroup)}/site-b.slice\n`);
  // No process has so high a number.
  writeFileSync(`${paths.startsDir}/need.c`, `5000 5000000 ${path.dirname(machine.names.cgroup)}/site-c.slice\n`);
  writeFileSync(`${paths.startsDir}/need.d`, '');
  await t.throwsAsync(runJob(machine));
  t.deepEqual(machine.done, [timer, 'docker start'], '499 and 102 and 100 fit');
  memoryOf(machine, { budget: 800, held: 600 });
  await t.throwsAsync(runJob(machine));
  t.is(machine.done[3], 'start sitegen-room@100:102:example.com:job.service');
});
