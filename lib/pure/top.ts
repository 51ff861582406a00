import { isKeptAwake, nextMove, type Look, type Seen } from './idle.ts';
import { formatBytes } from './quantities.ts';
import { trafficSince, type Reading } from './stats.ts';

/** All sites that run, as they were in one moment. */
export interface Sample {
  /** On the clock of `Look` and `Seen`: ms that nobody sets. */
  at: number;
  date: Date;
  looks: readonly Look[];
  seen: ReadonlyMap<string, Seen>;
  /** What the router has counted; undefined while it cannot be asked. */
  reading: Reading | undefined;
  /** Limits of memory by domain, bytes; sites without one are left out. */
  limits: ReadonlyMap<string, number>;
  /** Sites whose containers do not run, sorted. */
  asleep: readonly string[];
}

/** Why a site does not go to sleep by itself. */
export type Stay = 'busy' | 'visited' | 'never' | 'times';

/** One line of `sitegen top`; null where nothing is known, or the word has no meaning. */
export interface TopRow {
  site: string;
  state: Look['state'] | 'asleep';
  connections: number;
  requestsPerSecond: number | null;
  /** Of one processor. */
  cpuPercent: number | null;
  memoryBytes: number | null;
  memoryMax: number | null;
  /** Since it last had a visitor, or was at work. */
  idleMs: number | null;
  next: 'freeze' | 'stop' | null;
  /** Until then; below zero when it is due. */
  nextInMs: number | null;
  /** Why there is no next step. */
  stays: Stay | null;
  /** When a time of `idle.awake` ends, as `18:00`. */
  staysUntil: string | null;
}

const order = ['awake', 'quiet', 'frozen', 'asleep'] as const satisfies readonly TopRow['state'][];

/**
 * The lines of two samples: awake sites first, and of each state those that were used last.
 * @param before undefined: nothing is known of what goes on each second
 * @param all sleeping sites too
 */
export function topRows(before: Sample | undefined, now: Sample, all = false): TopRow[] {
  const seconds = before && now.at > before.at ? (now.at - before.at) / 1000 : undefined;
  const former = new Map(before?.looks.map((look) => [look.domain, look]));
  const traffic = before?.reading && now.reading ? trafficSince(before.reading, now.reading) : undefined;
  const rows = now.looks.map((look): TopRow => {
    const was = former.get(look.domain);
    // A new container counts from the beginning.
    const cpuUs = was && look.cpuUs >= was.cpuUs ? look.cpuUs - was.cpuUs : undefined;
    const seen = now.seen.get(look.domain);
    return {
      site: look.domain, state: look.state, connections: look.connections,
      requestsPerSecond: seconds && traffic ? (traffic.get(look.domain)?.requests ?? 0) / seconds : null,
      cpuPercent: seconds && cpuUs !== undefined ? cpuUs / 1e4 / seconds : null,
      memoryBytes: look.memoryBytes ?? null, memoryMax: now.limits.get(look.domain) ?? null,
      idleMs: seen ? Math.max(0, now.at - seen.activeAt) : null,
      ...nextOf(look, seen, now),
    };
  });
  rows.sort((a, b) => order.indexOf(a.state) - order.indexOf(b.state) || (a.idleMs ?? Infinity) - (b.idleMs ?? Infinity) || (a.site < b.site ? -1 : 1));
  return all ? [...rows, ...now.asleep.map((site) => sleeping(site))] : rows;
}

function sleeping(site: string): TopRow {
  return {
    site, state: 'asleep', connections: 0, requestsPerSecond: null, cpuPercent: null, memoryBytes: null, memoryMax: null,
    idleMs: null, next: null, nextInMs: null, stays: null, staysUntil: null,
  };
}

function nextOf(look: Look, seen: Seen | undefined, { at, date }: Sample): Pick<TopRow, 'next' | 'nextInMs' | 'stays' | 'staysUntil'> {
  const none = { next: null, nextInMs: null, stays: null, staysUntil: null };
  const move = seen && nextMove(look, seen, { date });
  if (move) return { ...none, next: move.do, nextInMs: move.at - at };
  if (look.isUsed) return { ...none, stays: 'busy' };
  if (look.rules.never) return { ...none, stays: 'never' };
  const times = look.rules.awake.find((each) => isKeptAwake({ awake: [each] }, date));
  if (times) return { ...none, stays: 'times', staysUntil: `${pad(Math.floor(times.until / 60))}:${pad(times.until % 60)}` };
  return look.connections > 0 ? { ...none, stays: 'visited' } : none;
}

/** Headings, and which columns have figures. */
export const topHead = ['SITE', 'STATE', 'CONN', 'REQ/S', 'CPU %', 'MEMORY', 'LAST USED', 'NEXT'] as const;
export const topFigures: readonly number[] = [2, 3, 4, 5, 6];

/** The cells of a line. */
export function topCells(row: TopRow): string[] {
  if (row.state === 'asleep') return [row.site, row.state, '-', '-', '-', '-', '-', 'wakes with the next visit'];
  return [
    row.site, row.state, String(row.connections),
    row.requestsPerSecond === null ? '-' : rate(row.requestsPerSecond),
    row.cpuPercent === null ? '-' : row.cpuPercent.toFixed(1),
    row.memoryBytes === null ? '-' : `${formatBytes(row.memoryBytes)}/${row.memoryMax === null ? 'no limit' : formatBytes(row.memoryMax)}`,
    row.idleMs === null ? '-' : row.idleMs < 1000 ? 'now' : `${roughly(row.idleMs)} ago`,
    nextText(row),
  ];
}

/** What a site does next, in words. */
export function nextText({ state, next, nextInMs, stays, staysUntil }: TopRow): string {
  const stay = state === 'frozen' ? 'stays frozen' : 'stays awake';
  switch (stays) {
    case 'busy': return 'busy: a dump or a job';
    case 'visited': return 'in use';
    case 'never': return stay;
    case 'times': return `${stay} until ${staysUntil ?? '?'}`;
    case null: break;
  }
  if (next === null || nextInMs === null) return '-';
  return `${next}s ${nextInMs < 1000 ? 'now' : `in ${countdown(nextInMs)}`}`;
}

/** How many are in which state, and what they hold. */
export function topSummary({ looks }: Pick<Sample, 'looks'>, budgetBytes: number | undefined): string {
  const counts = order.flatMap((state) => {
    const count = looks.filter((look) => look.state === state).length;
    return count === 0 && state !== 'awake' ? [] : [`${count} ${state}`];
  });
  const held = looks.reduce((sum, { memoryBytes }) => sum + (memoryBytes ?? 0), 0);
  return `${counts.join(', ')}; ${formatBytes(held)} held${budgetBytes === undefined ? '' : ` of ${formatBytes(budgetBytes)} for all sites`}`;
}

/** The line that sums up those that sleep; undefined when there are none. */
export function asleepLine(count: number, rows: number): string | undefined {
  if (count === 0) return undefined;
  return rows === 0 ? `${count} asleep` : `and ${count} asleep`;
}

/** The time that is left: `3:12`, `5 h 10 min`, `2 d 4 h`. */
export function countdown(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 3600) return `${Math.floor(seconds / 60)}:${pad(seconds % 60)}`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  const hours = Math.round(minutes / 60);
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** Time that has passed, in its largest unit: `12 s`, `3 min`, `5 h`, `2 d`. */
function roughly(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  return seconds < 48 * 3600 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} d`;
}

function rate(perSecond: number): string {
  return perSecond >= 100 ? String(Math.round(perSecond)) : perSecond.toFixed(1);
}

function pad(number: number): string {
  return String(number).padStart(2, '0');
}
