import { statSync } from 'node:fs';
import os from 'node:os';
import { machineMemory, memoryPressure, openConnections, siteGroups, type SiteGroup } from '../effects/cgroup.ts';
import { readIfThere, writeAtomic } from '../effects/files.ts';
import { usesOf } from '../effects/cgroup/in-use.ts';
import { withLock } from '../effects/lock.ts';
import { connectionsTo, waysOf } from '../effects/network.ts';
import { swapState } from '../effects/cgroup/swap.ts';
import { decide, gives, holds, nextDump, remember, type Look, type Machine, type Move, type Seen } from '../pure/idle.ts';
import { isUndumped } from '../pure/backup.ts';
import { reasonOf } from '../pure/errors.ts';
import { paths, settingsFileOf, siteNames } from '../pure/names.ts';
import { inParallel } from '../pure/parallel.ts';
import { formatBytes } from '../pure/quantities.ts';
import { budgetOf, type Need } from '../pure/room.ts';
import { readState } from './backup-state.ts';
import { mendEgress, refreshEgress, tellRefused } from './egress.ts';
import { measureDue } from './idle-disk.ts';
import { giveUpSilent } from './idle-silent.ts';
import { parseMemory, tellBudget, usedAt, type IdleMemory, type KnownSite, type Past } from './idle-memory.ts';
import { mendWays, type Found, type Mender } from './mend-ways.ts';

/** A look at all sites that run. */
export interface Round extends Found {
  seen: ReadonlyMap<string, Seen>;
  machine: Machine;
  /** What all of them hold. */
  heldBytes: number;
  moves: readonly Move[];
}

/** What carries moves out. */
export interface Actors extends Mender {
  /** Has somebody look how much room a site's data takes. */
  measure: (domain: string) => Promise<void>;
  /** @param known of the site @param past what looks have seen of it @returns whether it was to be dumped */
  carryOut: (move: Move, known: KnownSite, past: Past) => Promise<boolean>;
}

/** For so long a site is left to whoever has begun to put it to sleep, should that one be killed meanwhile. */
const movingMs = 300_000;

/** What is remembered is changed by one at a time; moves take longer, and a wake must not wait for them. */
const exclusively = <T>(action: () => Promise<T>) => withLock(`${paths.idleFile}.lock`, {}, action);

/**
 * One round: looks at all sites that run, mends the kernel's ways to them, and sends those to sleep
 * that are due, or that have to make room.
 * @returns how many sites run
 */
export async function idleRound(actors: Actors): Promise<number> {
  const round = await exclusively(() => look());
  try {
    await mendWays(round, actors);
    await lookOutside(round, actors);
    const runs = (domain: string) => round.looks.some((each) => each.domain === domain && each.state !== 'frozen');
    await measureDue([...round.known.values()].filter(({ domain }) => runs(domain)), actors.measure, actors.report);
    await giveUpSilent([...round.known.values()].filter(({ domain }) => round.looks.some((each) => each.domain === domain && each.state === 'awake')), actors.report);
  } finally {
    await carryOutAll(round, actors);
  }
  return round.looks.length;
}

/** Has what running sites may reach outside be as their settings say, and tells what was blocked. */
async function lookOutside({ known, looks, ways }: Round, { report }: Pick<Actors, 'report'>): Promise<void> {
  const seen = typeof ways === 'string' ? undefined : ways?.egress;
  if (looks.length > 0) await mendEgress(seen, report);
  await refreshEgress([...known].flatMap(([id, { domain }]) => (looks.some((each) => each.domain === domain) ? [id] : [])), report);
  if (!seen || seen.refused.size === 0) return;
  await exclusively(async () => {
    const memory = parseMemory(await readIfThere(paths.idleFile));
    await keep({ ...memory, toldAt: await tellRefused(seen, memory.toldAt, os.uptime() * 1000) });
  });
}

/** Has others make room for a site that is about to start. */
export async function makeRoom(actors: Actors, need: Need): Promise<void> {
  const round = await exclusively(() => look({ need }));
  const { looks, moves } = round;
  const left = looks.length > 0 && moves.length === 0 ? '; nobody is left who could make room' : '';
  actors.report(`<5>${need.id} starts, and takes ${formatBytes(need.bytes)}${need.reservedBytes === 0 ? '' : `, and those that start with it ${formatBytes(need.reservedBytes)}`}; the others hold ${formatBytes(round.heldBytes)}${left}`);
  await carryOutAll(round, actors);
}

/** How many sites are put to sleep at once. */
const atOnce = 4;

