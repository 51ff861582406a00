import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { FlowState } from '../pure/drain.ts';
import { parseEgressTable, type EgressSeen } from '../pure/egress-rules.ts';
import { SitegenError } from '../pure/errors.ts';
import type { ListenPort } from '../pure/listen.ts';
import { paths, shared } from '../pure/names.ts';

const execute = promisify(execFile);

/** The machine's IPv4 routes to other networks, as CIDR ranges with the device that they use. */
export async function routes(): Promise<{ range: string; device: string }[]> {
  const { stdout } = await tool('ip', ['-json', '-4', 'route', 'show', 'table', 'main']);
  const rows = JSON.parse(stdout) as { dst: string; dev?: string }[];
  return rows.filter(({ dst }) => dst !== 'default').map(({ dst, dev }) => ({ range: dst.includes('/') ? dst : `${dst}/32`, device: dev ?? '' }));
}

/** True when the local route to the site addresses and our nftables table are both there. */
export async function inPlace(sites: string): Promise<boolean> {
  const { stdout } = await tool('ip', ['-json', '-4', 'route', 'show', 'table', 'local', 'root', sites]);
  if ((JSON.parse(stdout) as unknown[]).length === 0) return false;
  try {
    return (await execute('nft', ['list', 'chain', 'inet', shared.table, 'forward_awake'])).stdout.includes('map @awake');
  } catch {
    return false;
  }
}

/** Puts the rules back as apply has written them; what was in their sets is gone. */
export async function restoreRules(): Promise<void> {
  await tool('nft', ['-f', paths.networkRules]);
}

/** Takes the local route of a range of site addresses away, if it is there. */
export async function removeRoute(sites: string): Promise<void> {
  try {
    await execute('ip', ['route', 'del', 'local', sites, 'dev', 'lo']);
  } catch {
    // It was gone.
  }
}

async function tool(program: string, args: string[], input = ''): Promise<{ stdout: string }> {
  try {
    const running = execute(program, args, { maxBuffer: 64 * 1024 * 1024, env: { ...process.env, LC_ALL: 'C' } });
    running.child.stdin?.on('error', () => undefined).end(input);
    return await running;
  } catch (error) {
    const { code, stderr } = error as { code?: string | number; stderr?: string };
    throw new SitegenError(`${program} failed: ${code === 'ENOENT' ? 'it is not installed' : (stderr ?? '').trim()}`, {
      hint: code === 'ENOENT' ? 'run install.sh again' : undefined, cause: error,
    });
  }
}

