import { freezeGives, type Swap } from './room.ts';

/** When sites fall asleep: which one, how deep, and why. Times are milliseconds of a clock that nobody sets. */

/** What a site's settings say about it. */
export interface IdleRules {
  /** Without a visitor for so long it is quiet. */
  afterMs: number;
  /** Frozen for so long it is stopped. */
  stopAfterMs: number;
  never: boolean;
  /** Frozen first; else stopped at once. */
  freeze: boolean;
  /** Times in which it stays awake. */
  awake: readonly AwakeTimes[];
}

/** Days of the week, 0 for Sunday as `Date` has it, and minutes of the day from and until. */
export interface AwakeTimes {
  days: readonly number[];
  from: number;
  until: number;
}

/** What a look at one running site found. */
export interface Look {
  domain: string;
  /** `quiet`: its container runs, but nobody is led to it: for a job or a dump, or what such have left. */
  state: 'awake' | 'quiet' | 'frozen';
  connections: number;
  /** How many there have been, by a count that only grows, unless it is lost. */
  visits: number;
  cpuUs: number;
  trafficBytes: number;
  /** Undefined where the kernel does not count. */
  memoryBytes: number | undefined;
  /** Something of ours is at work in it: a dump, a job. */
  isUsed: boolean;
  /** It is a dump. */
  isDumped?: boolean;
  /** When one that is frozen is due to be dumped, as it was used after its last dump; undefined when it was not. */
  dumpAt?: number | undefined;
  rules: IdleRules;
}

/** What is remembered of a site from look to look. */
export interface Seen {
  at: number;
  visits: number;
  cpuUs: number;
  trafficBytes: number;
  state: Look['state'];
  /** When it was last at work. */
  activeAt: number;
  /** Since when it is in this state. */
  since: number;
  /** What its container held at most, bytes; undefined where the kernel does not count. */
  peakBytes?: number | undefined;
  /** When a dump of it was last tried from here. */
  triedAt?: number | undefined;
}

/** The machine, as far as sites share it. */
export interface Machine {
  now: number;
  /** For `idle.awake`. */
  date: Date;
  /** What all sites may hold together, bytes; undefined where memory is not counted. */
  budgetBytes: number | undefined;
  swap: Swap;
  /** Percent of the time in which somebody waited for memory. */
  pressure: number;
  /** What sites hold about which nothing is to be decided. */
  otherBytes: number;
}

/** One thing to do, in this order. */
export interface Move {
  domain: string;
  /** `dump`: of a frozen site, which is frozen again after that. */
  do: 'freeze' | 'stop' | 'dump';
  /** `memory`: others need what it holds. */
  cause: 'idle' | 'memory';
  /** It had visitors, and nothing else was left. */
  visited?: boolean;
}

/**
 * What counts as no work: one percent of a processor, and 500 bytes a second. Databases and runtimes
 * at rest use a tenth of that, and apps that only ask elsewhere now and then stay below it too.
 */
export const cpuFloor = 0.01;
export const trafficFloor = 500;

/** Above this much waiting, somebody has to make room. */
export const pressureLimit = 20;

/** What has changed is in a dump within this time, and no dump comes sooner after another, however often a site is woken. */
export const dumpEveryMs = 3_600_000;

/** For how long what runs without visitors is left alone: whoever has woken it may be about to begin. */
const quietGraceMs = 20_000;

