import { createHash } from 'node:crypto';
import { covers, type Certificate } from './certificate.ts';

/** What is kept of a site's certificate between tries; times are ISO 8601. */
export interface CertState {
  /** Fingerprints of what ACME gave, the newest first; another one in the folder was made by hand. */
  issued: string[];
  /** Tries that failed since the last that worked, and when that began. */
  failures: number;
  failingSince?: string | undefined;
  nextTry?: string | undefined;
  lastError?: string | undefined;
  /** Until when the authority has asked not to be asked again. */
  limitedUntil?: string | undefined;
  /** Why what lies in the folder is not served. */
  refused?: string | undefined;
  /** When the last alarm went out. */
  alarmed?: string | undefined;
  /** When the authority wants it renewed, and when to ask again (RFC 9773). */
  window?: { start: string; end: string; askAgain: string } | undefined;
  /** Names that the certificate is without, and why. */
  leftOut: Record<string, LeftOut>;
}

/** A name that could not be had; tried again from `nextTry` on. */
export interface LeftOut {
  reason: string;
  failures: number;
  nextTry: string;
}

export const noState: CertState = { issued: [], failures: 0, leftOut: {} };

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

type Life = Pick<Certificate, 'notBefore' | 'notAfter'>;

const lifetimeMs = ({ notBefore, notAfter }: Life) => notAfter.getTime() - notBefore.getTime();

/** A number from 0 to 1 that is always the same for a domain: spreads what all sites do. */
export function shareOf(domain: string): number {
  return createHash('sha256').update(domain).digest().readUInt32BE(4) / 2 ** 32;
}

/**
 * When a certificate is to be renewed: with a third of its lifetime left, or up to a thirtieth
 * earlier, or at a time in the window that the authority proposes.
 */
export function renewalTime(life: Life, domain: string, window?: CertState['window']): Date {
  const share = shareOf(domain);
  const own = life.notAfter.getTime() - lifetimeMs(life) * (1 / 3 + share / 30);
  if (!window) return new Date(own);
  const [start, end] = [Date.parse(window.start), Date.parse(window.end)];
  const proposed = start + share * Math.max(0, end - start);
  if (!Number.isFinite(proposed)) return new Date(own);
  // A window beyond the end, by mistake or not, must not let it expire; one that has always passed
  // must not renew it every hour.
  const tenth = lifetimeMs(life) / 10;
  return new Date(Math.max(life.notBefore.getTime() + Math.min(dayMs, tenth), Math.min(proposed, life.notAfter.getTime() - tenth)));
}

/** From when on a failure is an alarm: 14 days before the end, or a third of the lifetime when that is shorter. */
export function warningTime(life: Life): Date {
  return new Date(life.notAfter.getTime() - Math.min(14 * dayMs, lifetimeMs(life) / 3));
}

/**
 * How long to wait after a failure: an hour, then twice as long each time, up to a day; less for
 * certificates of a few days, and a little different for each site.
 */
export function backoffMs(failures: number, domain: string, life?: Life): number {
  const most = Math.min(dayMs, life ? Math.max(hourMs, lifetimeMs(life) / 20) : dayMs);
  const wait = Math.min(most, hourMs * 2 ** Math.min(10, Math.max(0, failures - 1)));
  return Math.round(wait * (0.9 + 0.1 * shareOf(domain)));
}

/** The state after a try that failed. @param retryAfterMs what the authority asks for, kept at least */
export function failed(state: CertState, failure: { reason: string; retryAfterMs?: number | undefined }, domain: string, now: Date, life?: Life): CertState {
  const failures = state.failures + 1;
  const later = (ms: number) => new Date(now.getTime() + ms).toISOString();
  return {
    ...state,
    failures,
    lastError: failure.reason,
    failingSince: state.failingSince ?? now.toISOString(),
    nextTry: later(Math.max(backoffMs(failures, domain, life), failure.retryAfterMs ?? 0)),
    limitedUntil: failure.retryAfterMs === undefined ? undefined : later(failure.retryAfterMs),
  };
}

/** The state after a try that worked: what it left out is kept for the next one. */
export function succeeded(state: CertState, issued: string | undefined, leftOut: CertState['leftOut']): CertState {
  return {
    issued: issued === undefined ? state.issued : [issued, ...state.issued.filter((other) => other !== issued)].slice(0, 3),
    failures: 0,
    ...(issued === undefined && state.window ? { window: state.window } : {}),
    ...(state.refused === undefined ? {} : { refused: state.refused }),
    leftOut,
  };
}

/** What is noted of a name that was left out once more. */
export function leaveOut(before: LeftOut | undefined, reason: string, domain: string, now: Date): LeftOut {
  const failures = (before?.failures ?? 0) + 1;
  return { reason, failures, nextTry: new Date(now.getTime() + backoffMs(failures, domain)).toISOString() };
}

/**
 * Whether a failure is to raise the alarm now: when the certificate ends soon, or a first one could
 * not be had for a day; and at most once a day.
 */
export function alarmDue(state: CertState, life: Life | undefined, now: Date): boolean {
  const since = life ? warningTime(life).getTime() : Date.parse(state.failingSince ?? now.toISOString()) + dayMs;
  if (now.getTime() < since) return false;
  if (state.alarmed === undefined) return true;
  const silent = now.getTime() - Date.parse(state.alarmed);
  // A little less than a day, so that a daily try is not put off to the next one.
  return silent < 0 || silent >= dayMs - hourMs;
}

/**
 * What there is to do for a certificate from ACME.
 * @param names all that it is wanted for, the domain among them
 * @returns due: it has to be had anew; open: names that it is without, and that may be tried again;
 *   waits: a try has failed, and the next one is later
 */
export function tasksOf(state: CertState, certificate: Certificate | undefined, names: readonly string[], domain: string, now: Date): { due: boolean; open: string[]; waits: boolean } {
  return {
    due: certificate === undefined || renewalTime(certificate, domain, state.window) <= now,
    open: names.filter((name) => !(certificate && covers(certificate, name)) && (name === domain || !isLater(state.leftOut[name]?.nextTry, now))),
    waits: isLater(state.nextTry, now),
  };
}

/** Whether a time is still to come; none, or one that cannot be read, is not. */
export function isLater(time: string | undefined, now: Date): boolean {
  return time !== undefined && Date.parse(time) > now.getTime();
}
