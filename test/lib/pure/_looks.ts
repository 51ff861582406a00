import { decide, type IdleRules, type Look, type Machine, type Seen } from '../../../lib/pure/idle.ts';
import type { Swap } from '../../../lib/pure/room.ts';

export const minuteMs = 60_000;
export const now = 100 * minuteMs;
export const rules: IdleRules = { afterMs: 5 * minuteMs, stopAfterMs: 30 * minuteMs, never: false, freeze: true, awake: [] };

export const look = (fields: Partial<Look> = {}): Look => ({
  domain: 'a.example.com', state: 'awake', connections: 0, visits: 7, cpuUs: 5_000_000, trafficBytes: 90_000, memoryBytes: 100, isUsed: false, rules, ...fields,
});

/** As a look ten seconds ago has left it. */
export const seen = (fields: Partial<Seen> = {}): Seen => ({
  at: now - 10_000, visits: 7, cpuUs: 5_000_000, trafficBytes: 90_000, state: 'awake', activeAt: now - minuteMs, since: now - 10 * minuteMs, ...fields,
});

/** That makes a third of what it takes. */
export const zram: Swap = { freeBytes: 100_000, share: 1 / 3 };
export const noSwap: Swap = { freeBytes: 0, share: 1 };

export const machine: Machine = { now, date: new Date(2026, 0, 5, 12, 0), budgetBytes: 1000, swap: zram, pressure: 0, otherBytes: 0 };

export type Site = [name: string, look: Partial<Look>, idleMs: number];

/** What is done to sites, in order, as `name: move cause`. */
export function moves(sites: readonly Site[], changes: Partial<Machine> = {}, needBytes = 0, spares = false): string[] {
  const looks = sites.map(([domain, fields]) => look({ domain, ...fields }));
  const known = new Map(sites.map(([domain, { state = 'awake' }, idleMs]) => [domain, seen({ state, activeAt: now - idleMs, since: now - idleMs })]));
  return decide(looks, known, { ...machine, ...changes }, needBytes, spares).map(({ domain, do: what, cause, visited }) => `${domain}: ${what} ${cause}${visited === true ? ' visited' : ''}`);
}

export const never = { ...rules, never: true };
export const minutes = (count: number) => count * minuteMs;