/**
 * Carries moves out side by side, those that make room first: one that takes long keeps no other.
 * @returns what changes by that in what is remembered of each site
 */
export async function carryOutMoves(moves: readonly Move[], siteOf: (domain: string) => { known: KnownSite; past: Past } | undefined, { carryOut, report }: Pick<Actors, 'carryOut' | 'report'>): Promise<Map<string, Partial<Seen>>> {
  const moved = new Map<string, Partial<Seen>>();
  const ordered = [...moves.filter(({ cause }) => cause === 'memory'), ...moves.filter(({ cause }) => cause !== 'memory')];
  await inParallel(ordered, atOnce, async (move) => {
    const site = siteOf(move.domain);
    if (!site) return;
    try {
      const isDumped = await carryOut(move, site.known, site.past);
      const now = os.uptime() * 1000;
      // Or one that wakes before the next look would seem to have been awake all the time; and one that
      // said that it is busy is not asked again each time.
      moved.set(move.domain, { ...(move.do !== 'dump' && { state: 'frozen', since: now }), ...(isDumped && { triedAt: now }) });
    } catch (error) {
      report(`<4>${move.domain}: it could not be put to sleep: ${reasonOf(error)}`);
    }
  });
  return moved;
}

async function carryOutAll(round: Round, actors: Actors): Promise<void> {
  const { moves, known } = round;
  if (moves.length === 0) return;
  const sites = new Map([...known.values()].map((site) => [site.domain, site]));
  const moved = await carryOutMoves(moves, (domain) => {
    const [site, seen] = [sites.get(domain), round.seen.get(domain)];
    return site && { known: site, past: { state: seen?.state, activeAt: seen && onWall(seen.activeAt), triedAt: seen?.triedAt === undefined ? undefined : onWall(seen.triedAt) } };
  }, actors);
  await exclusively(async () => {
    const memory = parseMemory(await readIfThere(paths.idleFile));
    const moving = Object.fromEntries(Object.entries(memory.moving).filter(([domain]) => !moves.some((move) => move.domain === domain)));
    const seen = [...moved].flatMap(([domain, change]) => {
      const last = memory.seen[domain] ?? round.seen.get(domain);
      return last ? [[domain, { ...last, ...change } satisfies Seen] as const] : [];
    });
    await keep({ ...memory, moving, seen: { ...memory.seen, ...Object.fromEntries(seen) } });
  });
}

/**
 * Looks at all sites that run, without changing anything but what is remembered.
 * @param options need: a site that is about to start, for which others have to make room, and nothing
 *   else is decided; remembers: false writes nothing down, for those who only look
 */
export async function look({ need, remembers = true }: { need?: Need; remembers?: boolean } = {}): Promise<Round> {
  const before = parseMemory(await readIfThere(paths.idleFile));
  const swap = swapState();
  const groups = siteGroups(paths.cgroupRoot, swap.share);
  // A shell in a container counts like a visitor's connection.
  const uses = usesOf();
  const memory = await learn(before, groups);
  const connections = groups.length === 0 ? new Map<string, number>() : await connectionsTo(memory.sites);
  const ways = await waysOf().catch(reasonOf);
  const now = os.uptime() * 1000;
  // Of sites whose settings cannot be used, which stay as they are.
  let otherBytes = 0;
  const looks: Look[] = [];
  const seen = new Map<string, Seen>();
  for (const { id, appCgroup, service, frozen, cpuUs, trafficBytes, memoryBytes, isUsed, isDumped } of groups) {
    const known = memory.known[id];
    if (!known) {
      otherBytes += memoryBytes ?? 0;
      continue;
    }
    const site: Look = {
      domain: known.domain, state: service ? 'awake' : frozen ? 'frozen' : 'quiet',
      connections: (connections.get(known.site) ?? 0) + (uses.get(id) ?? 0) + openConnections(appCgroup, (known.listen ?? []).map((port) => port.container)),
      visits: typeof ways === 'string' ? before.seen[known.domain]?.visits ?? 0 : (ways?.visits.get(known.site) ?? 0) + (ways?.visits.get(known.container) ?? 0),
      cpuUs, trafficBytes, memoryBytes, isUsed, isDumped, rules: known.idle,
    };
    const next = remember(site, before.seen[known.domain], now);
    if (frozen && known.backedUp) site.dumpAt = await dumpAt(known.domain, next);
    looks.push(site);
    seen.set(known.domain, next);
  }
  const moving = Object.entries(memory.moving).filter(([, until]) => until > now);
  const giving = new Map(moving.map(([domain]) => [domain, memory.gives[domain] ?? 0]));
  // What starts has no memory of its own to give, whatever is left of it.
  const isTaken = ({ domain }: Look) => moving.some(([each]) => each === domain) || domain === memory.known[need?.id ?? '']?.domain;
  const machine: Machine = {
    now, date: new Date(), budgetBytes: memory.budgetBytes, swap, pressure: memoryPressure() ?? 0,
    // Of those on their way to sleep what they will hold then, or others would make the same room once more.
    otherBytes: otherBytes + looks.filter((each) => isTaken(each)).reduce((sum, { domain, memoryBytes = 0 }) => sum + Math.max(0, memoryBytes - (giving.get(domain) ?? 0)), 0),
  };
  const heldBytes = otherBytes + holds(looks);
  const moves = decide(looks.filter((each) => !isTaken(each)), seen, machine, need && need.bytes + need.reservedBytes, need?.background).filter(({ do: what, cause }) => !need || cause === 'memory' || what === 'stop');
  if (remembers) {
    const given = [...giving, ...moves.map((move) => [move.domain, gives(move, looks.find(({ domain }) => domain === move.domain) ?? {}, swap)] as const)];
    await keep({ ...memory, seen: Object.fromEntries(seen), moving: Object.fromEntries([...moving, ...moves.map(({ domain }) => [domain, now + movingMs] as const)]), gives: Object.fromEntries(given) });
    await tellWakes(memory, before, seen, swap.share);
  }
  return { looks, seen, known: new Map(Object.entries(memory.known)), machine, heldBytes, ways, moves };
}

