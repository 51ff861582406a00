import os from 'node:os';
import { alertText, lastLines, postWebhook, runCommand, sendMail, type Alert } from '../effects/alerts.ts';
import { exists, namesIn, readIfThere, remove, writeAtomic } from '../effects/files.ts';
import { lastFailure } from '../effects/journal-read.ts';
import type { Systemd } from '../effects/systemd.ts';
import { shouldSend, stillOpen, type AlarmRecord } from '../pure/alarms.ts';
import { reasonOf } from '../pure/errors.ts';
import { bothUnits, isJobUnit, paths } from '../pure/names.ts';
import type { DefaultsFile } from '../pure/schema.ts';
import { loadDefaults } from './settings.ts';
import { lastWords } from './status.ts';

const timeoutMs = 20_000;

/** How a unit failed, in systemd's words: $MONITOR_SERVICE_RESULT and $MONITOR_EXIT_STATUS. */
export interface Failure {
  result: string;
  exitStatus: string | undefined;
}

/**
 * Raises the alarm of a unit that has just failed: writes it down, and tells those named in
 * `alerts:`, at most once per unit and hour.
 * @param told what systemd says of it
 * @returns `failed` when an alert could not be delivered
 */
export async function raise(systemd: Systemd, unit: string, told: Failure, now: Date): Promise<{ failed: boolean }> {
  // systemd tells of the unit as it is by now, and of one that was started again it says "success".
  const failure = told.result === 'success' ? await lastFailure(unit).catch(() => undefined) ?? { result: 'it failed', exitStatus: undefined } : told;
  const said = unit.endsWith('.service') ? await lastWords(systemd, unit) : undefined;
  // A job's exit code is that of our program, and says nothing of the site's.
  const reason = (isJobUnit(unit) ? said : undefined) ?? describeFailure(failure, said);
  // The "<3>" makes it an error in the journal (sd-daemon(3)).
  console.error(`<3>alarm: ${unit} has failed: ${reason}; look at: journalctl -u ${unit}`);
  const before = await readRecord(unit);
  // The unit is failed again by now: only the time tells whether it has worked in between.
  const open = before !== undefined && await isOpen(systemd, before, 'inactive');
  const send = shouldSend(before, now);
  const { errors, delivered } = send ? await deliver(unit, reason, now) : { errors: [], delivered: false };
  for (const error of errors) console.error(`<3>${error}`);
  const record: AlarmRecord = {
    unit,
    since: open ? before.since : now.toISOString(),
    last: await failedAt(systemd, unit, now),
    // What reached nobody is sent with the next failure.
    sent: delivered ? now.toISOString() : (before?.sent ?? null),
    count: open ? before.count + 1 : 1,
    reason,
  };
  await writeAtomic({ path: recordFile(unit), content: `${JSON.stringify(record, undefined, 2)}\n`, mode: 0o600 });
  return { failed: errors.length > 0 };
}

/**
 * Closes the alarm of a oneshot unit, if there is one: called by its program when all is well.
 * Kept, as it still counts for how often alerts are sent.
 */
export async function worked(unit: string, now: Date): Promise<void> {
  const record = await readRecord(unit);
  if (record && record.worked === undefined) await writeAtomic({ path: recordFile(unit), content: `${JSON.stringify({ ...record, worked: now.toISOString() }, undefined, 2)}\n`, mode: 0o600 });
}

/**
 * The alarms whose unit has not worked since. Closed ones are forgotten when they no longer
 * matter for how often alerts are sent.
 */
export async function openAlarms(systemd: Systemd, now: Date): Promise<AlarmRecord[]> {
  const open: AlarmRecord[] = [];
  for (const name of await namesIn(paths.alarmsDir)) {
    const record = name.endsWith('.json') ? await readRecord(name.slice(0, -'.json'.length)) : undefined;
    if (!record) continue;
    if (await isOpen(systemd, record)) open.push(record);
    else if (shouldSend(record, now)) await remove(recordFile(record.unit));
  }
  return open;
}

