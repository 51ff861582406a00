import { builtInMail } from './mail.ts';

/** Messages that wait for delivery: what is kept of each, and what becomes of it. */

/** Written once, before the message is acknowledged; the first line of its file. */
export interface Envelope {
  domain: string;
  service: string;
  from: string;
  to: readonly string[];
  /** When it was taken, ms since 1970. */
  at: number;
  /** Of the site when it was taken, for when the site is gone. */
  relay: string;
}

/** What happened to it since; missing for a new one. */
export interface Progress {
  /** Recipients that still wait. */
  left: readonly string[];
  tries: number;
  /** When it is tried again, ms since 1970. */
  next: number;
  /** Why it waits, in the server's words. */
  reason: string;
  /** When it was given up, and kept to be looked at. */
  failed?: number | undefined;
}

/** What a server said to one attempt. */
export interface Outcome {
  /** Recipients that the server has taken. */
  taken: readonly string[];
  /** Those refused for good, and why. */
  refused: readonly { address: string; reason: string }[];
  /** Why the others wait. */
  reason: string;
  /** True when no message would have fared better: the server was not reached, or refused this machine. */
  serverFault: boolean;
}

/** Waits between tries, ms; the last one repeats. */
const waits = [1, 3, 7, 15, 30, 60, 120, 240].map((minutes) => minutes * 60_000);

/** What an attempt makes of a message. */
export interface Verdict {
  /** Undefined when nothing is left to do or keep. */
  progress: Progress | undefined;
  /** Refused, or too old by now: each a reason for an alarm. */
  lost: readonly { address: string; reason: string }[];
}

/** @param now ms since 1970, after the attempt */
export function judge(envelope: Envelope, before: Progress | undefined, { taken, refused, reason }: Outcome, now: number): Verdict {
  const waiting = before?.left ?? envelope.to;
  const done = new Set([...taken, ...refused.map(({ address }) => address)]);
  const left = waiting.filter((address) => !done.has(address));
  const tries = (before?.tries ?? 0) + 1;
  // A clock that was set back makes none of them older than it is.
  const tooOld = now - envelope.at > builtInMail.triesMs;
  const expired = tooOld ? left.map((address) => ({ address, reason: `not delivered within ${builtInMail.triesMs / 86_400_000} days: ${reason}` })) : [];
  const lost = [...refused, ...expired];
  const next = now + (waits[Math.min(tries, waits.length) - 1] ?? 0);
  if (left.length > 0 && !tooOld) return { progress: { left, tries, next, reason }, lost };
  if (lost.length === 0) return { progress: undefined, lost };
  return { progress: { left: lost.map(({ address }) => address), tries, next: 0, reason: lost[0]?.reason ?? reason, failed: now }, lost };
}

/** A message as the queue has it. */
export interface Queued {
  /** Its name there, which begins with the time that it was taken, so names sort by age. */
  name: string;
  id: string;
  envelope: Envelope;
  progress: Progress | undefined;
  bytes: number;
}

/** Whether a message is to be tried now. */
export function isDue({ progress }: Pick<Queued, 'progress'>, now: number): boolean {
  if (progress === undefined) return true;
  const longest = waits.at(-1) ?? 0;
  return progress.failed === undefined && (progress.next <= now || progress.next > now + longest);
}

/** Whether one that was given up has been kept for long enough. */
export function isForgotten({ progress }: Pick<Queued, 'progress'>, now: number): boolean {
  return progress?.failed !== undefined && now - progress.failed > builtInMail.keepMs;
}

/** The oldest of each site first, then the second of each: a site with many keeps the others waiting for one message. */
export function fairOrder<T extends Pick<Queued, 'name' | 'id'>>(messages: readonly T[]): T[] {
  const turns = new Map<string, number>();
  return [...messages].sort((a, b) => (a.name < b.name ? -1 : 1)).map((message) => {
    const turn = turns.get(message.id) ?? 0;
    turns.set(message.id, turn + 1);
    return { message, turn };
  }).sort((a, b) => a.turn - b.turn).map(({ message }) => message);
}

/** The name of a message that was taken at a time, of the site with an id. @param random hexadecimal */
export function messageName(at: number, random: string, id: string): string {
  return `${at.toString(16).padStart(12, '0')}${random}@${id}`;
}

/** The id of the site in a message's name; undefined for other files. */
export function siteOfMessage(name: string): string | undefined {
  return /^[0-9a-f]{20,40}@([a-z0-9._-]+)$/.exec(name)?.[1];
}

/** Counters of a site, since its first message. */
export interface MailCounts {
  /** Messages taken, recipients delivered and lost; and times that the limit was said. */
  taken: number;
  delivered: number;
  lost: number;
  limited: number;
  /** Messages that wait now. */
  waiting: number;
}

export const noMail: MailCounts = { taken: 0, delivered: 0, lost: 0, limited: 0, waiting: 0 };
