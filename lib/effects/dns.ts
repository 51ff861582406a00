import { spawn } from 'node:child_process';
import { promises as dns } from 'node:dns';
import os from 'node:os';
import { SitegenError } from '../pure/errors.ts';

/** The machine's own addresses, of all interfaces. */
export function ownAddresses(): string[] {
  return Object.values(os.networkInterfaces()).flatMap((each) => each ?? []).map(({ address }) => address.replace(/%.*$/, ''));
}

/**
 * Addresses of a name as DNS has them, without /etc/hosts.
 * @returns none when the name does not exist or has no address, undefined when DNS does not answer
 */
export async function addressesOf(name: string): Promise<string[] | undefined> {
  const resolver = new dns.Resolver({ timeout: 5000, tries: 2 });
  const answers = await Promise.all([resolver.resolve4(name), resolver.resolve6(name)].map((asked) => asked.catch((error: unknown) => (isAbsent(error) ? [] : undefined))));
  const found = answers.flatMap((answer) => answer ?? []);
  return found.length === 0 && answers.includes(undefined) ? undefined : found;
}

/**
 * Whether all name servers of a zone have a TXT record; asked of the system's own resolver where
 * there is no telling which they are.
 */
export async function hasTxt(name: string, value: string): Promise<boolean> {
  const servers = await serversOf(name);
  const resolvers = servers.length === 0 ? [new dns.Resolver({ timeout: 3000, tries: 1 })] : servers.map((server) => {
    const resolver = new dns.Resolver({ timeout: 3000, tries: 1 });
    resolver.setServers([server]);
    return resolver;
  });
  const seen = await Promise.all(resolvers.map((resolver) => resolver.resolveTxt(name).then((records) => records.some((parts) => parts.join('') === value), () => false)));
  return seen.every(Boolean);
}

/** Addresses of the name servers of a name's zone. */
async function serversOf(name: string): Promise<string[]> {
  const resolver = new dns.Resolver({ timeout: 3000, tries: 1 });
  for (let zone = name; zone.includes('.'); zone = zone.slice(zone.indexOf('.') + 1)) {
    const servers = await resolver.resolveNs(zone).catch(() => []);
    if (servers.length === 0) continue;
    const addresses = await Promise.all(servers.map((server) => addressesOf(server)));
    return addresses.flatMap((found) => found?.slice(0, 1) ?? []).map((address) => (address.includes(':') ? `[${address}]` : address));
  }
  return [];
}

/** The program of `acme.dns` could not do what it was asked for. */
export class HookError extends SitegenError {}

/**
 * Runs the program that sets or removes a TXT record: `ARGV… present|cleanup NAME VALUE`.
 * @throws HookError when it ends with another status than 0, or takes longer than `timeoutMs`
 */
export async function runHook(argv: readonly string[], action: 'present' | 'cleanup', name: string, value: string, timeoutMs: number): Promise<void> {
  const [program = '', ...args] = argv;
  const refuse = (why: string, cause?: unknown) => new HookError(`${program} ${action} ${name}: ${why}`, { hint: 'acme.dns in sitegen.yaml names this program', cause });
  let said = '';
  await new Promise<void>((resolve, reject) => {
    const child = spawn(program, [...args, action, name, value], { stdio: ['ignore', process.stderr, 'pipe'], timeout: timeoutMs, killSignal: 'SIGKILL' });
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      process.stderr.write(chunk);
      said = (said + chunk).slice(-2000);
    });
    child.once('error', (error) => { reject(refuse(error.message, error)); });
    child.once('close', (code, signal) => {
      if (code === 0) resolve();
      else reject(refuse(`${signal === null ? `exit code ${code ?? ''}` : `it did not end within ${Math.round(timeoutMs / 1000)} s`}${said.trim() === '' ? '' : `: ${said.trim().split('\n').at(-1) ?? ''}`}`));
    });
  });
}

function isAbsent(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOTFOUND' || code === 'ENODATA';
}
