import { paths } from './paths.ts';

/** What of a site names the units of its jobs. */
interface Id {
  id: string;
}

/** What a job of a site is called after its name. */
export function jobUnits({ id }: Id, job: string): { timer: string; service: string } {
  // ":" is in neither part. The idle round and `isJobTimer` know this form.
  return { timer: `sitegen-job@${id}:${job}.timer`, service: `sitegen-job@${id}:${job}.service` };
}

/** The same, by the name of one of the two. */
export function bothUnits(unit: string): { timer: string; service: string } {
  const stem = unit.replace(/\.[a-z]+$/, '');
  return { timer: `${stem}.timer`, service: `${stem}.service` };
}

/** Pattern that matches the timers, or the services, of all jobs of a site. */
export function jobPattern({ id }: Id, kind: 'timer' | 'service'): string {
  return `sitegen-job@${id}:*.${kind}`;
}

/** Matches the timers of jobs in `paths.unitsDir`. @param names only this site's */
export function isJobTimer(fileName: string, names?: Id): boolean {
  const id = /^sitegen-job@([a-z0-9._-]+):[a-z0-9-]+\.timer$/.exec(fileName)?.[1];
  return id !== undefined && (names === undefined || id === names.id);
}

/** True for a unit of any site's job. */
export function isJobUnit(unit: string): boolean {
  return unit.startsWith('sitegen-job@');
}

/** Where systemd keeps when a timer has last elapsed. */
export function timerStamp(timer: string): string {
  return `${paths.timerStampsDir}/stamp-${timer}`;
}
