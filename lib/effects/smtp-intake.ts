import type { AddressInfo } from 'node:net';
import type { Readable } from 'node:stream';
import { SMTPServer, type SMTPServerOptions, type SMTPServerSession } from 'smtp-server';

/** Speaks SMTP with those who hand mail in. */

/** Why something is not taken: a reply code of RFC 5321 and the words behind it, one line. */
export class Refusal extends Error {
  readonly responseCode: number;

  constructor(responseCode: number, message: string) {
    super(message);
    this.name = 'Refusal';
    this.responseCode = responseCode;
  }
}

/** A connection. */
export interface Session {
  id: string;
  /** IPv4 where it is one, also in the notation of IPv6. */
  address: string;
  helo: string;
}

/** What is decided at each step; each throws a `Refusal`, and whatever else is thrown is a 451, and reported. */
export interface IntakeHandlers {
  connected(session: Session): void;
  closed(session: Session): void;
  /** @param announced size that the client says, 0 for none */
  sender(session: Session, address: string, announced: number): void;
  /** @param before how many recipients the message has already */
  recipient(session: Session, address: string, before: number): void;
  /**
   * Takes a message, so that it is on the disk when it returns.
   * @param content ends with an error when the connection is lost before all has come
   * @returns the words of the acknowledgement
   */
  message(session: Session, from: string, to: readonly string[], content: Readable): Promise<string>;
}

export interface Intake {
  /** 0 for a socket that was passed on. */
  port: number;
  /** Accepts no more connections, and waits for those there are, `closeMs` at most. */
  close(): Promise<void>;
}

export interface IntakeOptions extends IntakeHandlers {
  /** What it calls itself. */
  name: string;
  /** Size of a message that is announced, bytes. */
  maxBytes: number;
  /** Connections at once. */
  maxClients: number;
  /** How long a client may be silent, and how long a close waits. */
  silenceMs: number;
  closeMs: number;
  /** Marks a connection as begun; gives what marks its end. */
  begin: () => () => void;
  report: (error: unknown) => void;
}

/** Serves a listening socket that systemd has passed on, or an address. */
export async function serveIntake(where: { fd: number } | { host: string; port: number }, options: IntakeOptions): Promise<Intake> {
  const { begin, report } = options;
  const losses = new Map<string, AbortController>();
  // One that has gone or talked before it was greeted has no address, whatever the library's types say.
  const sessionOf = ({ id, remoteAddress, hostNameAppearsAs }: SMTPServerSession): Session => ({ id, address: (remoteAddress as string | undefined)?.replace(/^::ffff:/i, '') ?? '', helo: typeof hostNameAppearsAs === 'string' ? hostNameAppearsAs : '' });
  const refusalOf = (error: unknown): Refusal => {
    if (error instanceof Refusal) return error;
    report(error);
    return new Refusal(451, 'a fault of the relay; try again later');
  };
  const step = (act: () => void, callback: (error?: Error | null) => void) => {
    try {
      act();
    } catch (error) {
      callback(refusalOf(error));
      return;
    }
    callback();
  };
  const given: SMTPServerOptions = {
    name: options.name,
    banner: 'sitegen',
    size: options.maxBytes,
    maxClients: options.maxClients,
    socketTimeout: options.silenceMs,
    closeTimeout: options.closeMs,
    // Who a client is, its address says.
    authOptional: true,
    disabledCommands: ['AUTH', 'STARTTLS'],
    disableReverseLookup: true,
    hideSMTPUTF8: true,
    logger: false,
    onConnect(session, callback) {
      losses.set(session.id, new AbortController());
      step(() => { options.connected(sessionOf(session)); }, callback);
    },
    onClose(session) {
      // The library leaves what it was reading open for ever.
      losses.get(session.id)?.abort(new Error('the connection was lost'));
      losses.delete(session.id);
      options.closed(sessionOf(session));
    },
    onMailFrom({ address, args }, session, callback) {
      const size = Number((args as { SIZE?: unknown } | undefined)?.SIZE ?? 0);
      step(() => { options.sender(sessionOf(session), address, Number.isFinite(size) ? size : 0); }, callback);
    },
    onRcptTo({ address }, session, callback) {
      step(() => { options.recipient(sessionOf(session), address, session.envelope.rcptTo.length); }, callback);
    },
    onData(stream, session, callback) {
      const from = session.envelope.mailFrom === false ? '' : session.envelope.mailFrom.address;
      const to = session.envelope.rcptTo.map(({ address }) => address);
      const loss = losses.get(session.id)?.signal;
      const lost = () => { stream.destroy(loss?.reason as Error); };
      stream.on('error', () => undefined);
      loss?.addEventListener('abort', lost, { once: true });
      const finish = (error: Refusal | null, text?: string) => {
        loss?.removeEventListener('abort', lost);
        if (loss?.aborted === true) return;
        // The answer comes when the client has said all.
        stream.resume();
        callback(error, text);
      };
      options.message(sessionOf(session), from, to, stream).then((text) => { finish(null, text); }, (error: unknown) => { finish(loss?.aborted === true ? null : refusalOf(error)); });
    },
  };
  const server = new SMTPServer(given);
  server.server.on('connection', (socket) => { socket.once('close', begin()); });
  // Of single clients; they are told by their connection.
  server.on('error', (error: Error & { remote?: string }) => { if (error.remote === undefined) report(error); });
  await new Promise<void>((resolve, reject) => {
    server.server.once('error', reject);
    server.server.once('listening', () => {
      server.server.off('error', reject);
      resolve();
    });
    server.server.listen(where);
  });
  return {
    port: (server.server.address() as AddressInfo | null)?.port ?? 0,
    close: () => new Promise((resolve) => { server.close(() => { resolve(); }); }),
  };
}
