import { createHash } from 'node:crypto';
import ipaddr from 'ipaddr.js';
import { SitegenError } from './errors.ts';

/** The two IPv4 ranges, in CIDR notation: what visitors' connections come to, and where containers live. */
export interface Ranges {
  sites: string;
  containers: string;
}

/** One site's pair of addresses; both stand at the same offset in their range. */
export interface SiteAddress {
  site: string;
  container: string;
}

/** Offsets below belong to the bridge, and to containers that get an address from Docker. */
export const reservedOffsets = 256;

/**
 * The pair of addresses at an offset.
 * @throws SitegenError when the offset is not in the ranges
 */
export function addressAt(offset: number, ranges: Ranges): SiteAddress {
  if (offset < reservedOffsets || offset >= capacity(ranges)) {
    throw new SitegenError(`address offset ${offset} is outside ${ranges.sites} and ${ranges.containers}`);
  }
  return { site: toText(base(ranges.sites) + offset), container: toText(base(ranges.containers) + offset) };
}

/** Offset of a site address in its range, or undefined when it is not in it or reserved. */
export function offsetOf(siteAddress: string, ranges: Ranges): number | undefined {
  if (!ipaddr.IPv4.isValidFourPartDecimal(siteAddress)) return undefined;
  const offset = toNumber(siteAddress) - base(ranges.sites);
  return offset >= reservedOffsets && offset < capacity(ranges) ? offset : undefined;
}

/**
 * Where a domain belongs: its hash, or the next free offset after it.
 * @param taken offsets of other sites
 * @returns the offset, and whether it is not the hash's own and so has to be recorded
 * @throws SitegenError when every offset is taken
 */
export function chooseOffset(domain: string, ranges: Ranges, taken: ReadonlySet<number>): { offset: number; collided: boolean } {
  const size = capacity(ranges) - reservedOffsets;
  const hash = createHash('sha256').update(domain).digest().readUInt32BE(0) % size;
  for (let step = 0; step < size; step++) {
    const offset = reservedOffsets + ((hash + step) % size);
    if (!taken.has(offset)) return { offset, collided: step > 0 };
  }
  throw new SitegenError(`${domain}: all ${size} addresses of ${ranges.sites} are taken`, {
    hint: 'set network.sites and network.containers to larger ranges in sitegen.yaml',
  });
}

/**
 * How Docker is to use the containers' range: the gateway is the host as containers see it, and
 * `dynamic` is what Docker may hand out by itself.
 */
export function networkOf(containers: string): { subnet: string; gateway: string; dynamic: string } {
  return { subnet: containers, gateway: toText(base(containers) + 1), dynamic: `${toText(base(containers))}/24` };
}

/** True when two IPv4 ranges in CIDR notation share an address. */
export function overlap(a: string, b: string): boolean {
  const [x, y] = [parse(a), parse(b)];
  const bits = Math.min(x[1], y[1]);
  return x[0].match(y[0], bits);
}

/** The family of an address in its usual notation, 0 when it is none. */
export function isAddress(text: string): 0 | 4 | 6 {
  if (ipaddr.IPv4.isValidFourPartDecimal(text)) return 4;
  return text.includes(':') && ipaddr.IPv6.isValid(text) && !text.includes('%') ? 6 : 0;
}

/** True for an address that the whole internet can reach. */
export function isPublic(address: string): boolean {
  return isAddress(address) !== 0 && ipaddr.process(address).range() === 'unicast';
}

/** An address or a range of either family as `network/bits`, without host bits; undefined when it is none. */
export function networkRange(text: string): string | undefined {
  const [address = '', bits, ...rest] = text.split('/');
  const family = isAddress(address);
  const most = family === 4 ? 32 : 128;
  if (family === 0 || rest.length > 0 || (bits !== undefined && (!/^\d{1,3}$/.test(bits) || Number(bits) > most))) return undefined;
  const cidr = `${address}/${bits ?? most}`;
  const network = family === 4 ? ipaddr.IPv4.networkAddressFromCIDR(cidr) : ipaddr.IPv6.networkAddressFromCIDR(cidr);
  const length = Number(bits ?? most);
  // An IPv4 address in the notation of IPv6 is one all the same: no connection comes from it.
  if (network instanceof ipaddr.IPv6 && network.isIPv4MappedAddress() && length >= 96) return `${network.toIPv4Address().toString()}/${length - 96}`;
  return `${network.toString()}/${length}`;
}

/**
 * A range of either family as its networks of a greater length, in the notation of inet_ntop(3).
 * @param bits length of each, not less than the range's own
 */
export function subnets(range: string, bits: number): string[] {
  const [address, length] = ipaddr.parseCIDR(range);
  const bytes = address.toByteArray();
  const start = BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
  const stride = 1n << BigInt(bytes.length * 8 - bits);
  return Array.from({ length: 2 ** (bits - length) }, (_, index) => {
    const hex = (start + BigInt(index) * stride).toString(16).padStart(bytes.length * 2, '0');
    return toNotation(Buffer.from(hex, 'hex'));
  });
}

/** Why a text cannot be one of the ranges, or undefined when it can. */
export function rangeFault(cidr: string): string | undefined {
  // Other notations, such as octal ones, mean something else to nft and ip.
  if (!ipaddr.IPv4.isValidCIDRFourPartDecimal(cidr) || cidr.includes('/0')) return 'is not an IPv4 range';
  if (!['private', 'carrierGradeNat', 'reserved'].includes(parse(cidr)[0].range())) return 'is no private range';
  const bits = parse(cidr)[1];
  if (bits > 22) return 'is too small';
  if (bits < 8) return 'is too large';
  return toNumber(parse(cidr)[0].toString()) === base(cidr) ? undefined : `has host bits set: write ${toText(base(cidr))}/${bits}`;
}

/** Last offset + 1; the broadcast address is left out. */
function capacity(ranges: Ranges): number {
  const size = (cidr: string) => 2 ** (32 - parse(cidr)[1]);
  return Math.min(size(ranges.sites), size(ranges.containers)) - 1;
}

function parse(cidr: string): [ipaddr.IPv4, number] {
  return ipaddr.IPv4.parseCIDR(cidr.includes('/') ? cidr : `${cidr}/32`);
}

function base(cidr: string): number {
  return toNumber(ipaddr.IPv4.networkAddressFromCIDR(cidr).toString());
}

function toNumber(address: string): number {
  return Buffer.from(ipaddr.IPv4.parse(address).toByteArray()).readUInt32BE(0);
}

/** As inet_ntop(3) writes it: the first of the longest runs of zeros is shortened, and IPv4 within IPv6 is shown as such. */
function toNotation(bytes: Buffer): string {
  if (bytes.length === 4) return [...bytes].join('.');
  const words = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(2 * index));
  const zerosFrom = words.map((_, at) => [...words.slice(at), 1].findIndex((word) => word !== 0));
  const length = Math.max(...zerosFrom);
  const at = zerosFrom.indexOf(length);
  if (at === 0 && (length === 6 || (length === 5 && words[5] === 0xff_ff))) return `::${length === 5 ? 'ffff:' : ''}${[...bytes.subarray(12)].join('.')}`;
  const text = (part: readonly number[]) => part.map((word) => word.toString(16)).join(':');
  return length < 2 ? text(words) : `${text(words.slice(0, at))}::${text(words.slice(at + length))}`;
}

function toText(value: number): string {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join('.');
}
