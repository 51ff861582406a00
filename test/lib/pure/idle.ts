import test from 'ava';
import { cpuFloor, decide, dumpEveryMs, isKeptAwake, nextDump, nextMove, parseAwakeTimes, remember, trafficFloor, type AwakeTimes, type Look, type Move, type Seen } from '../../../lib/pure/idle.ts';
import { minuteMs, now, rules, look, seen, noSwap, machine, moves, never, minutes } from './_looks.ts';

// ---- What is remembered ----

const floors = { cpuUs: cpuFloor * 10 * 1e6, trafficBytes: trafficFloor * 10 };

const atWork: [what: string, look: Partial<Look>, before: Partial<Seen>][] = [
  ['an open connection', { connections: 1 }, {}],
  ['a connection that has come and gone', { visits: 8 }, {}],
  ['a count of connections that was lost', { visits: 0 }, {}],
  ['CPU time above the floor', { cpuUs: 5_000_000 + floors.cpuUs + 1 }, {}],
  ['traffic above the floor', { trafficBytes: 90_000 + floors.trafficBytes + 1 }, {}],
  ['a wake since the last look', {}, { state: 'frozen' }],
  ['a wake of what ran without visitors', {}, { state: 'quiet' }],
  ['a visitor of a site that froze since the last look', { state: 'frozen', visits: 8 }, {}],
];

for (const [what, found, before] of atWork) {
  test(`${what} counts as work`, (t) => { t.is(remember(look(found), seen(before), now).activeAt, now); });
}

const noWork: [what: string, look: Partial<Look>, before: Partial<Seen>][] = [
  ['nothing', {}, {}],
  ['CPU time up to the floor', { cpuUs: 5_000_000 + floors.cpuUs }, {}],
  ['traffic up to the floor', { trafficBytes: 90_000 + floors.trafficBytes }, {}],
  ['what a site did before it froze', { state: 'frozen', cpuUs: 6_000_000, trafficBytes: 190_000 }, {}],
  ['what a dump does in a thawed site', { state: 'quiet', cpuUs: 6_000_000, trafficBytes: 190_000 }, { state: 'frozen' }],
  ['what a job goes on to do', { state: 'quiet', cpuUs: 6_000_000, trafficBytes: 190_000 }, { state: 'quiet' }],
];

for (const [what, found, before] of noWork) {
  test(`${what} does not count as work`, (t) => { t.is(remember(look(found), seen(before), now).activeAt, now - minuteMs); });
}

test('what is measured is what the next look compares with', (t) => {
  const { cpuUs, trafficBytes, visits, state, at } = remember(look({ cpuUs: 5_000_100, trafficBytes: 90_100, visits: 9 }), seen(), now);
  t.deepEqual({ cpuUs, trafficBytes, visits, state, at }, { cpuUs: 5_000_100, trafficBytes: 90_100, visits: 9, state: 'awake', at: now });
});

const fresh: [what: string, look: Partial<Look>, before: Seen | undefined][] = [
  ['is new', {}, undefined],
  ['has used less CPU time than before', { cpuUs: 4_999_999 }, seen({ state: 'frozen' })],
  ['has had less traffic than before', { trafficBytes: 89_999 }, seen({ state: 'frozen' })],
];

for (const [what, found, before] of fresh) {
  test(`a container that ${what} begins anew`, (t) => {
    const { activeAt, since } = remember(look({ state: 'frozen', ...found }), before, now);
    t.deepEqual({ activeAt, since }, { activeAt: now, since: now });
  });
}

test('a state lasts from the look that saw it first', (t) => {
  t.is(remember(look(), seen(), now).since, now - 10 * minuteMs);
  for (const state of ['frozen', 'quiet'] as const) t.is(remember(look({ state }), seen(), now).since, now, state);
});

test('what is in use is in its state from the end of that on', (t) => {
  t.is(remember(look({ state: 'quiet', isUsed: true }), seen({ state: 'quiet' }), now).since, now);
  t.is(remember(look({ state: 'quiet' }), seen({ state: 'quiet' }), now).since, now - 10 * minuteMs);
});

test('the time of a frozen site goes on while it is dumped', (t) => {
  const before = seen({ state: 'frozen' });
  const during = remember(look({ state: 'quiet', isUsed: true, isDumped: true }), before, now);
  t.is(during.since, before.since);
  t.is(remember(look({ state: 'frozen' }), during, now + 1).since, before.since);
  t.is(remember(look({ state: 'frozen', isUsed: true, isDumped: true }), before, now).since, before.since, 'before it is thawed');
  t.is(remember(look({ state: 'quiet', isUsed: true }), before, now).since, now, 'not while a job runs');
  t.is(remember(look({ state: 'awake', isUsed: true, isDumped: true }), before, now).since, now, 'nor when a visitor has come');
});

test('two looks in the same moment are no division by zero', (t) => {
  t.is(remember(look(), seen({ at: now }), now).activeAt, now - minuteMs);
});

