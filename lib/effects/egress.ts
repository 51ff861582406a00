import { execFile } from 'node:child_process';
import { promises as dns } from 'node:dns';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { Answer } from '../pure/egress-rules.ts';
import { SitegenError } from '../pure/errors.ts';
import { resolversIn } from '../pure/hosts.ts';
import { shared } from '../pure/paths.ts';

const execute = promisify(execFile);

/** What the kernel and name servers are asked about what sites may reach outside. */

/** Has nft read some text as one transaction. @throws SitegenError with what it said, and then nothing has changed */
export async function readRules(text: string): Promise<void> {
  await nft(['-f', '-'], text);
}

/** Packets that the table's named counters have counted, by name; undefined when it cannot be read. */
export async function countersOf(): Promise<ReadonlyMap<string, number> | undefined> {
  const text = await nft(['list', 'counters', 'table', 'inet', shared.table]).catch(() => undefined);
  return text === undefined ? undefined : new Map([...text.matchAll(/counter (\S+) \{\s*packets (\d+)/g)].map(([, name = '', packets]) => [name, Number(packets)] as const));
}

async function nft(args: readonly string[], input = ''): Promise<string> {
  try {
    const running = execute('nft', args, { maxBuffer: 64 * 1024 * 1024, env: { ...process.env, LC_ALL: 'C' } });
    running.child.stdin?.on('error', () => undefined).end(input);
    return (await running).stdout;
  } catch (error) {
    throw new SitegenError(`nft failed: ${(error as { stderr?: string }).stderr?.trim().split('\n', 1)[0] ?? String(error)}`, { cause: error });
  }
}

/**
 * Asks the machine's name servers for a name, and /etc/hosts where they do not know it.
 * @returns undefined when nobody answers
 */
export async function answerOf(name: string): Promise<Answer | undefined> {
  const resolver = new dns.Resolver({ timeout: 2000, tries: 2 });
  const answers = await Promise.all([resolver.resolve4(name, { ttl: true }), resolver.resolve6(name, { ttl: true })].map((asked) => asked.catch((error: unknown) => (['ENOTFOUND', 'ENODATA'].includes((error as NodeJS.ErrnoException).code ?? '') ? [] : undefined))));
  const found = answers.flatMap((answer) => answer ?? []);
  if (found.length > 0) return { addresses: found.map(({ address }) => address), ttl: Math.min(...found.map(({ ttl }) => ttl)) };
  if (answers.includes(undefined)) return undefined;
  const local = await dns.lookup(name, { all: true }).catch(() => []);
  return { addresses: local.map(({ address }) => address), ttl: 30 };
}

/** Where Docker and programs look for name servers. The second is what systemd-resolved asks itself, which Docker takes instead of its stub. */
const resolverFiles = ['/etc/resolv.conf', '/run/systemd/resolve/resolv.conf'];

/** What Docker takes where there is none that containers can reach (resolvconf of moby's libnetwork). */
const dockerFallback = ['8.8.8.8', '8.8.4.4'];

/** Addresses of the name servers that containers may be led to, and programs ask; none of this machine's own. */
export async function resolvers(): Promise<string[]> {
  const texts = await Promise.all(resolverFiles.map((file) => readFile(file, 'utf8').catch(() => '')));
  const found = [...texts.flatMap((text) => resolversIn(text)), ...resolversIn(await dockerDns())];
  return [...new Set(found.length > 0 ? found : dockerFallback)].sort();
}

/** Those of Docker's own settings, as resolv.conf(5) would have them. */
async function dockerDns(): Promise<string> {
  try {
    const { dns: servers } = JSON.parse(await readFile('/etc/docker/daemon.json', 'utf8')) as { dns?: unknown };
    return Array.isArray(servers) ? servers.map((server) => `nameserver ${String(server)}\n`).join('') : '';
  } catch {
    return '';
  }
}

/** The number of a user; undefined when there is none. */
export async function uidOf(user: string): Promise<number | undefined> {
  return execute('id', ['--user', '--', user]).then(({ stdout }) => Number(stdout), () => undefined);
}
