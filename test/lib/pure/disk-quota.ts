import test from 'ava';
import { describeUse, isLookDue, isToldAgain, isWalkDue, judgeUse, mountOf, offersProjects, parseDiskRecord, parseMounts, parseProjects, parseProjid, projectFor, projectRange, wholeBlocks, type DiskRecord } from '../../../lib/pure/disk-quota.ts';

/** As kernels 6.1 and 6.12 write it, with what came between left out. */
const mountinfo = String.raw`28 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
53 28 7:0 / /var/lib/sitegen/sites rw,relatime shared:118 - ext4 /dev/loop0 rw,prjquota
54 28 7:1 / /srv/with\040blank rw,relatime shared:119 master:2 - xfs /dev/loop1 rw,attr2,inode64,prjquota
55 28 0:44 / /var/lib/sitegen/sites/tmp.com rw - tmpfs none rw,size=1024k
56 28 8:3 / /old rw,relatime - ext4 /dev/sdc rw,usrquota
57 28 8:4 / /old rw,relatime - ext4 /dev/sdd rw,prjquota
`;

test('a path is on the mount that is nearest above it, the later one of two', (t) => {
  const mounts = parseMounts(mountinfo);
  t.is(mounts.length, 6);
  const at = (path: string) => mountOf(mounts, path)?.point;
  t.is(at('/var/lib/sitegen/sites/a.com/data'), '/var/lib/sitegen/sites');
  t.is(at('/var/lib/sitegen/sites'), '/var/lib/sitegen/sites');
  t.is(at('/var/lib/sitegen/sitesuncounted'), '/');
  t.is(at('/var/lib/sitegen/sites/tmp.com/data'), '/var/lib/sitegen/sites/tmp.com');
  t.is(at('/srv/with blank/x'), '/srv/with blank');
  t.true(mountOf(mounts, '/old/x')?.options.includes('prjquota'));
});

test('quotas of projects are those of ext4 and XFS that are mounted with them', (t) => {
  const mounts = parseMounts(mountinfo);
  const offers = (path: string) => offersProjects(mountOf(mounts, path));
  t.deepEqual(['/', '/var/lib/sitegen/sites/a.com', '/srv/with blank', '/var/lib/sitegen/sites/tmp.com'].map((path) => offers(path)), [false, true, true, false]);
  t.false(offersProjects(undefined));
  t.false(offersProjects({ point: '/', type: 'btrfs', options: ['prjquota'] }));
});

test('a site\'s number is its own, in our range, and nobody\'s that is taken', (t) => {
  const first = projectFor('example.com', new Set());
  t.is(projectFor('example.com', new Set()), first);
  t.true(first >= projectRange.first && first < projectRange.first + projectRange.count);
  t.is(projectFor('example.com', new Set([first])), first + 1);
  t.is(projectFor('example.com', new Set([first, first + 1])), first + 2);
  t.not(projectFor('example.org', new Set()), first);
  // The range ends where it began.
  const above: Pick<ReadonlySet<number>, 'has'> = { has: (number) => number >= first };
  t.is(projectFor('example.com', above), projectRange.first);
  t.throws(() => projectFor('example.com', { has: () => true }), { instanceOf: RangeError });
});

test('numbers are read from /etc/projid and from lsattr', (t) => {
  t.deepEqual(parseProjid('# comment:5\nlogs:42\n\nweb data:7 \nbroken\nx:y\n'), [42, 7]);
  t.deepEqual([...parseProjects('1929379843 --------------e----P-- /var/lib/sitegen/sites/a.com/data\n    0 --------------e------- /srv/with blank\nlsattr: No such file\n')],
    [['/var/lib/sitegen/sites/a.com/data', 1929379843], ['/srv/with blank', 0]]);
});

test('limits are whole blocks', (t) => {
  t.deepEqual([1, 4096, 5000, 20 * 1024 ** 2].map((bytes) => wholeBlocks(bytes)), [4096, 4096, 4096, 20 * 1024 ** 2]);
});

test('nine tenths are little room, and the limit itself is full', (t) => {
  t.deepEqual([0, 899, 900, 999, 1000, 2000].map((used) => judgeUse(used, 1000)), ['fits', 'fits', 'nearly', 'nearly', 'full', 'full']);
  t.is(describeUse(1.9 * 1024 ** 3, 2 * 1024 ** 3), '1.9G of 2.0G');
});

const record: DiskRecord = { at: 1_000_000, usedBytes: 1, limitBytes: 2, quota: false, walkedAt: 1_000_000, tookMs: 10 };
const since = (ms: number) => record.at + ms;

test('how often a site is looked at depends on how long that takes', (t) => {
  t.true(isLookDue(undefined, 0));
  t.deepEqual([29_999, 30_000].map((ms) => isLookDue(record, since(ms))), [false, true]);
  const slow = { ...record, tookMs: 20_000 };
  t.deepEqual([999_999, 1_000_000].map((ms) => isLookDue(slow, since(ms))), [false, true]);
  t.deepEqual([3_599_999, 3_600_000].map((ms) => isLookDue({ ...record, tookMs: 1e6 }, since(ms))), [false, true], 'at least once an hour');
  t.true(isLookDue({ ...slow, quota: true }, since(30_000)), 'what the kernel counts is asked at once');
  t.true(isLookDue(record, 5), 'what is known is from before a boot');
});

test('where the kernel counts, files are counted now and then alone', (t) => {
  const held = { ...record, quota: true };
  t.true(isWalkDue(undefined, true, 0));
  t.true(isWalkDue(record, false, since(0)), 'each time without it');
  t.true(isWalkDue(record, true, since(0)), 'at first with it');
  t.deepEqual([899_999, 900_000].map((ms) => isWalkDue(held, true, since(ms))), [false, true]);
  t.false(isWalkDue({ ...held, tookMs: 60_000 }, true, since(2_999_999)));
});

test('an alarm is said again after an hour', (t) => {
  t.true(isToldAgain(undefined, 0));
  t.true(isToldAgain(record, since(0)));
  t.deepEqual([3_599_999, 3_600_000].map((ms) => isToldAgain({ ...record, toldAt: record.at }, since(ms))), [false, true]);
  t.true(isToldAgain({ ...record, toldAt: record.at }, 5));
});

test('of a damaged record nothing is known', (t) => {
  t.deepEqual(parseDiskRecord(JSON.stringify(record)), record);
  for (const text of [undefined, '', '{', 'null', '{}', '{"at":"x"}', JSON.stringify({ ...record, usedBytes: null })]) t.is(parseDiskRecord(text), undefined, text);
});
