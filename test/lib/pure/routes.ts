import test from 'ava';
import { networkRange } from '../../../lib/pure/addresses.ts';
import { SitegenError } from '../../../lib/pure/errors.ts';
import { mapNames, mapText, masks, namesOfSite, netKeys, noEntries, ownerOfEntry, parseMap, strips, withEntries, withoutOthers } from '../../../lib/pure/routes.ts';
import { mapsOf } from '../_router.ts';
import { resolveTexts } from '../_site.ts';

function hasKeys(range: string, ...keys: string[]): void {
  test(`the range ${range} becomes ${keys.join(' and ')}`, (t) => { t.deepEqual(netKeys(networkRange(range) ?? ''), keys); });
}

hasKeys('0.0.0.0/0', '0.0.0.0_0');
hasKeys('10.0.0.0/8', '10.0.0.0_4');
hasKeys('10.1.2.3/8', '10.0.0.0_4');
hasKeys('128.0.0.0/1', '128.0.0.0_1', '192.0.0.0_1');
hasKeys('172.16.0.0/13', '172.16.0.0_7', '172.20.0.0_7');
hasKeys('192.0.2.0/24', '192.0.2.0_12');
hasKeys('192.0.2.0/25', '192.0.2.0_13', '192.0.2.64_13');
hasKeys('192.0.2.6/31', '192.0.2.6_16', '192.0.2.7_16');
hasKeys('192.0.2.7/32', '192.0.2.7_16');
hasKeys('192.0.2.7', '192.0.2.7_16');
hasKeys('255.255.255.255', '255.255.255.255_16');
hasKeys('::/0', '::_0');
hasKeys('2001:db8::/32', '2001:db8::_4');
hasKeys('2001:DB8:0:0::7/32', '2001:db8::_4');
hasKeys('2001:db8::1/128', '2001:db8::1_16');
hasKeys('2001:db8:0:1::/64', '2001:db8:0:1::_8');
hasKeys('2001:db8:0:1::/63', '2001:db8::_8', '2001:db8:0:1::_8');
hasKeys('2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1_16');
// The first of two runs of the same length is shortened, and only runs.
hasKeys('2001:0:0:1:0:0:1:1', '2001::1:0:0:1:1_16');
hasKeys('0:0:1:0:0:1:1:1', '::1:0:0:1:1:1_16');
hasKeys('1:0:0:2:0:0:0:3', '1:0:0:2::3_16');
hasKeys('fe80::/10', ...Array.from({ length: 64 }, (_, index) => `fe${(0x80 + index).toString(16)}::_2`));
// IPv4 within IPv6, as inet_ntop(3) has it.
hasKeys('::102:304/128', '::1.2.3.4_16');
hasKeys('::ffff:192.0.2.7', '192.0.2.7_16');
hasKeys('::ffff:192.0.2.0/120', '192.0.2.0_12');
hasKeys('::/8', '::_1');
// HAProxy 3 takes the loopback address for one of IPv4.
hasKeys('::1', '::1_16', '0.0.0.1_16');

test('there is a mask for every length that keys can have, up to a whole address', (t) => {
  t.deepEqual(masks.map(({ four }) => four), Array.from({ length: 17 }, (_, index) => 2 * index));
  t.deepEqual([masks.at(-1)?.four, masks.at(-1)?.six], [32, 128]);
  for (const bits of Array.from({ length: 33 }, (_, index) => index)) {
    for (const key of netKeys(networkRange(`203.0.113.77/${bits}`) ?? '')) t.true(masks.some(({ index }) => key.endsWith(`_${index}`)), key);
  }
  for (const bits of Array.from({ length: 129 }, (_, index) => index)) {
    const keys = netKeys(networkRange(`2001:db8:1234:5678:9abc:def0:1234:5678/${bits}`) ?? '');
    t.is(keys.length, 2 ** ((8 - (bits % 8)) % 8), String(bits));
    t.is(new Set(keys).size, keys.length);
  }
});

test('as many parts of a path can be taken off as a path of a site may have', (t) => {
  t.deepEqual(strips.map(({ count }) => count), [0, 1, 2, 3, 4, 5, 6]);
});

test('a map is read as it was written', (t) => {
  const entries = new Map([['b.example', 'example.com|serve'], ['a.example', 'example.com|x y  z|"\\\'#%[src]'], ['c.example', 'example.com|']]);
  t.is(mapText(entries), 'a.example example.com|x y  z|"\\\'#%[src]\nb.example example.com|serve\nc.example example.com|\n');
  t.deepEqual([...parseMap(mapText(entries))], [...entries].sort());
  t.is(mapText(new Map()), '');
  t.deepEqual([...parseMap('')], []);
});

test('comments, empty lines and keys without a value are read too', (t) => {
  t.deepEqual([...parseMap('# a comment\n\na b c\nd\n')], [['a', 'b c'], ['d', '']]);
});

test('the order in which entries came does not change a map', (t) => {
  const entries: [string, string][] = [['a', '1'], ['b', '2'], ['A', '3'], ['a.b', '4'], ['a-b', '5']];
  t.is(mapText(new Map(entries)), mapText(new Map([...entries].reverse())));
});

