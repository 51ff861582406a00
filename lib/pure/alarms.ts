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
  /** When its program said itself that it works again. */
  worked?: string | undefined;
}

const hourMs = 3_600_000;

/** Whether a failure goes out: the first one does, later ones at most once an hour, and when the clock was set back. */
export function shouldSend(last: AlarmRecord | undefined, now: Date): boolean {
  if (last?.sent == null) return true;
  const sinceMs = now.getTime() - Date.parse(last.sent);
  return !(sinceMs >= 0 && sinceMs < hourMs);
}

/** What systemd says of a unit; times in ms since 1970, 0 for never. */
export interface UnitFacts {
  loadState: string;
  activeState: string;
  activeEnteredMs: number;
  inactiveEnteredMs: number;
  /** Of services alone: Type=, Result and the main process's exit status. */
  type?: string | undefined;
  result?: string | undefined;
  exitStatus?: number | undefined;
}

/**
 * Whether an alarm stands: until its unit has worked after the last failure, or is gone. A oneshot
 * unit never gets active: it has worked when it ended well, with 0, as another status that counts
 * as success means that the fault goes on.
 */
export function stillOpen(record: AlarmRecord, unit: UnitFacts): boolean {
  if (unit.loadState === 'not-found') return false;
  const last = Date.parse(record.last);
  // systemd forgets a oneshot unit that nobody refers to as soon as it ends.
  if (record.worked !== undefined && Date.parse(record.worked) > last) return false;
  if (unit.activeState === 'failed') return true;
  if (unit.activeEnteredMs > last) return false;
  return !(unit.type === 'oneshot' && unit.activeState === 'inactive' && unit.result === 'success' && unit.exitStatus === 0 && unit.inactiveEnteredMs > last);
}
