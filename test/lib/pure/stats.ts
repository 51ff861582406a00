import test from 'ava';
import { renderMetrics } from '../../../lib/pure/metrics.ts';
import {
  addTo, hourBetween, hourLines, monthsBetween, noTraffic, oldestMonth, parseLedger, parseMonth, parseReading, renderLedger, trafficSince,
  type Reading, type Traffic,
} from '../../../lib/pure/stats.ts';

const some = (values: Partial<Traffic>): Traffic => ({ ...noTraffic, ...values });
const reading = (run: string, sites: Record<string, Partial<Traffic>>): Reading => ({ run, sites: new Map(Object.entries(sites).map(([site, values]) => [site, some(values)])) });
const answer = (...lines: string[]) => ['Name: HAProxy', 'Pid: 628', 'Uptime_sec: 1', 'Start_time_sec: 1795276739', '', '# table: st_site, type: string, size:10240, used:2', ...lines, ''].join('\n');

test('the router\'s table is read, as 2.6 and 3.0 print it', (t) => {
  const result = parseReading(answer(
    '0x5629d70aed00: key=one.example.com use=0 exp=7199979 http_req_cnt=3 http_err_cnt=1 bytes_in_cnt=252 bytes_out_cnt=197 http_fail_cnt=2',
    '0x7ff26a8e6be0: key=two.example.com use=1 exp=7199989 shard=0 http_req_cnt=4 http_err_cnt=0 bytes_in_cnt=5 bytes_out_cnt=60000000000 http_fail_cnt=0',
  ));
  t.is(result?.run, '628 1795276739');
  t.deepEqual(result?.sites.get('one.example.com'), some({ requests: 3, clientErrors: 1, serverErrors: 2, bytesIn: 252, bytesOut: 197 }));
  t.is(result?.sites.get('two.example.com')?.bytesOut, 60_000_000_000);
});

test('an answer without a table is none', (t) => {
  t.is(parseReading(''), undefined);
  t.is(parseReading('Unknown command.\n'), undefined);
  t.is(parseReading('Pid: 5\nStart_time_sec: 7\n\nNo such table\n'), undefined);
  t.is(parseReading(answer())?.sites.size, 0);
});

test('between two readings the difference counts, and sites without one are left out', (t) => {
  const since = trafficSince(reading('1', { a: { requests: 5, bytesIn: 9 }, b: { requests: 2 } }), reading('1', { a: { requests: 7, bytesIn: 10 }, b: { requests: 2 }, c: { requests: 1 } }));
  t.deepEqual([...since], [['a', some({ requests: 2, bytesIn: 1 })], ['c', some({ requests: 1 })]]);
});

test('after a restart of the router all of its reading counts, be it higher than the last', (t) => {
  t.is(trafficSince(reading('1', { a: { requests: 5 } }), reading('2', { a: { requests: 7 } })).get('a')?.requests, 7);
  t.is(trafficSince(undefined, reading('2', { a: { requests: 7 } })).get('a')?.requests, 7);
});

test('a site that the router had forgotten meanwhile begins at zero', (t) => {
  const since = trafficSince(reading('1', { a: { requests: 5, bytesIn: 100 } }), reading('1', { a: { requests: 6, bytesIn: 20 } }));
  t.deepEqual(since.get('a'), some({ requests: 6, bytesIn: 20 }));
});

const at = (text: string) => Date.parse(`${text}Z`);

test('a collection belongs to the hour that most of its span lies in', (t) => {
  t.is(hourBetween(at('2026-11-21T15:00:02'), at('2026-11-21T16:00:05')), at('2026-11-21T15:00'));
  t.is(hourBetween(at('2026-11-21T15:20'), at('2026-11-21T15:40')), at('2026-11-21T15:00'));
  t.is(hourBetween(0, at('2026-11-21T16:00:05')), at('2026-11-21T16:00'), 'the first');
  t.is(hourBetween(at('2026-11-21T18:00'), at('2026-11-21T16:30')), at('2026-11-21T16:00'), 'after the clock went back');
});

