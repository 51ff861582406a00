import { namesIn, readIfThere, remove, writeAtomic } from '../effects/files.ts';
import { withLock } from '../effects/lock.ts';
import { writeAt } from '../effects/stats-file.ts';
import { askCounters } from '../effects/router.ts';
import { wokenUnits } from '../effects/traffic.ts';
import { monthOfFile, paths, siteNames, statsFile, statsPaths } from '../pure/names.ts';
import {
  addTo, addTraffic, hourBetween, hourLines, hourMs, monthOf, monthsBetween, noTraffic, oldestMonth, parseLedger, parseMonth, parseReading, renderLedger, trafficSince,
  type Ledger, type Reading, type Traffic,
} from '../pure/stats.ts';
import { allDomains } from './domains.ts';

/** Longer than that, a stop of the router does not wait for another collection. */
const lockS = 5;

/** Wakes older than that are not looked for when nothing was ever collected. */
const firstSpanMs = 24 * hourMs;

/**
 * Writes down what has happened since the last time: a line a site, in the file of the month.
 * Done every hour, and before the router forgets its counters. May be repeated at any time; a
 * collection that was killed is finished by the next.
 * @param now milliseconds since 1970
 * @throws SitegenError when the files cannot be written
 */
export async function collectStats(now: number): Promise<{ sites: number; router: boolean; journal: boolean }> {
  return withLock(statsPaths.lock, { timeoutS: lockS }, async () => {
    const last = await finished(await loadLedger());
    const { traffic, reading, wakesUntil } = await newTraffic(last, now);
    const hour = hourBetween(last.time, now);
    const month = monthOf(hour);
    const totals = await keptTotals(last.totals, traffic, reading);
    // A month's file ends with a line break, or with a torn line that is written over.
    const offset = wholeLines((await readIfThere(statsFile(month))) ?? '');
    const written = { month, offset, text: hourLines(hour, traffic) };
    // A router that does not answer may still be the same one when it does.
    const ledger: Ledger = { time: now, wakesUntil, reading: reading ?? last.reading, totals, written };
    await writeAtomic({ path: statsPaths.current, content: renderLedger(ledger) });
    await finished(ledger);
    await removeOld(now);
    return { sites: traffic.size, router: reading !== undefined, journal: wakesUntil === now };
  });
}

/** What is known of all sites since their beginning, with what was not collected yet. */
export async function totalStats(now: number): Promise<{ totals: Map<string, Traffic>; router: boolean }> {
  const last = await loadLedger();
  const { traffic, reading } = await newTraffic(last, now);
  const totals = new Map(last.totals);
  for (const [site, counts] of traffic) addTo(totals, site, counts);
  return { totals, router: reading !== undefined };
}

/** A site's traffic over a span, as `sitegen stats --json` shows it. */
export interface SiteStats extends Traffic {
  site: string;
  /** By hour, in ISO 8601 and UTC; hours in which nothing happened are left out. */
  hours: (Traffic & { hour: string })[];
}

/**
 * The traffic of sites since some time, with what was not collected yet.
 * @param since milliseconds since 1970; the hour that it lies in counts whole
 * @param domains these alone, be there traffic or not; or all that had any
 */
export async function readStats(since: number, now: number, domains?: readonly string[]): Promise<SiteStats[]> {
  const from = Math.floor(since / hourMs) * hourMs;
  const hours = new Map<string, Map<number, Traffic>>((domains ?? []).map((domain) => [domain, new Map<number, Traffic>()]));
  const count = (site: string, hour: number, traffic: Traffic) => {
    if (hour < from || (domains && !hours.has(site))) return;
    const own = hours.get(site) ?? new Map<number, Traffic>();
    own.set(hour, addTraffic(own.get(hour) ?? noTraffic, traffic));
    hours.set(site, own);
  };
  for (const month of monthsBetween(Math.max(from, Date.parse(`${oldestMonth(now)}-01`)), now)) {
    for (const { site, hour, traffic } of parseMonth(month, (await readIfThere(statsFile(month))) ?? '')) count(site, hour, traffic);
  }
  const last = await loadLedger();
  const { traffic } = await newTraffic(last, now);
  for (const [site, counts] of traffic) count(site, hourBetween(last.time, now), counts);
  return [...hours].sort(([a], [b]) => (a < b ? -1 : 1)).map(([site, own]) => ({
    site,
    ...[...own.values()].reduce(addTraffic, noTraffic),
    hours: [...own].sort(([a], [b]) => a - b).map(([hour, counts]) => ({ hour: new Date(hour).toISOString(), ...counts })),
  }));
}

async function loadLedger(): Promise<Ledger> {
  return parseLedger(await readIfThere(statsPaths.current));
}

/** Sees to it that the ledger's lines are in their file, which they are unless somebody was killed in between. */
async function finished(ledger: Ledger): Promise<Ledger> {
  if (ledger.written && ledger.written.text !== '') await writeAt(statsFile(ledger.written.month), ledger.written.offset, ledger.written.text);
  return ledger;
}

interface News {
  traffic: Map<string, Traffic>;
  reading: Reading | undefined;
  wakesUntil: number;
}

/** A router or a journal that cannot be read is no error: what they have is still there the next time. */
async function newTraffic(last: Ledger, now: number): Promise<News> {
  const from = last.wakesUntil > 0 ? last.wakesUntil : now - firstSpanMs;
  const [answer, units] = await Promise.all([askCounters(), wokenUnits(from, now).catch(() => undefined)]);
  const reading = parseReading(answer ?? '');
  const traffic = reading ? trafficSince(last.reading, reading) : new Map<string, Traffic>();
  const domains = await domainsByUnit(units ?? [], last);
  for (const unit of units ?? []) {
    const site = domains.get(unit);
    if (site !== undefined) addTo(traffic, site, { ...noTraffic, wakes: 1 });
  }
  return { traffic, reading, wakesUntil: units ? now : last.wakesUntil };
}

/** A unit's name has its site's domain in it, unless that is very long. */
async function domainsByUnit(units: readonly string[], last: Ledger): Promise<Map<string, string>> {
  const long = units.some((unit) => unit.includes('_'));
  const known = new Map((long ? [...last.totals.keys(), ...await allDomains()] : []).map((domain) => [siteNames(domain).service, domain]));
  return new Map(units.flatMap((unit) => {
    const plain = /^site-([^_]+)\.service$/.exec(unit)?.[1];
    const domain = plain ?? known.get(unit);
    return domain === undefined ? [] : [[unit, domain] as const];
  }));
}

/** Totals with what is new; sites that are gone, and that the router has forgotten too, are left out. */
async function keptTotals(totals: ReadonlyMap<string, Traffic>, traffic: ReadonlyMap<string, Traffic>, reading: Reading | undefined): Promise<Map<string, Traffic>> {
  const present = new Set([...await allDomains(), ...traffic.keys(), ...(reading?.sites.keys() ?? [])]);
  const kept = new Map([...totals].filter(([site]) => present.has(site)));
  for (const [site, counts] of traffic) addTo(kept, site, counts);
  return kept;
}

function wholeLines(text: string): number {
  return Buffer.byteLength(text.slice(0, text.lastIndexOf('\n') + 1));
}

async function removeOld(now: number): Promise<void> {
  const oldest = oldestMonth(now);
  for (const name of await namesIn(paths.statsDir)) {
    const month = monthOfFile(name);
    if (month !== undefined && month < oldest) await remove(statsFile(month));
  }
}
