import { isAddress } from './addresses.ts';
import { parseDomain } from './names.ts';
import { splitHostPort } from './schema-values.ts';

/** What the relay knows of sites: their rules, and how these are written down for it. */

/** A server that takes mail: TLS from the first byte, after STARTTLS, or only if it is offered. */
export interface Relay {
  tls: 'smtps' | 'starttls' | 'smtp';
  /** IPv6 addresses without brackets. */
  host: string;
  port: number;
}

/** Of RFC 8314, and of RFC 5321 for the last. */
const relayPorts = { smtps: 465, starttls: 587, smtp: 25 } as const;

/** Reads `smtps://host:port`; undefined when it is none. */
export function parseRelay(text: string): Relay | undefined {
  const [, tls, rest = ''] = /^(smtps|starttls|smtp):\/\/([^/@]+)\/?$/.exec(text) ?? [];
  if (tls !== 'smtps' && tls !== 'starttls' && tls !== 'smtp') return undefined;
  const parts = splitHostPort(/(^|[^:\]]):\d+$|\]:\d+$/.test(rest) ? rest : `${rest}:${relayPorts[tls]}`);
  return parts && { tls, ...parts };
}

/** The reverse. */
export function relayText({ tls, host, port }: Relay): string {
  return `${tls}://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** Why something is no address that mail can be sent from or to, or undefined when it is one: a local part of RFC 5321's Dot-string, and a domain. */
export function addressFault(address: string): string | undefined {
  const at = address.lastIndexOf('@');
  if (at < 1) return 'it has no @ with a name before it';
  if (at > 64 || !/^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*$/.test(address.slice(0, at))) return 'letters, digits and a few signs are allowed before the @, 64 at most';
  try {
    return parseDomain(address.slice(at + 1)) === address.slice(at + 1).toLowerCase() ? undefined : 'write the domain as DNS has it, in punycode and without a dot at its end';
  } catch {
    return 'there is no domain behind the @';
  }
}

/** The part behind the `@`, in lower case. */
export function domainOf(address: string): string {
  return address.slice(address.lastIndexOf('@') + 1).toLowerCase();
}

/** Rules of a site for its mail, decided from its settings and the machine's. */
export interface SiteMail {
  /** Undefined where it may not send. */
  relay: Relay | undefined;
  /** Sender of all its mail; undefined where it may use the addresses of its own names. */
  from: string | undefined;
  /** Recipients an hour. */
  perHour: number;
  maxBytes: number;
  /** Where mail to its names goes. */
  otherEmail: string | undefined;
  /** Address at which containers find the relay. */
  gateway: string;
}

/** What holds where no file says anything: sizes in bytes, times in ms. */
export const builtInMail = {
  perHour: 100,
  maxBytes: 25 * 1024 ** 2,
  /** What a site may have in the queue. */
  queueBytes: 200 * 1024 ** 2,
  /** How long delivery is tried, as most servers do; and how long what could not be delivered is kept. */
  triesMs: 3 * 86_400_000,
  keepMs: 14 * 86_400_000,
} as const;

/** What the relay reads of a site. */
export interface SenderSite extends Omit<SiteMail, 'gateway'> {
  id: string;
  domain: string;
  service: string;
  /** All its names; `*.example.com` stands for those of that form. */
  names: readonly string[];
  /** Its container's address; undefined where it has none. */
  address: string | undefined;
}

const head = '# Made by sitegen; "sitegen apply" writes it again.';

/** A site's file for the relay: `key=value` lines of checked values. */
export function renderSenderSite(site: SenderSite): string {
  const values: Record<keyof SenderSite, string | undefined> = {
    id: site.id,
    domain: site.domain,
    service: site.service,
    names: site.names.join(' '),
    address: site.address,
    relay: site.relay && relayText(site.relay),
    from: site.from,
    perHour: String(site.perHour),
    maxBytes: String(site.maxBytes),
    otherEmail: site.otherEmail,
  };
  return `${head}\n${Object.entries(values).flatMap(([key, value]) => (value === undefined ? [] : [`${key}=${value}\n`])).join('')}`;
}

/** Reads what `renderSenderSite` wrote; undefined for anything else. */
export function readSenderSite(text: string): SenderSite | undefined {
  const values = new Map(text.split('\n').flatMap((line) => {
    const at = line.indexOf('=');
    return line.startsWith('#') || at === -1 ? [] : [[line.slice(0, at), line.slice(at + 1)] as const];
  }));
  const [id, domain, service] = ['id', 'domain', 'service'].map((key) => values.get(key));
  if (id === undefined || domain === undefined || service === undefined) return undefined;
  return {
    id,
    domain,
    service,
    names: (values.get('names') ?? '').split(' ').filter((name) => name !== ''),
    address: values.get('address'),
    relay: parseRelay(values.get('relay') ?? ''),
    from: values.get('from'),
    perHour: Number(values.get('perHour') ?? builtInMail.perHour),
    maxBytes: Number(values.get('maxBytes') ?? builtInMail.maxBytes),
    otherEmail: values.get('otherEmail'),
  };
}

/** Whether a site may send from an address: one of its own names, or below its domain. */
export function isOwnAddress({ domain, names }: Pick<SenderSite, 'domain' | 'names'>, address: string): boolean {
  if (addressFault(address) !== undefined) return false;
  const given = domainOf(address);
  return given === domain || given.endsWith(`.${domain}`)
    || names.some((name) => given === name || (name.startsWith('*.') && given.endsWith(name.slice(1)) && !given.slice(0, -name.length + 1).includes('.')));
}

/** The sender that the world sees, in place of the one that a container gave; an empty one, of a bounce, stays. */
export function senderFor(site: Pick<SenderSite, 'domain' | 'names' | 'from'>, given: string): string {
  if (given === '') return '';
  if (site.from !== undefined) return site.from;
  return isOwnAddress(site, given) ? given : `noreply@${site.domain}`;
}

/**
 * Postfix's virtual(5) map: each name of a site that has a forwarding address is a domain of its own,
 * and all its addresses lead there. Names of many (`*.example.com`) have no place in it.
 */
export function virtualMap(sites: readonly SenderSite[]): string {
  const lines = sites.flatMap(({ names, otherEmail }) => (otherEmail === undefined ? [] : names.filter((name) => !name.startsWith('*')).map((name) => `${name} sitegen\n@${name} ${otherEmail}\n`)));
  return `${head}\n${lines.sort().join('')}`;
}

/** A forwarding address that leads back to the site: mail would go in circles. */
export function forwardFault({ domain, aliases = [], redirects = [], mail }: { domain: string; aliases?: readonly string[] | undefined; redirects?: readonly string[] | undefined; mail?: { otherEmail?: string | undefined } | undefined }): string | undefined {
  const target = mail?.otherEmail;
  return target !== undefined && [domain, ...aliases, ...redirects].includes(domainOf(target)) ? 'leads to the site itself: mail would go in circles' : undefined;
}

/** An account at a smarthost. */
export interface Account {
  user: string;
  password: string;
}

/**
 * Finds an account in text as Postfix's sasl_passwd has it: `host user:password`, or `host:port …`, a line each.
 * The more exact one counts.
 */
export function accountFor(text: string, { host, port }: Pick<Relay, 'host' | 'port'>): Account | undefined {
  const found = text.split('\n').flatMap((line) => {
    const [, where = '', user = '', password = ''] = /^\s*([^#\s]\S*)\s+([^\s:]+):(.*?)\s*$/.exec(line) ?? [];
    return user === '' ? [] : [{ where: where.toLowerCase(), user, password }];
  });
  const plain = host.includes(':') ? `[${host}]` : host;
  const account = found.find(({ where }) => where === `${plain}:${port}`) ?? found.find(({ where }) => where === plain);
  return account && { user: account.user, password: account.password };
}

/** True for a host that is this machine: what goes there is seen by nobody else. */
export function isLocalHost(host: string): boolean {
  return host === '::1' || host === 'localhost' || (host.startsWith('127.') && isAddress(host) === 4);
}
