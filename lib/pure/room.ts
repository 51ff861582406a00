import { parseSize } from './quantities.ts';

/** What sites may hold together in memory, what those that start will take, and what swap does with it. */

/** Swap, as far as it takes what sites hold. */
export interface Swap {
  freeBytes: number;
  /** Of each byte in it this much is still in memory: where it is zram. */
  share: number;
}

/** A device or file that takes memory out, as /proc/swaps has it. */
export interface SwapDevice {
  name: string;
  sizeBytes: number;
  usedBytes: number;
  priority: number;
}

/** What zram makes of what it holds (mm_stat): bytes before, and bytes of memory that it takes for them. */
export interface Compressed {
  originalBytes: number;
  memoryBytes: number;
}

/** Of what it takes zram goes on holding so much, as long as nothing else is known. */
const usualShare = 1 / 3;

/** Of what a site holds so much goes out when it is frozen; the kernel's own part and what is shared stays. */
const goesOut = 0.9;

/** Reads /proc/swaps (proc_swaps(5)). */
export function parseSwaps(text: string): SwapDevice[] {
  return text.split('\n').slice(1).flatMap((line) => {
    const [, name, size, used, priority] = /^(\S+)\s+\S+\s+(\d+)\s+(\d+)\s+(-?\d+)$/.exec(line.trim()) ?? [];
    return name === undefined ? [] : [{ name, sizeBytes: Number(size) * 1024, usedBytes: Number(used) * 1024, priority: Number(priority) }];
  });
}

/** The number of a device of zram; undefined for other swap. */
export function zramOf(name: string): string | undefined {
  return /^\/dev\/(zram\d+)$/.exec(name)?.[1];
}

/** Reads /sys/block/zramN/mm_stat: original size, compressed size, memory used in all, and more. */
export function parseMmStat(text: string): Compressed | undefined {
  const [, originalBytes, memoryBytes] = /^\s*(\d+)\s+\d+\s+(\d+)\s/.exec(`${text} `) ?? [];
  return memoryBytes === undefined ? undefined : { originalBytes: Number(originalBytes), memoryBytes: Number(memoryBytes) };
}

/**
 * What swap does for sites. Which site's pages are on which device the kernel does not say, so all are taken for alike.
 * @param compressed of devices that are zram, by name
 */
export function swapOf(devices: readonly SwapDevice[], compressed: ReadonlyMap<string, Compressed>): Swap {
  const shareOf = ({ name }: SwapDevice) => {
    if (zramOf(name) === undefined) return 0;
    const stat = compressed.get(name);
    // Of little it says nothing, as its own tables are in it.
    return stat === undefined || stat.originalBytes < 1024 ** 2 ? usualShare : Math.min(1, stat.memoryBytes / stat.originalBytes);
  };
  const freeBytes = devices.reduce((sum, { sizeBytes, usedBytes }) => sum + sizeBytes - usedBytes, 0);
  const used = devices.reduce((sum, { usedBytes }) => sum + usedBytes, 0);
  // As long as nothing is in any, the first to be filled is what counts.
  const [first] = [...devices].sort((a, b) => b.priority - a.priority);
  if (used === 0) return { freeBytes, share: first ? shareOf(first) : 1 };
  return { freeBytes, share: devices.reduce((sum, device) => sum + shareOf(device) * device.usedBytes, 0) / used };
}

/**
 * How much memory is free once a site is frozen, bytes.
 * @param memoryBytes what it holds; undefined where the kernel does not count
 * @returns undefined when swap does not take it, or zram makes nothing smaller of it
 */
export function freezeGives(memoryBytes: number | undefined, { freeBytes, share }: Swap): number | undefined {
  return freeBytes <= 0 || share > goesOut || freeBytes < (memoryBytes ?? 0) * goesOut ? undefined : (memoryBytes ?? 0) * goesOut * (1 - share);
}

/** What `machine.memory` means on a machine, bytes. */
export function budgetOf(memory: string, totalBytes: number): number | undefined {
  const percent = /^([\d.]+)%$/.exec(memory)?.[1];
  return percent === undefined ? parseSize(memory) : Math.floor((totalBytes * Number(percent)) / 100);
}

/** What is said to wakes: what all may hold, bytes, and how many percent of what is in swap they hold still. */
export interface Told {
  budgetBytes: number;
  swapShare: number;
}

/** The line that wake.sh reads. */
export function toldLine({ budgetBytes, swapShare }: Told): string {
  return `${budgetBytes} ${Math.round(swapShare * 100)}\n`;
}

/** Reads that line; what an older version has written has no second number. */
export function parseTold(text: string): Told | undefined {
  const [, budget, percent] = /^(\d+)(?: (\d+))?$/.exec(text.trim()) ?? [];
  return budget === undefined ? undefined : { budgetBytes: Number(budget), swapShare: Number(percent ?? 100) / 100 };
}

/** A site that is about to start. */
export interface Need {
  id: string;
  /** What it will take. */
  bytes: number;
  /** What others that start will take besides what they hold already. */
  reservedBytes: number;
  /** Nobody waits for it: sites with visitors are not put to sleep for it. */
  background: boolean;
}

/** Reads what is asked for a site that starts: `BYTES:RESERVED:ID`, and `:job` when nobody waits for it. */
export function parseNeed(text: string): Need | undefined {
  const [, bytes, reserved, id, job] = /^(\d{1,15}):(\d{1,15}):([a-z0-9._-]+)(:job)?$/.exec(text) ?? [];
  return id === undefined ? undefined : { id, bytes: Number(bytes), reservedBytes: Number(reserved), background: job !== undefined };
}

/** What `parseNeed` reads. */
export function needText({ id, bytes, reservedBytes, background }: Need): string {
  return `${bytes}:${reservedBytes}:${id}${background ? ':job' : ''}`;
}

/** What a site will take: what it held at most when it last ran, or, where nobody knows, an eighth of what all may hold, or all that it may have. */
export function takes({ peakBytes, budgetBytes, maxBytes }: { peakBytes: number | undefined; budgetBytes: number; maxBytes: number | undefined }): number {
  return peakBytes ?? Math.min(Math.floor(budgetBytes / 8), maxBytes ?? Infinity);
}

/** What a site that starts has written down: `BYTES PID CGROUP`, as wake.sh does too. */
export interface Reservation {
  bytes: number;
  pid: number;
  /** The slice of the site. */
  cgroup: string;
}

/** Reads such a line; undefined when nothing is reserved any more. */
export function parseReservation(text: string): Reservation | undefined {
  const [, bytes, pid, cgroup] = /^(\d+) (\d+) (\S+)$/.exec(text.trim()) ?? [];
  return cgroup === undefined ? undefined : { bytes: Number(bytes), pid: Number(pid), cgroup };
}
