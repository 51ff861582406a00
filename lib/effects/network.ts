import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { FlowState } from '../pure/drain.ts';
import { SitegenError } from '../pure/errors.ts';
import { shared } from '../pure/names.ts';

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
    await execute('nft', ['list', 'set', 'inet', shared.table, 'held']);
    return true;
  } catch {
    return false;
  }
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
    const running = execute(program, args, { maxBuffer: 64 * 1024 * 1024 });
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

/** The connections on which a site address may still owe visitors an answer. */
export async function flowsOf(siteAddress: string): Promise<FlowState[]> {
  // With the port: on this host a visitor's own end has a site address too, the route's source.
  const { stdout } = await tool('ss', ['-HtniO', 'state', 'established', 'state', 'close-wait', 'state', 'syn-recv', 'src', `${siteAddress}:80`]);
  return parseFlows(stdout);
}

/** Reads the output of `ss -HtniO`. */
export function parseFlows(text: string): FlowState[] {
  return text.split('\n').flatMap((line) => {
    const peer = /^\s*\S+\s+(\d+)\s+(\d+)\s+\S+\s+\[?(?:::ffff:)?([\d.]+)\]?:(\d+)/.exec(line);
    if (!peer) return [];
    const counter = (name: string) => Number(new RegExp(`\\b${name}:(\\d+)`).exec(line)?.[1] ?? 0);
    return [{
      address: peer[3] ?? '',
      port: Number(peer[4]),
      receiveQueue: Number(peer[1]),
      sendQueue: Number(peer[2]),
      received: counter('bytes_received'),
      sent: counter('bytes_sent'),
      lastReceived: counter('lastrcv'),
      lastSent: counter('lastsnd'),
    }];
  });
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
