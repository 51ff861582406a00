import test from 'ava';
import { gives, holds, pressureLimit, type Move } from '../../../lib/pure/idle.ts';
import { rules, look, zram, noSwap, moves, never, minutes, type Site } from './_looks.ts';

const five: Site[] = [
  ['new', { memoryBytes: 200 }, minutes(1)], ['old', { memoryBytes: 200 }, minutes(4)], ['cold', { memoryBytes: 200, state: 'frozen' }, minutes(9)],
  ['colder', { memoryBytes: 200, state: 'frozen' }, minutes(10)], ['busy', { memoryBytes: 200, connections: 1 }, 0],
];

test('as long as all fits nobody makes room', (t) => {
  t.deepEqual(moves(five), []);
  t.deepEqual(moves(five, { budgetBytes: undefined }, 10_000), []);
});

test('beyond the budget the least recently used ones are frozen first, then frozen ones are stopped', (t) => {
  t.deepEqual(moves(five, {}, 1), ['old: freeze memory']);
  t.deepEqual(moves(five, {}, 120), ['old: freeze memory'], 'zram goes on holding a part of it');
  t.deepEqual(moves(five, {}, 121), ['old: freeze memory', 'new: freeze memory']);
  t.deepEqual(moves(five, {}, 241), ['old: freeze memory', 'new: freeze memory', 'colder: stop memory']);
  t.deepEqual(moves(five, {}, 441), ['old: freeze memory', 'new: freeze memory', 'colder: stop memory', 'cold: stop memory']);
});

test('without swap nobody is frozen to make room', (t) => {
  t.deepEqual(moves(five, { swap: noSwap }, 1), ['colder: stop memory']);
  t.deepEqual(moves(five, { swap: noSwap }, 401), ['colder: stop memory', 'cold: stop memory', 'old: stop memory']);
});

test('one whose memory swap has no room for is stopped, not frozen: to make room, and when it is due', (t) => {
  const full = { swap: { freeBytes: 150, share: 1 / 3 } };
  t.deepEqual(moves(five, full, 1), ['colder: stop memory']);
  t.deepEqual(moves([['a', { memoryBytes: 1001 }, minutes(6)]], full), ['a: stop idle']);
  t.deepEqual(moves([['a', { memoryBytes: 1000 }, minutes(6)]], full), ['a: freeze idle'], 'as all fits');
  t.deepEqual(moves(five, { swap: { freeBytes: 200, share: 1 / 3 } }, 121), ['old: freeze memory', 'colder: stop memory'], 'what the first one takes of it is gone for the next');
  t.deepEqual(moves(five, { swap: { freeBytes: 9999, share: 0.95 } }, 1), ['colder: stop memory'], 'where zram makes nothing smaller');
});

test('what goes out to a disk is free', (t) => {
  const disk = { swap: { freeBytes: 9999, share: 0 } };
  t.deepEqual(moves(five, disk, 180), ['old: freeze memory']);
  t.deepEqual(moves(five, disk, 181), ['old: freeze memory', 'new: freeze memory']);
});

test('for work that nobody waits for no site with visitors goes', (t) => {
  const sites = five.filter(([domain]) => domain === 'busy' || domain === 'cold');
  t.deepEqual(moves(sites, {}, 5000), ['cold: stop memory', 'busy: stop memory visited']);
  t.deepEqual(moves(sites, {}, 5000, true), ['cold: stop memory']);
});

test('what a move gives is what is free once it is done', (t) => {
  const gave = (what: Move['do'], memoryBytes: number | undefined, swap = zram) => Math.round(gives({ do: what }, { memoryBytes }, swap));
  t.deepEqual([gave('stop', 100), gave('freeze', 100), gave('dump', 100)], [100, 60, 0]);
  t.deepEqual([gave('freeze', 100, noSwap), gave('stop', undefined), gave('freeze', undefined)], [0, 0, 0]);
});

test('one that does not bear standing still is stopped to make room, after frozen ones', (t) => {
  const sites: Site[] = [['rigid', { memoryBytes: 600, rules: { ...rules, freeze: false } }, minutes(4)], ['cold', { memoryBytes: 400, state: 'frozen' }, minutes(6)]];
  t.deepEqual(moves(sites, {}, 1), ['cold: stop memory']);
  t.deepEqual(moves(sites, {}, 401), ['cold: stop memory', 'rigid: stop memory']);
});

test('a site with visitors goes only when nothing else is left, the least recently used one first, and is marked', (t) => {
  t.deepEqual(moves(five, {}, 640), ['old: freeze memory', 'new: freeze memory', 'colder: stop memory', 'cold: stop memory'], 'all that the others give');
  t.deepEqual(moves(five, {}, 641), ['old: freeze memory', 'new: freeze memory', 'colder: stop memory', 'cold: stop memory', 'busy: stop memory visited']);
  t.deepEqual(moves([['late', { memoryBytes: 600, connections: 2 }, 0], ['early', { memoryBytes: 600, connections: 1 }, 10]]), ['early: stop memory visited']);
});

test('a frozen site with a visitor who waits is no visited one', (t) => {
  t.deepEqual(moves([['a', { memoryBytes: 1001, state: 'frozen', connections: 1 }, minutes(1)]]), ['a: stop memory']);
});

test('what is in use, or never sleeps, is left alone, however short memory is', (t) => {
  t.deepEqual(moves([['used', { memoryBytes: 5000, isUsed: true }, minutes(50)], ['never', { memoryBytes: 5000, rules: never }, minutes(50)], ['cold', { memoryBytes: 5000, state: 'frozen', isUsed: true }, minutes(50)]], { pressure: 99 }), []);
});

test('while somebody waits for memory, one at a time makes room, be it that all fits', (t) => {
  t.deepEqual(moves(five, { pressure: pressureLimit }), []);
  t.deepEqual(moves(five, { pressure: pressureLimit + 0.1 }), ['old: freeze memory']);
  t.deepEqual(moves(five, { pressure: 99, budgetBytes: undefined }), ['old: freeze memory'], 'where memory is not counted');
});

test('where memory is not counted, the first one is taken for enough', (t) => {
  t.deepEqual(moves([['a', { memoryBytes: undefined }, minutes(2)], ['b', { memoryBytes: undefined }, minutes(1)]], { pressure: 99, swap: noSwap }), ['a: stop memory']);
});

test('a site that is due and has to make room gets one move: the stop, if it is one', (t) => {
  t.deepEqual(moves([['a', { memoryBytes: 1001 }, minutes(6)]]), ['a: freeze memory']);
  t.deepEqual(moves([['a', { memoryBytes: 1001, state: 'frozen' }, minutes(31)]]), ['a: stop idle']);
  t.deepEqual(moves([['a', { memoryBytes: 1001 }, minutes(6)]], { swap: noSwap }), ['a: stop idle']);
});

test('what all hold is their sum, without what is not counted', (t) => {
  t.is(holds([look({ memoryBytes: 3 }), look({ memoryBytes: undefined }), look({ memoryBytes: 4 })]), 7);
});

test('what sites hold that are left to others counts, and moves none of them', (t) => {
  t.deepEqual(moves(five, { otherBytes: 1 }), ['old: freeze memory']);
  t.deepEqual(moves([['a', { memoryBytes: 900 }, minutes(6)]], { swap: noSwap, otherBytes: 101 }), ['a: stop idle']);
});
