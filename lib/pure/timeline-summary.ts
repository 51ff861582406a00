import { lifeStates, type LifeState, type Timeline, type Transition } from './timeline.ts';

export type KnownState = Exclude<LifeState, 'unknown'>;

export const knownStates = lifeStates.filter((state): state is KnownState => state !== 'unknown');

/** What a timeline comes to. */
export interface TimelineSummary {
  wakes: number;
  byCause: Record<string, number>;
  /** Milliseconds of wakes by where they began, and of all; null where there were none. */
  byOrigin: Record<string, { wakes: number; medianMs: number | null; slowestMs: number | null }>;
  medianMs: number | null;
  slowestMs: number | null;
  failures: number;
  /** Of the time of which something is known, by state; together one. */
  shares: Record<KnownState, number>;
  /** Of all of the time. */
  unknown: number;
}

/** Sums a timeline up. */
export function summarize({ transitions, stretches, from, to }: Timeline): TimelineSummary {
  const wakes = transitions.filter((each) => each.to === 'awake');
  const count = (of: readonly string[]) => Object.fromEntries([...new Set(of)].sort().map((name) => [name, of.filter((each) => each === name).length]));
  const times = (of: readonly Transition[]) => {
    const sorted = of.flatMap(({ ms }) => (ms === null ? [] : [ms])).sort((a, b) => a - b);
    const middle = Math.floor(sorted.length / 2);
    const median = sorted.length % 2 === 1 ? sorted[middle] : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
    return { medianMs: sorted.length === 0 ? null : (median ?? null), slowestMs: sorted.at(-1) ?? null };
  };
  const origins = [...new Set(wakes.map((each) => each.from))].sort();
  const time = (state: LifeState) => stretches.filter((each) => each.state === state).reduce((sum, each) => sum + each.to - each.from, 0);
  const known = to - from - time('unknown');
  return {
    wakes: wakes.length,
    byCause: count(wakes.map(({ cause }) => cause)),
    byOrigin: Object.fromEntries(origins.map((origin) => {
      const own = wakes.filter((each) => each.from === origin);
      return [origin, { wakes: own.length, ...times(own) }];
    })),
    ...times(wakes),
    failures: transitions.filter((each) => each.to === 'failed').length,
    shares: Object.fromEntries(knownStates.map((state) => [state, known > 0 ? time(state) / known : 0])) as Record<KnownState, number>,
    unknown: to > from ? 1 - known / (to - from) : 1,
  };
}