test('what a container held at most is remembered until a new one begins', (t) => {
  const peak = (found: Partial<Look>, before: Partial<Seen>) => remember(look(found), seen(before), now).peakBytes;
  t.is(peak({ memoryBytes: 100 }, {}), 100);
  t.is(peak({ memoryBytes: 100 }, { peakBytes: 300 }), 300);
  t.is(peak({ memoryBytes: 400, state: 'frozen' }, { peakBytes: 300 }), 400);
  t.is(peak({ memoryBytes: 100, cpuUs: 1 }, { peakBytes: 300 }), 100, 'a new container');
  t.is(peak({ memoryBytes: undefined }, { peakBytes: 300 }), undefined, 'where nothing is counted');
});

// ---- What comes next ----

const nexts: [what: string, look: Partial<Look>, next: { do: Move['do']; at: number } | undefined][] = [
  ['an awake site is frozen after its time without visitors', {}, { do: 'freeze', at: now + 4 * minuteMs }],
  ['one that does not bear standing still is stopped then', { rules: { ...rules, freeze: false } }, { do: 'stop', at: now + 4 * minuteMs }],
  ['a site with connections stays', { connections: 1 }, undefined],
  ['a frozen site is stopped after its time', { state: 'frozen' }, { do: 'stop', at: now + 20 * minuteMs }],
  ['… also with a connection that waits for its wake', { state: 'frozen', connections: 1 }, { do: 'stop', at: now + 20 * minuteMs }],
  ['what runs without visitors is frozen after a moment', { state: 'quiet' }, { do: 'freeze', at: now - 10 * minuteMs + 20_000 }],
  ['… or stopped', { state: 'quiet', rules: { ...rules, freeze: false } }, { do: 'stop', at: now - 10 * minuteMs + 20_000 }],
  ['… but not while somebody waits for it', { state: 'quiet', connections: 1 }, undefined],
];

for (const [what, found, expected] of nexts) test(what, (t) => { t.deepEqual(nextMove(look(found), seen(), machine), expected); });

for (const state of ['awake', 'quiet', 'frozen'] as const) {
  test(`nothing is done by itself to a site that is ${state} and in use, never sleeps, or stays awake at this time`, (t) => {
    t.is(nextMove(look({ state, isUsed: true }), seen(), machine), undefined);
    t.is(nextMove(look({ state, rules: { ...rules, never: true } }), seen(), machine), undefined);
    const site = look({ state, rules: { ...rules, awake: [{ days: [1], from: 720, until: 721 }] } });
    t.is(nextMove(site, seen(), machine), undefined);
    t.not(nextMove(site, seen(), { date: new Date(2026, 0, 5, 12, 1) }), undefined);
  });
}

// ---- Times in which a site stays awake ----

const everyDay = [0, 1, 2, 3, 4, 5, 6];
const times: [text: string, times: AwakeTimes | undefined][] = [
  ['08:00-18:00', { days: everyDay, from: 480, until: 1080 }],
  ['8:00..18:00', { days: everyDay, from: 480, until: 1080 }],
  [' 08:00 - 18:00 ', { days: everyDay, from: 480, until: 1080 }],
  ['00:00-24:00', { days: everyDay, from: 0, until: 1440 }],
  ['22:30-06:15', { days: everyDay, from: 1350, until: 375 }],
  ['Mon-Fri 08:00-18:00', { days: [1, 2, 3, 4, 5], from: 480, until: 1080 }],
  ['mon..friday 08:00-18:00', { days: [1, 2, 3, 4, 5], from: 480, until: 1080 }],
  ['Sat-Mon 08:00-18:00', { days: [6, 0, 1], from: 480, until: 1080 }],
  ['Sat,Sun 10:00-12:00', { days: [6, 0], from: 600, until: 720 }],
  ['Mon-Wed,Tue-Thu 10:00-12:00', { days: [1, 2, 3, 4], from: 600, until: 720 }],
  ['Sun 10:00-12:00', { days: [0], from: 600, until: 720 }],
  ...['', 'always', '08:00', '08:00-', '8-18', '08:00-08:00', '24:00-06:00', '08:00-24:01', '08:60-18:00', '08:00-18:60', '25:00-26:00', 'Mo 08:00-18:00', 'Foo 08:00-18:00', 'Mon- 08:00-18:00',
    'Mon-Tue-Wed 08:00-18:00', 'Mon, 08:00-18:00', ',Mon 08:00-18:00', 'Mon08:00-18:00', 'Mondays 08:00-18:00', '08:00-18:00 Mon', '08:00-18:00\nMon 08:00-18:00'].map((text): [string, undefined] => [text, undefined]),
];

for (const [text, expected] of times) {
  test(`${JSON.stringify(text)} ${expected ? 'is a time to stay awake' : 'is no time to stay awake'}`, (t) => { t.deepEqual(parseAwakeTimes(text), expected); });
}

