import * as z from 'zod';
import { isAddress, networkRange } from './addresses.ts';
import { reasonOf } from './errors.ts';
import { isHost } from './hosts.ts';
import { parseListen, reservedPorts } from './listen.ts';
import { parseAlias, parseDomain } from './names.ts';
import { isSize, parseSize, parseSpan } from './quantities.ts';

/** The kinds of values that settings are made of; each says what is allowed. */

const dayMs = 86_400_000;

const noControl = (value: string) => !/[\u0000-\u001f\u007f]/.test(value);

/** One line. */
export const text = () => z.string().refine(noControl, 'must be one line without control characters');

/** systemd's notation of a size. */
export const size = () => z.union([z.string(), z.number().int().positive()]).transform(String)
  .refine(isSize, 'is not a size: write a number with K, M, G or T, a percentage of the machine such as 20%, or infinity');

/** The same for a size that does not depend on the machine. */
export const bytes = () => z.union([z.string(), z.number().int().positive()]).transform(String)
  .refine((value) => parseSize(value) !== undefined, 'is not a size: write a number with K, M, G or T, or infinity');

/** systemd's notation of a time span; timers count milliseconds in 31 bits. */
export const span = (maxMs = dayMs, most = '1day') => z.union([z.string(), z.number().positive()]).transform(String)
  .refine((value) => parseSpan(value) !== undefined, { error: 'is not a time span: write for example 30s, 1min 30s or 500ms', abort: true })
  .refine((value) => (parseSpan(value) ?? 0) >= 1 && (parseSpan(value) ?? 0) <= maxMs, `is out of range: write 1ms to ${most}`);

const checked = (parse: (value: string) => string) => z.string().transform((value, context) => {
  try {
    return parse(value);
  } catch (error) {
    context.addIssue({ code: 'custom', message: reasonOf(error) });
    return z.NEVER;
  }
});

/** A domain, in any case and script. */
export const domain = () => checked(parseDomain);

/** A domain, or `*.domain`. */
export const alias = () => checked(parseAlias);

export const port = () => z.int().min(1).max(65_535);

/** A port of this host for a site: `25`, or `25:2525` where the container's own is another. */
export const listenPort = () => z.union([z.string(), z.number()]).transform((value, context) => {
  const ports = parseListen(value);
  const reserved = ports && reservedPorts[ports.public];
  if (ports && reserved === undefined) return ports;
  context.addIssue({ code: 'custom', message: reserved === undefined ? 'is not a port: write 25, or "25:2525" where the container\'s own is another; 1 to 65535' : `belongs to ${reserved}: choose another port` });
  return z.NEVER;
});

/** `host:port`; an IPv6 address in brackets. Gives both, the host without brackets. */
export const hostPort = (what: string) => z.string().transform((value, context) => {
  const parts = splitHostPort(value);
  if (parts) return parts;
  context.addIssue({ code: 'custom', message: `is not ${what}: write host:port, such as 127.0.0.1:8443` });
  return z.NEVER;
});

/** A source range in CIDR notation, or one address; host bits are taken off. */
export const sourceRange = () => z.string().transform((value, context) => {
  const range = networkRange(value);
  if (range !== undefined) return range;
  context.addIssue({ code: 'custom', message: 'is not an address or a range: write 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32' });
  return z.NEVER;
});

/** Where a port of a host is; an address has no letters, or a colon. */
export interface HostPort {
  host: string;
  port: number;
}

/** Reads `host:port`, or gives undefined. Names are in their ASCII form. */
export function splitHostPort(value: string): HostPort | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s/]+)):(\d{1,5})$/.exec(value);
  const host = (match?.[1] ?? match?.[2] ?? '').toLowerCase();
  const number = Number(match?.[3]);
  if (!match || number < 1 || number > 65_535) return undefined;
  if (match[1] !== undefined ? isAddress(host) !== 6 : !isHost(host)) return undefined;
  return { host, port: number };
}
