import path from 'node:path';
import type { CommandModule } from 'yargs';
import { usageError } from '../lib/pure/errors.ts';
import { parseSince } from '../lib/pure/since.ts';
import { barLines, summaryLines, transitionCells } from '../lib/pure/timeline-text.ts';
import { timelineSvg } from '../lib/pure/timeline-svg.ts';
import { summarize } from '../lib/pure/timeline-summary.ts';
import type { LifeState, Timeline } from '../lib/pure/timeline.ts';
import { selectDomains } from '../lib/usecases/domains.ts';
import { colors, print, printJson, printTable, report } from './output.ts';

interface Options {
  domain: string;
  since: string;
  svg?: string | undefined;
  json?: boolean | undefined;
}

/** `sitegen timeline DOMAIN`: when it woke and fell asleep, why, and how long that took. */
export const timelineCommand: CommandModule<object, Options> = {
  command: 'timeline <domain>',
  describe: 'show when a site woke and fell asleep, why, and how long its wakes took',
  builder: (yargs) => yargs
    .positional('domain', { type: 'string', demandOption: true, describe: 'name of the site' })
    .option('since', { type: 'string', default: '1d', describe: 'a span such as 7d, today, or a date such as 2026-11-01' })
    .option('svg', { type: 'string', requiresArg: true, describe: 'draw it into this file, too' })
    .option('json', { type: 'boolean', describe: 'print JSON' }),
  async handler({ domain, since, svg, json }) {
    const now = Date.now();
    const from = parseSince(since, now);
    if (from === undefined) throw usageError(`${JSON.stringify(since)} is not a time`, 'give a span such as 24h or 7d, today, yesterday, or a date such as 2026-11-01');
    if (svg === '') throw usageError('--svg has no file');
    const [known = domain] = await selectDomains([domain], false);
    const { readTimeline, saveSvg } = await import('../lib/usecases/timeline.ts');
    const timeline = await readTimeline(known, from, now);
    const summary = summarize(timeline);
    if (svg !== undefined) {
      await saveSvg(path.resolve(svg), timelineSvg(timeline, summary));
      report(`drawn into ${svg}`);
    }
    if (json) printJson({ ...withDates(timeline), summary });
    else await text(timeline, summaryLines(summary));
  },
};

async function text(timeline: Timeline, summary: readonly string[]): Promise<void> {
  if (timeline.transitions.length > 0) {
    await printTable(['TIME', 'CHANGE', 'CAUSE', 'TOOK', 'PHASES'], timeline.transitions.map((each) => transitionCells(each)));
    print('');
  }
  for (const line of barLines(timeline)) print(paint(line));
  print('');
  for (const line of summary) print(line);
}

/** The marks alone; the rest of the lines has none of these characters. */
function paint(line: string): string {
  const { green, cyan, red } = colors();
  return line.replace(/█+/g, (marks) => green(marks)).replace(/▒+/g, (marks) => cyan(marks)).replace(/X+/g, (marks) => red(marks));
}

/** For programs, times in ISO 8601 and UTC. */
function withDates({ domain, from, to, transitions, stretches }: Timeline) {
  const iso = (ms: number) => new Date(ms).toISOString();
  return {
    domain, from: iso(from), to: iso(to),
    transitions: transitions.map((each) => ({ ...each, at: iso(each.at) })),
    stretches: stretches.map((each): { from: string; to: string; state: LifeState } => ({ from: iso(each.from), to: iso(each.to), state: each.state })),
  };
}
