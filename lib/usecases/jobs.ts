import type { Systemd } from '../effects/systemd.ts';
import { refusedCalendars } from '../effects/calendar.ts';
import { SitegenError } from '../pure/errors.ts';
import { skippedCode, stoppedCode } from '../pure/jobs.ts';
import { jobUnits, siteNames } from '../pure/names.ts';
import type { Site } from '../pure/site.ts';
import { loadSettings, type Fault } from './settings.ts';

/** A job as `sitegen jobs` lists it; times in ISO 8601. */
export interface JobStatus {
  domain: string;
  name: string;
  calendar: string;
  command: readonly string[];
  /** When it runs next; null while the site is disabled, or its timer does not run. */
  next: string | null;
  /** When it has run last, be it before the last boot. */
  last: string | null;
  /** What became of it since the last boot; null when it has not run. */
  result: 'done' | 'skipped' | 'stopped' | 'failed' | 'running' | null;
  /** Why it was skipped or has failed. */
  reason: string | null;
}

/** Times of jobs that systemd does not know, as faults of their sites. */
export async function jobFaults(sites: readonly Pick<Site, 'domain' | 'workload'>[]): Promise<Fault[]> {
  const jobs = sites.flatMap(({ domain, workload }) => (workload?.jobs ?? []).map(({ name, calendar }) => ({ domain, name, calendar })));
  const refused = await refusedCalendars(jobs.map(({ calendar }) => calendar));
  return jobs.flatMap(({ domain, name, calendar }) => {
    const reason = refused.get(calendar);
    return reason === undefined ? [] : [{ domain, reason: `jobs.${name}.calendar: systemd does not know the time ${JSON.stringify(calendar)}: ${reason}` }];
  });
}

/** The jobs of some sites, or of all. */
export async function listJobs(systemd: Pick<Systemd, 'properties'>, domains?: readonly string[]): Promise<{ jobs: JobStatus[]; faults: readonly Fault[] }> {
  const { sites, faults } = await loadSettings(domains);
  const jobs: JobStatus[] = [];
  for (const { site: { domain, workload } } of sites) {
    for (const { name, calendar, argv } of workload?.jobs ?? []) {
      const { timer, service } = jobUnits(siteNames(domain), name);
      const { NextElapseUSecRealtime: next, LastTriggerUSec: triggered } = await systemd.properties(timer, 'Timer');
      const { ActiveState: timerState } = await systemd.properties(timer, 'Unit');
      const run = await lastRun(systemd, service);
      jobs.push({ domain, name, calendar, command: argv, next: timerState === 'active' ? timeOf(next) : null, last: run.began ?? timeOf(triggered), result: run.result, reason: run.reason });
    }
  }
  return { jobs, faults };
}

/**
 * Runs a job of a site now, as its timer would, and waits for it.
 * @returns why it was skipped, if it was
 * @throws SitegenError when there is no such job, or it fails
 */
export async function startJob(systemd: Pick<Systemd, 'start' | 'properties'>, domain: string, name: string): Promise<string | undefined> {
  const { sites: [loaded], faults: [fault] } = await loadSettings([domain]);
  if (!loaded) throw new SitegenError(fault?.reason ?? `${domain}: there is no such site`);
  const known = (loaded.site.workload?.jobs ?? []).map((job) => job.name);
  if (!known.includes(name)) throw new SitegenError(`${domain}: it has no job ${JSON.stringify(name)}; ${known.length === 0 ? 'it has none' : `there are: ${known.join(', ')}`}`, { hint: `see: sitegen jobs ${domain}` });
  const names = siteNames(domain);
  const { service } = jobUnits(names, name);
  try {
    await systemd.start(service);
  } catch (error) {
    const { reason } = await lastRun(systemd, service);
    throw new SitegenError(`${domain}: its job ${name} failed${reason === null ? '' : `: ${reason}`}`, { cause: error, hint: `look at: journalctl -u ${names.service} SITEGEN_JOB=${name}` });
  }
  const { result, reason } = await lastRun(systemd, service);
  return result === 'done' ? undefined : (reason ?? result ?? 'it is running');
}

async function lastRun(systemd: Pick<Systemd, 'properties'>, service: string): Promise<{ began: string | null } & Pick<JobStatus, 'result' | 'reason'>> {
  const { ActiveState: state } = await systemd.properties(service, 'Unit');
  const { Result: result, ExecMainStatus: status, ExecMainStartTimestamp: began, StatusText: text } = await systemd.properties(service, 'Service');
  const since = timeOf(began);
  if (state === 'activating') return { began: since, result: 'running', reason: null };
  if (since === null) return { began: null, result: null, reason: null };
  const what = result !== 'success' ? 'failed' : status === skippedCode ? 'skipped' : status === stoppedCode ? 'stopped' : 'done';
  const reason = typeof text === 'string' && text !== '' ? text.replace(/^skipped: /, '') : null;
  return { began: since, result: what, reason: what === 'done' ? null : reason };
}

/** Microseconds since 1970 as systemd has them: none, and never, are 0 and 2^64 - 1. */
function timeOf(micros: unknown): string | null {
  const ms = Number(micros ?? 0) / 1000;
  return ms > 0 && ms < 8.64e15 ? new Date(ms).toISOString() : null;
}
