import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/**
 * Tells systemd that a unit's start takes longer than its time limit says: it waits that much
 * longer from now on (EXTEND_TIMEOUT_USEC in sd_notify(3)). Does nothing outside of a unit.
 */
export async function extendTimeout(ms: number): Promise<void> {
  if (process.env['NOTIFY_SOCKET'] === undefined) return;
  await promisify(execFile)('systemd-notify', [`EXTEND_TIMEOUT_USEC=${Math.ceil(ms * 1000)}`]).catch(() => undefined);
}
