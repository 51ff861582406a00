import { execFile } from 'node:child_process';

/**
 * Asks systemd whether it knows some times of systemd.time(7).
 * @returns those that it refuses, with its reason; none where there is no systemd to ask
 */
export async function refusedCalendars(calendars: readonly string[]): Promise<Map<string, string>> {
  const all = [...new Set(calendars)];
  // One process for all, as nearly always they are right.
  if (all.length === 0 || await complaint(all) === undefined) return new Map();
  const refused = new Map<string, string>();
  for (const calendar of all) {
    const reason = await complaint([calendar]);
    if (reason !== undefined) refused.set(calendar, reason);
  }
  return refused;
}

function complaint(calendars: readonly string[]): Promise<string | undefined> {
  return new Promise((resolve) => {
    execFile('systemd-analyze', ['calendar', '--', ...calendars], { timeout: 20_000, env: { PATH: process.env['PATH'] ?? '', LC_ALL: 'C', SYSTEMD_COLORS: '0' } }, (error, _stdout, stderr) => {
      // A program that is missing, or was ended, has no number.
      const refused = typeof error?.code === 'number';
      resolve(refused ? (stderr.trim().split('\n').at(-1) ?? '') : undefined);
    });
  });
}
