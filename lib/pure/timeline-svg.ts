import { escapeHtml } from './page.ts';
import { formatMs } from './quantities.ts';
import { lifeStates, type LifeState, type Timeline, type Transition } from './timeline.ts';
import type { TimelineSummary } from './timeline-summary.ts';
import { daysOf, phaseText, percent, sharedStates, summaryLines, timeText, type Day } from './timeline-text.ts';

const width = 960;
const left = 84;
const right = 20;
const top = 96;
/** A day: its bar, and above it the marks of its wakes. */
const rowHeight = 52;
const barHeight = 22;
const markRoom = 18;

/** Of each state, for a light and a dark page. */
const colours: Readonly<Record<LifeState, readonly [light: string, dark: string]>> = {
  awake: ['#2f9e57', '#3fbf6e'], frozen: ['#5b9bd5', '#4a86c5'], asleep: ['#dde2e8', '#39414d'],
  failed: ['#d64545', '#ef6461'], off: ['#ffffff', '#1b1f26'], unknown: ['#f0e3b8', '#5c5330'],
};

/**
 * A picture of a timeline: a row a day, with the wakes above it, higher the longer they took. It
 * needs nothing else, and follows the colours of whoever looks at it.
 */
export function timelineSvg(timeline: Timeline, summary: TimelineSummary): string {
  const { domain, from, to, transitions, stretches } = timeline;
  const days = daysOf(timeline);
  const slowest = Math.max(1, summary.slowestMs ?? 1);
  const notes = summaryLines(summary).slice(0, -1);
  const bottom = top + days.length * rowHeight + 24;
  const height = bottom + 34 + notes.length * 18;
  const used: (readonly [LifeState, number])[] = sharedStates(summary).map((state) => [state, summary.shares[state]]);
  if (summary.unknown > 0) used.push(['unknown', summary.unknown]);
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">`,
    `<title>${text(`${domain}: awake and asleep`)}</title>`,
    `<style>${style()}</style>`,
    `<rect class="page" width="${width}" height="${height}"/>`,
    label(left, 34, domain, 'name'),
    label(left, 54, `${timeText(from)} to ${timeText(to)}`, 'dim'),
    ...hours(bottom),
    ...days.flatMap((day, index) => row(day, top + index * rowHeight, { stretches, transitions }, slowest)),
    ...used.map(([state, share], index) => key(state, share, left + index * 142, bottom)),
    ...notes.map((note, index) => label(left, bottom + 40 + index * 18, note.trim(), 'note')),
    '</svg>',
  ];
  return `${parts.join('\n')}\n`;
}

function style(): string {
  const rules = (which: 0 | 1) => lifeStates.map((state) => `.${state}{fill:${colours[state][which]}}`).join('');
  return [
    'text{font:13px system-ui,sans-serif;fill:#222}.page{fill:#fff}.name{font-size:20px;font-weight:600}.dim{fill:#667}.hour{fill:#667;font-size:11px;text-anchor:middle}',
    '.day{text-anchor:end}.grid{stroke:#8894a6;stroke-opacity:.35}.frame{fill:none;stroke:#8894a6;stroke-opacity:.7}.wake{stroke:#222;stroke-width:1.5}.slow{fill:#222}',
    rules(0),
    '@media(prefers-color-scheme:dark){text{fill:#e6e8eb}.page{fill:#14171c}.dim,.hour{fill:#9aa4b2}.wake{stroke:#e6e8eb}.slow{fill:#e6e8eb}',
    `${rules(1)}}`,
  ].join('');
}

function hours(bottom: number): string[] {
  return Array.from({ length: 9 }, (_, index) => {
    const x = left + ((width - left - right) * index) / 8;
    return `<line class="grid" x1="${x}" x2="${x}" y1="${top - 4}" y2="${bottom - 24}"/>${label(x, top - 10, `${String(index * 3).padStart(2, '0')}:00`, 'hour')}`;
  });
}

function row(day: Day, y: number, { stretches, transitions }: Pick<Timeline, 'stretches' | 'transitions'>, slowest: number): string[] {
  const scale = (width - left - right) / (day.to - day.from);
  const place = (at: number) => left + (Math.min(Math.max(at, day.from), day.to) - day.from) * scale;
  const bar = y + markRoom;
  const rect = (state: LifeState, from: number, to: number) => {
    const x = place(from);
    // A wake of a minute is to be seen on a whole day, too.
    const wide = Math.max(place(to) - x, state === 'awake' || state === 'failed' ? 1.2 : 0.2);
    const title = `${state}, ${timeText(from)} to ${timeText(to)} (${formatLong(to - from)})`;
    return `<rect class="${state}" x="${fixed(x)}" y="${bar}" width="${fixed(wide)}" height="${barHeight}"><title>${text(title)}</title></rect>`;
  };
  const own = stretches.filter((each) => each.from < day.to && each.to > day.from);
  // What is short comes last, or its longer neighbours would cover it.
  const loud = ({ state }: { state: LifeState }) => (state === 'failed' ? 2 : state === 'awake' ? 1 : 0);
  const wakes = transitions.filter(({ at, to }) => to === 'awake' && at >= day.from && at < day.to);
  return [
    label(left - 10, bar + 16, day.label, 'day'),
    ...[...own].sort((a, b) => loud(a) - loud(b)).map(({ state, from, to }) => rect(state, from, to)),
    `<rect class="frame" x="${left}" y="${bar}" width="${width - left - right}" height="${barHeight}"/>`,
    ...wakes.map((wake) => mark(wake, place(wake.at), bar, slowest)),
  ];
}

function mark({ at, from, cause, ms, phases }: Transition, x: number, bar: number, slowest: number): string {
  const high = 3 + ((ms ?? 0) / slowest) * (markRoom - 6);
  const details = phases === null ? '' : phaseText(phases);
  const title = `${timeText(at)}: woken by ${cause}, was ${from}${ms === null ? '' : `, ${formatMs(ms)}`}${details === '' ? '' : ` (${details})`}`;
  return `<line class="wake" x1="${fixed(x)}" x2="${fixed(x)}" y1="${bar - 1}" y2="${fixed(bar - 1 - high)}"><title>${text(title)}</title></line>`;
}

function key(state: LifeState, share: number, x: number, y: number): string {
  return `<rect class="${state}" x="${x}" y="${y}" width="13" height="13"/><rect class="frame" x="${x}" y="${y}" width="13" height="13"/>${label(x + 19, y + 11, `${state} ${percent(share)}`)}`;
}

function label(x: number, y: number, content: string, kind = ''): string {
  return `<text${kind === '' ? '' : ` class="${kind}"`} x="${fixed(x)}" y="${fixed(y)}">${text(content)}</text>`;
}

/** XML has no way to write most control characters, nor halves of surrogate pairs. */
function text(content: string): string {
  return escapeHtml(content.replace(/[\p{Cc}\p{Cs}\uFFFE\uFFFF]/gu, '\uFFFD'));
}

function fixed(value: number): string {
  return String(Number(value.toFixed(2)));
}

function formatLong(ms: number): string {
  const minutes = Math.round(ms / 60_000);
  return minutes < 60 ? formatMs(ms) : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