/** Takes a look into what is remembered. */
export function remember(look: Look, before: Seen | undefined, now: number): Seen {
  const { cpuUs, trafficBytes, visits } = look;
  // What is thawed for its dump is frozen again after that, and its time goes on.
  const state = look.isDumped === true && look.state === 'quiet' && before?.state === 'frozen' ? 'frozen' : look.state;
  const counts = { at: now, cpuUs, trafficBytes, visits, state, peakBytes: look.memoryBytes, triedAt: before?.triedAt };
  // A new container counts from the beginning.
  if (!before || before.cpuUs > cpuUs || before.trafficBytes > trafficBytes) return { ...counts, activeAt: now, since: now };
  const seconds = Math.max(0.001, (now - before.at) / 1000);
  const works = state === 'awake' && before.state === 'awake'
    && ((cpuUs - before.cpuUs) / 1e6 / seconds > cpuFloor || (trafficBytes - before.trafficBytes) / seconds > trafficFloor);
  const isVisited = look.connections > 0 || visits !== before.visits;
  // What froze since the last look was not at work for that; what is thawed for a job is, for the job's time.
  const hasWoken = state === 'awake' && before.state !== 'awake';
  return {
    ...counts,
    peakBytes: look.memoryBytes === undefined ? undefined : Math.max(look.memoryBytes, before.peakBytes ?? 0),
    activeAt: works || isVisited || hasWoken ? now : before.activeAt,
    // Whoever has just used it may not be done.
    since: state === before.state && (!look.isUsed || state === 'frozen') ? before.since : now,
  };
}

/**
 * What a site does next if nobody comes, and when; undefined when nothing.
 * @returns `at` in the past: it is due
 */
export function nextMove({ state, rules, isUsed, connections }: Look, { activeAt, since }: Seen, machine: Pick<Machine, 'date'>): { do: 'freeze' | 'stop'; at: number } | undefined {
  if (isUsed || rules.never || isKeptAwake(rules, machine.date)) return undefined;
  if (state === 'frozen') return { do: 'stop', at: since + rules.stopAfterMs };
  if (connections > 0) return undefined;
  return { do: rules.freeze ? 'freeze' : 'stop', at: state === 'quiet' ? since + quietGraceMs : activeAt + rules.afterMs };
}

/**
 * When a site is dumped that was used after its last dump: an hour after that, or after a try that failed.
 * @param dumpedAt undefined when it never was
 */
export function nextDump(dumpedAt: number | undefined, triedAt: number | undefined): number {
  return Math.max(dumpedAt === undefined ? 0 : dumpedAt + dumpEveryMs, triedAt === undefined ? 0 : triedAt + dumpEveryMs);
}

/** Whether `idle.awake` has a site stay awake now. */
export function isKeptAwake({ awake }: Pick<IdleRules, 'awake'>, date: Date): boolean {
  const minute = date.getHours() * 60 + date.getMinutes();
  return awake.some(({ days, from, until }) => (from < until
    ? days.includes(date.getDay()) && minute >= from && minute < until
    // Over midnight it belongs to the day on which it began.
    : (days.includes(date.getDay()) && minute >= from) || (days.includes((date.getDay() + 6) % 7) && minute < until)));
}

/**
 * What is to be done now: sites that have been quiet for long enough, and, while all hold more than
 * they may or somebody waits for memory, the least recently used ones: frozen first where swap takes
 * what they hold, then stopped. One with visitors goes only when nothing else is left.
 * @param needBytes what a site that is about to wake will take besides
 * @param spares sites with visitors, be it that nothing else is left
 */
export function decide(looks: readonly Look[], seen: ReadonlyMap<string, Seen>, machine: Machine, needBytes = 0, spares = false): Move[] {
  const moves = new Map<string, Move>();
  for (const look of looks) {
    const known = seen.get(look.domain);
    const next = known && nextMove(look, known, machine);
    if (!next || next.at > machine.now) {
      // Not while memory is short, as it takes what it holds out of swap.
      const isDue = look.state === 'frozen' && !look.isUsed && look.dumpAt !== undefined && look.dumpAt <= machine.now && machine.pressure <= pressureLimit;
      if (isDue) moves.set(look.domain, { domain: look.domain, do: 'dump', cause: 'idle' });
      continue;
    }
    // Where it does not go out to swap, a frozen site holds what it held.
    const fits = freezeGives(look.memoryBytes, machine.swap) !== undefined || machine.budgetBytes === undefined || holds(looks) + machine.otherBytes + needBytes <= machine.budgetBytes;
    moves.set(look.domain, { domain: look.domain, do: next.do === 'freeze' && !fits ? 'stop' : next.do, cause: 'idle' });
  }
  for (const move of makeRoom(looks, seen, machine, needBytes, spares)) if (moves.get(move.domain)?.do !== 'stop') moves.set(move.domain, move);
  return [...moves.values()];
}

