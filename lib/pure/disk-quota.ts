import { createHash } from 'node:crypto';
import { formatBytes } from './quantities.ts';

/** How much room a site's data may take (`limits.disk`): numbers for the kernel's quotas, and when to look where it has none. */

/** A mounted file system. */
export interface Mount {
  point: string;
  type: string;
  /** Of the mount and of the file system, as the kernel tells them. */
  options: readonly string[];
}

/** Reads /proc/self/mountinfo (proc_pid_mountinfo(5)), in its order: of two at one place the later one is seen. */
export function parseMounts(text: string): Mount[] {
  return text.split('\n').flatMap((line) => {
    const [own = '', ofDisk = ''] = line.split(' - ');
    const [point, options = ''] = own.split(' ').slice(4);
    const [type = '', , more = ''] = ofDisk.split(' ');
    if (point === undefined) return [];
    const plain = point.replaceAll(/\\([0-7]{3})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 8)));
    return [{ point: plain, type, options: [...options.split(','), ...more.split(',')] }];
  });
}

/** The mount that a path is on. @param path absolute, without links */
export function mountOf(mounts: readonly Mount[], path: string): Mount | undefined {
  const holds = ({ point }: Mount) => point === '/' || path === point || path.startsWith(`${point}/`);
  return mounts.filter((mount) => holds(mount)).reduce<Mount | undefined>((best, mount) => (best && best.point.length > mount.point.length ? best : mount), undefined);
}

/** True where the kernel keeps each project's files within a quota: ext4 with `prjquota`, XFS with the same or `pquota` (ext4(5), xfs(5)). */
export function offersProjects(mount: Mount | undefined): boolean {
  return mount !== undefined && ['ext4', 'xfs'].includes(mount.type) && (mount.options.includes('prjquota') || mount.options.includes('pquota'));
}

/** Our numbers of projects: far from those that people, Docker and Kubernetes count up from. */
export const projectRange = { first: 0x73_00_00_00, count: 0x1_00_00_00 } as const;

/**
 * The number of a site that has none: from a hash of its id, the next one where that is taken, so
 * that it stays the same on another machine as a rule. It is kept on the data's own directory alone.
 * @param taken numbers that something has already
 */
export function projectFor(id: string, taken: Pick<ReadonlySet<number>, 'has'>): number {
  const start = createHash('sha256').update(id).digest().readUInt32BE(0);
  for (let step = 0; step < projectRange.count; step++) {
    const project = projectRange.first + ((start + step) % projectRange.count);
    if (!taken.has(project)) return project;
  }
  throw new RangeError('all numbers of projects are taken');
}

/** Numbers that /etc/projid has (projid(5)): a name and a number a line. */
export function parseProjid(text: string): number[] {
  return text.split('\n').flatMap((line) => {
    const [, number] = /^[^#:]+:(\d+)\s*$/.exec(line) ?? [];
    return number === undefined ? [] : [Number(number)];
  });
}

/** What lsattr(1) with -p says of each path: its project. Paths come last and are taken as they are. */
export function parseProjects(text: string): Map<string, number> {
  return new Map(text.split('\n').flatMap((line) => {
    const [, project, path] = /^\s*(\d+) \S+ (.+)$/.exec(line) ?? [];
    return project === undefined || path === undefined ? [] : [[path, Number(project)] as const];
  }));
}

/** What the kernel counts in: limits are whole blocks, at least one. @returns bytes */
export function wholeBlocks(bytes: number, blockBytes = 4096): number {
  return Math.max(1, Math.floor(bytes / blockBytes)) * blockBytes;
}

/** What was found at the last look at a site's data; kept in `names.diskFile`. Times are milliseconds since the machine was booted. */
export interface DiskRecord {
  at: number;
  usedBytes: number;
  limitBytes: number;
  /** The kernel itself holds the limit. */
  quota: boolean;
  /** When all of its files were last counted, and how long that took. */
  walkedAt: number;
  tookMs: number;
  /** When an alarm last said that there is little room. */
  toldAt?: number | undefined;
}

/** Reads it; undefined for a file that is missing or damaged. */
export function parseDiskRecord(text: string | undefined): DiskRecord | undefined {
  try {
    const record = JSON.parse(text ?? '') as DiskRecord;
    return [record.at, record.usedBytes, record.limitBytes, record.walkedAt, record.tookMs].every((value) => Number.isFinite(value)) ? record : undefined;
  } catch {
    return undefined;
  }
}

const hourMs = 3_600_000;

/** A count of the files takes at most a fiftieth of the time, and comes at most twice a minute, at least once an hour. */
const share = 50;

const shortestMs = 30_000;

/** Whether it is time to look at a site that runs. */
export function isLookDue(last: DiskRecord | undefined, now: number): boolean {
  // The clock begins anew with each boot.
  if (!last || last.at > now) return true;
  return now - last.at >= (last.quota ? shortestMs : intervalMs(last));
}

/** Whether its files are to be counted at a look. Under a quota that is for what a program took out of its project (FS_IOC_FSSETXATTR). */
export function isWalkDue(last: DiskRecord | undefined, quota: boolean, now: number): boolean {
  if (!quota || !last?.quota || last.walkedAt > now) return true;
  return now - last.walkedAt >= Math.max(hourMs / 4, share * last.tookMs);
}

function intervalMs({ tookMs }: DiskRecord): number {
  return Math.min(hourMs, Math.max(shortestMs, share * tookMs));
}

/** Whether a failure is to be told again. */
export function isToldAgain(last: DiskRecord | undefined, now: number): boolean {
  return last?.toldAt === undefined || last.toldAt > now || now - last.toldAt >= hourMs;
}

export type DiskUse = 'fits' | 'nearly' | 'full';

/** From nine tenths on there is an alarm. */
export function judgeUse(usedBytes: number, limitBytes: number): DiskUse {
  if (usedBytes >= limitBytes) return 'full';
  return usedBytes >= limitBytes * 0.9 ? 'nearly' : 'fits';
}

/** How much of its room a site's data takes, for people. */
export function describeUse(usedBytes: number, limitBytes: number): string {
  return `${formatBytes(usedBytes)} of ${formatBytes(limitBytes)}`;
}

/** What to do about it. */
export function diskHint(domain: string, dataDir: string): string {
  return `raise limits.disk and run: sitegen apply ${domain}; or remove files in ${dataDir}, and then: sitegen start ${domain}`;
}
