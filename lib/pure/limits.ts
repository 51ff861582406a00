import { parseSize } from './quantities.ts';
import type { SiteFile } from './schema.ts';

/** systemd's resource settings, with the names that they have in units. */
export type Limits = Readonly<Partial<Record<(typeof limitNames)[number], string>>>;

export const limitNames = ['MemoryMax', 'MemoryHigh', 'CPUWeight', 'CPUQuota', 'IOWeight', 'TasksMax'] as const;

/** Those that a site's settings say. */
export function toLimits(limits: NonNullable<SiteFile['limits']>): Limits {
  const entries = limitNames.flatMap((name) => {
    const key = name.replace(/^(CPU|IO|.)/, (start) => start.toLowerCase()) as keyof typeof limits;
    const value = limits[key];
    return value === undefined ? [] : [[name, String(value)] as const];
  });
  return Object.fromEntries(entries);
}

/** @returns bytes; undefined for no limit */
export function toDisk(size: string | undefined): number | undefined {
  return size === undefined || size === 'infinity' ? undefined : parseSize(size);
}
