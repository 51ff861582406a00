import { isAddress, subnets } from './addresses.ts';
import { SitegenError } from './errors.ts';
import type { Entry, Target } from './entry.ts';
import type { Site } from './site.ts';

/**
 * What the router knows of a site: entries of maps, so that a site comes and goes without a
 * reload. Each value begins with the site's domain, which tells whose entry it is; further
 * fields, separated by "|", are in the order in which templates/router/haproxy.cfg reads them.
 */
export type MapName = (typeof mapNames)[number];

/** `acme` (challenges) and `logins` (right passwords) are filled by the router's own rules and by certify. */
export const mapNames = ['names', 'passthrough', 'options', 'nets', 'headers', 'routes'] as const;
export const runtimeMaps = ['acme', 'logins'] as const;

export type MapEntries = Record<MapName, Map<string, string>>;

/** Lengths of masks that the router compares, IPv4 and IPv6 in pairs; a range of another length becomes several. */
export const masks = Array.from({ length: 17 }, (_, index) => ({ index, four: 2 * index, six: 8 * index }));

/** Parts of a path's prefix that can be taken off. */
export const strips = [0, 1, 2, 3, 4, 5, 6].map((count) => ({ count, next: count + 2 }));

/** Maps without an entry. */
export function noEntries(): MapEntries {
  return { names: new Map(), passthrough: new Map(), options: new Map(), nets: new Map(), headers: new Map(), routes: new Map() };
}

/** Domain of the site that a value belongs to. */
export function ownerOfEntry(value: string): string {
  return value.split('|', 1)[0] ?? '';
}

/** Names that lead to a site. */
export function namesOfSite(maps: MapEntries, domain: string): string[] {
  return [...maps.names].filter(([, value]) => ownerOfEntry(value) === domain).map(([name]) => name);
}

/**
 * A site's entries.
 * @param address the site's local address, for what needs one
 * @param implied the name that the site has without saying so, www or the domain without it, when no other site has it
 */
export function entriesOf(site: Site, address: string, implied: string | undefined): MapEntries {
  const entries = noEntries();
  const { domain, entry } = site;
  if (!site.enabled) return entries;
  const put = (map: MapName, key: string, ...fields: (string | number)[]) => {
    // A header's value is the last field, and may have the separator in it.
    if (map !== 'headers' && fields.some((field) => String(field).includes('|'))) throw new SitegenError(`${domain}: ${JSON.stringify(fields)} cannot be written into a map`);
    entries[map].set(key, [domain, ...fields].join('|'));
  };
  const serve = entry.passthrough ? 'pass' : 'serve';
  for (const name of [domain, ...site.aliases]) put('names', name, serve);
  // With passthrough the certificate for the other name is the upstream's too; and a site that is
  // elsewhere is reached in one hop by every name.
  const other = entry.passthrough || isElsewhere(entry) ? serve : 'redirect';
  if (implied !== undefined && !entries.names.has(implied) && !leadsTo(entry, implied)) put('names', implied, entry.www === 'serve' ? serve : other);
  for (const name of site.redirects) put('names', name, other);

  put('options', domain, flagsOf(entry), Math.ceil((entry.maintenance?.retryAfterMs ?? 0) / 1000), entry.serverTimeoutMs, entry.tunnelTimeoutMs, entry.maxBody, entry.hsts);
  for (const range of entry.allow ?? []) for (const key of netKeys(range)) put('nets', `${key}|a|${domain}`, 'a');
  for (const range of entry.maintenance?.allow ?? []) for (const key of netKeys(range)) put('nets', `${key}|m|${domain}`, 'm');
  for (const [name, value] of Object.entries(entry.headers)) put('headers', `${domain}|${name.toLowerCase()}`, value);
  for (const [path, target] of entry.targets) put('routes', `${domain}${path}/`, ...fieldsOf(target, path, address));
  if (entry.passthrough) {
    const { to, proxyProtocol } = entry.passthrough;
    put('passthrough', domain, proxyProtocol ? 'be_pass_proxy' : 'be_pass', to.host, to.port, kindOf(to.host));
  }
  return entries;
}

/** True for a site that does nothing but redirect. */
function isElsewhere(entry: Entry): boolean {
  return !entry.passthrough && entry.targets.size === 1 && entry.targets.get('')?.kind === 'redirect';
}

/** Whether all of a site is sent on to a name: were that name the site's too, its visitors would go in circles. */
function leadsTo(entry: Entry, name: string): boolean {
  const target = isElsewhere(entry) ? entry.targets.get('') : undefined;
  return target?.kind === 'redirect' && /^https?:\/\/([^/:]+)/i.exec(target.to)?.[1]?.toLowerCase() === name;
}

