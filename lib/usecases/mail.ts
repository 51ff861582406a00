import fs from 'node:fs/promises';
import os from 'node:os';
import { askFlush, dropMessage, listQueue, saveProgress, spoolAt } from '../effects/mail-spool.ts';
import { connectSender, type Sender } from '../effects/smtp-send.ts';
import type { Systemd } from '../effects/systemd.ts';
import { reasonOf, SitegenError } from '../pure/errors.ts';
import { accountFor, relayText, type Account, type Relay } from '../pure/mail.ts';
import type { Queued } from '../pure/mail-queue.ts';
import { mail } from '../pure/names.ts';
import { keyOf } from './mail-intake.ts';
import { readSenderSites } from './mail-sites.ts';

/** A message as `sitegen mail queue` shows it; times in ISO 8601. */
export interface QueueRow {
  key: string;
  domain: string;
  from: string;
  to: readonly string[];
  bytes: number;
  taken: string;
  tries: number;
  next: string | null;
  state: 'waiting' | 'failed';
  reason: string | null;
}

/** The queue of some sites, or of all, the oldest first. */
export async function mailQueue(domains: readonly string[] | undefined, report: (line: string) => void): Promise<QueueRow[]> {
  return (await messages(report)).filter(({ envelope }) => domains?.includes(envelope.domain) ?? true).map(({ name, envelope, progress, bytes }) => ({
    key: keyOf(name),
    domain: envelope.domain,
    from: envelope.from,
    to: progress?.left ?? envelope.to,
    bytes,
    taken: new Date(envelope.at).toISOString(),
    tries: progress?.tries ?? 0,
    next: progress === undefined || progress.failed !== undefined ? null : new Date(progress.next).toISOString(),
    state: progress?.failed === undefined ? 'waiting' : 'failed',
    reason: progress?.reason ?? null,
  }));
}

/**
 * Tries all that waits now, and waits until that is done.
 * @param keys of messages that were given up, to be tried again too
 * @returns those that were given up by that, as a server refuses them
 * @throws SitegenError when a message is not there, or the delivery fails otherwise
 */
export async function flushMail(systemd: Pick<Systemd, 'start'>, keys: readonly string[], report: (line: string) => void): Promise<QueueRow[]> {
  const spool = spoolAt(mail.spoolDir);
  for (const { name, progress } of await named(keys, report)) {
    if (progress?.failed !== undefined) await saveProgress(spool, name, { ...progress, failed: undefined, next: 0 });
  }
  const givenUp = async () => (await mailQueue(undefined, report)).filter(({ state }) => state === 'failed');
  const before = new Set((await givenUp()).map(({ key }) => key));
  await askFlush(spool);
  const failure = await systemd.start(mail.deliverUnit).then(() => undefined, (error: unknown) => ({ error }));
  const refused = (await givenUp()).filter(({ key }) => !before.has(key));
  // The unit fails for each of them, as that is an alarm.
  if (failure && refused.length === 0) throw failure.error;
  return refused;
}

/** Takes messages out of the queue for good. @throws SitegenError when one is not there */
export async function removeMail(keys: readonly string[], report: (line: string) => void): Promise<void> {
  for (const { name } of await named(keys, report)) await dropMessage(spoolAt(mail.spoolDir), name);
}

/** Connects to each server that sites send through, and logs in. @returns what became of it, a line each */
export async function checkRelays(): Promise<{ relay: string; domains: string[]; fault: string | undefined }[]> {
  const byRelay = new Map<string, { relay: Relay; domains: string[] }>();
  for (const { relay, domain } of (await sitesDirThere()) ? readSenderSites().values() : []) {
    if (relay) byRelay.set(relayText(relay), { relay, domains: [...byRelay.get(relayText(relay))?.domains ?? [], domain] });
  }
  const results: { relay: string; domains: string[]; fault: string | undefined }[] = [];
  for (const [text, { relay, domains }] of byRelay) {
    let sender: Sender | undefined;
    const fault = await openSender(relay).then((open) => (sender = open).verify()).then(() => undefined, (error: unknown) => reasonOf(error));
    sender?.close();
    results.push({ relay: text, domains, fault });
  }
  return results;
}

/** The way to a server, with its account if there is one. @throws SitegenError when others could read the accounts */
export async function openSender(relay: Relay): Promise<Sender> {
  return connectSender({ relay, account: await readAccount(relay, mail.accounts), name: os.hostname() });
}

/** The account for a server in a file of root's. @throws SitegenError when others could read it */
export async function readAccount(relay: Relay, file: string): Promise<Account | undefined> {
  const handle = await fs.open(file, 'r').catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new SitegenError(`cannot read ${file}: ${reasonOf(error)}`, { cause: error });
  });
  if (!handle) return undefined;
  try {
    const { mode } = await handle.stat();
    if ((mode & 0o077) !== 0) throw new SitegenError(`${file} has passwords, and others than root may read it`, { hint: `chmod 600 ${file}` });
    return accountFor(await handle.readFile('utf8'), relay);
  } finally {
    await handle.close();
  }
}

async function messages(report: (line: string) => void): Promise<Queued[]> {
  const spool = spoolAt(mail.spoolDir);
  if (!await fs.access(spool.queue).then(() => true, () => false)) return [];
  return listQueue(spool, report);
}

async function named(keys: readonly string[], report: (line: string) => void): Promise<Queued[]> {
  const all = await messages(report);
  return keys.map((key) => {
    const found = all.find(({ name }) => keyOf(name) === key);
    if (!found) throw new SitegenError(`${key}: there is no such message`, { hint: 'see: sitegen mail queue' });
    return found;
  });
}

async function sitesDirThere(): Promise<boolean> {
  return fs.access(mail.sitesDir).then(() => true, () => false);
}
