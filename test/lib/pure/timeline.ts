import { readFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import { shared } from '../../../lib/pure/paths.ts';
import { timelineSvg } from '../../../lib/pure/timeline-svg.ts';
import { summarize } from '../../../lib/pure/timeline-summary.ts';
import { barLines, dayBar, daysBetween, daysOf, percent, phaseText, summaryLines, transitionCells } from '../../../lib/pure/timeline-text.ts';
import { buildTimeline, parseEntry, systemdIds, type Entry, type Facts, type Timeline } from '../../../lib/pure/timeline.ts';

const minute = 60_000;
const from = new Date(2026, 10, 27).getTime();
const to = from + 600 * minute;

type Moved = Extract<Entry, { kind: 'moved' }>;

/** Times are minutes since the beginning. */
const moved = (at: number, was: string, is: Moved['to'], more: Partial<Moved> = {}): Moved =>
  ({ kind: 'moved', at: from + at * minute, boot: 'a', from: was, to: is, cause: is === 'awake' ? 'a visitor' : 'idle', ms: 100, phases: undefined, ...more });
const other = (at: number, more: { kind: 'failed'; result: string } | { kind: 'ended' | 'booted' }, boot = 'a'): Entry => ({ at: from + at * minute, boot, ...more });

const build = (entries: readonly Entry[], more: Partial<Facts> = {}) => buildTimeline({ domain: 'x.example.com', from, to, entries, ...more });

/** As `asleep 0-60`, in minutes. */
const stretches = (timeline: Timeline) => timeline.stretches.map((each) => `${each.state} ${(each.from - from) / minute}-${(each.to - from) / minute}`);
const changes = ({ transitions }: Timeline) => transitions.map((each) => `${each.from} ${each.to} ${each.cause}`);

test('a night, a visit, and the way back to sleep', (t) => {
  const timeline = build([moved(60, 'asleep', 'awake', { ms: 300 }), moved(70, 'awake', 'frozen'), moved(80, 'frozen', 'awake', { ms: 30 }), moved(100, 'awake', 'frozen'), moved(400, 'frozen', 'asleep')]);
  t.deepEqual(stretches(timeline), ['asleep 0-60', 'awake 60-70', 'frozen 70-80', 'awake 80-100', 'frozen 100-400', 'asleep 400-600']);
  const summary = summarize(timeline);
  t.like(summary, { wakes: 2, byCause: { 'a visitor': 2 }, medianMs: 165, slowestMs: 300, failures: 0 });
  t.deepEqual(summary.byOrigin, { asleep: { wakes: 1, medianMs: 300, slowestMs: 300 }, frozen: { wakes: 1, medianMs: 30, slowestMs: 30 } });
  t.is(summary.shares.awake, 30 / 600);
  t.true(Math.abs(Object.values(summary.shares).reduce((a, b) => a + b) - 1) < 1e-9);
});

test('what it was at the beginning comes from before, from the first entry, or from now', (t) => {
  t.deepEqual(stretches(build([moved(60, 'awake', 'asleep')], { before: [moved(-900, 'asleep', 'awake')] })), ['awake 0-60', 'asleep 60-600']);
  t.deepEqual(stretches(build([], { before: [moved(-900, 'awake', 'frozen'), other(-900, { kind: 'ended' })], current: 'frozen' })), ['frozen 0-600'], 'systemd\'s own entry comes after it');
  t.deepEqual(stretches(build([moved(60, 'frozen', 'awake')])), ['frozen 0-60', 'awake 60-600']);
  t.deepEqual(stretches(build([], { current: 'frozen' })), ['frozen 0-600']);
  t.deepEqual(stretches(build([])), ['unknown 0-600']);
  t.deepEqual(stretches(build([moved(60, 'running', 'awake')], { current: 'awake' })), ['unknown 0-60', 'awake 60-600'], 'which may have been by a job');
});

test('before the journal begins nothing is known', (t) => {
  t.deepEqual(stretches(build([moved(60, 'asleep', 'awake')], { journalFrom: from + 30 * minute })), ['unknown 0-30', 'asleep 30-60', 'awake 60-600']);
  t.deepEqual(stretches(build([], { journalFrom: to + minute, current: 'asleep' })), ['unknown 0-600']);
});

test('between entries that contradict each other nothing is known', (t) => {
  t.deepEqual(stretches(build([moved(60, 'asleep', 'awake'), moved(90, 'asleep', 'awake')])), ['asleep 0-60', 'unknown 60-90', 'awake 90-600']);
  t.deepEqual(stretches(build([moved(60, 'awake', 'frozen'), moved(90, 'asleep', 'awake')])), ['awake 0-60', 'unknown 60-90', 'awake 90-600']);
  t.deepEqual(stretches(build([moved(60, 'awake', 'asleep'), moved(90, 'frozen', 'awake')])), ['awake 0-60', 'unknown 60-90', 'awake 90-600']);
  t.deepEqual(stretches(build([moved(60, 'awake', 'frozen'), moved(90, 'awake', 'asleep')])), ['awake 0-60', 'unknown 60-90', 'asleep 90-600']);
  t.deepEqual(stretches(build([moved(60, 'awake', 'frozen')], { current: 'asleep' })), ['awake 0-60', 'unknown 60-600'], 'or with how it is now');
  t.deepEqual(stretches(build([moved(60, 'awake', 'frozen')], { current: 'awake' })), ['awake 0-60', 'frozen 60-600'], 'unless it runs, which may be for a job');
});

test('wakes that fail are failures, and the stops that end them are no changes', (t) => {
  const failed = { kind: 'failed', result: 'exit-code' } as const;
  const timeline = build([moved(60, 'awake', 'asleep', { cause: 'stop' }), other(60, failed), moved(70, 'awake', 'asleep'), other(70, failed), moved(90, 'asleep', 'awake')], { before: [moved(-5, 'awake', 'asleep')] });
  t.deepEqual(stretches(timeline), ['asleep 0-60', 'failed 60-90', 'awake 90-600']);
  t.deepEqual(changes(timeline), ['asleep failed exit-code', 'failed failed exit-code', 'asleep awake a visitor']);
  t.is(summarize(timeline).failures, 2);
});

test('a container that ends by itself leaves only what systemd says', (t) => {
  const timeline = build([moved(60, 'asleep', 'awake'), other(90, { kind: 'ended' })]);
  t.deepEqual(stretches(timeline), ['asleep 0-60', 'awake 60-90', 'asleep 90-600']);
  t.is(changes(timeline)[1], 'awake asleep ended by itself');
  t.deepEqual(stretches(build([moved(60, 'asleep', 'awake'), moved(90, 'awake', 'frozen'), other(90, { kind: 'ended' })])), ['asleep 0-60', 'awake 60-90', 'frozen 90-600']);
});

test('a visitor who came as it was about to freeze kept it awake', (t) => {
  const timeline = build([moved(60, 'asleep', 'awake'), other(90, { kind: 'ended' }), moved(90, 'running', 'awake')]);
  t.deepEqual(stretches(timeline), ['asleep 0-60', 'awake 60-600']);
  t.deepEqual(changes(timeline), ['asleep awake a visitor', 'running awake a visitor']);
});

test('a reboot is a time without the machine, after which all sites sleep', (t) => {
  const entries = [moved(60, 'asleep', 'awake'), other(120, { kind: 'booted' }, 'b'), moved(180, 'asleep', 'awake', { boot: 'b' })];
  t.deepEqual(stretches(build(entries, { bootEnds: new Map([['a', from + 100 * minute]]) })), ['asleep 0-60', 'awake 60-100', 'off 100-120', 'asleep 120-180', 'awake 180-600']);
  t.deepEqual(changes(build(entries, { bootEnds: new Map([['a', from + 100 * minute]]) })),
    ['asleep awake a visitor', 'awake off the machine went down', 'off asleep the machine started', 'asleep awake a visitor']);
  t.deepEqual(stretches(build(entries)), ['asleep 0-60', 'unknown 60-120', 'asleep 120-180', 'awake 180-600'], 'whose last words are gone');
  t.deepEqual(stretches(build([other(10, { kind: 'booted' }, 'b')], { before: [moved(-90, 'asleep', 'awake')], bootEnds: new Map([['a', from - minute]]) })), ['off 0-10', 'asleep 10-600']);
  t.deepEqual(stretches(build([other(10, { kind: 'booted' })])), ['unknown 0-10', 'asleep 10-600'], 'of the time before a first start nothing is known');
  t.deepEqual(stretches(build(entries, { bootEnds: new Map([['a', from + 500 * minute]]) })), ['asleep 0-60', 'awake 60-120', 'asleep 120-180', 'awake 180-600'], 'the clock of whose end was ahead');
});

test('a clock that is put right does not turn the order round', (t) => {
  const ahead = build([moved(500, 'asleep', 'awake'), moved(900, 'awake', 'frozen'), moved(120, 'frozen', 'awake')]);
  t.deepEqual(stretches(ahead), ['asleep 0-120', 'awake 120-600']);
  t.deepEqual(changes(ahead).length, 3);
  const behind = build([moved(-1_000_000, 'asleep', 'awake'), moved(60, 'awake', 'frozen')]);
  t.deepEqual(stretches(behind), ['awake 0-60', 'frozen 60-600']);
  t.deepEqual(stretches(buildTimeline({ domain: 'x', from, to: from, entries: [] })), []);
});

const record = (more: Record<string, unknown>) => ({
  __REALTIME_TIMESTAMP: '1795767031806809', _BOOT_ID: 'b', MESSAGE_ID: shared.transitionId, SITEGEN_FROM: 'asleep', SITEGEN_TO: 'awake',
  SITEGEN_CAUSE: 'a visitor', SITEGEN_MS: '150', SITEGEN_PHASES: 'wait=0 create=0 start=120 ready=30', ...more,
});
const parse = (more: Record<string, unknown>) => parseEntry(record(more), shared.transitionId);

test('entries are read from the journal\'s JSON', (t) => {
  t.deepEqual(parse({}), { kind: 'moved', at: 1795767031806, boot: 'b', from: 'asleep', to: 'awake', cause: 'a visitor', ms: 150, phases: { wait: 0, create: 0, start: 120, ready: 30 } });
  t.like(parse({ SITEGEN_PHASES: undefined, SITEGEN_MS: '-1', SITEGEN_CAUSE: '' }), { cause: 'unknown', ms: undefined, phases: undefined });
  t.like(parse({ MESSAGE_ID: systemdIds.unitFailed, UNIT_RESULT: 'timeout' }), { kind: 'failed', result: 'timeout' });
  t.like(parse({ MESSAGE_ID: systemdIds.unitEnded }), { kind: 'ended' });
  for (const id of systemdIds.started) t.like(parse({ MESSAGE_ID: id }), { kind: 'booted' });
  for (const damaged of [{ MESSAGE_ID: 'another' }, { SITEGEN_TO: 'away' }, { SITEGEN_TO: [97, 255] }, { __REALTIME_TIMESTAMP: undefined }, { __REALTIME_TIMESTAMP: 'soon' }]) t.is(parse(damaged), undefined);
});

test('the shell programs write the same MESSAGE_ID', async (t) => {
  for (const program of ['wake', 'sleep']) {
    const script = await readFile(path.resolve(import.meta.dirname, `../../../cmd/${program}.sh`), 'utf8');
    t.deepEqual([...script.matchAll(/^MESSAGE_ID=(.*)$/gm)].map(([, id]) => id), [shared.transitionId], program);
  }
});

test('a day is a line of characters in which short visits are seen', (t) => {
  const timeline = build([moved(61, 'asleep', 'awake'), moved(62, 'awake', 'frozen'), moved(120, 'frozen', 'asleep'), other(130, { kind: 'failed', result: 'x' }), moved(139, 'asleep', 'awake')]);
  const [day] = daysBetween(from, to);
  t.is(day && dayBar(day, timeline.stretches), `···█▒▒X${'█'.repeat(23)}`);
  t.deepEqual(barLines(timeline).map((line) => line.slice(0, 21)), ['           0        3', 'Fri 11-27  ···█▒▒X███', '           X failed  ']);
});

test('days are those of the calendar', (t) => {
  t.deepEqual(daysBetween(from - minute, to).map(({ date }) => date), ['2026-11-26', '2026-11-27']);
  t.deepEqual(daysBetween(from, from + 1440 * minute).map(({ date }) => date), ['2026-11-27']);
  t.is(daysBetween(from, from).length, 1);
  const week = build([], { from: from - 7 * 1440 * minute, journalFrom: from - 1500 * minute, current: 'asleep' });
  t.deepEqual(daysOf(week).map(({ date }) => date), ['2026-11-25', '2026-11-26', '2026-11-27'], 'those before the journal are left out');
  t.deepEqual(daysOf(build([])).map(({ date }) => date), ['2026-11-27']);
});

test('changes and sums are told in words', (t) => {
  const timeline = build([moved(60, 'asleep', 'awake', { phases: { wait: 0, start: 1200, ready: 30 }, ms: 1230 }), moved(70, 'awake', 'frozen', { ms: undefined }), moved(80, 'frozen', 'awake', { ms: 30, cause: 'systemctl start' })]);
  const [first, second] = timeline.transitions.map((each) => transitionCells(each));
  t.deepEqual(first, ['2026-11-27 01:00:00', 'asleep → awake', 'a visitor', '1.2 s', 'start 1.2 s, ready 30 ms']);
  t.deepEqual(second?.slice(1), ['awake → frozen', 'idle', '-', '']);
  t.deepEqual(summaryLines(summarize(timeline)), ['2 wakes: 1 by a visitor, 1 by systemctl start', 'median 630 ms, slowest 1.2 s',
    '  from asleep: 1, median 1.2 s, slowest 1.2 s', '  from frozen: 1, median 30 ms, slowest 30 ms', 'awake 88.3 %, asleep 10.0 %, frozen 1.7 %']);
  t.deepEqual(summaryLines(summarize(build([], { current: 'asleep' }))), ['0 wakes', 'asleep 100 %']);
  t.deepEqual(summaryLines(summarize(build([], { current: 'asleep', journalFrom: from + 60 * minute }))), ['0 wakes', 'asleep 100 %, and nothing is known of 10.0 % of the time']);
  t.deepEqual(summaryLines(summarize(build([]))), ['0 wakes', 'nothing is known of 100 % of the time']);
  t.deepEqual([0, 0.0001, 0.5, 0.99995, 1].map((share) => percent(share)), ['0 %', '<0.1 %', '50.0 %', '>99.9 %', '100 %']);
  t.is(phaseText({ wait: 0 }), '');
});

test('the picture is XML of its own, whatever the journal says', (t) => {
  const evil = '<script>alert("&\u0000\uD800\')</script>';
  const timeline = build([moved(60, 'asleep', 'awake', { cause: evil }), moved(70, 'awake', 'frozen')], { domain: evil });
  const svg = timelineSvg(timeline, summarize(timeline));
  t.notRegex(svg, /<script|alert\("|\u0000|[\uD800-\uDFFF]/);
  t.notRegex(svg, /href|url\(|@import/, 'it needs nothing else');
  t.notRegex(svg, /NaN|undefined|Infinity|="-/);
  for (const [entity] of svg.matchAll(/&[^;]*;?/g)) t.regex(entity, /^&#\d+;$/);
  t.is(svg.match(/class="wake"/g)?.length, 1);
  for (const empty of [build([]), buildTimeline({ domain: 'x', from, to: from, entries: [] })]) t.notRegex(timelineSvg(empty, summarize(empty)), /NaN|Infinity/);
});
