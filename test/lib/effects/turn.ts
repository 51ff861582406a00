import { mkdirSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { takeTurn } from '../../../lib/effects/turn.ts';
import { paths } from '../../../lib/pure/paths.ts';
import { holdLock } from '../_lock.ts';
import { folder } from '../usecases/_cgroup.ts';

const never = new AbortController().signal;

/** A machine on which so many sites may start at once. */
function machine(t: ExecutionContext, slots: number) {
  const root = folder(t);
  const startsDir = `${root}/starts`;
  mkdirSync(startsDir);
  writeFileSync(`${root}/slots`, `${slots}\n`);
  Object.assign(paths, { startsDir, startsFile: `${root}/slots` });
  /** Holds a lock as the shim of a visitor's wake does. Gives what ends that. */
  const hold = (name: string) => holdLock(t, `${startsDir}/${name}`);
  return { hold };
}

/** What has become of a wait. */
async function isWaiting(wait: Promise<unknown>): Promise<boolean> {
  return Promise.race([wait.then(() => false), sleep(700, true)]);
}

test.serial('jobs take as many turns as there are, and the next waits until one is given back', async (t) => {
  machine(t, 2);
  const [first, second] = [await takeTurn(never), await takeTurn(never)];
  const third = takeTurn(never);
  t.true(await isWaiting(third));
  await first();
  const last = await third;
  // Twice is no error.
  for (const giveBack of [first, second, last]) await giveBack();
});

test.serial('while a visitor\'s wake waits, no job takes a turn, even if one is free', async (t) => {
  const { hold } = machine(t, 2);
  const endWait = await hold('queue');
  const job = takeTurn(never);
  t.true(await isWaiting(job));
  await endWait();
  await (await job)();
});

test.serial('visitors have the turns that they took, and a job does not wait in their line', async (t) => {
  const { hold } = machine(t, 1);
  const endStart = await hold('0');
  const job = takeTurn(never);
  t.true(await isWaiting(job));
  // The line is free but for a moment, so a visitor gets into it at once.
  await (await hold('queue'))();
  await endStart();
  await (await job)();
});

test.serial('a turn that is given back is free for visitors', async (t) => {
  const { hold } = machine(t, 1);
  await (await takeTurn(never))();
  await (await hold('0'))();
  t.pass();
});

test.serial('a wait can be ended, and takes nothing with it', async (t) => {
  const { hold } = machine(t, 1);
  const endStart = await hold('0');
  const stop = new AbortController();
  const job = takeTurn(stop.signal);
  t.true(await isWaiting(job));
  stop.abort(new Error('stopped'));
  await t.throwsAsync(job, { message: 'stopped' });
  await t.throwsAsync(takeTurn(stop.signal), { message: 'stopped' });
  await endStart();
  await (await takeTurn(never))();
});
