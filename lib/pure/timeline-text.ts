import { formatMs } from './quantities.ts';
import { knownStates, type TimelineSummary } from './timeline-summary.ts';
import { lifeStates, type LifeState, type Stretch, type Timeline, type Transition } from './timeline.ts';

/** How states are drawn in a line of characters. */
export const stateMarks: Readonly<Record<LifeState, string>> = { failed: 'X', awake: '█', frozen: '▒', asleep: '·', off: '-', unknown: '?' };

/** Twenty minutes each. */
const cells = 72;

/** A day of the calendar, of the machine's own time zone; one with a change of the clock is longer or shorter. */
export interface Day {
  /** As `2026-11-27`. */
  date: string;
  label: string;
  from: number;
  to: number;
}

/** All days that a span of time touches. */
export function daysBetween(from: number, to: number): Day[] {
  const days: Day[] = [];
  const first = new Date(from);
  for (let index = 0; ; index++) {
    const day = new Date(first.getFullYear(), first.getMonth(), first.getDate() + index);
    if (day.getTime() >= to && index > 0) return days;
    const next = new Date(first.getFullYear(), first.getMonth(), first.getDate() + index + 1);
    const date = `${day.getFullYear()}-${two(day.getMonth() + 1)}-${two(day.getDate())}`;
    days.push({ date, label: `${weekdays[day.getDay()] ?? ''} ${date.slice(5)}`, from: day.getTime(), to: next.getTime() });
  }
}

/** Those of a timeline, without days at its beginning of which nothing is known, as the journal does not reach so far. */
export function daysOf({ from, to, stretches }: Timeline): Day[] {
  const known = stretches.find(({ state }) => state !== 'unknown')?.from ?? to;
  const days = daysBetween(from, to);
  return days.filter((day, index) => day.to > known || index === days.length - 1);
}

const weekdays = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];

/** A line of characters for a day. Short times in which something happened are seen, those in which nothing did are not. */
export function dayBar({ from, to }: Day, stretches: readonly Stretch[]): string {
  const width = (to - from) / cells;
  return Array.from({ length: cells }, (_, index) => {
    const [begin, end] = [from + index * width, from + (index + 1) * width];
    const found = stretches.filter((each) => each.from < end && each.to > begin);
    if (found.length === 0) return ' ';
    const loud = (['failed', 'awake', 'frozen'] as const).find((state) => found.some((each) => each.state === state));
    const long = (state: LifeState) => found.filter((each) => each.state === state).reduce((sum, each) => sum + Math.min(each.to, end) - Math.max(each.from, begin), 0);
    return stateMarks[loud ?? lifeStates.reduce((best, state) => (long(state) > long(best) ? state : best))];
  }).join('').trimEnd();
}

/** One bar a day below a scale of hours, and a key. */
export function barLines(timeline: Timeline): string[] {
  const { stretches } = timeline;
  const scale = Array.from({ length: 8 }, (_, index) => String(index * 3).padEnd(cells / 8)).join('');
  const used = lifeStates.filter((state) => stretches.some((each) => each.state === state));
  return [
    `${' '.repeat(11)}${scale}24`,
    ...daysOf(timeline).map((day) => `${day.label}  ${dayBar(day, stretches)}`),
    `${' '.repeat(11)}${used.map((state) => `${stateMarks[state]} ${state}`).join('   ')}`,
  ];
}

/** The cells of a change: time, from and to, cause, time taken, phases. */
export function transitionCells({ at, from, to, cause, ms, phases }: Transition): string[] {
  return [timeText(at), `${from} → ${to}`, cause, ms === null ? '-' : formatMs(ms), phases === null ? '' : phaseText(phases)];
}

/** Phases that took any time. */
export function phaseText(phases: Readonly<Record<string, number>>): string {
  return Object.entries(phases).filter(([, ms]) => ms > 0).map(([name, ms]) => `${name} ${formatMs(ms)}`).join(', ');
}

/** A time as `2026-11-27 08:10:31`, of the machine's own time zone. */
export function timeText(at: number): string {
  const date = new Date(at);
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** What it comes to, a line each. */
export function summaryLines(summary: TimelineSummary): string[] {
  const { wakes, byCause, byOrigin, medianMs, slowestMs, failures } = summary;
  const causes = Object.entries(byCause).map(([cause, count]) => `${count} by ${cause}`).join(', ');
  const ms = (value: number | null) => (value === null ? '-' : formatMs(value));
  const origins = Object.entries(byOrigin);
  return [
    `${wakes === 1 ? '1 wake' : `${wakes} wakes`}${wakes === 0 ? '' : `: ${causes}`}`,
    ...(wakes === 0 ? [] : [`median ${ms(medianMs)}, slowest ${ms(slowestMs)}`]),
    // Else it is the line above again.
    ...(origins.length < 2 ? [] : origins.map(([origin, each]) => `  from ${origin}: ${each.wakes}, median ${ms(each.medianMs)}, slowest ${ms(each.slowestMs)}`)),
    ...(failures === 0 ? [] : [failures === 1 ? '1 failure' : `${failures} failures`]),
    shareLine(summary),
  ];
}

function shareLine({ shares, unknown }: TimelineSummary): string {
  const known = sharedStates({ shares }).map((state) => `${state} ${percent(shares[state])}`);
  return [...known, ...(unknown === 0 ? [] : [`${known.length > 0 ? 'and ' : ''}nothing is known of ${percent(unknown)} of the time`])].join(', ');
}

/** States that there were, the longest first. */
export function sharedStates({ shares }: Pick<TimelineSummary, 'shares'>) {
  return knownStates.filter((state) => shares[state] > 0).sort((a, b) => shares[b] - shares[a]);
}

/** A share as a person reads it, and never none for one that is there. */
export function percent(share: number): string {
  const value = share * 100;
  if (value > 0 && value < 0.1) return '<0.1 %';
  return value > 99.9 && value < 100 ? '>99.9 %' : `${value.toFixed(value === 100 || value === 0 ? 0 : 1)} %`;
}

function two(number: number): string {
  return String(number).padStart(2, '0');
}
