import type { Readable } from 'node:stream';
import { createTransport } from 'nodemailer';
import type SMTPPool from 'nodemailer/lib/smtp-pool/index.js';
import { isLocalHost, type Account, type Relay } from '../pure/mail.ts';
import type { Outcome } from '../pure/mail-queue.ts';

/** Hands mail to a smarthost, over connections that are kept for the next messages. */
export interface Sender {
  /**
   * Hands one message over. Never throws: what went wrong is in the outcome.
   * @param content the message; closed when this returns
   */
  send(from: string, to: readonly string[], content: Readable): Promise<Outcome>;
  /** Connects, logs in and goes. @throws Error in the server's words */
  verify(): Promise<void>;
  close(): void;
}

export interface SenderOptions {
  relay: Relay;
  account: Account | undefined;
  /** What this machine calls itself. */
  name: string;
  /** PEM of an authority beside the system's. */
  ca?: string | undefined;
  /** Connections at once; for the server's greeting, and for silence. */
  connections?: number;
  greetingMs?: number;
  silenceMs?: number;
}

/** Faults of the connection, the TLS, the account: any other message would have met them too. */
const serverFaults = new Set(['ECONNECTION', 'ETIMEDOUT', 'ESOCKET', 'EDNS', 'ETLS', 'EREQUIRETLS', 'EPROTOCOL', 'EAUTH', 'ENOAUTH', 'ECONFIG', 'EPROXY', 'ECONNREFUSED', 'ENOTFOUND']);

/** What nodemailer throws. */
interface SendError extends Error {
  code?: string;
  command?: string;
  responseCode?: number;
  recipient?: string;
  rejectedErrors?: SendError[];
}

/**
 * Prepares a way to a smarthost; connects when there is something to send.
 * An account is never told without TLS but to this machine; with one, and with smtps and starttls,
 * the server's certificate is checked.
 */
export function connectSender({ relay, account, name, ca, connections = 3, greetingMs = 30_000, silenceMs = 120_000 }: SenderOptions): Sender {
  const checked = relay.tls !== 'smtp' || (account !== undefined && !isLocalHost(relay.host));
  const options: SMTPPool.Options = {
    pool: true,
    maxConnections: connections,
    host: relay.host,
    port: relay.port,
    name,
    secure: relay.tls === 'smtps',
    requireTLS: relay.tls === 'starttls' || checked,
    tls: { rejectUnauthorized: checked, ...(ca !== undefined && { ca }) },
    ...(account && { auth: { user: account.user, pass: account.password } }),
    connectionTimeout: greetingMs,
    greetingTimeout: greetingMs,
    socketTimeout: silenceMs,
    disableFileAccess: true,
    disableUrlAccess: true,
    // One that is tried again and again inside would hold the others up; the queue does that.
    maxRequeues: 0,
  } as SMTPPool.Options;
  const transport = createTransport(options);
  return {
    async send(from, to, content) {
      try {
        const { accepted, rejectedErrors = [] } = await transport.sendMail({ envelope: { from, to: [...to] }, raw: content }) as { accepted: (string | { address: string })[]; rejectedErrors?: SendError[] };
        const taken = accepted.map((each) => (typeof each === 'string' ? each : each.address));
        return { taken, refused: refusedOf(rejectedErrors), reason: wordsOf(rejectedErrors.find((error) => !isFinal(error))), serverFault: false };
      } catch (thrown) {
        return outcomeOf(thrown as SendError, to);
      } finally {
        content.destroy();
      }
    },
    async verify() {
      await transport.verify();
    },
    close() {
      transport.close();
    },
  };
}

/** What a failed attempt means: an answer of 5xx to sender or content is final for all recipients. */
function outcomeOf(error: SendError, to: readonly string[]): Outcome {
  const rejected = error.rejectedErrors ?? [];
  const nobody = { taken: [], refused: [], reason: wordsOf(error), serverFault: false };
  if (rejected.length > 0) return { ...nobody, refused: refusedOf(rejected), reason: wordsOf(rejected.find((each) => !isFinal(each))) };
  if (serverFaults.has(error.code ?? '') || error.responseCode === 421) return { ...nobody, serverFault: true };
  if (isFinal(error)) return { ...nobody, refused: to.map((address) => ({ address, reason: wordsOf(error) })) };
  return nobody;
}

function isFinal({ responseCode = 0 }: SendError): boolean {
  return responseCode >= 500 && responseCode <= 599;
}

function refusedOf(errors: readonly SendError[]): { address: string; reason: string }[] {
  return errors.flatMap((error) => (isFinal(error) && error.recipient !== undefined ? [{ address: error.recipient, reason: wordsOf(error) }] : []));
}

function wordsOf(error: Error | undefined): string {
  return (error?.message ?? '').replaceAll(/\s+/g, ' ').slice(0, 500);
}
