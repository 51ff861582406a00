/** What a site did over time, from the entries that its wakes and sleeps leave in the journal. */

/** `off`: the machine did not run; `unknown`: the journal does not say. */
export const lifeStates = ['failed', 'awake', 'frozen', 'asleep', 'off', 'unknown'] as const;

export type LifeState = (typeof lifeStates)[number];

/** What is read of one entry of the journal. Times are ms since 1970, as the clock was then. */
export type Entry = { at: number; boot: string } & (
  | { kind: 'moved'; from: string; to: 'awake' | 'frozen' | 'asleep'; cause: string; ms: number | undefined; phases: Phases | undefined }
  /** systemd's own words about the service: it has failed, or ended well. */
  | { kind: 'failed'; result: string }
  | { kind: 'ended' }
  /** The machine has started. */
  | { kind: 'booted' }
);

/** Milliseconds by name: wait, create, start, ready. */
export type Phases = Readonly<Record<string, number>>;

/** One change, as `sitegen timeline` lists it. */
export interface Transition {
  at: number;
  from: LifeState | 'running';
  to: LifeState;
  cause: string;
  /** How long it took; null where nobody has measured it. */
  ms: number | null;
  phases: Phases | null;
}

/** A time in which nothing changed. */
export interface Stretch {
  from: number;
  to: number;
  state: LifeState;
}

export interface Timeline {
  domain: string;
  from: number;
  to: number;
  transitions: Transition[];
  /** From the beginning to the end, without gaps. */
  stretches: Stretch[];
}

/** What there is to build a timeline of. */
export interface Facts {
  domain: string;
  from: number;
  /** Now. */
  to: number;
  /** In the journal's order. */
  entries: readonly Entry[];
  /** The last ones before them, for the state at the beginning. */
  before?: readonly Entry[] | undefined;
  /** Where the journal begins; nothing is known of the time before. */
  journalFrom?: number | undefined;
  /** When each boot wrote its last line. */
  bootEnds?: ReadonlyMap<string, number> | undefined;
  /** The state as it is now, which holds for all of the time if nothing ever happened. Awake is what runs at all. */
  current?: LifeState | undefined;
}

/** MESSAGE_IDs of systemd's own entries (systemd/sd-messages.h). In a container its start has that of a user's systemd. */
export const systemdIds = {
  unitFailed: 'd9b373ed55a64feb8242e02dbe79a49c',
  exited: '98e322203f7a4ed290d09fe03c09fe15',
  unitEnded: '7ad2d189f7e94e70a38c781354912448',
  started: ['b07a249cd024414a82dd00cd181378ff', 'eed00a68ffd84e31882105fd973abdd1'],
} as const;

/**
 * Reads an entry as `journalctl --output=json` has it.
 * @returns undefined for any other, and for one that is damaged
 */
export function parseEntry(record: Readonly<Record<string, unknown>>, transitionId: string): Entry | undefined {
  // What is no text is an array of bytes, and a field that is there twice an array of texts.
  const field = (name: string) => (typeof record[name] === 'string' ? record[name] : '');
  const base = { at: Math.floor(Number(field('__REALTIME_TIMESTAMP')) / 1000), boot: field('_BOOT_ID') };
  if (!(base.at > 0)) return undefined;
  const id = field('MESSAGE_ID');
  if (id === systemdIds.unitFailed) return { ...base, kind: 'failed', result: field('UNIT_RESULT') };
  if (id === systemdIds.unitEnded) return { ...base, kind: 'ended' };
  if (systemdIds.started.some((each) => each === id)) return { ...base, kind: 'booted' };
  const to = (['awake', 'frozen', 'asleep'] as const).find((state) => state === field('SITEGEN_TO'));
  if (id !== transitionId || !to) return undefined;
  const ms = /^\d+$/.test(field('SITEGEN_MS')) ? Number(field('SITEGEN_MS')) : undefined;
  const phases = [...field('SITEGEN_PHASES').matchAll(/\b([a-z]+)=(\d+)/g)].map(([, name = '', value]) => [name, Number(value)] as const);
  return { ...base, kind: 'moved', from: field('SITEGEN_FROM'), to, cause: field('SITEGEN_CAUSE') || 'unknown', ms, phases: phases.length > 0 ? Object.fromEntries(phases) : undefined };
}

/**
 * Builds the timeline. Entries may be missing: where two that follow each other contradict one
 * another, the time between them is unknown. Clocks may have been wrong: what lies after a later
 * entry is taken for having happened then.
 */
