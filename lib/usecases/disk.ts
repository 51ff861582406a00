import os from 'node:os';
import { usedBy } from '../effects/disk.ts';
import { exists, readIfThere, remove, writeAtomic } from '../effects/files.ts';
import { extendTimeout } from '../effects/notify.ts';
import { quotaInForce } from '../effects/project-quota.ts';
import { describeUse, diskHint, isToldAgain, isWalkDue, judgeUse, parseDiskRecord, type DiskRecord, type DiskUse } from '../pure/disk-quota.ts';
import { SitegenError } from '../pure/errors.ts';
import { siteNames, type SiteNames } from '../pure/names.ts';
import { stopSite } from './quiet.ts';
import { readableSites } from './read-sites.ts';

/**
 * Looks at how much room a site's data takes. Where the kernel does not hold the limit, a site whose
 * data has reached it is stopped, and kept so until there is room: every visitor is answered 503.
 */

type WatchedNames = Pick<SiteNames, 'domain' | 'dataDir' | 'diskFile' | 'fullFile'>;

/** What a look found. */
export interface DiskLook {
  record: DiskRecord;
  use: DiskUse;
  /** Nothing but a stop keeps it from taking more. */
  stops: boolean;
}

/** How much more its files may take than its quota says before that means that some have left it: what counts of a directory differs. */
const slackBytes = 4 * 1024 ** 2;

/**
 * Measures a site's data and writes it down.
 * @param all counts its files, even where the kernel has counted them
 */
export async function lookAtDisk(names: WatchedNames, limitBytes: number, all = false): Promise<DiskLook> {
  const before = parseDiskRecord(await readIfThere(names.diskFile));
  const quota = await quotaInForce(names.dataDir);
  const walks = all || isWalkDue(before, quota !== undefined, upMs());
  const began = performance.now();
  const walked = walks ? await usedBy(names.dataDir) : 0;
  const record: DiskRecord = {
    at: upMs(), limitBytes, quota: quota !== undefined,
    usedBytes: Math.max(quota?.usedBytes ?? 0, walked),
    walkedAt: walks ? upMs() : before?.walkedAt ?? 0,
    tookMs: walks ? performance.now() - began : before?.tookMs ?? 0,
    toldAt: before?.toldAt,
  };
  await writeAtomic({ path: names.diskFile, content: JSON.stringify(record) });
  return { record, use: judgeUse(record.usedBytes, limitBytes), stops: quota ? walked > limitBytes + slackBytes : walked >= limitBytes };
}

/** What is to be said of a look; `again` when it was said within the hour. */
export type DiskNews = { fault: string; again: boolean } | undefined;

/**
 * One look at a site that runs, or that is kept stopped; stops it when it has to be.
 * @param limitBytes undefined without a limit, when what is known of earlier ones is forgotten
 * @returns what calls for an alarm
 */
export async function watchDisk(deps: Parameters<typeof stopSite>[0], names: SiteNames, limitBytes: number | undefined): Promise<DiskNews> {
  if (limitBytes === undefined) {
    await forgetDisk(names);
    return undefined;
  }
  const { record, use, stops } = await lookAtDisk(names, limitBytes);
  const wasFull = await exists(names.fullFile);
  if (stops) {
    // First, so that who comes meanwhile does not wake it again.
    await writeAtomic({ path: names.fullFile, content: '' });
    await stopSite(deps, names);
  } else if (record.walkedAt === record.at || use === 'fits') {
    await remove(names.fullFile);
  }
  const again = !isToldAgain(record, record.at) && wasFull === stops;
  const told: DiskRecord = use === 'fits' ? { ...record, toldAt: undefined } : { ...record, toldAt: again ? record.toldAt : record.at };
  await writeAtomic({ path: names.diskFile, content: JSON.stringify(told) });
  return use === 'fits' ? undefined : { fault: faultOf(names, record, stops), again };
}

function faultOf({ domain, dataDir }: WatchedNames, { usedBytes, limitBytes, quota }: DiskRecord, stops: boolean): string {
  const what = stops ? 'it is stopped, and visitors get 503' : quota && usedBytes >= limitBytes ? 'it can write no more' : 'there is little room left';
  return `its data takes ${describeUse(usedBytes, limitBytes)} (limits.disk): ${what}; ${diskHint(domain, dataDir)}`;
}

/**
 * For a wake of a site that is kept stopped: measures it anew, and lets it go when there is room.
 * @throws SitegenError with the reason when there is none
 */
export async function requireRoom(names: WatchedNames, limitBytes: number | undefined): Promise<void> {
  if (limitBytes !== undefined) {
    void extendTimeout(60_000);
    const alive = setInterval(() => { void extendTimeout(60_000); }, 10_000);
    const look = await lookAtDisk(names, limitBytes, true).finally(() => { clearInterval(alive); });
    if (look.stops) throw new SitegenError(`${names.domain} is kept stopped: ${faultOf(names, look.record, true)}`);
  }
  await remove(names.fullFile);
}

/** What is known of its room on the disk; for a site that goes, or that has no limit. */
export async function forgetDisk({ diskFile, fullFile }: Pick<WatchedNames, 'diskFile' | 'fullFile'>): Promise<void> {
  await remove(diskFile);
  await remove(fullFile);
}

/** How much room a site's data takes, without counting its files; undefined where nobody has looked. */
export async function diskState(names: WatchedNames): Promise<{ usedBytes: number | undefined; quota: boolean; measuredAt: Date | undefined }> {
  const quota = await quotaInForce(names.dataDir);
  if (quota) return { usedBytes: quota.usedBytes, quota: true, measuredAt: new Date() };
  const record = parseDiskRecord(await readIfThere(names.diskFile));
  return { usedBytes: record?.usedBytes, quota: false, measuredAt: record && new Date(Date.now() - (upMs() - record.at)) };
}

/** Sites of which somebody was told that there is little room, be they asleep: their alarms are to close once there is more. */
export async function sitesShortOfRoom(): Promise<string[]> {
  const found: string[] = [];
  for (const { domain } of await readableSites()) {
    if (parseDiskRecord(await readIfThere(siteNames(domain).diskFile))?.toldAt !== undefined) found.push(domain);
  }
  return found;
}

function upMs(): number {
  return os.uptime() * 1000;
}
