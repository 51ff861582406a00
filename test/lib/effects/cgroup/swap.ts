import { mkdirSync, writeFileSync } from 'node:fs';
import test from 'ava';
import { swapState } from '../../../../lib/effects/cgroup/swap.ts';
import { folder } from '../../usecases/_cgroup.ts';

test('what swap does is told by the kernel, and a device that has gone is no error', (t) => {
  const root = folder(t);
  t.deepEqual(swapState(root), { freeBytes: 0, share: 1 });
  mkdirSync(`${root}/proc`);
  writeFileSync(`${root}/proc/swaps`, 'Filename Type Size Used Priority\n/dev/zram0 partition 102400 40960 100\n');
  t.deepEqual(swapState(root), { freeBytes: 60 * 1024 ** 2, share: 1 / 3 });
  mkdirSync(`${root}/sys/block/zram0`, { recursive: true });
  writeFileSync(`${root}/sys/block/zram0/mm_stat`, '41943040 8000000 10485760 0 12000000 0 0 0 0\n');
  t.deepEqual(swapState(root), { freeBytes: 60 * 1024 ** 2, share: 0.25 });
});