export function buildTimeline(facts: Facts): Timeline {
  const { domain, from, to, before = [], bootEnds } = facts;
  const line = new Line(from);
  const entries = settle(facts.entries, from, to);
  const past = new Line(before[0]?.at ?? from);
  past.follow(before, bootEnds);
  line.state = past.state;
  if (before.length === 0) {
    line.to(Math.min(to, facts.journalFrom ?? from), 'unknown');
    line.state = stateBefore(entries, facts.current);
  }
  line.follow(entries, bootEnds, before.at(-1)?.boot);
  const isMissing = facts.current !== undefined && facts.current !== 'awake' && contradicts(line.state, facts.current);
  line.to(to, isMissing ? 'unknown' : line.state);
  return { domain, from, to, transitions: line.transitions, stretches: line.stretches };
}

/** The journal's order is the true one, and its last clock the best. */
function settle(entries: readonly Entry[], from: number, to: number): Entry[] {
  let next = to;
  return [...entries].reverse().map((entry) => {
    next = Math.max(from, Math.min(next, entry.at));
    return { ...entry, at: next };
  }).reverse();
}

/** A timeline as it grows. */
class Line {
  state: LifeState = 'unknown';
  readonly stretches: Stretch[] = [];
  readonly transitions: Transition[] = [];
  #end: number;
  /** Its service has ended, for all one knows by itself. */
  #endedAlone = false;

  constructor(from: number) {
    this.#end = from;
  }

  /** All up to some time was of one state. */
  to(at: number, state: LifeState): void {
    if (at <= this.#end) return;
    const last = this.stretches.at(-1);
    if (last?.state === state) last.to = at;
    else this.stretches.push({ from: this.#end, to: at, state });
    this.#end = at;
  }

  /** @param boot the one that it was before */
  follow(entries: readonly Entry[], bootEnds?: ReadonlyMap<string, number>, boot = entries[0]?.boot): void {
    for (const entry of entries) {
      if (entry.boot !== boot) this.#reboot(boot === undefined ? undefined : bootEnds?.get(boot), entry.at);
      boot = entry.boot;
      this.#take(entry);
    }
  }

  /** @param end of the boot before; where its last words are gone, nobody knows how long it went on */
  #reboot(end: number | undefined, at: number): void {
    if (end !== undefined && end >= this.#end) this.#change(Math.min(end, at), this.state, 'off', 'the machine went down');
    this.to(at, end === undefined ? 'unknown' : 'off');
    // Containers come back with visitors only.
    this.#change(at, end === undefined ? 'unknown' : 'off', 'asleep', 'the machine started');
    this.#endedAlone = false;
  }

  #take(entry: Entry): void {
    const ended = this.#endedAlone;
    this.#endedAlone = false;
    switch (entry.kind) {
      case 'booted':
        this.to(entry.at, this.state);
        if (this.state === 'unknown') this.state = 'asleep';
        break;
      case 'failed':
        this.#change(entry.at, this.state, 'failed', entry.result === '' ? 'failed' : entry.result);
        break;
      case 'ended':
        // After its own entry, as a rule, and that has said it already.
        if (this.state !== 'awake') break;
        this.#endedAlone = true;
        this.#change(entry.at, 'awake', 'asleep', 'ended by itself');
        break;
      case 'moved':
        // It was about to freeze when a visitor came: the container has gone on.
        if (ended && entry.from === 'running') this.#takeBack();
        this.#move(entry);
    }
  }

  #move({ at, from, to, cause, ms, phases }: Extract<Entry, { kind: 'moved' }>): void {
    // A wake that fails ends with a stop, and nothing has changed.
    if (to === 'asleep' && (this.state === 'asleep' || this.state === 'failed')) return;
    const said = from === 'running' ? 'running' : lifeStates.find((state) => state === from);
    if (contradicts(this.state, said)) this.to(at, 'unknown');
    this.#change(at, said ?? this.state, to, cause, ms, phases);
  }

  #change(at: number, from: Transition['from'], to: LifeState, cause: string, ms?: number, phases?: Phases): void {
    this.to(at, this.state);
    this.transitions.push({ at, from, to, cause, ms: ms ?? null, phases: phases ?? null });
    this.state = to;
  }

  #takeBack(): void {
    this.transitions.pop();
    this.state = 'awake';
  }
}

/** Whether something is missing between a state and an entry that begins with another one. */
function contradicts(state: LifeState, said: LifeState | 'running' | undefined): boolean {
  if (said === 'asleep') return state === 'awake' || state === 'frozen';
  if (said === 'frozen') return state === 'awake' || state === 'asleep' || state === 'failed';
  return said === 'awake' && state === 'frozen';
}

/** What the first entry says of the time before it, if it is one that says so; without any all is as it is now. */
function stateBefore(entries: readonly Entry[], current: LifeState | undefined): LifeState {
  const [first] = entries;
  if (!first) return current ?? 'unknown';
  return lifeStates.find((state) => first.kind === 'moved' && state === first.from) ?? 'unknown';
}
