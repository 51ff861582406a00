import { isAddress } from './addresses.ts';
import { namesIn, rulesOf, type EgressSpec } from './egress.ts';

/** The rules of the kernel by which a site reaches no more than it may, and what they tell of what was blocked. */

/** What is known of a name's addresses. */
export interface KnownName {
  /** When each was last in an answer, ms since 1970. */
  seen: Readonly<Record<string, number>>;
  /** When to ask again, ms since 1970. */
  dueAt: number;
}

/** Everything that a site's rules are made of. */
export interface EgressState extends EgressSpec {
  /** Number of the user among the sources. */
  uid?: number | undefined;
  names: Readonly<Record<string, KnownName>>;
  /** Addresses of name servers that containers ask, or Docker asks for them from within. */
  resolvers: readonly string[];
}

/**
 * How long an address that a name had stays allowed. Programs keep connections, and with services that
 * have many addresses each answer has a few of them; a site that is reset once an hour begins anew.
 */
const keepMs = 3_600_000;

/** At most this long an answer is believed: a resolver that goes on with what it has says so each time anew. */
const mostMs = 600_000;

/** After this long a name whose servers did not answer is asked for again. */
const retryMs = 15_000;

/** An answer of DNS: addresses, and for how many seconds they hold. */
export interface Answer {
  addresses: readonly string[];
  ttl: number;
}

/** What is known of a name after it was asked for. @param answer undefined when nobody answered @param now ms since 1970 */
export function learnName(before: KnownName | undefined, answer: Answer | undefined, now: number): KnownName {
  if (!answer) return { seen: before?.seen ?? {}, dueAt: now + retryMs };
  const kept = Object.entries(before?.seen ?? {}).filter(([, at]) => now - at < keepMs);
  return { seen: Object.fromEntries([...kept, ...answer.addresses.filter((address) => isAddress(address) !== 0).map((address) => [address, now] as const)].sort(([a], [b]) => (a < b ? -1 : 1))), dueAt: now + Math.min(answer.ttl * 1000, mostMs) };
}

/** Names of a site that are to be asked for now. */
export function dueNames({ places, names }: Pick<EgressState, 'places' | 'names'>, now: number): string[] {
  // A clock that was set back must not keep them for good.
  return namesIn(places).filter((name) => !((names[name]?.dueAt ?? 0) > now && (names[name]?.dueAt ?? 0) <= now + mostMs));
}

/** Names of the site's parts in the table. */
export function egressNames(id: string) {
  return { chain: `egress_${id}`, refused: { 4: `refused4_${id}`, 6: `refused6_${id}` } } as const;
}

/**
 * The file of a site's rules: what nft reads, and in its first line what it was made of.
 * Reading it twice changes nothing. The rules hold for all packets that the site sends, so that what is
 * no longer allowed ends; answers to visitors are let through before.
 */
export function renderEgress(id: string, state: EgressState): string {
  const { chain, refused } = egressNames(id);
  const { sources: { address, bridges = [] }, uid, places, names, resolvers } = state;
  const families = [4, 6] as const;
  const asksNames = namesIn(places).length > 0;
  const rules = [
    // Services of a project reach each other; a packet between two of them passes here too (br_netfilter).
    ...bridges.map((bridge) => `oifname "${bridge}" accept`),
    // Nothing on this machine is outside, but for name servers where no name has to be known.
    ...(uid === undefined ? [] : asksNames ? ['oifname "lo" accept'] : ['oifname "lo" meta l4proto { tcp, udp } th dport != 53 accept', 'oifname "lo" meta l4proto != { tcp, udp } accept']),
    ...(asksNames ? families.flatMap((family) => accept(resolvers.filter((each) => isAddress(each) === family), family, 'meta l4proto { tcp, udp } th dport 53')) : []),
    ...rulesOf(places).flatMap(({ host, ports, protocol }) => {
      const where = ports ? `${protocol} dport ${ports[0]}${ports[0] === ports[1] ? '' : `-${ports[1]}`}` : `meta l4proto ${protocol}`;
      const found = host.includes('/') ? [host] : Object.keys(names[host]?.seen ?? {});
      return families.flatMap((family) => accept(found.filter((each) => each.includes(':') === (family === 6)), family, where));
    }),
    `counter name ${chain}`,
    ...families.map((family) => `meta l4proto { tcp, udp } update @${refused[family]} { ${family === 4 ? 'ip' : 'ip6'} daddr . meta l4proto . th dport }`),
    'goto egress_refused',
  ];
  const goes = `: goto ${chain} }`;
  const elements = [
    ...(address === undefined ? [] : [`egress_addresses { ${address} ${goes}`]),
    ...bridges.map((bridge) => `egress_bridges { "${bridge}" ${goes}`),
    ...(uid === undefined ? [] : [`egress_users { ${uid} ${goes}`]),
  ];
  return [
    `# ${JSON.stringify(state)}`,
    'table inet sitegen {',
    `\tcounter ${chain} {`, '\t}',
    ...families.flatMap((family) => [`\tset ${refused[family]} {`, `\t\ttype ipv${family}_addr . inet_proto . inet_service`, '\t\tsize 64', '\t\tflags dynamic', '\t\tcounter', '\t}']),
    `\tchain ${chain} {`, '\t}',
    '}',
    `flush chain inet sitegen ${chain}`,
    'table inet sitegen {',
    `\tchain ${chain} {`,
    ...rules.map((rule) => `\t\t${rule}`),
    '\t}',
    '}',
    ...elements.map((element) => `add element inet sitegen ${element}`),
    '',
  ].join('\n');
}

