import test from 'ava';
import { formatBytes, formatMs, isPercent, isSize, parseSpan } from '../../../lib/pure/quantities.ts';

const spans: [text: string, ms: number | undefined][] = [
  ['30s', 30_000], ['30', 30_000], ['0', 0], ['1min 30s', 90_000], ['1min30s', 90_000], ['500ms', 500], ['1.5s', 1500], ['2h', 7_200_000], ['1d', 86_400_000], ['1week', 604_800_000],
  ['5 s', 5000], [' 5s ', 5000], ['100us', 0.1], ['2hours 5minutes', 7_500_000], ['250µs', 0.25],
  ['', undefined], [' ', undefined], ['s', undefined], ['soon', undefined], ['5x', undefined], ['-5s', undefined], ['5s soon', undefined], ['5S', undefined], ['.5s', undefined],
  ['1e3', undefined], ['0x10', undefined], ['5,5s', undefined], ['infinity', undefined], ['5s\n', 5000], ['1M', undefined], ['5s;', undefined],
];

for (const [text, ms] of spans) {
  test(`${JSON.stringify(text)} is ${ms === undefined ? 'no time span' : `${ms} ms`}`, (t) => { t.is(parseSpan(text), ms); });
}

function sizes(expected: boolean, ...texts: string[]): void {
  for (const text of texts) test(`${JSON.stringify(text)} is ${expected ? 'a size' : 'no size'}`, (t) => { t.is(isSize(text), expected); });
}

sizes(true, '1', '512M', '1.5G', '268435456', '1T', '1P', '7E', '20%', '0.5%', '100%', 'infinity');
sizes(false, '', '0', '0M', '0.0G', '0%', '101%', '-1M', '512m', '512MB', '512 M', '512MiB', 'M', '1.M', '.5G', '8E', '99999E', '1e9', 'max', 'lots', '20 %', '512M\n', '20.125%', 'Infinity', 'NaN');

test('a percentage is above zero, up to a bound, with two decimals at most', (t) => {
  for (const text of ['1%', '150%', '0.01%', '12.34%']) t.true(isPercent(text), text);
  for (const text of ['0%', '0.00%', '1', '%', '1%%', '-1%', '1.234%', '1.%', '1% ', '9999999%']) t.false(isPercent(text), text);
  t.false(isPercent('150%', 100));
});

const durations: [ms: number, text: string][] = [
  [0, '0 ms'], [0.4, '0 ms'], [850.4, '850 ms'], [999.4, '999 ms'], [999.6, '1.0 s'], [1000, '1.0 s'], [4249, '4.2 s'], [59_949, '59.9 s'], [59_990, '1 min 0 s'],
  [60_000, '1 min 0 s'], [119_700, '2 min 0 s'], [185_000, '3 min 5 s'], [7_200_000, '120 min 0 s'],
];

for (const [ms, text] of durations) test(`${ms} ms read as ${text}`, (t) => { t.is(formatMs(ms), text); });

const amounts: [bytes: number, text: string][] = [[0, '0B'], [1023, '1023B'], [1024, '1.0K'], [12_897_485, '12.3M'], [536_870_912, '512.0M'], [1.5 * 1024 ** 3, '1.5G'], [5000 * 1024 ** 4, '5000.0T']];

for (const [bytes, text] of amounts) test(`${bytes} bytes read as ${text}`, (t) => { t.is(formatBytes(bytes), text); });
