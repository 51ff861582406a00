import test from 'ava';
import { budgetOf, freezeGives, needText, parseMmStat, parseNeed, parseReservation, parseSwaps, parseTold, swapOf, takes, toldLine, type Need } from '../../../lib/pure/room.ts';

const MiB = 1024 ** 2;

test('what all sites may hold is a share of the memory, or a size', (t) => {
  t.is(budgetOf('70%', 1001), 700);
  t.is(budgetOf('12.5%', 800), 100);
  t.is(budgetOf('2G', 1), 2 * 1024 ** 3);
  t.is(budgetOf('much', 1), undefined);
});

test('what a wake or a job asks for is read, and nothing else', (t) => {
  const needs: Need[] = [{ bytes: 1_048_576, reservedBytes: 0, id: 'my-site.example.com', background: false }, { bytes: 5, reservedBytes: 7, id: 'a', background: true }];
  t.deepEqual(needs.map((need) => needText(need)), ['1048576:0:my-site.example.com', '5:7:a:job']);
  for (const need of needs) t.deepEqual(parseNeed(needText(need)), need);
  for (const text of ['', '5', ':a', '5:', '5:a', '-5:0:a', '5:0:a/b', '5:0:a:b', '5 :0:a', 'x:0:a', '5::a']) t.is(parseNeed(text), undefined, text);
});

test('a wake and a round read the same line about the budget', (t) => {
  t.is(toldLine({ budgetBytes: 1000, swapShare: 1 / 3 }), '1000 33\n');
  t.deepEqual(parseTold('1000 33\n'), { budgetBytes: 1000, swapShare: 0.33 });
  t.deepEqual(parseTold('1000\n'), { budgetBytes: 1000, swapShare: 1 });
  for (const text of ['', 'x', '5 x', '5 6 7']) t.is(parseTold(text), undefined, text);
});

test('a site takes what it took before, else an eighth of the budget or all that it may have', (t) => {
  t.is(takes({ peakBytes: 900, budgetBytes: 800, maxBytes: 50 }), 900);
  t.is(takes({ peakBytes: undefined, budgetBytes: 800, maxBytes: undefined }), 100);
  t.is(takes({ peakBytes: undefined, budgetBytes: 800, maxBytes: 50 }), 50);
});

test('what a start has reserved is read, and nothing of what is empty or damaged', (t) => {
  t.deepEqual(parseReservation('200 17 /sys/fs/cgroup/site.slice/site-a\\x2db.slice\n'), { bytes: 200, pid: 17, cgroup: '/sys/fs/cgroup/site.slice/site-a\\x2db.slice' });
  for (const text of ['', '\n', '200', '200 17', 'x 17 /a']) t.is(parseReservation(text), undefined, text);
});

const header = 'Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n';

test('devices of swap are read as the kernel writes them', (t) => {
  t.deepEqual(parseSwaps(`${header}/dev/zram0                              partition\t1017852\t\t2048\t\t100\n/swapfile                               file\t\t1048572\t\t0\t\t-2\n`), [
    { name: '/dev/zram0', sizeBytes: 1_017_852 * 1024, usedBytes: 2 * MiB, priority: 100 }, { name: '/swapfile', sizeBytes: 1_048_572 * 1024, usedBytes: 0, priority: -2 },
  ]);
  t.deepEqual(parseSwaps(header), []);
  t.deepEqual(parseSwaps(''), []);
});

test('what zram makes of its content is read', (t) => {
  t.deepEqual(parseMmStat('  4194304  1000000  1048576        0  1200000       12        0        0        0\n'), { originalBytes: 4_194_304, memoryBytes: 1_048_576 });
  t.is(parseMmStat(''), undefined);
});

const device = (name: string, usedBytes: number, priority = 0) => ({ name, sizeBytes: 100 * MiB, usedBytes, priority });

test('swap on zram is memory to the part that it has come to, on a disk it is none', (t) => {
  const quarter = new Map([['/dev/zram0', { originalBytes: 40 * MiB, memoryBytes: 10 * MiB }]]);
  t.deepEqual(swapOf([device('/dev/zram0', 40 * MiB)], quarter), { freeBytes: 60 * MiB, share: 0.25 });
  t.deepEqual(swapOf([device('/dev/sda2', 40 * MiB)], new Map()), { freeBytes: 60 * MiB, share: 0 });
  t.deepEqual(swapOf([device('/dev/zram0', 40 * MiB), device('/swapfile', 40 * MiB)], quarter), { freeBytes: 120 * MiB, share: 0.125 }, 'both by what they hold');
  t.is(swapOf([device('/dev/zram0', 40 * MiB)], new Map([['/dev/zram0', { originalBytes: 40 * MiB, memoryBytes: 50 * MiB }]])).share, 1);
});

test('as long as zram holds nothing a third is taken for what it will make, and the first device to be filled counts', (t) => {
  t.is(swapOf([device('/dev/zram0', 0)], new Map([['/dev/zram0', { originalBytes: 4096, memoryBytes: 8192 }]])).share, 1 / 3);
  t.is(swapOf([device('/swapfile', 0, -2), device('/dev/zram0', 0, 100)], new Map()).share, 1 / 3);
  t.is(swapOf([device('/swapfile', 0, 5), device('/dev/zram0', 0, 1)], new Map()).share, 0);
  t.deepEqual(swapOf([], new Map()), { freeBytes: 0, share: 1 });
});

test('a site that is frozen gives what goes out, less what zram keeps of it; nothing without room for it', (t) => {
  t.is(freezeGives(100, { freeBytes: 90, share: 0 }), 90);
  t.is(freezeGives(100, { freeBytes: 90, share: 0.5 }), 45);
  t.is(freezeGives(100, { freeBytes: 89, share: 0 }), undefined);
  t.is(freezeGives(undefined, { freeBytes: 1, share: 0 }), 0);
  t.is(freezeGives(undefined, { freeBytes: 0, share: 0 }), undefined);
});
