import { execFile } from 'node:child_process';
import fs from 'node:fs/promises';
import { promisify } from 'node:util';

/** Looks at locks of flock(2) from outside, without taking them. */

const execute = promisify(execFile);

/** A lock file; `pid` and `heldMs` are undefined when the process that took it has ended and left it to a child. */
export interface LockFile {
  file: string;
  marked: boolean;
  held: boolean;
  pid: number | undefined;
  heldMs: number | undefined;
}

/** Files below a directory that are locked, or have something in them, and whose names are those of locks. */
export async function lockFiles(directory: string, isLock: (name: string) => boolean): Promise<LockFile[]> {
  const names = await fs.readdir(directory, { recursive: true }).catch(() => []);
  const holders = await locked();
  const found = await Promise.all(names.filter((name) => isLock(name.slice(name.lastIndexOf('/') + 1))).map(async (name) => {
    const file = `${directory}/${name}`;
    const status = await fs.stat(file).catch(() => undefined);
    if (!status?.isFile()) return [];
    const pid = holders.get(`${status.dev}:${status.ino}`);
    const held = pid !== undefined;
    const beganMs = held ? await beganAt(pid) : undefined;
    return held || status.size > 0 ? [{ file, marked: status.size > 0, held, pid: beganMs === undefined ? undefined : pid, heldMs: beganMs === undefined ? undefined : Math.max(0, Date.now() - beganMs) }] : [];
  }));
  return found.flat();
}

/** Empties a lock file, unless somebody holds it. @throws when somebody does */
export async function emptyLock(file: string): Promise<void> {
  await execute('flock', ['--exclusive', '--nonblock', file, 'truncate', '--size', '0', file]);
}

/** Process by device and inode of what it has locked; see proc_locks(5). */
async function locked(): Promise<Map<string, number>> {
  const text = await fs.readFile('/proc/locks', 'utf8').catch(() => '');
  return new Map([...text.matchAll(/^\d+: FLOCK +\S+ +\S+ +(-?\d+) ([0-9a-f]+):([0-9a-f]+):(\d+) /gm)]
    .map(([, pid, major = '', minor = '', inode = '']) => [`${deviceOf(Number.parseInt(major, 16), Number.parseInt(minor, 16))}:${inode}`, Number(pid)] as const));
}

/** As stat(2) numbers devices (gnu_dev_makedev), for minor numbers below 2^20. */
function deviceOf(major: number, minor: number): number {
  return (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & ~0xff) << 12);
}

/** When a process began, ms since 1970: its directory in /proc is made as somebody first looks, so by its own clock (field 22 of proc_pid_stat(5), in 1/100 s since boot). */
async function beganAt(pid: number): Promise<number | undefined> {
  const [stat, uptime] = await Promise.all([`/proc/${pid}/stat`, '/proc/uptime'].map((file) => fs.readFile(file, 'utf8').catch(() => undefined)));
  const ticks = Number(stat?.split(') ').at(-1)?.split(' ')[19]);
  const up = Number(uptime?.split(' ')[0]);
  return Number.isFinite(ticks) && Number.isFinite(up) ? Date.now() - (up - ticks / 100) * 1000 : undefined;
}
