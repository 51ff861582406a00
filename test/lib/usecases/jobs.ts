import { rmSync, writeFileSync } from 'node:fs';
import test from 'ava';
import type { Systemd } from '../../../lib/effects/systemd.ts';
import { SitegenError } from '../../../lib/pure/errors.ts';
import { jobUnits, paths } from '../../../lib/pure/names.ts';
import { openAlarms, raise, worked } from '../../../lib/usecases/alarm.ts';
import { listJobs, startJob } from '../../../lib/usecases/jobs.ts';
import { putToSleep } from '../../../lib/usecases/put-to-sleep.ts';
import { freezeQuiet, stopQuiet } from '../../../lib/usecases/quiet.ts';
import { group } from './_cgroup.ts';
import { jobMachine, type Machine } from './_job.ts';

const { timer, service } = jobUnits({ id: 'example.com' }, 'hello');

/** What systemd says of the units of the job "hello"; of others what it says of those that never ran. */
function systemdOf(facts: Partial<Record<'timer' | 'service', Record<string, unknown>>>, start: () => Promise<void> = () => Promise.resolve()): Systemd {
  const never = { ActiveState: 'inactive', LoadState: 'loaded', Result: 'success', ExecMainStatus: 0, ExecMainStartTimestamp: 0n, LastTriggerUSec: 0n, NextElapseUSecRealtime: 0n, StatusText: '', Type: 'oneshot' };
  const known: Partial<Systemd> = { start, properties: (unit) => Promise.resolve({ ...never, ...(unit === timer ? facts.timer : unit === service ? facts.service : {}) }) };
  return known as Systemd;
}

const micros = (time: string) => BigInt(Date.parse(time)) * 1000n;
const next = '2026-01-02T00:00:00.000Z';
const last = '2026-01-01T00:00:01.000Z';

test.serial('what became of a job is told: when it runs next, has run last, and why it did not work', async (t) => {
  jobMachine(t);
  const hello = async (facts: Parameters<typeof systemdOf>[0]) => {
    const { jobs: [first] } = await listJobs(systemdOf(facts), ['example.com']);
    return [first?.next, first?.last, first?.result, first?.reason];
  };
  const active = { ActiveState: 'active', NextElapseUSecRealtime: micros(next) };
  const ran = { ExecMainStartTimestamp: micros(last) };
  t.deepEqual(await hello({}), [null, null, null, null]);
  t.deepEqual(await hello({ timer: { ...active, ActiveState: 'inactive' } }), [null, null, null, null]);
  t.deepEqual(await hello({ timer: { ...active, LastTriggerUSec: micros(last) } }), [next, last, null, null], 'before the last boot');
  t.deepEqual(await hello({ timer: active, service: { ...ran, StatusText: 'done' } }), [next, last, 'done', null]);
  t.deepEqual(await hello({ timer: active, service: { ...ran, ActiveState: 'activating' } }), [next, last, 'running', null]);
  t.deepEqual(await hello({ timer: active, service: { ...ran, ExecMainStatus: 75, StatusText: 'skipped: the site is disabled' } }), [next, last, 'skipped', 'the site is disabled']);
  t.deepEqual(await hello({ timer: active, service: { ...ran, ExecMainStatus: 143, StatusText: 'it was stopped before its end' } }), [next, last, 'stopped', 'it was stopped before its end']);
  t.deepEqual(await hello({ timer: active, service: { ...ran, ActiveState: 'failed', Result: 'exit-code', ExecMainStatus: 1, StatusText: 'exit code 3: it broke' } }), [next, last, 'failed', 'exit code 3: it broke']);
  t.deepEqual(await hello({ timer: { ...active, NextElapseUSecRealtime: 2n ** 64n - 1n } }), [null, null, null, null], 'never');
  const { jobs } = await listJobs(systemdOf({}));
  t.deepEqual(jobs.map(({ domain, name, calendar, command }) => [domain, name, calendar, ...command]), [['example.com', 'hello', 'daily', 'hello'], ['example.com', 'other', 'daily', 'other']]);
});