/** Programs that listen on a port of all addresses, by name. */
export async function wildcardListeners(port: number): Promise<string[]> {
  const { stdout } = await tool('ss', ['-Hltnp', 'sport', '=', `:${port}`]);
  // What systemd holds is the router's, which shares the port.
  const lines = stdout.split('\n').filter((line) => /\s(0\.0\.0\.0|\*|\[::\]):\d+\s/.test(line) && !line.includes('pid=1,'));
  return [...new Set(lines.map((line) => /\("([^"]+)"/.exec(line)?.[1] ?? 'somebody'))];
}

/** Ports of this host on which other programs listen, on whatever address, with a program's name; what systemd holds is left out. */
export async function otherListeners(): Promise<Map<number, string>> {
  const { stdout } = await tool('ss', ['-Hltnp']);
  return new Map(stdout.split('\n').flatMap((line) => {
    const port = /^\S+\s+\d+\s+\d+\s+\S+:(\d+)\s/.exec(line)?.[1];
    return port === undefined || line.includes('pid=1,') ? [] : [[Number(port), /\("([^"]+)"/.exec(line)?.[1] ?? 'another program'] as const];
  }));
}

/** The connections on which a site may still owe visitors an answer, through the splice or past it. */
export async function flowsOf(siteAddress: string): Promise<FlowState[]> {
  // With the port: on this host a visitor's own end has a site address too, the route's source.
  const filter = `( src ${siteAddress}:80 or dst ${siteAddress}:80 )`;
  const states = ['established', 'close-wait', 'syn-recv', 'fin-wait-1', 'fin-wait-2'].flatMap((state) => ['state', state]);
  const sockets = parseSockets((await tool('ss', ['-HtniO', ...states, filter])).stdout);
  // Of a connection whose splice has said all nothing is owed any more, whatever its visitor still says.
  const isOurs = ({ local, state }: Socket) => local.address === siteAddress && local.port === 80 && !state.startsWith('FIN-WAIT');
  const ended = new Set(sockets.filter((socket) => socket.local.port === 80 && !isOurs(socket)).map(({ peer }) => `${peer.address}:${peer.port}`));
  const isTheirs = ({ local, peer, state }: Socket) => peer.port === 80 && state !== 'SYN-RECV' && !ended.has(`${local.address}:${local.port}`);
  return mergeFlows(sockets.filter(isOurs), sockets.filter(isTheirs));
}

/** The splice's ends of connections, and visitors' ends, some of them of the same connections. */
export function mergeFlows(splices: readonly Socket[], visitors: readonly Socket[]): FlowState[] {
  const waiting = new Map(visitors.map(({ local, sendQueue }) => [`${local.address}:${local.port}`, sendQueue]));
  const spliced = splices.map((socket) => spliceFlow(socket)).map((flow) => ({ ...flow, waiting: waiting.get(`${flow.address}:${flow.port}`) }));
  const seen = new Set(spliced.map(({ address, port }) => `${address}:${port}`));
  return [...spliced, ...visitors.map((socket) => directFlow(socket)).filter(({ address, port }) => !seen.has(`${address}:${port}`))];
}

/** How many connections visitors have open to each site address: all of them are on this host, most often the router. */
export async function connectionsTo(sites: string): Promise<Map<string, number>> {
  const { stdout } = await tool('ss', ['-Htn', 'state', 'established', 'state', 'close-wait', 'state', 'fin-wait-1', 'state', 'fin-wait-2', 'dst', sites]);
  const connections = new Map<string, number>();
  // Of a spliced connection the splice's own end is here too.
  for (const { local, peer } of parseSockets(stdout)) if (local.port !== 80) connections.set(peer.address, (connections.get(peer.address) ?? 0) + 1);
  return connections;
}

/** What the rules say of sites. */
export interface Ways {
  /** Site addresses whose new connections the kernel sends to containers. */
  forwarded: ReadonlySet<string>;
  /** Where the kernel sends new connections to public ports: address and port of a container, with a colon. */
  ports: ReadonlyMap<number, string>;
  /** How many connections came to each site address since the rules were made, and past it to each container's. */
  visits: ReadonlyMap<string, number>;
  /** What they say of what sites may reach outside. */
  egress: EgressSeen;
}

/** Looks at the rules; undefined when they are gone. @throws SitegenError when that cannot be told */
export async function waysOf(): Promise<Ways | undefined> {
  try {
    return parseWays((await tool('nft', ['list', 'table', 'inet', shared.table])).stdout);
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

/** Reads the table as nft lists it; undefined for one that was flushed. */
export function parseWays(text: string): Ways | undefined {
  // Flushing takes the rules away and leaves what they look things up in.
  if (!text.includes('map @awake')) return undefined;
  const publicMap = /\n\tmap public \{\n([^}]*(?:\{[^}]*\})?)/.exec(text)?.[1] ?? '';
  return {
    forwarded: new Set([...text.matchAll(/([\d.]+) \. \d+ : [\d.]+ \. \d+/g)].map(([, address = '']) => address)),
    ports: new Map([...publicMap.matchAll(/(\d+) : ([\d.]+) \. (\d+)/g)].map(([, port, address = '', inside = '']) => [Number(port), `${address}:${inside}`] as const)),
    egress: parseEgressTable(text),
    visits: new Map([...text.matchAll(/[{,]\s*([\d.]+) counter packets (\d+)/g)].map(([, address = '', count]) => [address, Number(count)] as const)),
  };
}

/** Whether nft has said that there is no such table, and not that it could not look. */
export function isGone(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('nft failed: Error: No such file or directory');
}

/** Has the kernel send a site's new connections to its container. */
export async function forward(site: string, container: string, port: number): Promise<void> {
  await tool('nft', ['add', 'element', 'inet', shared.table, 'awake', `{ ${site} . 80 : ${container} . ${port} }`]);
}

/** Has systemd hold them again; no error for a site whose connections it holds already. */
export async function unforward(site: string): Promise<void> {
  await execute('nft', ['delete', 'element', 'inet', shared.table, 'awake', `{ ${site} . 80 }`]).catch(() => undefined);
}

/**
 * Has the kernel send new connections to public ports to a site's container.
 * @throws SitegenError where Docker's rules would not let them through
 */
export async function forwardPorts(container: string, ports: readonly ListenPort[]): Promise<void> {
  await tool(`${paths.codeDir}/let-in`, []);
  for (const { public: port } of ports) await unforwardPort(port);
  const elements = ports.map((port) => `${port.public} : ${container} . ${port.container}`).join(', ');
  await tool('nft', ['add', 'element', 'inet', shared.table, 'public', `{ ${elements} }`]);
}

/** Has systemd hold a public port again; no error for one that it holds already. */
export async function unforwardPort(port: number): Promise<void> {
  await execute('nft', ['delete', 'element', 'inet', shared.table, 'public', `{ ${port} }`]).catch(() => undefined);
}

/** One end of a TCP connection, as `ss -HtniO` prints it. */
interface Socket extends Omit<FlowState, 'address' | 'port'> {
  /** As ss names it. */
  state: string;
  local: Visitor;
  peer: Visitor;
  /** Bytes that the other end has acknowledged, and milliseconds since it last did. */
  acknowledged: number;
  lastAcknowledged: number;
}

/** Reads the output of `ss -HtniO`. */
export function parseSockets(text: string): Socket[] {
  const end = String.raw`\[?(?:::ffff:)?([\d.]+)\]?(?:%\w+)?:(\d+)`;
  // The first column is there only when several states were asked for, as here always.
  const pattern = new RegExp(String.raw`^\s*(\S+)\s+(\d+)\s+(\d+)\s+${end}\s+${end}`);
  return text.split('\n').flatMap((line) => {
    const found = pattern.exec(line);
    if (!found) return [];
    const counter = (name: string) => Number(new RegExp(`\\b${name}:(\\d+)`).exec(line)?.[1] ?? 0);
    return [{
      state: found[1] ?? '',
      local: { address: found[4] ?? '', port: Number(found[5]) },
      peer: { address: found[6] ?? '', port: Number(found[7]) },
      receiveQueue: Number(found[2]),
      sendQueue: Number(found[3]),
      received: counter('bytes_received'),
      sent: counter('bytes_sent'),
      lastReceived: counter('lastrcv'),
      lastSent: counter('lastsnd'),
      // The handshake counts for one.
      acknowledged: Math.max(0, counter('bytes_acked') - 1),
      lastAcknowledged: counter('lastack'),
    }];
  });
}

/** A visitor's connection as the splice's own end sees it. */
function spliceFlow({ peer, received, sent, receiveQueue, sendQueue, lastReceived, lastSent }: Socket): FlowState {
  return { ...peer, received, sent, receiveQueue, sendQueue, lastReceived, lastSent };
}

/**
 * The same as the visitor's end sees it, for a connection whose other end is in the container: all is
 * the other way round. What is held has been sent, and sent again, but never arrives: only what the
 * container's kernel has acknowledged has come, and an answer acknowledges its request too. The
 * container's own queue is not seen; what waits in the visitor's is the next request.
 */
function directFlow({ local, received, acknowledged, sendQueue, lastReceived, lastSent, lastAcknowledged }: Socket): FlowState {
  return { ...local, received: acknowledged, sent: received, receiveQueue: 0, sendQueue: 0, waiting: sendQueue, lastReceived: sendQueue > 0 ? lastAcknowledged : lastSent, lastSent: lastReceived };
}

/**
 * Keeps the next requests of some connections from arriving; their clients send them again.
 * The kernel forgets it after `seconds`, so a helper that dies locks nobody out. May be repeated.
 */
export async function holdFlows(siteAddress: string, flows: readonly Visitor[], seconds: number): Promise<void> {
  // Before Linux 6.12, adding what is there does not begin its time anew.
  await change(['add', 'delete', 'add'], siteAddress, flows, ` timeout ${seconds}s`);
}

/** Lets the requests of held connections through again. */
export async function releaseFlows(siteAddress: string, flows: readonly Visitor[]): Promise<void> {
  await change(['add', 'delete'], siteAddress, flows, '');
}

type Visitor = Pick<FlowState, 'address' | 'port'>;

/** One transaction, on standard input: thousands of connections are too many for an argument. */
async function change(verbs: readonly string[], siteAddress: string, flows: readonly Visitor[], suffix: string): Promise<void> {
  if (flows.length === 0) return;
  const elements = (tail: string) => flows.map(({ address, port }) => `${address} . ${port} . ${siteAddress}${tail}`).join(', ');
  const lines = verbs.map((verb) => `${verb} element inet ${shared.table} held_flows { ${elements(verb === 'add' ? suffix : '')} }\n`);
  await tool('nft', ['-f', '-'], lines.join(''));
}
