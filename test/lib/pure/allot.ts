import test from 'ava';
import { addressAt, chooseOffset } from '../../../lib/pure/addresses.ts';
import { allot } from '../../../lib/pure/allot.ts';
import { siteNames } from '../../../lib/pure/names.ts';
import { builtIn, type Site } from '../../../lib/pure/site.ts';
import { resolveTexts } from '../_site.ts';

const { ranges } = builtIn;
const none: ReadonlyMap<string, number> = new Map();
const own = (domain: string) => chooseOffset(domain, ranges, new Set()).offset;
const site = (domain: string, recorded?: number): Site =>
  resolveTexts({ site: `domain: ${domain}\nimage: x\n${recorded === undefined ? '' : `address: ${addressAt(recorded, ranges).site}\n`}` });
const listening = (...entries: [domain: string, offset: number][]) => new Map(entries.map(([domain, offset]) => [siteNames(domain).socket, offset]));

/** Two domains that want the same address, and so the first two of a birthday party. */
const [first, second] = collision();

function collision(): [string, string] {
  const seen = new Map<number, string>();
  for (let index = 0; ; index++) {
    const domain = `s${index}.example.com`;
    const other = seen.get(own(domain));
    if (other !== undefined) return [other, domain].sort() as [string, string];
    seen.set(own(domain), domain);
  }
}

test('the domains of this file collide', (t) => {
  t.not(first, second);
  t.is(own(first), own(second));
});

test('a site whose address is free gets it, and nothing is recorded', (t) => {
  const { offsets, record } = allot([site('example.com')], ranges, none);
  t.deepEqual([...offsets], [['example.com', own('example.com')]]);
  t.is(record.size, 0);
});

test('of two new sites with one hash the first keeps it, and the other one\'s address is recorded', (t) => {
  const { offsets, record } = allot([site(first), site(second)], ranges, none);
  t.is(offsets.get(first), own(first));
  t.is(offsets.get(second), own(second) + 1);
  t.deepEqual([...record], [second]);
});

test('a recorded address wins over the hash of another site', (t) => {
  const { offsets, record } = allot([site(first), site(second, own(first))], ranges, none);
  t.is(offsets.get(second), own(first));
  t.is(offsets.get(first), own(first) + 1);
  t.deepEqual([...record], [first]);
});

test('an address that is recorded already is not recorded anew', (t) => {
  const { offsets, record } = allot([site(first), site(second, own(first) + 1)], ranges, none);
  t.is(offsets.get(second), own(first) + 1);
  t.is(record.size, 0);
});

test('a recorded address twice goes to the first, and the other one\'s is refused', (t) => {
  const { offsets, clashes } = allot([site('a.example.com', 5000), site('b.example.com', 5000)], ranges, none);
  t.is(offsets.get('a.example.com'), 5000);
  t.deepEqual([...clashes.keys()], ['b.example.com']);
  t.regex(clashes.get('b.example.com') ?? '', /belongs to a\.example\.com/);
});

test('the address of a site that is set up cannot be taken by writing it into other settings', (t) => {
  for (const sites of [[site('a.example.com', 5000), site('b.example.com', 5000)], [site('a.example.com', 5000)]]) {
    const { offsets, record, clashes } = allot(sites, ranges, listening(['b.example.com', 5000]));
    t.is(offsets.get('b.example.com'), sites.length > 1 ? 5000 : undefined);
    t.not(offsets.get('a.example.com'), 5000);
    t.deepEqual([...record], []);
    t.regex(clashes.get('a.example.com') ?? '', /belongs to b\.example\.com/);
  }
});

test('a recorded address outside the ranges is not used', (t) => {
  const outside = resolveTexts({ site: 'domain: example.com\nimage: x\naddress: 192.168.7.7\n' });
  t.is(allot([outside], ranges, none).offsets.get('example.com'), own('example.com'));
  const reserved = resolveTexts({ site: 'domain: example.com\nimage: x\naddress: 10.213.0.1\n' });
  t.is(allot([reserved], ranges, none).offsets.get('example.com'), own('example.com'));
});

test('a site that is set up keeps its address when one that comes before it in the alphabet is added', (t) => {
  const { offsets, record } = allot([site(first), site(second)], ranges, listening([second, own(second)]));
  t.is(offsets.get(second), own(second));
  t.is(offsets.get(first), own(first) + 1);
  t.deepEqual([...record], [first]);
});

test('a site on its own keeps clear of the sites that are set up but not looked at', (t) => {
  const { offsets, record } = allot([site(first)], ranges, listening([second, own(second)], ['other.example.com', own(first) + 1]));
  t.is(offsets.get(first), own(first) + 2);
  t.deepEqual([...record], [first]);
});

test('a site does not keep clear of itself', (t) => {
  t.is(allot([site(first)], ranges, listening([first, own(first)])).offsets.get(first), own(first));
  t.is(allot([site(first, 5000)], ranges, listening([first, 5000])).offsets.get(first), 5000);
});

test('a site that listens elsewhere without a record goes back to its own address', (t) => {
  const { offsets, record } = allot([site('example.com')], ranges, listening(['example.com', 5000]));
  t.is(offsets.get('example.com'), own('example.com'));
  t.is(record.size, 0);
});

test('the same sites get the same addresses in any order, once they are set up', (t) => {
  const both = allot([site(first), site(second)], ranges, none);
  const settled = listening([first, both.offsets.get(first) ?? 0], [second, both.offsets.get(second) ?? 0]);
  const again = allot([site(second, both.offsets.get(second)), site(first)], ranges, settled);
  t.deepEqual(new Map([...again.offsets].sort()), new Map([...both.offsets].sort()));
  t.is(again.record.size, 0);
});

test('2,000 sites all get addresses of their own', (t) => {
  const sites = Array.from({ length: 2000 }, (_, index) => ({ ...site('example.com'), domain: `site${index}.example.com` }));
  const { offsets, record } = allot(sites, ranges, none);
  t.is(new Set(offsets.values()).size, 2000);
  for (const { domain } of sites) t.is(record.has(domain), offsets.get(domain) !== own(domain), domain);
});
