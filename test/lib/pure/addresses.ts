import test from 'ava';
import { addressAt, chooseOffset, networkOf, offsetOf, overlap, rangeFault, reservedOffsets, type Ranges } from '../../../lib/pure/addresses.ts';
import { SitegenError } from '../../../lib/pure/errors.ts';

const ranges: Ranges = { sites: '10.213.0.0/16', containers: '10.214.0.0/16' };
const small: Ranges = { sites: '10.20.0.0/22', containers: '10.30.0.0/22' };
const offsets = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index);

test('both addresses of a site stand at the same offset', (t) => {
  t.deepEqual(addressAt(256, ranges), { site: '10.213.1.0', container: '10.214.1.0' });
  t.deepEqual(addressAt(65_534, ranges), { site: '10.213.255.254', container: '10.214.255.254' });
  t.deepEqual(addressAt(300, { sites: '172.16.4.0/22', containers: '192.168.0.0/16' }), { site: '172.16.5.44', container: '192.168.1.44' });
  t.deepEqual(addressAt(300, { sites: '198.18.0.0/16', containers: '100.64.0.0/10' }), { site: '198.18.1.44', container: '100.64.1.44' });
});

test('reserved, broadcast and foreign offsets have no address', (t) => {
  for (const offset of [-1, 0, 1, 255, 65_535, 65_536]) t.throws(() => addressAt(offset, ranges), { instanceOf: SitegenError, message: /outside 10\.213/ }, String(offset));
  // The smaller range counts.
  t.throws(() => addressAt(1023, { sites: small.sites, containers: ranges.containers }));
  t.throws(() => addressAt(1023, { sites: ranges.sites, containers: small.containers }));
});

test('the offset of an address is found again', (t) => {
  for (const offset of [256, 257, 511, 512, 40_000, 65_534]) t.is(offsetOf(addressAt(offset, ranges).site, ranges), offset);
});

test('an address that no site can have has no offset', (t) => {
  for (const address of ['10.213.0.1', '10.213.0.255', '10.213.255.255', '10.212.255.255', '10.214.1.1', '10.213.1', '10.213.1.256', '010.213.1.1', '10.213.1.1/32', ' 10.213.1.1', '::ffff:10.213.1.1', 'x', '']) {
    t.is(offsetOf(address, ranges), undefined, address);
  }
});

test('a domain always belongs to the same offset', (t) => {
  const { offset, collided } = chooseOffset('example.com', ranges, new Set());
  t.is(addressAt(offset, ranges).site, '10.213.106.20');
  t.false(collided);
  t.is(chooseOffset('example.com', ranges, new Set([offset + 1, offset - 1])).offset, offset);
});

test('a taken offset gives way to the next free one, around the end and past what is reserved', (t) => {
  const own = chooseOffset('example.com', small, new Set()).offset;
  t.deepEqual(chooseOffset('example.com', small, new Set([own])), { offset: own + 1, collided: true });
  t.deepEqual(chooseOffset('example.com', small, new Set(offsets(own, 1022))), { offset: reservedOffsets, collided: true });
  t.deepEqual(chooseOffset('example.com', small, new Set(offsets(256, 1022).filter((offset) => offset !== own - 1))), { offset: own - 1, collided: true });
});

test('a full range is an error that says what to do', (t) => {
  const error = t.throws(() => chooseOffset('example.com', small, new Set(offsets(256, 1022))), { instanceOf: SitegenError });
  t.regex(error.message, /^example\.com: all 767 addresses of 10\.20\.0\.0\/22 are taken$/);
  t.regex(error.hint ?? '', /network\.sites/);
});

test('domains spread over the whole range', (t) => {
  const chosen = Array.from({ length: 20_000 }, (_, index) => chooseOffset(`site${index}.example.com`, small, new Set()).offset);
  t.is(new Set(chosen).size, 767);
  t.is(Math.min(...chosen), 256);
  t.is(Math.max(...chosen), 1022);
});

test('bridge and Docker have the reserved addresses', (t) => {
  t.deepEqual(networkOf('10.214.0.0/16'), { subnet: '10.214.0.0/16', gateway: '10.214.0.1', dynamic: '10.214.0.0/24' });
  t.is(offsetOf('10.214.0.1', { sites: ranges.containers, containers: ranges.sites }), undefined);
});

function overlaps(a: string, b: string, expected: boolean): void {
  test(`${a} and ${b} ${expected ? 'overlap' : 'have no address in common'}`, (t) => {
    t.is(overlap(a, b), expected);
    t.is(overlap(b, a), expected);
  });
}

overlaps('10.213.0.0/16', '10.213.0.0/16', true);
overlaps('10.213.0.0/16', '10.0.0.0/8', true);
overlaps('10.213.0.0/16', '10.213.7.9', true);
overlaps('10.213.0.0/16', '10.213.255.255/32', true);
overlaps('10.213.0.0/16', '0.0.0.0/0', true);
overlaps('10.213.0.0/16', '10.214.0.0/16', false);
overlaps('10.213.0.0/16', '10.212.255.255/32', false);
overlaps('10.213.0.0/17', '10.213.128.0/17', false);
overlaps('192.168.0.0/16', '10.213.0.0/16', false);

function rangeIs(cidr: string, fault: string | undefined): void {
  test(`${JSON.stringify(cidr)} ${fault ?? 'is a range'}`, (t) => { t.is(rangeFault(cidr), fault); });
}

rangeIs('10.213.0.0/16', undefined);
rangeIs('10.0.0.0/8', undefined);
rangeIs('172.16.4.0/22', undefined);
rangeIs('100.64.0.0/10', undefined);
rangeIs('198.18.0.0/15', undefined);
rangeIs('10.213.0.0/23', 'is too small');
rangeIs('10.213.0.1/32', 'is too small');
rangeIs('10.0.0.0/7', 'is too large');
rangeIs('10.213.1.0/16', 'has host bits set: write 10.213.0.0/16');
rangeIs('127.0.0.0/8', 'is no private range');
rangeIs('8.8.0.0/16', 'is no private range');
rangeIs('224.0.0.0/8', 'is no private range');
for (const cidr of ['', 'x', '10.213.0.0', '10.213.0.0/33', '10.213.0.0/-1', '10.213.0.0/016', '10.213/16', '010.0.0.0/8', '0xa.0.0.0/8', ' 10.0.0.0/8', '10.0.0.0/8\n', '::/16', 'fd00::/16', '10.0.0.0/8/8', '10.0.0.0/0']) {
  rangeIs(cidr, 'is not an IPv4 range');
}
