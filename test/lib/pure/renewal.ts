import test from 'ava';
import { alarmDue, backoffMs, failed, isLater, leaveOut, noState, renewalTime, shareOf, succeeded, tasksOf, warningTime, type CertState } from '../../../lib/pure/renewal.ts';

const hour = 3_600_000;
const day = 24 * hour;
const start = new Date('2030-01-01T00:00:00Z');
const at = (ms: number) => new Date(start.getTime() + ms);
const life = (days: number) => ({ notBefore: start, notAfter: at(days * day) });
const certificate = (days: number, ...names: string[]) => ({ ...life(days), names, issuer: '', fingerprint: '', sha1: '' });
const domains = Array.from({ length: 500 }, (_, index) => `site${index}.example.com`);

for (const days of [6, 47, 90, 365]) {
  test(`certificates of ${days} days are renewed with a third left, spread over a thirtieth`, (t) => {
    const times = domains.map((domain) => (renewalTime(life(days), domain).getTime() - start.getTime()) / day);
    t.true(Math.max(...times) <= days * 2 / 3);
    t.true(Math.min(...times) >= days * (2 / 3 - 1 / 30));
    t.true(Math.max(...times) - Math.min(...times) > days / 40);
    t.deepEqual(renewalTime(life(days), 'a.example.com'), renewalTime(life(days), 'a.example.com'));
  });
}

test('the share of a domain is spread evenly', (t) => {
  const shares = domains.map((domain) => shareOf(domain));
  t.true(Math.abs(shares.reduce((sum, share) => sum + share, 0) / shares.length - 0.5) < 0.05);
  t.true(shares.every((share) => share >= 0 && share < 1));
});

test('the authority\'s window counts, be it earlier or later, but never lets a certificate end', (t) => {
  const window = (from: number, to: number) => ({ start: at(from * day).toISOString(), end: at(to * day).toISOString(), askAgain: start.toISOString() });
  const time = (from: number, to: number) => (renewalTime(life(90), 'a.example.com', window(from, to)).getTime() - start.getTime()) / day;
  t.true(time(10, 12) >= 10 && time(10, 12) <= 12);
  t.true(time(70, 72) >= 70 && time(70, 72) <= 72);
  t.is(time(200, 300), 81);
  t.is(time(-20, -10), 1, 'and does not renew it every hour');
  t.deepEqual(renewalTime(life(90), 'a.example.com', { start: 'x', end: 'y', askAgain: '' }), renewalTime(life(90), 'a.example.com'));
});

test('a failure is an alarm from 14 days before the end on, or a third of a short lifetime', (t) => {
  t.deepEqual(warningTime(life(90)), at(76 * day));
  t.deepEqual(warningTime(life(6)), at(4 * day));
});

test('tries get rarer up to one a day, and less so for certificates of a few days', (t) => {
  const waits = [1, 2, 3, 4, 5, 6, 7, 50].map((failures) => backoffMs(failures, 'a.example.com') / hour);
  for (const [index, most] of [1, 2, 4, 8, 16, 24, 24, 24].entries()) t.true((waits[index] ?? 0) <= most && (waits[index] ?? 0) >= most * 0.9, String(index));
  t.true(backoffMs(50, 'a.example.com', life(6)) <= 7.2 * hour);
  t.true(backoffMs(50, 'a.example.com', life(0.001)) >= 0.9 * hour);
});

test('what the authority asks for is kept, and longer waits stay', (t) => {
  const once = failed(noState, { reason: 'limited', retryAfterMs: 5 * day }, 'a.example.com', start);
  t.is(once.nextTry, at(5 * day).toISOString());
  t.is(once.limitedUntil, once.nextTry);
  t.is(once.failingSince, start.toISOString());
  const twice = failed(once, { reason: 'down', retryAfterMs: 1000 }, 'a.example.com', at(5 * day));
  t.is(twice.failures, 2);
  t.is(twice.failingSince, start.toISOString());
  t.true(Date.parse(twice.nextTry ?? '') > at(5 * day + hour).getTime());
  t.is(failed(twice, { reason: 'down' }, 'a.example.com', at(6 * day)).limitedUntil, undefined);
});

test('a success forgets the failures, and keeps what the last certificates were', (t) => {
  const state: CertState = { ...failed(noState, { reason: 'down' }, 'a.example.com', start), issued: ['3', '2', '1'], alarmed: start.toISOString(), refused: 'why' };
  t.deepEqual(succeeded(state, '4', {}), { issued: ['4', '3', '2'], failures: 0, refused: 'why', leftOut: {} });
  t.deepEqual(succeeded({ ...noState, window: { start: '', end: '', askAgain: 'a' } }, undefined, {}).window, { start: '', end: '', askAgain: 'a' });
  t.is(succeeded({ ...noState, window: { start: '', end: '', askAgain: 'a' } }, '1', {}).window, undefined, 'the new one has its own');
});

test('an alarm goes out near the end, once a day', (t) => {
  const failing = failed(noState, { reason: 'down' }, 'a.example.com', at(60 * day));
  t.false(alarmDue(failing, life(90), at(75 * day)));
  t.true(alarmDue(failing, life(90), at(77 * day)));
  const told = { ...failing, alarmed: at(77 * day).toISOString() };
  t.false(alarmDue(told, life(90), at(77 * day + 10 * hour)));
  t.true(alarmDue(told, life(90), at(78 * day - 0.5 * hour)), 'tries come a little less than a day apart');
  t.true(alarmDue(told, life(90), at(76.5 * day)), 'a clock that was set back does not silence it');
});

test('a first certificate that cannot be had is an alarm after a day', (t) => {
  const failing = failed(noState, { reason: 'down' }, 'a.example.com', start);
  t.false(alarmDue(failing, undefined, at(23 * hour)));
  t.true(alarmDue(failing, undefined, at(24 * hour)));
});

test('there is something to do when it is due, or a name is missing that may be tried again', (t) => {
  const names = ['a.example.com', 'b.example.com'];
  const tasks = (state: Partial<CertState>, days: number, ...covered: string[]) => tasksOf({ ...noState, ...state }, covered.length === 0 ? undefined : certificate(90, ...covered), names, 'a.example.com', at(days * day));
  t.deepEqual(tasks({}, 0), { due: true, open: names, waits: false });
  t.deepEqual(tasks({}, 10, ...names), { due: false, open: [], waits: false });
  t.true(tasks({}, 61, ...names).due);
  t.deepEqual(tasks({}, 10, 'a.example.com').open, ['b.example.com']);
  const leftOut = { 'b.example.com': leaveOut(undefined, 'leads elsewhere', 'a.example.com', at(10 * day)) };
  t.deepEqual(tasks({ leftOut }, 10, 'a.example.com').open, []);
  t.deepEqual(tasks({ leftOut }, 11, 'a.example.com').open, ['b.example.com']);
  t.true(tasks({ nextTry: at(1).toISOString() }, 0).waits);
});

test('a name that is left out again waits longer', (t) => {
  const first = leaveOut(undefined, 'why', 'a.example.com', start);
  const second = leaveOut(first, 'why', 'a.example.com', start);
  t.is(second.failures, 2);
  t.true(Date.parse(second.nextTry) > Date.parse(first.nextTry));
});

test('a time that is missing or cannot be read is not later', (t) => {
  t.true(isLater(at(1).toISOString(), start));
  for (const time of [undefined, 'never', start.toISOString()]) t.false(isLater(time, start));
});
