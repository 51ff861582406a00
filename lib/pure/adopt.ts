import { wwwCounterpart } from './entry.ts';
import type { AdoptSettings } from './schema-backup.ts';

/** Which names may bring their sites to this machine by being asked for. */

/** All of them, as names and wildcards: those of the settings, and the other name that people try. */
export function adoptableNames(settings: AdoptSettings | undefined): string[] {
  if (settings?.enabled !== true) return [];
  const names = settings.allow ?? [];
  const others = names.filter((name) => !name.startsWith('*.')).flatMap((name) => wwwCounterpart(name) ?? []);
  return [...new Set([...names, ...others])];
}

/** Whether a name is one of some names and wildcards; `*.example.com` stands for one label. */
export function isAmong(name: string, names: readonly string[]): boolean {
  return names.includes(name) || names.includes(name.replace(/^[^.]*/, '*'));
}

/** The sites that a name may belong to: its own, and that of the name with or without www. */
export function candidatesFor(name: string, settings: AdoptSettings | undefined): string[] {
  const other = wwwCounterpart(name);
  const names = adoptableNames(settings);
  return [name, ...(other === undefined ? [] : [other])].filter((each) => isAmong(each, names));
}

/**
 * Remembers for a while what was refused, at most so many names: strangers invent them.
 */
export function makeRefusals(forMs: number, most: number, now: () => number): { has(name: string): boolean; add(name: string): void } {
  const until = new Map<string, number>();
  return {
    has: (name) => (until.get(name) ?? 0) > now(),
    add(name) {
      // The oldest is the first.
      until.delete(name);
      until.set(name, now() + forMs);
      for (const oldest of until.keys()) {
        if (until.size <= most) break;
        until.delete(oldest);
      }
    },
  };
}
