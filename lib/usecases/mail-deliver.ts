import { writeAtomic } from '../effects/files.ts';
import type { Entry } from '../effects/journal.ts';
import { dropMessage, listQueue, openContent, saveProgress, takeFlush, takeIn, type Spool } from '../effects/mail-spool.ts';
import type { Sender } from '../effects/smtp-send.ts';
import { reasonOf } from '../pure/errors.ts';
import { parseRelay, relayText, type Relay, type SenderSite } from '../pure/mail.ts';
import { fairOrder, isDue, isForgotten, judge, noMail, type MailCounts, type Outcome, type Queued } from '../pure/mail-queue.ts';
import { inParallel } from '../pure/parallel.ts';
import { keyOf } from './mail-intake.ts';
import { readMailStats } from './mail-stats.ts';

/** Messages under way at once, to all servers together. */
const atOnce = 3;

/** For how long a server may be away until that is an alarm, ms: most are back by the third try. */
const patienceMs = 15 * 60_000;

export interface DeliverDeps {
  spool: Spool;
  statsFile: string;
  sites: () => ReadonlyMap<string, SenderSite>;
  /** The way to a server. @throws SitegenError when its account cannot be read */
  senderTo: (relay: Relay) => Promise<Sender>;
  /** Writes an entry into the journal. */
  tell: (entry: Entry) => Promise<void>;
  now: () => number;
}

/** What a round of delivery came to. */
export interface Round {
  /** Messages that wait for a later try. */
  left: number;
  /** Why somebody should have a look, a line each. */
  alarms: string[];
}

/**
 * Delivers all that is due, and what comes meanwhile. A message leaves the queue when the server has
 * taken it; a crash in between sends it twice, as SMTP cannot help, and never loses it.
 */
export async function deliver(deps: DeliverDeps): Promise<Round> {
  const { spool, now } = deps;
  const alarms = new Set<string>();
  const senders = new Map<string, Promise<Sender>>();
  const stats = await readMailStats(deps.statsFile);
  const count = (domain: string, change: Partial<MailCounts>) => {
    const before = stats.get(domain) ?? noMail;
    stats.set(domain, { ...before, ...Object.fromEntries(Object.entries(change).map(([key, value]) => [key, before[key as keyof MailCounts] + value])) });
  };
  const round: RoundState = { deps, alarms, away: new Map(), count, senderTo: (relay) => {
    const key = relayText(relay);
    const sender = senders.get(key) ?? deps.senderTo(relay);
    senders.set(key, sender);
    return sender;
  } };
  const tried = new Set<string>();
  let queue: Queued[] = [];
  const look = async () => {
    const { messages, notes } = await takeIn(spool);
    queue = await listQueue(spool, (line) => { alarms.add(line); });
    for (const { id, text } of notes) await tellNote(deps, id, text, count);
    const fresh = queue.filter(({ name }) => messages.includes(name));
    for (const message of fresh) await tellTaken(deps, message, count);
    return { messages, flush: await takeFlush(spool) };
  };
  try {
    for (;;) {
      const { flush } = await look();
      for (const message of queue.filter((each) => isForgotten(each, now()))) await dropMessage(spool, message.name);
      const due = queue.filter((each) => !tried.has(each.name) && (isDue(each, now()) || (flush && each.progress?.failed === undefined)));
      if (due.length === 0) break;
      for (const { name } of due) tried.add(name);
      await inParallel(fairOrder(due), atOnce, (message) => deliverOne(round, message));
    }
  } finally {
    for (const sender of senders.values()) await sender.then((open) => { open.close(); }, () => undefined);
    const waiting = (await listQueue(spool, () => undefined)).filter(({ progress }) => progress?.failed === undefined);
    for (const [domain, counts] of stats) stats.set(domain, { ...counts, waiting: waiting.filter(({ envelope }) => envelope.domain === domain).length });
    await writeAtomic({ path: deps.statsFile, content: `${JSON.stringify(Object.fromEntries(stats))}\n` });
  }
  const left = queue.filter(({ progress }) => progress?.failed === undefined).length;
  return { left, alarms: [...alarms] };
}