for (const [key, value] of [['a b', 'x'], ['a\tb', 'x'], ['', 'x'], ['#a', 'x'], ['a\n', 'x'], ['é', 'x'], ['a', ''], ['a', 'x\ny z'], ['a', 'x\ry'], ['a', 'x\0y'], ['a', 'x\ty'], ['a', ' x'], ['a', 'x '], ['a', 'é'], ['a', '\uD800'],
  ['a', 'x'.repeat(8000)], ['a'.repeat(8000), 'x']] as const) {
  test(`${JSON.stringify(`${key.slice(0, 10)} → ${value.slice(0, 10)}`)} (${key.length + value.length}) is no line of a map`, (t) => {
    t.throws(() => mapText(new Map([[key, value]])), { instanceOf: SitegenError, message: /cannot be written into a map$/ });
  });
}

test('an entry belongs to the site that its value begins with', (t) => {
  t.is(ownerOfEntry('example.com|serve'), 'example.com');
  t.is(ownerOfEntry('example.com'), 'example.com');
  t.is(ownerOfEntry(''), '');
});

test('the entries of one site are replaced, and no other\'s', (t) => {
  const entries = (domain: string, site: string) => mapsOf(resolveTexts({ site: `domain: ${domain}\n${site}` }));
  const [one, two] = [entries('one.example', 'image: x\nheaders: {X-A: b}\nallow: [192.0.2.0/24]\n'), entries('two.example', 'passthrough: 192.0.2.7:443\n')];
  const before = noEntries();
  for (const map of mapNames) before[map] = new Map([...one[map], ...two[map]]);
  const copy = structuredClone(before);
  const now = entries('one.example', 'redirect: https://example.org\naliases: [other.example]\nwww: none\n');
  const after = withEntries(before, new Set(['one.example']), now);
  for (const map of mapNames) {
    t.deepEqual(new Map([...after[map]].filter(([, value]) => ownerOfEntry(value) === 'two.example')), two[map], map);
    t.deepEqual(new Map([...after[map]].filter(([, value]) => ownerOfEntry(value) !== 'two.example')), now[map], map);
  }
  t.true(after.names.has('other.example'));
  t.false(after.names.has('www.one.example'));
  t.is(after.headers.size + after.nets.size, 0);
  t.deepEqual(before, copy);
  t.deepEqual(withEntries(before, new Set(['one.example', 'two.example']), noEntries()), noEntries());
  t.deepEqual(withEntries(before, new Set(['example']), noEntries()), before);
});

test('a name that goes from one site to another belongs to the other alone', (t) => {
  const [one, two] = ['one.example', 'two.example'].map((domain) => mapsOf(resolveTexts({ site: `domain: ${domain}\nimage: x\naliases: [shared.example]\n` })));
  if (!one || !two) throw new Error('no entries');
  const after = withEntries(one, new Set(['two.example']), two);
  t.is(after.names.get('shared.example'), 'two.example|serve');
});

test('a site that sends everybody to its other name does not have that name', (t) => {
  const names = (redirect: string) => Object.fromEntries(mapsOf(resolveTexts({ site: `domain: example.com\nredirect: ${redirect}\n` })).names);
  t.deepEqual(names('https://WWW.example.com'), { 'example.com': 'example.com|serve' });
  t.deepEqual(names('https://www.example.com:8443/x'), { 'example.com': 'example.com|serve' });
  t.deepEqual(names('https://example.org'), { 'example.com': 'example.com|serve', 'www.example.com': 'example.com|serve' });
});

test('all names that lead to a site are told, and no others', (t) => {
  const maps = { ...noEntries(), names: new Map([['a.example', 'a.example|serve'], ['www.a.example', 'a.example|redirect'], ['*.b.example', 'a.example|serve'], ['b.example', 'b.example|pass']]) };
  t.deepEqual(namesOfSite(maps, 'a.example'), ['a.example', 'www.a.example', '*.b.example']);
  t.deepEqual(namesOfSite(maps, 'www.a.example'), []);
});

test('a name that a site has by implication alone is not taken from one that stays as it is', (t) => {
  const names = (entries: Record<string, string>) => ({ ...noEntries(), names: new Map(Object.entries(entries)) });
  const now = names({ 'a.example': 'a.example|serve', 'www.a.example': 'a.example|redirect' });
  const left = (before: Record<string, string>, domains: string[], said: string[]) => [...withoutOthers(now, names(before), new Set(domains), new Set(said)).names.keys()];
  t.deepEqual(left({ 'www.a.example': 'b.example|serve' }, ['a.example'], ['a.example']), ['a.example']);
  t.deepEqual(left({ 'www.a.example': 'b.example|serve' }, ['a.example'], ['a.example', 'www.a.example']), ['a.example', 'www.a.example']);
  t.deepEqual(left({ 'www.a.example': 'b.example|serve' }, ['a.example', 'b.example'], ['a.example']), ['a.example', 'www.a.example']);
  t.deepEqual(left({ 'www.a.example': 'a.example|serve' }, ['a.example'], ['a.example']), ['a.example', 'www.a.example']);
  t.deepEqual(left({}, [], ['a.example']), ['a.example', 'www.a.example']);
});