/** A rule each, as ranges in one set must not overlap. */
function accept(ranges: readonly string[], family: 4 | 6, where: string): string[] {
  return ranges.map((range) => `${family === 4 ? 'ip' : 'ip6'} daddr ${range} ${where} accept`);
}

/** What a file of rules was made of; undefined for one that is missing or damaged. */
export function parseEgress(text: string | undefined): EgressState | undefined {
  try {
    return text?.startsWith('# {') === true ? JSON.parse(text.slice(2, text.indexOf('\n'))) as EgressState : undefined;
  } catch {
    return undefined;
  }
}

const elementsOf = (text: string) => text.split('\n').filter((line) => line.startsWith('add element '));
const without = (lines: readonly string[]) => lines.map((line) => line.replace(/^add/, 'delete'));

/** Whether two files of rules have the same rules, whatever is known of names. */
export function isSameRules(text: string, other: string | undefined): boolean {
  return text.slice(text.indexOf('\n')) === other?.slice(other.indexOf('\n'));
}

/** Whether a site's file of rules is not what it should be. @param spec undefined for a site that may reach everything */
export function differs(id: string, spec: EgressSpec | undefined, text: string | undefined): boolean {
  const state = parseEgress(text);
  if (!spec || !state) return spec !== undefined || text !== undefined;
  return JSON.stringify([state.domain, state.sources, state.places]) !== JSON.stringify([spec.domain, spec.sources, spec.places]) || renderEgress(id, state) !== text;
}

/** What nft reads to put a file of rules in the place of another. What goes is added first: it may be gone already. */
export function replaceEgress(before: string | undefined, text: string): string {
  const stale = elementsOf(before ?? '').filter((line) => !elementsOf(text).includes(line));
  // The chain that they lead to has to be there.
  return [text, ...stale, ...without(stale), ''].join('\n');
}

/** The same to take all of it away. */
export function withdrawEgress(id: string, text: string): string {
  const { chain, refused } = egressNames(id);
  return [text, ...without(elementsOf(text)), `flush chain inet sitegen ${chain}`, `delete chain inet sitegen ${chain}`, `delete counter inet sitegen ${chain}`, ...Object.values(refused).map((set) => `delete set inet sitegen ${set}`), ''].join('\n');
}

/** What nft reads to forget what was told of a site. */
export function emptyRefused(id: string): string {
  return Object.values(egressNames(id).refused).map((set) => `flush set inet sitegen ${set}\n`).join('');
}

/** What was refused to a site since it was last told. */
export interface Refused {
  place: string;
  packets: number;
}

/** What a listing of the table says of sites' rules. */
export interface EgressSeen {
  /** Sites whose rules are there and in use, by id. */
  inForce: ReadonlySet<string>;
  refused: ReadonlyMap<string, readonly Refused[]>;
}

/** Reads the table as nft lists it. */
export function parseEgressTable(text: string): EgressSeen {
  const led = new Set([...text.matchAll(/ : goto egress_([a-z0-9._-]+)/g)].map(([, id = '']) => id));
  const counted = [...text.matchAll(/counter name "?egress_([a-z0-9._-]+)"?/g)].map(([, id = '']) => id);
  const refused = new Map<string, Refused[]>();
  for (const [, id = '', body = ''] of text.matchAll(/\n\tset refused[46]_([a-z0-9._-]+) \{\n([^]*?)\n\t\}/g)) {
    const found = [...body.matchAll(/([\da-f.:]+) \. (tcp|udp) \. (\d+) counter packets (\d+)/g)]
      .map(([, address = '', protocol = '', port = '', packets]) => ({ place: `${address.includes(':') ? `[${address}]` : address}:${port}${protocol === 'udp' ? '/udp' : ''}`, packets: Number(packets) }))
      .filter(({ packets }) => packets > 0);
    if (found.length > 0) refused.set(id, [...refused.get(id) ?? [], ...found]);
  }
  return { inForce: new Set(counted.filter((id) => led.has(id))), refused };
}

/** How many places one line of the journal names. */
const most = 8;

/** One line for a site's journal. */
export function describeRefused(refused: readonly Refused[]): string {
  const sorted = [...refused].sort((a, b) => b.packets - a.packets);
  const shown = sorted.slice(0, most).map(({ place, packets }) => `${place} (${packets})`);
  const total = sorted.reduce((sum, { packets }) => sum + packets, 0);
  return `egress: blocked ${total} packet${total === 1 ? '' : 's'} to ${shown.join(', ')}${sorted.length > most ? `, and to ${sorted.length - most} more places` : ''}`;
}
