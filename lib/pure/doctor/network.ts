import { isAddress, isPublic } from '../addresses.ts';
import { leadsHere } from '../certificate.ts';
import { error, listed, of, ok, unlessNone, warning, type Verdict } from './verdict.ts';

/** Judges how visitors come here. */

export function judgeRules(inPlace: boolean): Verdict {
  return inPlace ? ok('they are there') : error('route or rules of the sites are missing or differ: sites do not answer, or more than they should', 'sitegen apply', { do: 'apply' });
}

/** @param value of net.ipv4.ip_forward */
export function judgeForward(value: string | undefined): Verdict {
  return value?.trim() === '1' ? ok('it is on') : error('net.ipv4.ip_forward is off: containers reach nobody, and public ports do not work', 'sysctl net.ipv4.ip_forward=1; find what sets it to 0: grep -r ip_forward /etc/sysctl*', { do: 'forward' });
}

/** @param facts others: programs that listen on 80 or 443 of all addresses */
export function judgePorts({ enabled, listening, others }: { enabled: boolean; listening: boolean; others: readonly string[] }): Verdict {
  if (!enabled) return ok(others.length > 0 ? `${others.join(', ')} has them, as router.enabled is false` : 'nobody has them, and router.enabled is false');
  if (listening) return others.length === 0 ? ok('systemd holds them for the router') : warning(`${others.join(', ')} listens on them too: some visitors come there`, 'stop it, or give it other ports: "Beside another web server" in the README');
  if (others.length > 0) return error(`${others.join(', ')} has port 80 or 443`, 'stop it and run "sitegen apply"; or set router.enabled to false in sitegen.yaml');
  return error('nobody listens on ports 80 and 443', 'sitegen apply', { do: 'apply' });
}

/** @param facts drift: how the running router differs from its files */
export function judgeRouter({ enabled, runs, drift }: { enabled: boolean; runs: boolean; drift: readonly string[] }): Verdict[] {
  if (!enabled) return [ok('it is switched off')];
  if (!runs) return [error('the router does not answer: no site can be visited', 'sitegen apply; if that does not help: journalctl -u sitegen-router.service -n 30', { do: 'apply' })];
  return unlessNone(drift.map((line) => warning(line, 'sitegen apply', { do: 'apply' })), 'it runs, and knows what its files say');
}

/** @param facts addresses of one family, of all interfaces; `route`: a way to the rest of the world */
export function judgeIpv4({ addresses, route }: { addresses: readonly string[]; route: boolean }): Verdict {
  const out = addresses.filter((address) => isPublic(address));
  if (!route) return warning('there is no default route: nobody outside is reached', 'look at: ip route; networkctl');
  return ok(out.length > 0 ? listed(out) : 'no public address here: ports 80 and 443 of the one in front have to lead to this server');
}

export function judgeIpv6({ addresses, route }: { addresses: readonly string[]; route: boolean }): Verdict {
  const out = addresses.filter((address) => isPublic(address));
  if (out.length === 0) return ok('none: visitors come over IPv4');
  return route ? ok(listed(out)) : warning(`${out[0] ?? ''} has no default route: visitors get no answer`, 'look at: ip -6 route; networkctl; or take AAAA records out of DNS');
}

/** @param found addresses of a name that is known to exist; undefined when nobody answers */
export function judgeResolver(name: string, found: readonly string[] | undefined): Verdict {
  if (found === undefined) return error('no name server answers', 'look at: resolvectl status; cat /etc/resolv.conf');
  return found.length === 0 ? warning(`the name servers know no address of ${name}`, 'look at: resolvectl query that name; cat /etc/resolv.conf') : ok('name servers answer');
}

/** @param facts reachable: the authority's server accepts connections; host: its name */
export function judgeAcme({ enabled, email, reachable, host }: { enabled: boolean; email: string | undefined; reachable: boolean; host: string }): Verdict[] {
  if (!enabled) return [ok('it is switched off')];
  return unlessNone([
    ...(reachable ? [] : [error(`${host} cannot be reached: certificates neither come nor are renewed`, `look at: curl -v https://${host}/`)]),
    ...(email === undefined ? [warning('it does not know who you are, and cannot warn you', 'set acme.email in sitegen.yaml: sitegen init')] : []),
  ], `${host} answers`);
}

/**
 * @param own this server's public addresses
 * @param found what DNS has of a name; undefined when it does not answer
 */
export function judgeDns(domain: string, name: string, own: readonly string[], found: readonly string[] | undefined): Verdict | undefined {
  if (found === undefined) return of(domain, warning(`${name}: DNS does not answer`, 'ask again later; look at: resolvectl query'));
  if (found.length === 0) return of(domain, warning(`${name}: has no address in DNS`, `let it point to ${own.length > 0 ? listed(own) : 'this server'}`));
  if (leadsHere(found, own) === 'no') return of(domain, warning(`${name}: leads to ${listed(found)}, and not to this server`, `let it point to ${listed(own)}; if something in front passes visitors on, ignore this`));
  const families = new Set(own.map((address) => isAddress(address)));
  const elsewhere = leadsHere(found, own) === 'yes' ? found.filter((address) => !own.includes(address) && (families.has(isAddress(address)) || isAddress(address) === 6)) : [];
  if (elsewhere.length === 0) return undefined;
  return of(domain, warning(`${name}: some visitors go to ${listed(elsewhere)} instead`, `take ${elsewhere.length > 1 ? 'these' : 'this'} out of DNS`));
}

