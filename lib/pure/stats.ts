/** What visitors did at a site. Bytes include headers; errors are answers of the site's own. */
export interface Traffic {
  requests: number;
  /** Answers 400 to 499. */
  clientErrors: number;
  /** Answers 500 to 599. */
  serverErrors: number;
  bytesIn: number;
  bytesOut: number;
  wakes: number;
}

const fields = ['requests', 'clientErrors', 'serverErrors', 'bytesIn', 'bytesOut', 'wakes'] as const satisfies readonly (keyof Traffic)[];

/** What the router has counted since it began; it begins again with each restart and reload. */
export interface Reading {
  /** Tells one run of the router from another. */
  run: string;
  sites: ReadonlyMap<string, Traffic>;
}

/** One line of a month's file. */
export interface HourOfSite {
  /** Beginning of the hour, in milliseconds since 1970. */
  hour: number;
  site: string;
  traffic: Traffic;
}

/** What is kept between two collections. */
export interface Ledger {
  /** When it was written, in milliseconds since 1970, or 0. */
  time: number;
  /** Wakes up to then are counted; the same, unless the journal could not be read. */
  wakesUntil: number;
  /** What the router had counted then; undefined before the first time. */
  reading: Reading | undefined;
  /** All that was ever counted, by site. */
  totals: ReadonlyMap<string, Traffic>;
  /** What belongs at some place of a month's file. It is written here first, so nothing is counted twice or lost. */
  written: { month: string; offset: number; text: string } | undefined;
}

export const noTraffic: Traffic = { requests: 0, clientErrors: 0, serverErrors: 0, bytesIn: 0, bytesOut: 0, wakes: 0 };

/** Field by field. */
export function addTraffic(a: Traffic, b: Traffic): Traffic {
  return merge(a, b, (x, y) => x + y);
}

/** True when nothing was counted. */
export function isNone(traffic: Traffic): boolean {
  return fields.every((field) => traffic[field] === 0);
}

/** Adds to what a map has for a site. */
export function addTo(map: Map<string, Traffic>, site: string, traffic: Traffic): void {
  map.set(site, addTraffic(map.get(site) ?? noTraffic, traffic));
}

/** Reads the router's answer to "show info;show table …"; undefined when it is none. */
export function parseReading(answer: string): Reading | undefined {
  const pid = /^Pid: (\d+)$/m.exec(answer)?.[1];
  const start = /^Start_time_sec: (\d+)$/m.exec(answer)?.[1];
  if (pid === undefined || start === undefined || !/^# table: /m.test(answer)) return undefined;
  const sites = new Map<string, Traffic>();
  for (const line of answer.split('\n').filter((each) => each.startsWith('0x'))) {
    const values = new Map(line.split(' ').slice(1).map((pair) => {
      const at = pair.indexOf('=');
      return [pair.slice(0, at), pair.slice(at + 1)] as const;
    }));
    const site = values.get('key');
    const count = (name: string) => Number(values.get(name) ?? 0) || 0;
    if (site === undefined || site === '') continue;
    sites.set(site, {
      requests: count('http_req_cnt'), clientErrors: count('http_err_cnt'), serverErrors: count('http_fail_cnt'),
      bytesIn: count('bytes_in_cnt'), bytesOut: count('bytes_out_cnt'), wakes: 0,
    });
  }
  return { run: `${pid} ${start}`, sites };
}

/**
 * What was counted between two readings, by site. A router that began again has counted all of
 * its reading since; so has a site whose counters went down, as the router forgets idle ones.
 */
export function trafficSince(last: Reading | undefined, now: Reading): Map<string, Traffic> {
  const result = new Map<string, Traffic>();
  for (const [site, traffic] of now.sites) {
    const before = last?.run === now.run ? (last.sites.get(site) ?? noTraffic) : noTraffic;
    const difference = merge(traffic, before, (x, y) => x - y);
    const since = fields.some((field) => difference[field] < 0) ? traffic : difference;
    if (!isNone(since)) result.set(site, since);
  }
  return result;
}

/** The hour that most of a span lies in: a collection just after the full hour belongs to the one before. */
export function hourBetween(from: number, to: number): number {
  const middle = from > 0 && from < to ? from + (to - from) / 2 : to;
  return Math.floor(middle / hourMs) * hourMs;
}

export const hourMs = 3_600_000;

/** The month of a time, such as `2026-11`, in UTC, as all of the files are. */
export function monthOf(time: number): string {
  return new Date(time).toISOString().slice(0, 7);
}

/** The months from one time to another, with both of theirs. */
export function monthsBetween(from: number, to: number): string[] {
  const months: string[] = [];
  for (let at = from; monthOf(at) <= monthOf(to); at = nextMonth(at)) months.push(monthOf(at));
  return months;
}

/** The first month whose file is kept: a year, and the month that has begun. */
export function oldestMonth(now: number): string {
  const date = new Date(now);
  return monthOf(Date.UTC(date.getUTCFullYear() - 1, date.getUTCMonth()));
}

/** Lines for a month's file, such as `21T15<tab>example.com<tab>5…`: day and hour, site, and counts. */
export function hourLines(hour: number, traffic: ReadonlyMap<string, Traffic>): string {
  const at = new Date(hour).toISOString().slice(8, 13);
  return [...traffic].sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([site, counts]) => `${[at, site, ...fields.map((field) => counts[field])].join('\t')}\n`).join('');
}

