import { parseMmStat, parseSwaps, swapOf, zramOf, type Swap } from '../../pure/room.ts';
import { textOf } from './read.ts';

/**
 * What swap does for sites just now.
 * @param root the folder with proc and sys
 */
export function swapState(root = ''): Swap {
  const devices = parseSwaps(textOf(`${root}/proc/swaps`) ?? '');
  const compressed = new Map(devices.flatMap(({ name }) => {
    const device = zramOf(name);
    const stat = device === undefined ? undefined : parseMmStat(textOf(`${root}/sys/block/${device}/mm_stat`) ?? '');
    return stat ? [[name, stat] as const] : [];
  }));
  return swapOf(devices, compressed);
}

/** All there is of it, bytes; none for a kernel without. */
export function swapTotal(root = ''): number {
  return parseSwaps(textOf(`${root}/proc/swaps`) ?? '').reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}
