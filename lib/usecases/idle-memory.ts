import os from 'node:os';
import { modifiedAt, readIfThere, writeAtomic } from '../effects/files.ts';
import type { Seen } from '../pure/idle.ts';
import type { ListenPort } from '../pure/listen.ts';
import { paths, type SiteNames } from '../pure/names.ts';
import { toldLine, type Told } from '../pure/room.ts';
import { builtIn, type Workload } from '../pure/site.ts';

/** What a round of the idle timer has to know of a site's settings; kept until one of the files changes. */
export interface KnownSite {
  domain: string;
  stamp: string;
  site: string;
  container: string;
  port: number;
  /** Public ports; not there in what an older version has written. */
  listen?: readonly ListenPort[];
  /** For how long nothing may come from a client of theirs. */
  silentMs?: number;
  backedUp: boolean;
  /** Room on the disk for its data. */
  diskBytes?: number | undefined;
  idle: Workload['idle'];
}

/** What looks have seen of a site: what it was, when it was last at work, and when a dump of it was last tried; ms since 1970. */
export interface Past {
  state?: Seen['state'] | undefined;
  activeAt?: number | undefined;
  triedAt?: number | undefined;
}

/** What is kept between two rounds; all of it can be lost. */
export interface IdleMemory {
  /** By domain. */
  seen: Record<string, Seen>;
  /** By id. */
  known: Record<string, KnownSite>;
  sites: string;
  budgetBytes: number | undefined;
  defaultsStamp: string;
  /** Domains of sites that somebody is putting to sleep, and until when that may take, by the clock of looks. */
  moving: Record<string, number>;
  /** What of their memory is free after that, bytes. */
  gives: Record<string, number>;
  /** When sites were last told what was blocked, by id, by the same clock. */
  toldAt: Record<string, number>;
}

const nothing: IdleMemory = { seen: {}, known: {}, sites: builtIn.ranges.sites, budgetBytes: undefined, defaultsStamp: '', moving: {}, gives: {}, toldAt: {} };

/** Reads it; of a file that is missing or damaged nothing is known. */
export function parseMemory(text: string | undefined): IdleMemory {
  try {
    return { ...nothing, ...JSON.parse(text ?? '{}') as Partial<IdleMemory> };
  } catch {
    return nothing;
  }
}

/** When each site was last at work, ms since 1970 as the clock is now. */
export function activityOf(text: string | undefined, now: Date): Map<string, number> {
  const upMs = os.uptime() * 1000;
  return new Map(Object.entries(parseMemory(text).seen).map(([domain, { activeAt }]) => [domain, now.getTime() - (upMs - activeAt)]));
}

/** When a site was last at work, ms since 1970, by what looks have seen and what others have noted; undefined when nobody knows. */
export async function usedAt({ workFile }: Pick<SiteNames, 'workFile'>, activeAt: number | undefined): Promise<number | undefined> {
  const noted = await modifiedAt(workFile);
  return activeAt === undefined ? undefined : Math.max(activeAt, noted ?? 0);
}

/** Notes that somebody works in a site's container just now, be it that no look sees it. */
export async function noteWork({ workFile }: Pick<SiteNames, 'workFile'>): Promise<void> {
  await writeAtomic({ path: workFile, content: '' });
}

/** Writes down for wakes what all sites may hold, and what of swap counts to that. */
export async function tellBudget(told: Told): Promise<void> {
  const content = toldLine(told);
  if (await readIfThere(paths.budgetFile) !== content) await writeAtomic({ path: paths.budgetFile, content });
}
