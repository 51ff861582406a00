import os from 'node:os';
import type { Seen } from '../pure/idle.ts';
import type { ListenPort } from '../pure/listen.ts';
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
  backedUp: boolean;
  idle: Workload['idle'];
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
}

const nothing: IdleMemory = { seen: {}, known: {}, sites: builtIn.ranges.sites, budgetBytes: undefined, defaultsStamp: '' };

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
