import test from 'ava';
import { parseSince } from '../../../lib/pure/since.ts';

const now = new Date(2026, 10, 21, 15, 30).getTime();
const local = (text: string) => new Date(text).getTime();

test('spans count back from now', (t) => {
  t.is(parseSince('24h', now), now - 86_400_000);
  t.is(parseSince(' 7d ', now), now - 7 * 86_400_000);
  t.is(parseSince('1h 30min', now), now - 5_400_000);
});

test('days and dates are the machine\'s own', (t) => {
  t.is(parseSince('today', now), local('2026-11-21T00:00'));
  t.is(parseSince('yesterday', now), local('2026-11-20T00:00'));
  t.is(parseSince('2026-11-01', now), local('2026-11-01T00:00'));
  t.is(parseSince('2026-11-01 08:15', now), local('2026-11-01T08:15'));
  t.is(parseSince('2026-11-01T08:15:30Z', now), Date.UTC(2026, 10, 1, 8, 15, 30));
});

test('what is no time, or not in the past, is none', (t) => {
  for (const text of ['', 'soon', '5', '0h', '-1h', '2026-13-01', '2026-11-32', '2026-11-22', '2027-01-01', '1', '99999999d', '2026-11-01 8:15', '24h x']) t.is(parseSince(text, now), undefined, text);
});
