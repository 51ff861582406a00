import { runState } from '../effects/cgroup.ts';
import { writeAtomic } from '../effects/files.ts';
import { bootEnds, journalBegins, lifeBefore, lifeOf, type JournalRecord } from '../effects/journal-read.ts';
import { shared, siteNames } from '../pure/names.ts';
import { buildTimeline, parseEntry, type Entry, type LifeState, type Timeline } from '../pure/timeline.ts';

/**
 * What a site did in a span of time that ends now, as the journal has it.
 * @param from, now milliseconds since 1970
 * @throws SitegenError when the journal cannot be read
 */
export async function readTimeline(domain: string, from: number, now: number): Promise<Timeline> {
  const names = siteNames(domain);
  const before = await parsed(lifeBefore(domain, names.service, from, enough));
  const entries = await parsed(lifeOf(domain, names.service, from, now));
  return buildTimeline({
    domain, from, to: now, entries, before,
    // Where there are earlier ones, it is not asked for.
    journalFrom: before.length > 0 ? undefined : await journalBegins(),
    bootEnds: await endsOf([...before, ...entries]), current: currentState(names.appCgroup),
  });
}

/** Of earlier entries: the last one says the state, unless it is systemd's, which comes after that. */
const enough = 10;

async function parsed(records: AsyncGenerator<JournalRecord>): Promise<Entry[]> {
  const entries: Entry[] = [];
  for await (const record of records) {
    const entry = parseEntry(record, shared.transitionId);
    if (entry) entries.push(entry);
  }
  return entries;
}

/** Of all boots but the last, which goes on. */
async function endsOf(entries: readonly Entry[]): Promise<Map<string, number>> {
  const boots = [...new Set(entries.map(({ boot }) => boot))].slice(0, -1);
  const ends = new Map<string, number>();
  for (const boot of boots) {
    const end = /^[0-9a-f]{32}$/.test(boot) ? await bootEnds(boot) : undefined;
    if (end !== undefined) ends.set(boot, end);
  }
  return ends;
}

function currentState(appCgroup: string): LifeState {
  return ({ running: 'awake', frozen: 'frozen', stopped: 'asleep' } as const)[runState(appCgroup)];
}

/** Saves a picture of it. @throws SitegenError when the file cannot be written */
export async function saveSvg(file: string, content: string): Promise<void> {
  await writeAtomic({ path: file, content });
}
