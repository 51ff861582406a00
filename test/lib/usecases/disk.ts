import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { siteNames } from '../../../lib/pure/names.ts';
import { parseDiskRecord } from '../../../lib/pure/disk-quota.ts';
import { diskState, requireRoom, watchDisk } from '../../../lib/usecases/disk.ts';
import { measureDue } from '../../../lib/usecases/idle-disk.ts';
import { folder } from './_cgroup.ts';

const KiB = 1024;

/** A site whose data has so many KiB, and what was done to it; nothing of it runs. */
function site(t: ExecutionContext, kib: number) {
  const root = folder(t);
  const names = { ...siteNames('example.com'), dataDir: `${root}/data`, diskFile: `${root}/disk`, fullFile: `${root}/full`, appCgroup: `${root}/none`, lockFile: `${root}/lock` };
  mkdirSync(names.dataDir);
  const done: string[] = [];
  const deps = {
    systemd: { stop: (unit: string) => { done.push(`stop ${unit}${existsSync(names.fullFile) ? ' (marked)' : ''}`); return Promise.resolve(); }, start: () => Promise.reject(new Error('not meant')), thaw: () => Promise.reject(new Error('not meant')) },
    docker: { stop: () => Promise.reject(new Error('not meant')) },
  };
  const grow = (to: number) => { writeFileSync(`${names.dataDir}/file`, Buffer.alloc(to * KiB, 'x')); };
  grow(kib);
  return { names, deps, done, grow, watch: (limitKib: number | undefined) => watchDisk(deps, names, limitKib === undefined ? undefined : limitKib * KiB) };
}

test('data that fits is measured, and nothing else is done', async (t) => {
  const { names, done, watch } = site(t, 500);
  t.is((await diskState(names)).usedBytes, undefined);
  t.is(await watch(1000), undefined);
  const { usedBytes = 0, quota, measuredAt } = await diskState(names);
  t.true(usedBytes >= 500 * KiB && usedBytes < 520 * KiB, String(usedBytes));
  t.false(quota);
  t.true(Math.abs((measuredAt?.getTime() ?? 0) - Date.now()) < 5000);
  t.deepEqual(done, []);
});

test('at nine tenths there is an alarm, once an hour; the site goes on', async (t) => {
  const { names, done, watch, grow } = site(t, 950);
  const news = await watch(1000);
  t.regex(news?.fault ?? '', /^its data takes 9\d\d\.\dK of 1000\.0K \(limits\.disk\): there is little room left; raise limits\.disk and run: sitegen apply example\.com/);
  t.is(news?.again, false);
  t.is((await watch(1000))?.again, true);
  grow(100);
  t.is(await watch(1000), undefined);
  grow(950);
  t.is((await watch(1000))?.again, false, 'it is news once more');
  t.deepEqual(done, []);
  t.false(existsSync(names.fullFile));
});

test('at the limit it is marked, then stopped, and told although little room was told before', async (t) => {
  const { names, done, watch, grow } = site(t, 950);
  await watch(1000);
  grow(1200);
  const news = await watch(1000);
  t.is(news?.again, false);
  t.regex(news?.fault ?? '', /it is stopped, and visitors get 503/);
  t.deepEqual(done, [`stop ${names.service} (marked)`]);
  t.true(existsSync(names.fullFile));
  t.is((await watch(1000))?.again, true);
  t.is(await watch(2000), undefined);
  t.false(existsSync(names.fullFile), 'a higher limit lets it go');
});

test('a wake is refused until there is room', async (t) => {
  const { names, watch, grow } = site(t, 1200);
  await watch(1000);
  await t.throwsAsync(requireRoom(names, 1000 * KiB), { message: /example\.com is kept stopped: its data takes 1\.2M of 1000\.0K/ });
  t.true(existsSync(names.fullFile));
  grow(10);
  await requireRoom(names, 1000 * KiB);
  t.false(existsSync(names.fullFile));
  grow(1200);
  await watch(1000);
  await requireRoom(names, undefined);
  t.false(existsSync(names.fullFile), 'without a limit there is room');
});

test('a site that has lost its limit is forgotten', async (t) => {
  const { names, watch } = site(t, 1200);
  await watch(1000);
  t.truthy(parseDiskRecord(readFileSync(names.diskFile, 'utf8')));
  t.is(await watch(undefined), undefined);
  t.false(existsSync(names.diskFile));
  t.false(existsSync(names.fullFile));
});

test('rounds look at sites with a limit that nobody has looked at, and one that fails keeps no other', async (t) => {
  const known = { stamp: '', site: '10.213.1.1', container: '10.214.1.1', port: 80, backedUp: true, idle: { afterMs: 1, stopAfterMs: 1, never: false, freeze: true, awake: [], busy: undefined } };
  const [asked, lines]: [string[], string[]] = [[], []];
  await measureDue([{ ...known, domain: 'none.example' }, { ...known, domain: 'a.example', diskBytes: 5 }, { ...known, domain: 'b.example', diskBytes: 5 }],
    (domain) => { asked.push(domain); return domain === 'a.example' ? Promise.reject(new Error('no bus')) : Promise.resolve(); }, (line) => { lines.push(line); });
  t.deepEqual(asked, ['a.example', 'b.example']);
  t.deepEqual(lines, ['<4>a.example: its room on the disk could not be looked at: no bus']);
});
