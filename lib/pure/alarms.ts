/** What is kept of an alarm, one file a unit. */
export interface AlarmRecord {
  unit: string;
  /** First and last failure since it worked, and when alerts last went out; ISO 8601. */
  since: string;
  last: string;
  sent: string | null;
  /** Failures since it worked. */
  count: number;
  reason: string;
}

const hourMs = 3_600_000;

/** Whether a failure goes out: the first one does, later ones at most once an hour, and when the clock was set back. */
export function shouldSend(last: AlarmRecord | undefined, now: Date): boolean {
  if (last?.sent == null) return true;
  const sinceMs = now.getTime() - Date.parse(last.sent);
  return !(sinceMs >= 0 && sinceMs < hourMs);
}

/** Whether an alarm stands: until its unit has become active after the last failure, or is gone. */
export function stillOpen(record: AlarmRecord, unit: { loadState: string; activeState: string; activeEnteredMs: number }): boolean {
  if (unit.loadState === 'not-found') return false;
  return unit.activeState === 'failed' || unit.activeEnteredMs <= Date.parse(record.last);
}
