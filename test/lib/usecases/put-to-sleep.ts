import { existsSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import test from 'ava';
import type { Docker } from '../../../lib/effects/docker.ts';
import type { Systemd } from '../../../lib/effects/systemd.ts';
import { siteNames } from '../../../lib/pure/names.ts';
import { readState } from '../../../lib/usecases/backup-state.ts';
import { activityOf, noteWork, parseMemory, type KnownSite, type Past } from '../../../lib/usecases/idle-memory.ts';
import { dumpBeforeStop, putToSleep, sleepAwake } from '../../../lib/usecases/put-to-sleep.ts';
import { folder } from './_cgroup.ts';

const known: KnownSite = {
  domain: 'quiet.invalid', stamp: '', site: '10.213.1.1', container: '10.214.1.1', port: 80, backedUp: true,
  idle: { afterMs: 1, stopAfterMs: 1, never: false, freeze: false, awake: [], busy: undefined },
};

/** A site whose container does not run as far as the kernel knows; what is done to its service. */
async function stopOf(activeState: string, stop: () => Promise<void> = () => Promise.resolve(), past: Past = {}): Promise<string[]> {
  const done: string[] = [];
  const systemd: Pick<Systemd, 'list' | 'properties' | 'stop'> = {
    list: () => Promise.resolve([{ name: 'site-quiet.invalid.service', activeState, subState: '', loadState: 'loaded' }]),
    properties: () => Promise.resolve({ ActiveState: activeState }),
    stop: (unit) => {
      done.push(`stop ${unit}`);
      return stop();
    },
  };
  await putToSleep({ systemd: systemd as Systemd, docker: {} as Docker, report: (line) => { done.push(line); } }, { domain: known.domain, do: 'stop', cause: 'idle' }, known, past);
  return done;
}

test('an awake site is stopped by its service, and one on its way up or down is left alone', async (t) => {
  t.deepEqual(await stopOf('active'), ['stop site-quiet.invalid.service']);
  for (const state of ['activating', 'deactivating', 'inactive', 'failed']) t.deepEqual(await stopOf(state), [], state);
});

test('one that slept when it was looked at, and that somebody has woken since, is left to him', async (t) => {
  for (const state of ['frozen', 'quiet'] as const) t.deepEqual(await stopOf('active', undefined, { state }), [], state);
  t.deepEqual(await stopOf('active', undefined, { state: 'awake' }), ['stop site-quiet.invalid.service']);
});

test('a visitor\'s start in place of the stop is no error, and anything else is', async (t) => {
  t.deepEqual(await stopOf('active', () => Promise.reject(new Error('the job was canceled'))), ['stop site-quiet.invalid.service']);
  await t.throwsAsync(stopOf('active', () => Promise.reject(new Error('it timed out'))), { message: 'it timed out' });
});

test('of a memory that is missing or damaged nothing is known, and a part of one is completed', (t) => {
  const nothing = parseMemory(undefined);
  t.deepEqual([nothing.seen, nothing.known, nothing.defaultsStamp], [{}, {}, '']);
  t.deepEqual(parseMemory('{"seen":'), nothing);
  t.deepEqual(parseMemory('{"defaultsStamp":"1 2"}'), { ...nothing, defaultsStamp: '1 2' });
});

test('when a site was last at work is told by the clock as it is now', (t) => {
  const now = new Date('2026-01-01T12:00:00Z');
  const activity = activityOf('{"seen":{"a.example.com":{"activeAt":1000},"b.example.com":{"activeAt":61000}}}', now);
  const [a = 0, b = 0] = ['a.example.com', 'b.example.com'].map((domain) => activity.get(domain));
  t.is(Math.round((b - a) / 1000), 60);
  t.true(a < now.getTime());
});

test('what stands still is dumped before it is stopped only if it was used since its last dump', async (t) => {
  const root = folder(t);
  const names = { ...siteNames('quiet.invalid'), backupState: `${root}/state`, stateLock: `${root}/state.lock`, workFile: `${root}/work` };
  const dumpedAt = Date.now() - 600_000;
  const dump = async (activeAt: number | undefined, triedAt?: number, takesMs = 0) => {
    const done: string[] = [];
    writeFileSync(names.backupState, JSON.stringify({ dumpedAt: new Date(dumpedAt).toISOString() }));
    const start = (unit: string) => new Promise<void>((resolve) => {
      done.push(`start ${unit}`);
      setTimeout(resolve, takesMs);
    });
    done.push(await dumpBeforeStop({ start }, names, { activeAt, triedAt }, 100));
    const { unchangedAt } = await readState(names);
    return [...done, ...(unchangedAt === undefined ? [] : ['unchanged'])];
  };
  const dumped = [`start ${names.dumpUnit}`, 'over'];
  t.deepEqual(await dump(dumpedAt - 1), ['not due', 'unchanged']);
  t.deepEqual(await dump(dumpedAt + 1), dumped);
  t.deepEqual(await dump(undefined), dumped, 'nobody knows');
  t.deepEqual(await dump(dumpedAt + 2, dumpedAt + 1), dumped, 'used since the last try too');
  t.deepEqual(await dump(dumpedAt + 1, dumpedAt + 2), ['not due'], 'a dump that failed keeps no site running');
  t.deepEqual(await dump(dumpedAt + 1, undefined, 5000), [`start ${names.dumpUnit}`, 'late']);
  await noteWork(names);
  t.deepEqual(await dump(dumpedAt - 1), dumped, 'somebody has worked in it without a visit');
  utimesSync(names.workFile, 0, 0);
  t.deepEqual(await dump(dumpedAt - 1), ['not due', 'unchanged'], '… before the dump');
});

test('the stop of a service is told what it is for, and for which run', async (t) => {
  const root = folder(t);
  const names = { ...siteNames('quiet.invalid'), freezeFile: `${root}/freeze` };
  const sleep = async (what: 'freeze' | 'stop', ActiveState = 'active') => {
    let told = '';
    await sleepAwake({
      properties: () => Promise.resolve({ ActiveState, InvocationID: Uint8Array.of(0x0a, 0xff) }),
      stop: () => {
        told = readFileSync(names.freezeFile, 'utf8');
        return Promise.resolve();
      },
    }, names, what, 'memory');
    return told;
  };
  t.is(await sleep('freeze', 'activating'), '');
  t.false(existsSync(names.freezeFile));
  t.is(await sleep('freeze'), '0aff memory\n');
  t.is(await sleep('stop'), 'stop-0aff memory\n');
});