/** When a site is due to be dumped while it stands still; undefined when nothing has changed since its last dump. */
async function dumpAt(domain: string, { activeAt, triedAt }: Seen): Promise<number | undefined> {
  const names = siteNames(domain);
  const state = await readState(names);
  if (!isUndumped(state, await usedAt(names, onWall(activeAt)), Date.now())) return undefined;
  const dumpedAgo = state.dumpedAt === null ? undefined : Date.now() - Date.parse(state.dumpedAt);
  // One in the future is from before the clock was set back, and counts for none.
  return nextDump(dumpedAgo === undefined || dumpedAgo < 0 ? undefined : os.uptime() * 1000 - dumpedAgo, triedAt);
}

/** A time of looks as the clock has it now, ms since 1970. */
function onWall(at: number): number {
  return Date.now() - (os.uptime() * 1000 - at);
}

async function keep(memory: IdleMemory): Promise<void> {
  await writeAtomic({ path: paths.idleFile, content: JSON.stringify(memory), mode: 0o600 });
}

/** Writes down for wakes what all may hold, and what each site has needed, as far as that has changed by a mebibyte. */
async function tellWakes(memory: IdleMemory, before: IdleMemory, seen: ReadonlyMap<string, Seen>, swapShare: number): Promise<void> {
  const { budgetBytes } = memory;
  if (budgetBytes !== undefined) await tellBudget({ budgetBytes, swapShare });
  const mebibytes = (peak: Seen | undefined) => Math.ceil((peak?.peakBytes ?? 0) / 1024 ** 2);
  for (const [domain, now] of seen) {
    if (now.peakBytes === undefined || mebibytes(now) === mebibytes(before.seen[domain])) continue;
    await writeAtomic({ path: siteNames(domain).memoryFile, content: `${now.peakBytes}\n` });
  }
}

/** Reads the settings of sites that are new, or whose files have changed; others cost two looks at files. */
async function learn(before: IdleMemory, groups: readonly SiteGroup[]): Promise<IdleMemory> {
  const defaultsStamp = stampOf(paths.defaultsFile);
  const fresh = before.defaultsStamp === defaultsStamp;
  const stamps = new Map(groups.map(({ id }) => [id, stampOf(settingsFileOf(id))]));
  const stale = groups.filter(({ id }) => !fresh || before.known[id]?.stamp !== stamps.get(id));
  const kept = Object.fromEntries(groups.flatMap(({ id }) => (before.known[id] && !stale.some((group) => group.id === id) ? [[id, before.known[id]] as const] : [])));
  if (stale.length === 0 && fresh) return { ...before, known: kept };
  const { readKnown } = await import('./idle-settings.ts');
  const { known, sites, memory } = await readKnown(stale.map(({ id }) => ({ id, stamp: stamps.get(id) ?? '' })));
  return { ...before, known: { ...kept, ...known }, sites, budgetBytes: budgetOf(memory, machineMemory()), defaultsStamp };
}

function stampOf(file: string): string {
  try {
    const { mtimeMs, size } = statSync(file);
    return `${mtimeMs} ${size}`;
  } catch {
    return '';
  }
}
