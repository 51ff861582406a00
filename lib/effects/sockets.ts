import http from 'node:http';
import net from 'node:net';

/** A listening socket that systemd passed on. */
export interface InheritedSocket {
  name: string;
  fd: number;
}

/** The sockets in systemd's environment variables, with the names of `FileDescriptorName=` (sd_listen_fds(3)). */
export function inheritedSockets(env: NodeJS.ProcessEnv, pid: number): InheritedSocket[] {
  if (env['LISTEN_PID'] !== String(pid)) return [];
  const names = (env['LISTEN_FDNAMES'] ?? '').split(':');
  return Array.from({ length: Number(env['LISTEN_FDS'] ?? 0) }, (_, index) => ({ name: names[index] ?? '', fd: 3 + index }));
}

/** Counts what is being done, and calls back when nothing was for a while. */
export class IdleClock {
  private busy = 0;
  private timer: NodeJS.Timeout | undefined;
  private readonly idleMs: number;
  private readonly onIdle: () => void;

  constructor(idleMs: number, onIdle: () => void) {
    this.idleMs = idleMs;
    this.onIdle = onIdle;
    this.rest();
  }

  /** Marks something as begun. @returns what marks its end; more than one call counts once */
  begin(): () => void {
    clearTimeout(this.timer);
    this.busy += 1;
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      this.busy -= 1;
      if (this.busy === 0) this.rest();
    };
  }

  private rest(): void {
    this.timer = setTimeout(this.onIdle, this.idleMs);
  }
}

/** An answer to a request. */
export interface Answer {
  status: number;
  type: string;
  body: string;
}

/** A request as far as anybody here looks at it. */
export interface Question {
  method: string;
  path: string;
  headers: Readonly<Record<string, string | string[] | undefined>>;
}

/** Answers requests on an inherited socket; whatever goes wrong in it is a 500, and reported. */
export function serveHttp(fd: number, clock: IdleClock, answer: (question: Question) => Promise<Answer>, report: (error: unknown) => void): void {
  const server = http.createServer({ requestTimeout: 10_000, headersTimeout: 5000, keepAliveTimeout: 5000 }, (request, response) => {
    // Bodies mean nothing here.
    request.resume();
    const question = { method: request.method ?? '', path: (request.url ?? '').split('?', 1)[0] ?? '', headers: request.headers };
    answer(question).catch((error: unknown): Answer => {
      report(error);
      return { status: 500, type: 'text/plain', body: 'unknown\n' };
    }).then(({ status, type, body }) => {
      response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body), 'cache-control': 'no-store' });
      response.end(request.method === 'HEAD' ? undefined : body);
    }).catch(report);
  });
  server.maxConnections = 256;
  server.on('connection', (socket) => { socket.once('close', clock.begin()); });
  server.on('clientError', (_error, socket) => { socket.destroy(); });
  server.on('error', report);
  server.listen({ fd });
}

/** Passes each connection of an inherited socket on; more than `most` at once are closed. */
export function serveRaw(fd: number, clock: IdleClock, most: number, hold: (socket: net.Socket) => void, report: (error: unknown) => void): void {
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.once('close', clock.begin());
    hold(socket);
  });
  server.maxConnections = most;
  server.on('error', report);
  server.listen({ fd });
}