function makeRoom(looks: readonly Look[], seen: ReadonlyMap<string, Seen>, { budgetBytes, swap, pressure, otherBytes }: Machine, needBytes: number, spares: boolean): Move[] {
  let over = budgetBytes === undefined ? 0 : holds(looks) + otherBytes + needBytes - budgetBytes;
  // Without a number the least recently used one goes, and the next look tells whether that was enough.
  if (over <= 0 && pressure > pressureLimit) over = 1;
  if (over <= 0) return [];
  const used = (look: Look) => seen.get(look.domain)?.activeAt ?? 0;
  const free = looks.filter((look) => !look.isUsed && !look.rules.never).sort((a, b) => used(a) - used(b));
  const isVisited = ({ state, connections }: Look) => state === 'awake' && connections > 0;
  const moves: Move[] = [];
  const take = (look: Look, what: Move['do'], freed: number | undefined, visited = false) => {
    if (over <= 0 || moves.some(({ domain }) => domain === look.domain)) return;
    moves.push({ domain: look.domain, do: what, cause: 'memory', ...(visited && { visited }) });
    over -= freed ?? over;
  };
  let freeBytes = swap.freeBytes;
  for (const look of free.filter((each) => each.state !== 'frozen' && !isVisited(each) && each.rules.freeze)) {
    const freed = freezeGives(look.memoryBytes, { ...swap, freeBytes });
    if (freed === undefined || over <= 0) continue;
    take(look, 'freeze', look.memoryBytes === undefined ? undefined : freed);
    freeBytes -= look.memoryBytes ?? 0;
  }
  for (const look of free.filter((each) => each.state === 'frozen')) take(look, 'stop', look.memoryBytes);
  for (const look of free.filter((each) => each.state !== 'frozen' && !isVisited(each))) take(look, 'stop', look.memoryBytes);
  if (!spares) for (const look of free.filter((each) => isVisited(each))) take(look, 'stop', look.memoryBytes, true);
  return moves;
}

/** What of a site's memory is free once a move is done. */
export function gives({ do: what }: Pick<Move, 'do'>, { memoryBytes = 0 }: Partial<Pick<Look, 'memoryBytes'>>, swap: Swap): number {
  if (what === 'dump') return 0;
  return what === 'stop' ? memoryBytes : freezeGives(memoryBytes, swap) ?? 0;
}

/** What all sites hold together, bytes. */
export function holds(looks: readonly Look[]): number {
  return looks.reduce((sum, { memoryBytes }) => sum + (memoryBytes ?? 0), 0);
}

const dayNames = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday'];

/**
 * Reads times such as `Mon-Fri 08:00-18:00` or `Sat,Sun 10:00-12:00`: days as systemd writes them
 * (systemd.time(7)), all of them when they are left out.
 * @returns undefined when it is none
 */
export function parseAwakeTimes(text: string): AwakeTimes | undefined {
  const found = /^(?:([A-Za-z,.-]+) +)?(\d{1,2}):(\d{2}) *(?:-|\.\.) *(\d{1,2}):(\d{2})$/.exec(text.trim());
  if (!found) return undefined;
  const [, dayText = 'Sun-Sat'] = found;
  const [fromHour = 0, fromMinute = 0, untilHour = 0, untilMinute = 0] = found.slice(2).map(Number);
  const [from, until] = [fromHour * 60 + fromMinute, untilHour * 60 + untilMinute];
  if (fromMinute > 59 || untilMinute > 59 || from >= 1440 || until > 1440 || from === until) return undefined;
  const days: number[] = [];
  for (const part of dayText.split(',')) {
    const ends = part.split(/\.\.|-/).map((name) => dayNames.findIndex((day) => name.length >= 3 && day.startsWith(name.toLowerCase())));
    const [first, last = first] = ends;
    if (first === undefined || last === undefined || ends.includes(-1) || ends.length > 2) return undefined;
    for (let day = first; ; day = (day + 1) % 7) {
      days.push(day);
      if (day === last) break;
    }
  }
  return { days: [...new Set(days)], from, until };
}
