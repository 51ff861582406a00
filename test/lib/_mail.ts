import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import type { ExecutionContext } from 'ava';
import { SMTPServer } from 'smtp-server';
import { spoolAt, type Spool } from '../../lib/effects/mail-spool.ts';
import { serveIntake, type Intake } from '../../lib/effects/smtp-intake.ts';
import { connectSender } from '../../lib/effects/smtp-send.ts';
import type { Entry } from '../../lib/effects/journal.ts';
import { builtInMail, type SenderSite } from '../../lib/pure/mail.ts';
import { makeIntake, type IntakeDeps } from '../../lib/usecases/mail-intake.ts';
import { deliver, type DeliverDeps } from '../../lib/usecases/mail-deliver.ts';

export const site: SenderSite = {
  id: 'example.com', domain: 'example.com', service: 'site-example.com.service', names: ['example.com', 'shop.example.org'], address: '127.0.0.1',
  relay: { tls: 'smtp', host: '127.0.0.1', port: 1 }, from: undefined, perHour: 100, maxBytes: builtInMail.maxBytes, otherEmail: undefined,
};

/** A queue of its own for a test. */
export async function makeSpool(t: ExecutionContext): Promise<{ spool: Spool; directory: string }> {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'sitegen-mail-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const spool = spoolAt(directory);
  for (const each of [spool.tmp, spool.in, spool.queue, `${directory}/counts`]) await mkdir(each);
  return { spool, directory };
}

/** The relay's own intake on a port of the loopback. */
export async function startIntake(t: ExecutionContext, spool: Spool, directory: string, rules: Partial<SenderSite> = {}, deps: Partial<IntakeDeps> = {}): Promise<Intake & { faults: unknown[] }> {
  const faults: unknown[] = [];
  const handlers = makeIntake({ siteAt: () => ({ ...site, ...rules }), spool, countsDir: `${directory}/counts`, now: () => Date.now(), report: (line) => { faults.push(line); }, freeMin: 0, ...deps });
  const intake = await serveIntake({ host: '127.0.0.1', port: 0 }, {
    ...handlers, name: 'mail.sitegen.internal', maxBytes: builtInMail.maxBytes, maxClients: 20, silenceMs: 10_000, closeMs: 100, begin: () => () => undefined, report: (error) => { faults.push(error); },
  });
  t.teardown(() => intake.close());
  return { ...intake, faults };
}

/** A message as a smarthost gets it. */
export interface Got {
  from: string;
  to: string[];
  text: string;
}

export interface SinkRules {
  /** An answer instead of taking it. */
  refuse?: (step: 'mail' | 'rcpt' | 'data', address: string) => { code: number; text: string } | undefined;
  /** Called before the acknowledgement. */
  hold?: () => Promise<void>;
  user?: { name: string; password: string };
  secure?: boolean;
}

/** A smarthost, with the library that a real one could use. */
export async function startSink(t: ExecutionContext, rules: SinkRules = {}): Promise<{ port: number; got: Got[]; logins: string[]; close: () => Promise<void> }> {
  const got: Got[] = [];
  const logins: string[] = [];
  const check = (step: 'mail' | 'rcpt' | 'data', address: string, callback: (error?: Error | null) => void) => {
    const answer = rules.refuse?.(step, address);
    callback(answer ? Object.assign(new Error(answer.text), { responseCode: answer.code }) : null);
  };
  const server = new SMTPServer({
    logger: false, closeTimeout: 100, authOptional: rules.user === undefined, allowInsecureAuth: true, secure: rules.secure === true, disabledCommands: rules.secure === true ? [] : ['STARTTLS'], disableReverseLookup: true,
    onAuth({ username = '', password = '' }, _session, callback) {
      logins.push(username);
      if (username === rules.user?.name && password === rules.user.password) callback(null, { user: username });
      else callback(Object.assign(new Error('wrong password'), { responseCode: 535 }));
    },
    onMailFrom({ address }, _session, callback) { check('mail', address, callback); },
    onRcptTo({ address }, _session, callback) { check('rcpt', address, callback); },
    onData(stream, { envelope }, callback) {
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('end', () => {
        const refused = rules.refuse?.('data', '');
        if (refused) {
          callback(Object.assign(new Error(refused.text), { responseCode: refused.code }));
          return;
        }
        got.push({ from: envelope.mailFrom === false ? '' : envelope.mailFrom.address, to: envelope.rcptTo.map(({ address }) => address), text: Buffer.concat(chunks).toString('latin1') });
        (rules.hold?.() ?? Promise.resolve()).then(() => { callback(null); }, callback);
      });
    },
  });
  server.on('error', () => undefined);
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', () => { resolve(); }); });
  const close = () => new Promise<void>((resolve) => { server.close(() => { resolve(); }); });
  t.teardown(close);
  return { port: (server.server.address() as { port: number }).port, got, logins, close };
}

/** What a delivery needs, to a sink on the loopback. */
export function deliverDeps(spool: Spool, directory: string, port: number, more: Partial<DeliverDeps> = {}): DeliverDeps & { told: Entry[] } {
  const told: Entry[] = [];
  return {
    spool, statsFile: `${directory}/stats.json`, sites: () => new Map([[site.id, { ...site, relay: { tls: 'smtp', host: '127.0.0.1', port } }]]),
    senderTo: (relay) => Promise.resolve(connectSender({ relay, account: undefined, name: 'host.example', greetingMs: 5000, silenceMs: 5000 })),
    tell: (entry) => {
      told.push(entry);
      return Promise.resolve();
    },
    now: () => Date.now(), told, ...more,
  };
}

export { deliver };
