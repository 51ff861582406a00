import test from 'ava';
import type { SiteGroup } from '../../../lib/effects/cgroup.ts';
import { dumpsMs, stopAllQuiet, type QuietSite, type StopQuietDeps } from '../../../lib/usecases/stop-quiet.ts';

const group = (id: string, service = false): SiteGroup => ({ id, appCgroup: `cgroup of ${id}`, service, frozen: !service, isUsed: false, isDumped: false, cpuUs: 0, trafficBytes: 0, memoryBytes: 0 });
const site = (domain: string, due: boolean): QuietSite => ({ domain, service: `service of ${domain}`, container: `container of ${domain}`, dumpUnit: `dump of ${domain}`, isDumpDue: due, noteUnchanged: () => Promise.resolve() });

/** Records what is done. Dumps of "slow" take all the time there is, those of "bad" fail; Docker does not stop "stuck". */
async function stopAll(groups: readonly SiteGroup[], sites: readonly QuietSite[], changes: Partial<StopQuietDeps> = {}): Promise<string[]> {
  const done: string[] = [];
  let now = 0;
  await stopAllQuiet(groups, {
    thaw: ({ appCgroup }) => { done.push(`thaw ${appCgroup}`); },
    siteOf: (id) => (id === 'damaged' ? Promise.reject(new Error('damaged')) : Promise.resolve(sites.find(({ domain }) => domain === id))),
    start: (unit, timeoutMs) => {
      done.push(`start ${unit} for ${timeoutMs}`);
      if (unit.endsWith('slow')) now += timeoutMs;
      return unit.endsWith('bad') ? Promise.reject(new Error('the dump failed')) : Promise.resolve();
    },
    docker: { stop: (name) => (name.endsWith('stuck') ? Promise.reject(new Error('no answer')) : Promise.resolve(done.push(`stop ${name}`)).then(() => undefined)) },
    tell: ({ domain, to, cause }) => { done.push(`${domain}: ${to} (${cause})`); return Promise.resolve(); },
    report: (line) => { done.push(line); },
    now: () => new Date(now),
    ...changes,
  });
  return done;
}

test('a site that was used since its last dump is dumped before its container is stopped, and no other', async (t) => {
  t.deepEqual(await stopAll([group('a')], [site('a', true)]), ['thaw cgroup of a', `start dump of a for ${dumpsMs}`, 'stop container of a', 'a: asleep (shutdown)']);
  t.deepEqual(await stopAll([group('a')], [site('a', false)]), ['thaw cgroup of a', 'stop container of a', 'a: asleep (shutdown)']);
});

test('a site whose service runs is left to it', async (t) => {
  t.deepEqual(await stopAll([group('a', true)], [site('a', true)]), []);
});

test('all are thawed before the first is waited for, also those whose settings cannot be read', async (t) => {
  const done = await stopAll([group('a'), group('damaged'), group('unknown'), group('b')], [site('a', false), site('b', false)]);
  t.deepEqual(done.slice(0, 4), ['a', 'damaged', 'unknown', 'b'].map((id) => `thaw cgroup of ${id}`));
  t.deepEqual(done.filter((line) => line.startsWith('stop')), ['stop container of a', 'stop container of b']);
});

test('a dump that fails keeps no container from being stopped', async (t) => {
  t.deepEqual((await stopAll([group('bad')], [site('bad', true)])).slice(2), ['<4>bad: the dump failed', 'stop container of bad', 'bad: asleep (shutdown)']);
});

test('when the time for dumps is over, containers are stopped without them', async (t) => {
  const done = await stopAll([group('slow'), group('a'), group('b')], [site('slow', true), site('a', false), site('b', true)]);
  t.false(done.some((line) => line.startsWith('start dump of b')));
  t.true(done.includes('<4>b: it is dumped after the next boot: there is no time left'));
  for (const id of ['slow', 'a', 'b']) t.true(done.includes(`stop container of ${id}`), id);
});

test('a container that does not stop is told, and keeps no other', async (t) => {
  const done = await stopAll([group('stuck'), group('a'), group('b')], [site('stuck', false), site('a', false), site('b', false)]);
  t.true(done.includes('<3>stuck: its container may be killed: no answer'));
  t.deepEqual(done.filter((line) => line.startsWith('stop')).sort(), ['stop container of a', 'stop container of b']);
});

test('of a site that needs no dump it is noted that it has not changed', async (t) => {
  const noted: string[] = [];
  const noting = (domain: string, due: boolean): QuietSite => ({ ...site(domain, due), noteUnchanged: () => Promise.resolve(noted.push(domain)).then(() => undefined) });
  await stopAll([group('a'), group('b')], [noting('a', false), noting('b', true)]);
  t.deepEqual(noted, ['a']);
});

test('a note that cannot be made keeps no container from being stopped', async (t) => {
  const done = await stopAll([group('a')], [{ ...site('a', false), noteUnchanged: () => Promise.reject(new Error('no room')) }]);
  t.deepEqual(done.slice(1), ['<4>a: no room', 'stop container of a', 'a: asleep (shutdown)']);
});
