import { execFile } from 'node:child_process';
import http from 'node:http';
import net from 'node:net';

/** Where and how a container shows that it is ready. */
export interface Target {
  address: string;
  port: number;
  /** Asked for with GET when set; otherwise a connection is enough. */
  path: string | undefined;
  host: string;
  /** Further ports that have to accept connections. */
  others?: readonly number[];
}

/**
 * Asks a container once whether it is ready: its port accepts, or its path is answered with a
 * status below 500, and its further ports accept.
 * @param timeoutMs after which it counts as not ready
 */
export async function isReady(target: Target, timeoutMs: number): Promise<boolean> {
  if (!await (target.path === undefined ? accepts(target, timeoutMs) : answers(target, target.path, timeoutMs))) return false;
  return await closedPort(target, timeoutMs) === undefined;
}

/** The first of the further ports that accepts no connection; undefined when all do. */
export async function closedPort({ address, others = [] }: Target, timeoutMs: number): Promise<number | undefined> {
  for (const port of others) if (!await accepts({ address, port }, timeoutMs)) return port;
  return undefined;
}

function accepts({ address, port }: Pick<Target, 'address' | 'port'>, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect({ host: address, port, timeout: timeoutMs });
    const end = (ready: boolean) => () => {
      socket.destroy();
      resolve(ready);
    };
    socket.once('connect', end(true)).once('timeout', end(false)).once('error', end(false));
  });
}

function answers({ address, port, host }: Target, path: string, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const request = http.get({ host: address, port, path, headers: { host, connection: 'close' }, timeout: timeoutMs }, (response) => {
      response.destroy();
      resolve((response.statusCode ?? 500) < 500);
    });
    request.once('timeout', () => request.destroy()).once('error', () => { resolve(false); });
  });
}

/**
 * Asks a program for a path in a network that only it can reach, such as a container without one:
 * with curl, as Node cannot enter a namespace.
 * @param pid a process in there
 * @returns the status of its answer; undefined when there was none
 */
export function askInside(pid: number, { port, path, host }: { port: number; path: string; host: string }): Promise<number | undefined> {
  const curl = ['curl', '--silent', '--noproxy', '*', '--max-time', '10', '--output', '/dev/null', '--write-out', '%{http_code}', '--header', `Host: ${host}`, `http://127.0.0.1:${port}${path}`];
  return new Promise((resolve) => {
    execFile('nsenter', [`--net=/proc/${pid}/ns/net`, ...curl], { timeout: 15_000 }, (_error, stdout) => {
      const status = Number(stdout.trim());
      resolve(status >= 100 ? status : undefined);
    });
  });
}

/** Ends all connections that wait, or come, on listening sockets that systemd handed over. @returns a function that stops it */
export async function refuseAll(fds: readonly number[]): Promise<() => void> {
  const servers = await Promise.all(fds.map((fd) => new Promise<net.Server>((resolve, reject) => {
    const server = net.createServer((socket) => { socket.destroy(); });
    server.once('error', reject);
    server.listen({ fd }, () => { resolve(server); });
  })));
  return () => { for (const server of servers) server.close(); };
}

/**
 * Answers every request on a listening socket that systemd handed over.
 * @param fd descriptor of the socket
 * @param forMs how long; requests begun by then are still answered
 * @param quietMs ends it earlier, when nobody has asked for so long
 * @returns how many requests were answered
 */
export async function answerAll(fd: number, response: { status: number; headers: Record<string, string>; body: string }, forMs: number, quietMs = forMs): Promise<number> {
  let answered = 0;
  let asked = performance.now();
  const server = http.createServer((request, reply) => {
    answered += 1;
    asked = performance.now();
    request.resume();
    reply.writeHead(response.status, { ...response.headers, connection: 'close' });
    reply.end(request.method === 'HEAD' ? undefined : response.body);
  });
  server.on('clientError', (_, socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ fd }, resolve);
  });
  const end = performance.now() + forMs;
  for (let left = forMs; left > 0; left = Math.min(end, asked + quietMs) - performance.now()) await new Promise((resolve) => setTimeout(resolve, Math.min(left, quietMs)));
  await new Promise<void>((resolve) => {
    server.close(() => { resolve(); });
    setTimeout(() => { server.closeAllConnections(); }, 1000).unref();
  });
  return answered;
}
