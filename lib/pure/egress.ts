import { domainToASCII } from 'node:url';
import { isAddress, networkRange } from './addresses.ts';
import { isHost } from './hosts.ts';

/** What a site may reach outside, as its settings say it; egress-rules.ts has what is made of that. */

/** A place outside that a site may reach. */
export interface EgressRule {
  /** A name, or a range of addresses as `network/bits`. */
  host: string;
  /** The first and the last port; all unless given. */
  ports: readonly [first: number, last: number] | undefined;
  protocol: 'tcp' | 'udp';
}

/** Undefined for everything, and an empty list for nothing. */
export type Egress = readonly EgressRule[] | undefined;

/** Whose packets the rules are for. */
export interface EgressSources {
  /** The container's address on the bridge that all sites share. */
  address?: string | undefined;
  /** Bridges of a Compose project's own networks. */
  bridges?: readonly string[];
  /** User of a program without a container. */
  user?: string | undefined;
}

/** What the rules of a site are made of; none for a site that may reach everything. */
export interface EgressSpec {
  domain: string;
  sources: EgressSources;
  /** As `formatPlace` writes them. */
  places: readonly string[];
}

/**
 * Reads a place: `host`, `host:port`, `host:from-to`, `address`, `network/bits:port`, `[address]:port`,
 * each of them with `/udp` behind it where it is not TCP.
 * @returns what is wrong with it, as text, when it is none
 */
export function parsePlace(text: string): EgressRule | string {
  const [, rest = '', protocol = 'tcp'] = /^(.*?)(?:\/(tcp|udp))?$/.exec(text) ?? [];
  const bare = networkRange(rest);
  const [, inner, plain, from, to] = /^(?:\[([^\]]*)\]|([^:]*))(?::(\d{1,5})(?:-(\d{1,5}))?)?$/.exec(rest) ?? [];
  const given = bare === undefined ? inner ?? plain : rest;
  if (given === undefined) return form;
  if (given.startsWith('*.')) return 'no list of names ends with *: write each name, or the addresses as a range';
  const range = bare ?? networkRange(given);
  // What looks like an address or a range is no name.
  const host = range ?? domainToASCII(given).toLowerCase();
  if (range === undefined && (inner !== undefined || given.includes('/') || isAddress(host) !== 0 || !isHost(host))) return form;
  if (range !== undefined && /^(127\.|169\.254\.|::1\/|fe80:)/.test(range)) return 'is this machine itself, or its own link, which other rules are for: take it out';
  const ports = from === undefined || bare !== undefined ? undefined : [Number(from), Number(to ?? from)] as const;
  if (ports && (ports[0] < 1 || ports[1] > 65_535 || ports[0] > ports[1])) return 'has no such port: write 1 to 65535, or two of them with the lower one first';
  return { host, ports, protocol: protocol as EgressRule['protocol'] };
}

const form = 'is not a place: write host, host:443, host:8000-8999, 192.0.2.0/24:443 or [2001:db8::1]:443, with /udp behind it where it is not TCP';

/** A place in the one form that is shown and compared. */
export function formatPlace({ host, ports, protocol }: EgressRule): string {
  const whole = host.endsWith(host.includes(':') ? '/128' : '/32') ? host.replace(/\/\d+$/, '') : host;
  const shown = whole.includes(':') && ports ? `[${whole}]` : whole;
  const range = ports ? `:${ports[0]}${ports[1] === ports[0] ? '' : `-${ports[1]}`}` : '';
  return `${shown}${range}${protocol === 'udp' ? '/udp' : ''}`;
}

/** Names that have to be resolved for some places, each once. */
export function namesIn(places: readonly string[]): string[] {
  return [...new Set(rulesOf(places).filter(({ host }) => !host.includes('/')).map(({ host }) => host))];
}

/** Places as they were shown, read again. */
export function rulesOf(places: readonly string[]): EgressRule[] {
  return places.flatMap((place) => {
    const rule = parsePlace(place);
    return typeof rule === 'string' ? [] : [rule];
  });
}