/** Sends the alarm on every way that the settings name; one that fails does not keep the others. */
async function deliver(unit: string, reason: string, now: Date): Promise<{ errors: string[]; delivered: boolean }> {
  let alerts: DefaultsFile['alerts'];
  try {
    ({ alerts } = await loadDefaults());
  } catch (error) {
    return { errors: [`no alert can be sent: ${reasonOf(error)}`], delivered: false };
  }
  const journal = await lastLines(unit, 20).catch(() => []);
  const alert: Alert = { unit, host: os.hostname(), time: now.toISOString(), reason, journal };
  const ways: [string, Promise<void>][] = [];
  if (alerts?.command) ways.push(['command', runCommand(alerts.command, alertText(alert), timeoutMs)]);
  if (alerts?.webhook !== undefined) ways.push(['webhook', postWebhook(alerts.webhook, alert, timeoutMs)]);
  if (alerts?.email !== undefined) ways.push(['email', sendMail(alerts.email, alert, timeoutMs)]);
  const results = await Promise.allSettled(ways.map(([, sending]) => sending));
  const errors = results.flatMap((result, index) => (result.status === 'rejected' ? [`alerts.${ways[index]?.[0] ?? ''} failed: ${reasonOf(result.reason)}`] : []));
  return { errors, delivered: errors.length < ways.length || ways.length === 0 };
}

/** The unit's own time, as it may have been started again before its alarm got to run. */
async function failedAt(systemd: Systemd, unit: string, now: Date): Promise<string> {
  const micros = Number((await systemd.properties(unit, 'Unit'))['InactiveEnterTimestamp'] ?? 0);
  return (micros > 0 ? new Date(micros / 1000) : now).toISOString();
}

async function isOpen(systemd: Systemd, record: AlarmRecord, activeState?: string): Promise<boolean> {
  // Its service is one of a template, which systemd has for jobs that are gone too.
  if (isJobUnit(record.unit) && !await exists(`${paths.unitsDir}/${bothUnits(record.unit).timer}`)) return false;
  const unit = await systemd.properties(record.unit, 'Unit');
  const service = record.unit.endsWith('.service') && unit['LoadState'] === 'loaded' ? await systemd.properties(record.unit, 'Service') : {};
  return stillOpen(record, {
    loadState: String(unit['LoadState']),
    activeState: activeState ?? String(unit['ActiveState']),
    activeEnteredMs: Number(unit['ActiveEnterTimestamp'] ?? 0) / 1000,
    inactiveEnteredMs: Number(unit['InactiveEnterTimestamp'] ?? 0) / 1000,
    type: service['Type'] as string | undefined,
    result: service['Result'] as string | undefined,
    exitStatus: service['ExecMainStatus'] as number | undefined,
  });
}

function describeFailure({ result, exitStatus }: Failure, said: string | undefined): string {
  // A name instead of a number is the signal that systemd ended the main process with, before
  // something else of the unit failed.
  if (result === 'exit-code' && /^[1-9]/.test(exitStatus ?? '')) return `exit code ${exitStatus ?? ''}`;
  return (result === 'exit-code' ? said : undefined) ?? results[result] ?? result;
}

/** systemd's results in words (systemd.exec(5), $SERVICE_RESULT). */
const results: Record<string, string> = {
  timeout: 'a time limit passed', signal: 'it was killed by a signal', 'core-dump': 'it crashed',
  'oom-kill': 'it used more memory than allowed', 'exit-code': 'a program of it failed', resources: 'the system refused it resources',
};

async function readRecord(unit: string): Promise<AlarmRecord | undefined> {
  const text = await readIfThere(recordFile(unit));
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as AlarmRecord;
  } catch {
    return undefined;
  }
}

function recordFile(unit: string): string {
  return `${paths.alarmsDir}/${unit}.json`;
}