/** January 2026: the 4th is a Sunday. */
const at = (day: number, hour: number, minute = 0) => new Date(2026, 0, day, hour, minute);
const keeps: [text: string, inside: Date[], outside: Date[]][] = [
  ['Mon-Fri 08:00-18:00', [at(5, 8), at(5, 17, 59), at(9, 12)], [at(5, 7, 59), at(5, 18), at(4, 12), at(10, 12)]],
  ['Fri 22:00-06:00', [at(9, 22), at(9, 23, 59), at(10, 0), at(10, 5, 59)], [at(9, 21, 59), at(10, 6), at(10, 22), at(9, 5), at(11, 1)]],
  ['Sat 22:00-06:00', [at(10, 23), at(11, 1)], [at(11, 23), at(10, 1), at(12, 1)]],
  ['Sat-Mon 00:00-24:00', [at(10, 0), at(11, 12), at(12, 23, 59)], [at(9, 23, 59), at(13, 0)]],
];

for (const [text, inside, outside] of keeps) {
  test(`${text} holds in these times and in no other`, (t) => {
    const awake = [parseAwakeTimes(text)].filter((each) => each !== undefined);
    for (const date of inside) t.true(isKeptAwake({ awake }, date), date.toString());
    for (const date of outside) t.false(isKeptAwake({ awake }, date), date.toString());
    t.true(isKeptAwake({ awake: [{ days: [], from: 0, until: 1 }, ...awake] }, inside[0] ?? at(4, 0)), 'any of several');
  });
}

// ---- What is decided ----

test('a site is put to sleep when its time is over, and not before', (t) => {
  t.deepEqual(moves([['a', {}, minutes(5) - 1], ['b', {}, minutes(5)], ['c', { state: 'frozen' }, minutes(30) - 1], ['d', { state: 'frozen' }, minutes(30)], ['e', { rules: { ...rules, freeze: false } }, minutes(6)]]),
    ['b: freeze idle', 'd: stop idle', 'e: stop idle']);
});

test('nothing is done to a site that was never looked at before', (t) => {
  t.deepEqual(decide([look()], new Map(), machine), []);
});

test('without swap a site that is due is frozen as long as all fits, and stopped else', (t) => {
  t.deepEqual(moves([['a', { memoryBytes: 1000 }, minutes(6)]], { swap: noSwap }), ['a: freeze idle']);
  t.deepEqual(moves([['a', { memoryBytes: 900 }, minutes(6)]], { swap: noSwap }, 100), ['a: freeze idle']);
  t.deepEqual(moves([['a', { memoryBytes: 1001 }, minutes(6)]], { swap: noSwap }), ['a: stop idle']);
  t.deepEqual(moves([['a', { memoryBytes: 900 }, minutes(6)]], { swap: noSwap }, 101), ['a: stop idle']);
  t.deepEqual(moves([['a', { memoryBytes: undefined }, minutes(6)]], { swap: noSwap, budgetBytes: undefined }), ['a: freeze idle'], 'where nothing is counted');
});

test('a frozen site that was used after its last dump is dumped when that is due, also while it is to stay', (t) => {
  const dumped: [what: string, look: Partial<Look>, moves: string[]][] = [
    ['due', { dumpAt: now }, ['a: dump idle']],
    ['not yet', { dumpAt: now + 1 }, []],
    ['nothing has changed', {}, []],
    ['in use', { dumpAt: now, isUsed: true }, []],
    ['awake', { dumpAt: now, state: 'awake' }, []],
    ['one that never sleeps, frozen by others', { dumpAt: now, rules: never }, ['a: dump idle']],
    ['one that makes room', { dumpAt: now, memoryBytes: 1001 }, ['a: stop memory']],
  ];
  for (const [what, found, expected] of dumped) t.deepEqual(moves([['a', { state: 'frozen', ...found }, minutes(1)]]), expected, what);
  t.deepEqual(moves([['a', { state: 'frozen', dumpAt: now }, minutes(30)]]), ['a: stop idle'], 'its stop dumps it');
  t.deepEqual(moves([['a', { state: 'frozen', dumpAt: now, isUsed: false }, minutes(1)], ['b', { state: 'frozen', isUsed: true }, 0]], { pressure: 99 }), ['a: stop memory'], 'while memory is short');
});

test('a dump comes an hour after the last one or the last try, and at once when there was none', (t) => {
  t.is(nextDump(undefined, undefined), 0);
  t.is(nextDump(5, undefined), 5 + dumpEveryMs);
  t.is(nextDump(5, 7), 7 + dumpEveryMs);
  t.is(nextDump(undefined, 7), 7 + dumpEveryMs);
  t.is(nextDump(9, 7), 9 + dumpEveryMs);
});

test('the last try of a dump is remembered, also of a container before', (t) => {
  t.is(remember(look(), seen({ triedAt: 3 }), now).triedAt, 3);
  t.is(remember(look({ cpuUs: 1 }), seen({ triedAt: 3 }), now).triedAt, 3);
});