/** Reads the file of a month. A line that is torn or damaged counts nothing. */
export function parseMonth(month: string, text: string): HourOfSite[] {
  const result: HourOfSite[] = [];
  // What comes after the last line break was not written to its end.
  for (const line of text.split('\n').slice(0, -1)) {
    const [at = '', site = '', ...counts] = line.split('\t');
    const hour = /^\d\dT\d\d$/.test(at) ? Date.parse(`${month}-${at}:00:00Z`) : NaN;
    if (Number.isNaN(hour) || site === '' || counts.length !== fields.length || !counts.every((count) => /^\d+$/.test(count))) continue;
    result.push({ hour, site, traffic: Object.fromEntries(fields.map((field, index) => [field, Number(counts[index])])) as unknown as Traffic });
  }
  return result;
}

/** The ledger as text. */
export function renderLedger({ time, wakesUntil, reading, totals, written }: Ledger): string {
  const table = (map: ReadonlyMap<string, Traffic>) => Object.fromEntries([...map].map(([site, traffic]) => [site, fields.map((field) => traffic[field])]));
  return `${JSON.stringify({ version: 1, time, wakesUntil, run: reading?.run, sites: reading && table(reading.sites), totals: table(totals), written })}\n`;
}

/** The ledger of a text; an empty one when there is none, or it cannot be read. */
export function parseLedger(text: string | undefined): Ledger {
  const table = (value: unknown) => new Map(Object.entries((value ?? {}) as Record<string, number[]>).map(([site, counts]) =>
    [site, Object.fromEntries(fields.map((field, index) => [field, Number(counts[index] ?? 0)])) as unknown as Traffic]));
  try {
    const { time, wakesUntil, run, sites, totals, written } = JSON.parse(text ?? '') as { time: number; wakesUntil: number; run?: string; sites?: unknown; totals?: unknown; written?: Ledger['written'] };
    return { time, wakesUntil, reading: run === undefined ? undefined : { run, sites: table(sites) }, totals: table(totals), written };
  } catch {
    return { time: 0, wakesUntil: 0, reading: undefined, totals: new Map(), written: undefined };
  }
}

function nextMonth(time: number): number {
  const date = new Date(time);
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1);
}

function merge(a: Traffic, b: Traffic, how: (x: number, y: number) => number): Traffic {
  return Object.fromEntries(fields.map((field) => [field, how(a[field], b[field])])) as unknown as Traffic;
}