test('months are in UTC, and a year of them is kept besides the one that has begun', (t) => {
  t.deepEqual(monthsBetween(at('2026-11-30T23:59'), at('2027-02-01T00:00')), ['2026-11', '2026-12', '2027-01', '2027-02']);
  t.deepEqual(monthsBetween(at('2026-01-31T12:00'), at('2026-02-28T00:00')), ['2026-01', '2026-02']);
  t.is(oldestMonth(at('2026-11-21T15:00')), '2025-11');
  t.is(oldestMonth(at('2028-02-29T15:00')), '2027-02');
});

test('lines are read as they were written; those that are torn or damaged count nothing', (t) => {
  const hour = at('2026-11-21T15:00');
  const lines = hourLines(hour, new Map([['b.example.com', some({ requests: 1, wakes: 1 })], ['a.example.com', some({ requests: 5, bytesOut: 1234 })]]));
  t.is(lines, '21T15\ta.example.com\t5\t0\t0\t0\t1234\t0\n21T15\tb.example.com\t1\t0\t0\t0\t0\t1\n');
  t.deepEqual(parseMonth('2026-11', lines).map(({ hour: each, site, traffic }) => [each, site, traffic.requests]), [[hour, 'a.example.com', 5], [hour, 'b.example.com', 1]]);
  t.is(parseMonth('2026-11', lines.slice(0, -1)).length, 1, 'torn');
  t.is(parseMonth('2026-11', `\n\0\0\0\n21T15\tx\t1\n99T99\tx\t1\t1\t1\t1\t1\t1\n21T15\tx\t1\t-1\t1\t1\t1\t1\n${lines}`).length, 2);
});

test('the ledger is read as it was written, and a damaged one begins anew', (t) => {
  const ledger = { time: 7, wakesUntil: 6, reading: reading('1 2', { a: { requests: 5 } }), totals: new Map([['a', some({ wakes: 3 })]]), written: { month: '2026-11', offset: 12, text: 'x\n' } };
  t.deepEqual(parseLedger(renderLedger(ledger)), ledger);
  const empty = { time: 0, wakesUntil: 0, reading: undefined, totals: new Map(), written: undefined };
  for (const text of [undefined, '', '{', 'null', 'x']) t.deepEqual(parseLedger(text), empty, text);
  t.deepEqual(parseLedger(renderLedger(empty)), empty);
});

test('sums are made by site', (t) => {
  const sums = new Map<string, Traffic>();
  addTo(sums, 'a', some({ requests: 1 }));
  addTo(sums, 'a', some({ requests: 2, wakes: 1 }));
  t.deepEqual(sums.get('a'), some({ requests: 3, wakes: 1 }));
});

test('metrics have one line a value, and quote what labels cannot have', (t) => {
  const text = renderMetrics([{ site: 'a.example.com', traffic: some({ requests: 5, bytesOut: 7 }), state: 'awake', mail: { taken: 3, delivered: 2, lost: 1, limited: 0, waiting: 4 } }, { site: 'b"\\\n', traffic: noTraffic, state: undefined }], true);
  t.true(text.startsWith('# HELP sitegen_router_up '));
  for (const line of ['sitegen_router_up 1', 'sitegen_site_requests_total{site="a.example.com"} 5', 'sitegen_site_bytes_total{site="a.example.com",direction="out"} 7',
    'sitegen_site_state{site="a.example.com",state="awake"} 1', 'sitegen_site_mail_total{site="a.example.com",outcome="delivered"} 2', 'sitegen_site_mail_waiting{site="a.example.com"} 4', 'sitegen_site_wakes_total{site="b\\"\\\\\\n"} 0']) t.true(text.split('\n').includes(line), line);
  t.is(text.split('\n').filter((line) => line.startsWith('sitegen_site_state')).length, 1);
  t.true(renderMetrics([], false).includes('\nsitegen_router_up 0\n'));
});
