import test from 'ava';
import type { IdleRules, Look, Seen } from '../../../lib/pure/idle.ts';
import { noTraffic, type Reading } from '../../../lib/pure/stats.ts';
import { asleepLine, countdown, nextText, topCells, topHead, topRows, topSummary, type Sample } from '../../../lib/pure/top.ts';

const hour = 3_600_000;
const rules: IdleRules = { afterMs: 5 * 60_000, stopAfterMs: 6 * hour, never: false, freeze: true, awake: [] };
/** A Friday, 10:00. */
const date = new Date(2026, 10, 27, 10, 0);

const site = (domain: string, more: Partial<Look> = {}): Look => ({
  domain, state: 'awake', connections: 0, visits: 1, cpuUs: 0, trafficBytes: 0, memoryBytes: 50 * 1024 ** 2, isUsed: false, rules, ...more,
});

const seen = (activeAt: number, since = activeAt): Seen => ({ at: 0, visits: 1, cpuUs: 0, trafficBytes: 0, state: 'awake', activeAt, since });

function sample(at: number, looks: readonly Look[], more: Partial<Sample> = {}): Sample {
  return { at, date, looks, seen: new Map(looks.map(({ domain }) => [domain, seen(0)])), reading: undefined, limits: new Map(), asleep: [], ...more };
}

const reading = (run: string, requests: Record<string, number>): Reading => ({
  run, sites: new Map(Object.entries(requests).map(([domain, count]) => [domain, { ...noTraffic, requests: count }])),
});

test('figures a second come from two samples', (t) => {
  const before = sample(10_000, [site('a.example', { cpuUs: 1_000_000 })], { reading: reading('1', { 'a.example': 10 }) });
  const now = sample(12_000, [site('a.example', { cpuUs: 1_500_000 })], { reading: reading('1', { 'a.example': 25 }), limits: new Map([['a.example', 400 * 1024 ** 2]]) });
  const [row] = topRows(before, now);
  t.like(row, { requestsPerSecond: 7.5, cpuPercent: 25, memoryMax: 400 * 1024 ** 2 });
  t.deepEqual(row && topCells(row), ['a.example', 'awake', '0', '7.5', '25.0', '50.0M/400.0M', '12 s ago', 'freezes in 4:48']);
  t.is(row && topCells(row).length, topHead.length);
});

test('what two samples cannot tell is a dash', (t) => {
  const now = sample(12_000, [site('a.example', { cpuUs: 5, memoryBytes: undefined })]);
  const dashes = (before: Sample | undefined) => topRows(before, now).map((row) => topCells(row).slice(3, 6));
  t.deepEqual(dashes(undefined), [['-', '-', '-']], 'there was none before');
  t.deepEqual(dashes(sample(10_000, [])), [['-', '-', '-']], 'it has just woken, and the router does not answer');
  t.deepEqual(dashes(sample(10_000, [site('a.example', { cpuUs: 900 })])), [['-', '-', '-']], 'its container is a new one');
  t.deepEqual(dashes(sample(12_000, [site('a.example')])), [['-', '-', '-']], 'no time has passed');
});

test('a router that began again counts from the beginning, and sites that it does not know have no requests', (t) => {
  const looks = [site('a.example'), site('b.example')];
  const rows = topRows(sample(0, looks, { reading: reading('1', { 'a.example': 1000 }) }), sample(2000, looks, { reading: reading('2', { 'a.example': 4 }) }));
  t.deepEqual(rows.map(({ requestsPerSecond }) => requestsPerSecond), [2, 0]);
});

test('awake sites are first, and those that were used last', (t) => {
  const looks = [site('frozen.example', { state: 'frozen' }), site('quiet.example', { state: 'quiet' }), site('old.example'), site('b.example'), site('a.example')];
  const now = sample(60_000, looks, { seen: new Map(looks.map(({ domain }) => [domain, seen(domain === 'old.example' ? 10_000 : 60_000)])), asleep: ['x.example', 'y.example'] });
  t.deepEqual(topRows(undefined, now).map((row) => row.site), ['a.example', 'b.example', 'old.example', 'quiet.example', 'frozen.example']);
  const all = topRows(undefined, now, true);
  t.deepEqual(all.slice(-2).map((row) => [row.site, row.state]), [['x.example', 'asleep'], ['y.example', 'asleep']]);
  t.is(topSummary(now, 1024 ** 3), '3 awake, 1 quiet, 1 frozen; 250.0M held of 1.0G for all sites');
  t.is(topSummary(sample(0, []), undefined), '0 awake; 0B held');
  t.is(asleepLine(2, 5), 'and 2 asleep');
  t.is(asleepLine(2, 0), '2 asleep');
  t.is(asleepLine(0, 5), undefined);
});

for (const [text, look, since, at] of [
  ['freezes in 3:12', {}, 0, 108_000],
  ['freezes now', {}, 0, 400_000],
  ['stops in 4:00', { rules: { ...rules, freeze: false } }, 0, 60_000],
  ['stops in 5 h 10 min', { state: 'frozen' }, 0, 50 * 60_000],
  ['freezes in 0:15', { state: 'quiet' }, 60_000, 65_000],
  ['stays awake', { rules: { ...rules, never: true } }, 0, hour],
  ['stays awake until 18:00', { rules: { ...rules, awake: [{ days: [1], from: 0, until: 1440 }, { days: [5], from: 480, until: 1080 }] } }, 0, hour],
  ['stays frozen until 06:05', { state: 'frozen', rules: { ...rules, awake: [{ days: [5], from: 540, until: 365 }] } }, 0, hour],
  ['busy: a dump or a job', { isUsed: true }, 0, hour],
  ['in use', { connections: 3 }, 0, hour],
] satisfies [string, Partial<Look>, number, number][]) {
  test(`${text}: ${JSON.stringify(look)}`, (t) => {
    const looks = [site('a.example', look)];
    const [row] = topRows(undefined, sample(at, looks, { seen: new Map([['a.example', seen(0, since)]]) }));
    t.is(row && nextText(row), text);
  });
}

test('a site that nothing is remembered of has no next step', (t) => {
  const [row] = topRows(undefined, sample(0, [site('a.example')], { seen: new Map() }));
  t.deepEqual(row && topCells(row).slice(-2), ['-', '-']);
});

test('the time that is left has its two largest units', (t) => {
  t.deepEqual([0, -5, 59_600, 3_599_000, 3_600_000, 47.9 * hour, 48 * hour, 100 * hour].map((ms) => countdown(ms)),
    ['0:00', '0:00', '1:00', '59:59', '1 h 0 min', '47 h 54 min', '2 d 0 h', '4 d 4 h']);
});