/** A firewall that is at work, with what it lets in over TCP from everywhere. */
export interface Firewall {
  name: 'ufw' | 'firewalld';
  /** Ports and ranges such as `1000:2000`; `all` for everything. */
  allowed: readonly string[];
}

/** A chain of nftables that drops what no rule lets in. */
export interface InputChain {
  /** Family, table and name, as nft takes them. */
  name: string;
  /** Its table as nft lists it. */
  text: string;
}

/**
 * @param ports that visitors come to
 * @param chains of others than the firewalls named
 */
export function judgeFirewall(ports: readonly number[], firewalls: readonly Firewall[], chains: readonly InputChain[]): Verdict[] {
  const closed = firewalls.flatMap(({ name, allowed }) => {
    const missing = ports.filter((port) => !allowed.some((each) => includes(each, port)));
    const how = name === 'ufw' ? `ufw allow proto tcp to any port ${missing.join(',')}` : `firewall-cmd --permanent ${missing.map((port) => `--add-port=${port}/tcp`).join(' ')} && firewall-cmd --reload`;
    return missing.length === 0 ? [] : [error(`${name} keeps visitors of port ${missing.join(', ')} out`, how)];
  });
  const dropping = chains.flatMap(({ name, text }) => {
    const missing = ports.filter((port) => !mentions(text, port));
    return missing.length === 0 ? [] : [warning(`the nftables chain ${name} drops what it does not know, and says nothing of port ${missing.join(', ')}`, `let them in: nft insert rule ${name} tcp dport '{ ${missing.join(', ')} }' accept; and in /etc/nftables.conf`)];
  });
  return unlessNone([...closed, ...dropping], firewalls.length > 0 ? `${firewalls.map(({ name }) => name).join(', ')} lets visitors in` : 'none is in the way on this server');
}

function includes(allowed: string, port: number): boolean {
  if (allowed === 'all') return true;
  const [from = 0, to = from] = allowed.split(/[:-]/).map(Number);
  return port >= from && port <= to;
}

/** nft prints services by name or number, alone, in sets and in ranges. */
function mentions(text: string, port: number): boolean {
  const names: Record<number, string> = { 80: 'http', 443: 'https', 25: 'smtp', 143: 'imap2', 993: 'imaps', 587: 'submission' };
  return [...text.matchAll(/dport (?:\{([^}]*)\}|(\S+))[^\n]*/g)].some(([line, set, one]) => /\baccept\b|\bjump\b|\bgoto\b|\bvmap\b/.test(line)
    && (set ?? one ?? '').split(',').map((each) => each.trim()).some((each) => includes(each, port) || each === names[port]));
}

/** Reads `ufw status verbose`; undefined when it is not at work. */
export function parseUfw(text: string): Firewall | undefined {
  if (!/^Status: active$/m.test(text)) return undefined;
  if (/^Default: allow \(incoming\)/m.test(text)) return { name: 'ufw', allowed: ['all'] };
  const allowed = [...text.matchAll(/^(.+?)\s+(?:ALLOW|LIMIT)(?: IN)?\s+Anywhere/gm)].flatMap(([, to = '']) => {
    if (/^Anywhere\b/.test(to)) return ['all'];
    const [, ports, protocol] = /(?:^|\s)([\d:,]+)(?:\/(tcp|udp))?(?:\s|$)/.exec(to) ?? [];
    return ports === undefined || protocol === 'udp' ? [] : ports.split(',');
  });
  return { name: 'ufw', allowed };
}

/** Reads `firewall-cmd --list-all` of the zone that visitors come through. */
export function parseFirewalld(text: string): Firewall {
  const words = (key: string) => (new RegExp(`^\\s+${key}:(.*)$`, 'm').exec(text)?.[1] ?? '').trim().split(/\s+/).filter((word) => word !== '');
  const known: Record<string, string> = { http: '80', https: '443', smtp: '25', imap: '143', imaps: '993', 'smtp-submission': '587' };
  if (words('target')[0] === 'ACCEPT') return { name: 'firewalld', allowed: ['all'] };
  return { name: 'firewalld', allowed: [...words('services').flatMap((service) => known[service] ?? []), ...words('ports').filter((port) => port.endsWith('/tcp')).map((port) => port.slice(0, -4))] };
}

/** Chains that `nft --json list chains` shows with `policy drop` for what comes in, as nft takes their names. */
export function parseInputChains(json: string): { family: string; table: string; name: string }[] {
  const { nftables } = JSON.parse(json) as { nftables: { chain?: { family: string; table: string; name: string; hook?: string; policy?: string } }[] };
  return nftables.flatMap(({ chain }) => (chain?.hook === 'input' && chain.policy === 'drop' ? [{ family: chain.family, table: chain.table, name: chain.name }] : []));
}