interface RoundState {
  deps: DeliverDeps;
  alarms: Set<string>;
  /** Servers that nothing more is sent to in this round, and why. */
  away: Map<string, string>;
  count: (domain: string, change: Partial<MailCounts>) => void;
  senderTo: (relay: Relay) => Promise<Sender>;
}

async function deliverOne({ deps, alarms, away, count, senderTo }: RoundState, { name, id, envelope, progress }: Queued): Promise<void> {
  const { spool, now } = deps;
  // As the settings are now; those of a site that is gone, as they were.
  const relay = deps.sites().get(id)?.relay ?? parseRelay(envelope.relay);
  const server = relay === undefined ? envelope.relay : relayText(relay);
  const to = progress?.left ?? envelope.to;
  const failed = (reason: string): Outcome => ({ taken: [], refused: [], reason, serverFault: true });
  const attempt = async (): Promise<Outcome> => {
    const known = away.get(server);
    if (known !== undefined) return failed(known);
    if (relay === undefined) return failed(`${server} is no mail server`);
    try {
      return await (await senderTo(relay)).send(envelope.from, to, await openContent(spool, name));
    } catch (error) {
      return failed(reasonOf(error));
    }
  };
  const outcome = await attempt();
  const verdict = judge(envelope, progress, outcome, now());
  // First of all, as whatever stops this now sends it twice.
  if (verdict.progress) await saveProgress(spool, name, verdict.progress);
  else await dropMessage(spool, name);
  if (outcome.serverFault) {
    away.set(server, outcome.reason);
    if (now() - envelope.at > patienceMs) alarms.add(`${server} does not take mail: ${outcome.reason}`);
  }
  count(envelope.domain, { delivered: outcome.taken.length, lost: verdict.lost.length });
  const say = (what: string, priority: number, text: string) => deps.tell(entryOf(envelope, what, priority, text));
  const key = keyOf(name);
  if (outcome.taken.length > 0) await say('delivered', 6, `mail ${key} to ${outcome.taken.join(', ')}: delivered to ${server}`);
  for (const { address, reason } of verdict.lost) {
    const text = `mail ${key} to ${address} was not delivered: ${reason}`;
    alarms.add(`${envelope.domain}: ${text}`);
    await say('lost', 3, `alarm: ${text}; it is kept: sitegen mail queue ${envelope.domain}`);
  }
  if (verdict.progress && verdict.progress.failed === undefined) await say('deferred', 5, `mail ${key} to ${verdict.progress.left.join(', ')} waits until ${new Date(verdict.progress.next).toISOString()}: ${verdict.progress.reason}`);
}

async function tellTaken(deps: DeliverDeps, { name, envelope, bytes }: Queued, count: RoundState['count']): Promise<void> {
  count(envelope.domain, { taken: 1 });
  await deps.tell(entryOf(envelope, 'taken', 6, `mail ${keyOf(name)} from ${envelope.from === '' ? '<>' : envelope.from} to ${envelope.to.join(', ')}: taken, ${bytes} bytes`));
}

async function tellNote(deps: DeliverDeps, id: string, text: string, count: RoundState['count']): Promise<void> {
  const site = deps.sites().get(id);
  if (!site) return;
  count(site.domain, { limited: 1 });
  await deps.tell(entryOf(site, 'limited', 4, text));
}

/** Under the site's own unit, so that its journal has it. */
function entryOf({ domain, service }: { domain: string; service: string }, what: string, priority: number, text: string): Entry {
  return { lines: [text], fields: { PRIORITY: String(priority), SYSLOG_IDENTIFIER: 'sitegen-mail', OBJECT_SYSTEMD_UNIT: service, SITEGEN_DOMAIN: domain, SITEGEN_MAIL: what } };
}