test.serial('a job that is started says whether it was skipped, and why it failed', async (t) => {
  jobMachine(t);
  const ran = { ExecMainStartTimestamp: micros(last) };
  t.is(await startJob(systemdOf({ service: ran }), 'example.com', 'hello'), undefined);
  t.is(await startJob(systemdOf({ service: { ...ran, ExecMainStatus: 75, StatusText: 'skipped: the site is disabled' } }), 'example.com', 'hello'), 'the site is disabled');
  const failed = systemdOf({ service: { ...ran, Result: 'exit-code', StatusText: 'exit code 3: it broke' } }, () => Promise.reject(new Error('failed')));
  const error = await t.throwsAsync(startJob(failed, 'example.com', 'hello'), { instanceOf: SitegenError, message: 'example.com: its job hello failed: exit code 3: it broke' });
  t.is(error.hint, 'look at: journalctl -u site-example.com.service SITEGEN_JOB=hello');
  await t.throwsAsync(startJob(failed, 'example.com', 'former'), { message: 'example.com: it has no job "former"; there are: hello, other' });
  await t.throwsAsync(startJob(failed, 'gone.example.com', 'hello'), { instanceOf: SitegenError });
});

/** A machine on which the job "hello" is at work, or waits for its turn. */
function atWork(t: Parameters<typeof jobMachine>[0], how: Machine = {}, more: { service?: string } = {}) {
  const machine = jobMachine(t, { ...how, ...more });
  group(`${paths.cgroupRoot}/system.slice/${service}`);
  return machine;
}

test.serial('nobody but the job itself freezes or stops a site that has one at work', async (t) => {
  const machine = atWork(t, { runs: 'running' });
  const { deps, deps: { systemd }, names, done } = machine;
  t.false(await freezeQuiet(systemd, names, 'guard.service'));
  t.false(await stopQuiet(deps, names));
  t.deepEqual(done, []);
  t.true(await freezeQuiet(systemd, names, 'guard.service', { byJob: true }));
  t.true(await stopQuiet(deps, names, { byJob: true }));
  group(`${paths.cgroupRoot}/system.slice/${service}`, { populated: false });
  machine.run('running');
  t.true(await freezeQuiet(systemd, names, 'guard.service'));
});

for (const what of ['freeze', 'stop'] as const) {
  test.serial(`an idle round that was about to ${what} an awake site leaves it to a job that has begun since`, async (t) => {
    const machine = jobMachine(t, { runs: 'running', service: 'active', dump: () => {
      group(`${paths.cgroupRoot}/system.slice/${service}`);
      return Promise.resolve();
    } });
    const { done, names } = machine;
    const systemd: Systemd = { ...machine.deps.systemd, properties: () => Promise.resolve({ ActiveState: 'active', InvocationID: new Uint8Array(16) }), stop: (unit) => Promise.resolve(void done.push(`stop ${unit}`)) };
    const known = { domain: 'example.com', stamp: '', site: '10.213.1.1', container: '10.214.1.1', port: 80, backedUp: true, idle: { afterMs: 1, stopAfterMs: 1, never: false, freeze: true, awake: [], busy: undefined } };
    if (what === 'stop') group(`${paths.cgroupRoot}/system.slice/${service}`);
    await putToSleep({ systemd, docker: machine.deps.docker, report: () => undefined }, { domain: 'example.com', do: what, cause: 'idle' }, known, { activeAt: undefined, triedAt: undefined });
    t.deepEqual(done, what === 'freeze' ? [`start ${names.dumpUnit}`] : []);
  });
}

test.serial('the alarm of a job stands until it works, or there is no such job any more', async (t) => {
  jobMachine(t);
  const failed = systemdOf({ service: { ActiveState: 'failed', Result: 'exit-code', StatusText: 'exit code 3: it broke', InactiveEnterTimestamp: micros(last) } });
  const file = `${paths.unitsDir}/${timer}`;
  const open = async (now = last) => (await openAlarms(failed, new Date(now))).map(({ unit, reason, count }) => [unit, reason, count]);
  writeFileSync(file, '[Timer]\n');
  for (const count of [1, 2]) {
    await raise(failed, service, { result: 'exit-code', exitStatus: '1' }, new Date(last));
    t.deepEqual(await open(), [[service, 'exit code 3: it broke', count]]);
  }
  await worked(service, new Date(next));
  t.deepEqual(await open(next), []);
  await raise(failed, service, { result: 'exit-code', exitStatus: '1' }, new Date(last));
  // systemd has a service of a template for any job, also for one that never was.
  rmSync(file);
  t.deepEqual(await open(), []);
});