/** Letters that the configuration asks for: one a setting that most sites do not have. */
function flagsOf(entry: Entry): string {
  return [
    entry.http === 'serve' || isElsewhere(entry) ? 'h' : '',
    entry.allow ? 'a' : '',
    entry.maintenance ? 'm' : '',
    entry.users.length > 0 ? 'u' : '',
    entry.probes ? 'p' : '',
    entry.ownMaxBody ? 'b' : '',
    Object.keys(entry.headers).length > 0 ? 'H' : '',
  ].join('');
}

function fieldsOf(target: Target, path: string, address: string): (string | number)[] {
  const parts = path.split('/').length - 1;
  switch (target.kind) {
    case 'address': return ['be_site', address, 80];
    case 'upstream': {
      const { protocol, host, port, base } = target.to;
      const strip = base === undefined ? [] : [parts, base];
      return [`be_${protocol}`, host, port, kindOf(host), target.host ?? '', ...strip];
    }
    case 'static': return ['be_static', target.root, target.notFound ?? '', path, '', ...(path === '' ? [] : [parts, ''])];
    case 'redirect': return [`${target.keepPath ? 'redirect' : 'goto'}${target.status}`, target.to, '', '', '', ...(path === '' || !target.keepPath ? [] : [parts, ''])];
  }
}

/** Names are resolved as they are used, so that a change of DNS is followed. */
function kindOf(host: string): 'name' | 'address' {
  return isAddress(host) === 0 ? 'name' : 'address';
}

/** Keys of a range: its networks with a length that the router compares, and the number of that length. */
export function netKeys(range: string): string[] {
  const [network = '', text = ''] = range.split('/');
  const step = network.includes(':') ? 8 : 2;
  const index = Math.ceil(Number(text) / step);
  const keys = subnets(range, index * step).map((each) => `${each}_${index}`);
  // HAProxy 3 masks the loopback address of IPv6 as if it were one of IPv4.
  return range === '::1/128' ? [...keys, '0.0.0.1_16'] : keys;
}

/** Lines of a map file. @throws SitegenError for what the format cannot hold */
export function mapText(entries: ReadonlyMap<string, string>): string {
  return [...entries].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, value]) => {
    const line = `${key} ${value}\n`;
    // HAProxy takes "#" for a comment, cuts spaces off the end, and makes two of a line that is longer than its buffer.
    if (!/^(?!#)[!-~]+$/.test(key) || !/^[!-~]([ -~]*[!-~])?$/.test(value) || line.length > 8000) {
      throw new SitegenError(`${JSON.stringify(line.slice(0, 200))} cannot be written into a map`);
    }
    return line;
  }).join('');
}

/** Reads a map file; comments and empty lines are skipped. */
export function parseMap(text: string): Map<string, string> {
  return new Map(text.split('\n').filter((line) => line !== '' && !line.startsWith('#')).map((line) => {
    const at = line.indexOf(' ');
    return at === -1 ? [line, ''] : [line.slice(0, at), line.slice(at + 1)];
  }));
}

/** What of the maps differs, each with the site that it belongs to: `+` and `-`, the map, key and value. */
export function changedEntries(before: MapEntries, after: MapEntries): { domain: string; text: string }[] {
  return mapNames.flatMap((map) => {
    const gone = [...before[map]].filter(([key, value]) => after[map].get(key) !== value);
    const come = [...after[map]].filter(([key, value]) => before[map].get(key) !== value);
    const line = (mark: string) => ([key, value]: [string, string]) => ({ domain: ownerOfEntry(value), text: `${mark} ${map}: ${key} ${value}` });
    return [...gone.map(line('-')), ...come.map(line('+'))];
  });
}

/**
 * Entries of some sites without names that these have by implication alone, and that another one has,
 * which stays as it is: its settings may have a fault, and are then asked for nothing.
 * @param said names that the sites say are theirs
 */
export function withoutOthers(now: MapEntries, before: MapEntries, domains: ReadonlySet<string>, said: ReadonlySet<string>): MapEntries {
  const isOthers = (name: string) => {
    const value = before.names.get(name);
    return !said.has(name) && value !== undefined && !domains.has(ownerOfEntry(value));
  };
  return { ...now, names: new Map([...now.names].filter(([name]) => !isOthers(name))) };
}

/** Entries of some sites put in the place of those that they had. */
export function withEntries(before: MapEntries, domains: ReadonlySet<string>, now: MapEntries): MapEntries {
  const result = noEntries();
  for (const map of mapNames) {
    const kept = [...before[map]].filter(([, value]) => !domains.has(ownerOfEntry(value)));
    result[map] = new Map([...kept, ...now[map]]);
  }
  return result;
}
