/** Work that a site does without visitors, at times of its own. */
export interface Job {
  name: string;
  /** As systemd.time(7) has it. */
  calendar: string;
  argv: readonly string[];
  /** Of a Compose project; undefined for the one that visitors reach. */
  service?: string | undefined;
  /** The container's own unless given. */
  user: string | undefined;
  timeoutMs: number;
  /** Runs that were missed are caught up, several by one. */
  persistent: boolean;
  /** Over which time the runs of different sites are spread. */
  delayMs: number;
}

/** What a job may be called; its unit's name and that of the unit's alarm have to fit. */
export const jobName = /^[a-z0-9][a-z0-9-]{0,30}$/;

/** Length of the longest. */
export const jobNameMax = 31;

/** Exit code of a run that found nothing to do; the unit counts it as success (EX_TEMPFAIL). */
export const skippedCode = 75;

/** The same of one that was stopped before its end, as SIGTERM would be. */
export const stoppedCode = 143;

const shorthands = 'minutely|hourly|daily|weekly|monthly|quarterly|semiannually|yearly|annually';
const weekday = '(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*';
const number = String.raw`(?:\*|\d+(?:\.\d+)?(?:\.\.\d+(?:\.\d+)?)?)(?:/\d+(?:\.\d+)?)?`;
const numbers = `${number}(?:,${number})*`;
const form = new RegExp([
  '^(?:',
  `(?:${shorthands})`,
  '|',
  `(?:${weekday}(?:(?:\\.\\.|-)${weekday})?(?:,${weekday}(?:(?:\\.\\.|-)${weekday})?)*,?)?`,
  ` ?(?:(?:${numbers}-)?${numbers}[-~]${numbers})?`,
  ` ?(?:${numbers}:${numbers}(?::${numbers})?)?`,
  ')',
  // A time zone, which only the machine knows.
  '(?: [A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2})?$',
].join(''), 'i');

/**
 * What is wrong with the form of a calendar expression; undefined when nothing is. Nothing that
 * passes can be more than one setting in a unit. Whether there is such a time, systemd alone knows.
 */
export function calendarFault(text: string): string | undefined {
  if (text.trim() === '') return 'it is empty';
  if (text.length > 200) return `it has ${text.length} characters, 200 are allowed`;
  if (text !== text.trim()) return 'there are spaces around it';
  return form.test(text) ? undefined : 'it has another form than DAYS YEAR-MONTH-DAY HOUR:MINUTE:SECOND';
}
