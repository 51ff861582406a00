import { statSync } from 'node:fs';
import os from 'node:os';
import { machineMemory, memoryPressure, openConnections, siteGroups, type SiteGroup } from '../effects/cgroup.ts';
import { readIfThere, writeAtomic } from '../effects/files.ts';
import { connectionsTo, forward, forwardPorts, restoreRules, unforward, unforwardPort, waysOf, type Ways } from '../effects/network.ts';
import { decide, remember, type Look, type Machine, type Move, type Seen } from '../pure/idle.ts';
import { reasonOf } from '../pure/errors.ts';
import type { ListenPort } from '../pure/listen.ts';
import { paths, settingsFileOf } from '../pure/names.ts';
import { parseSize } from '../pure/quantities.ts';
import { parseMemory, type IdleMemory, type KnownSite } from './idle-memory.ts';

/** A look at all sites that run. */
export interface Round {
  looks: readonly Look[];
  seen: ReadonlyMap<string, Seen>;
  known: ReadonlyMap<string, KnownSite>;
  machine: Machine;
  memory: IdleMemory;
  /** Undefined while the rules are gone. */
  ways: Ways | undefined;
  moves: readonly Move[];
}

/** What carries moves out. */
export interface Actors {
  /** @param known of the site @returns what became of it */
  carryOut: (move: Move, known: KnownSite) => Promise<void>;
  /** Whether a site's service is up, neither on its way there nor from there. */
  isActive: (domain: string) => Promise<boolean>;
  /** Whether systemd holds a public port for it. */
  isHeld: (domain: string, port: number) => Promise<boolean>;
  report: (line: string) => void;
}

/**
 * One round: looks at all sites that run, puts back what is missing of the kernel's way to awake
 * ones, and sends those to sleep that are due, or that have to make room.
 * @param needBytes what a site that is about to wake will take besides
 * @returns how many sites run
 */
export async function idleRound({ carryOut, isActive, isHeld, report }: Actors, needBytes = 0): Promise<number> {
  const round = await look(needBytes);
  if (round.looks.length > 0) await mendWays(round, { isActive, isHeld, report });
  const moved = new Set<string>();
  for (const move of round.moves) {
    const known = [...round.known.values()].find(({ domain }) => domain === move.domain);
    if (!known) continue;
    try {
      await carryOut(move, known);
      moved.add(move.domain);
    } catch (error) {
      report(`<4>${move.domain}: it could not be put to sleep: ${reasonOf(error)}`);
    }
  }
  // Or one that wakes before the next look would seem to have been awake all the time; and one that
  // said that it is busy is not asked again each time.
  if (moved.size > 0) await keep(round.memory, new Map([...round.seen].map(([domain, seen]) => [domain, moved.has(domain) ? { ...seen, state: 'frozen', since: os.uptime() * 1000 } : seen])));
  return round.looks.length;
}

/**
 * Looks at all sites that run, without changing anything but what is remembered.
 * @param remembers false: nothing is written down, for those who only look
 */
export async function look(needBytes = 0, remembers = true): Promise<Round> {
  const before = parseMemory(await readIfThere(paths.idleFile));
  const groups = siteGroups();
  const memory = await learn(before, groups);
  const connections = groups.length === 0 ? new Map<string, number>() : await connectionsTo(memory.sites);
  const ways = await waysOf();
  const now = os.uptime() * 1000;
  const looks: Look[] = [];
  const seen = new Map<string, Seen>();
  for (const { id, appCgroup, service, frozen, cpuUs, trafficBytes, memoryBytes, isUsed } of groups) {
    const known = memory.known[id];
    if (!known) continue;
    const site: Look = {
      domain: known.domain, state: service ? 'awake' : frozen ? 'frozen' : 'quiet',
      connections: (connections.get(known.site) ?? 0) + openConnections(appCgroup, (known.listen ?? []).map((port) => port.container)),
      visits: (ways?.visits.get(known.site) ?? 0) + (ways?.visits.get(known.container) ?? 0), cpuUs, trafficBytes, memoryBytes, isUsed, rules: known.idle,
    };
    looks.push(site);
    seen.set(known.domain, remember(site, before.seen[known.domain], now));
  }
  const { swapBytes } = machineMemory();
  const machine: Machine = { now, date: new Date(), budgetBytes: memory.budgetBytes, hasSwap: swapBytes > 0, pressure: memoryPressure() ?? 0 };
  if (remembers) await keep(memory, seen);
  return { looks, seen, known: new Map(Object.entries(memory.known)), machine, memory, ways, moves: decide(looks, seen, machine, needBytes) };
}

async function keep(memory: IdleMemory, seen: ReadonlyMap<string, Seen>): Promise<void> {
  await writeAtomic({ path: paths.idleFile, content: JSON.stringify({ ...memory, seen: Object.fromEntries(seen) }), mode: 0o600 });
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
  return { ...before, known: { ...kept, ...known }, sites, budgetBytes: budgetOf(memory), defaultsStamp };
}

function budgetOf(memory: string): number | undefined {
  const { totalBytes } = machineMemory();
  const percent = /^([\d.]+)%$/.exec(memory)?.[1];
  return percent === undefined ? parseSize(memory) : Math.floor((totalBytes * Number(percent)) / 100);
}

function stampOf(file: string): string {
  try {
    const { mtimeMs, size } = statSync(file);
    return `${mtimeMs} ${size}`;
  } catch {
    return '';
  }
}

/** Rules that somebody has flushed come back, and so do entries that are missing in them. */
async function mendWays({ looks, known, ways }: Round, { isActive, isHeld, report }: Pick<Actors, 'isActive' | 'isHeld' | 'report'>): Promise<void> {
  if (!ways) {
    await restoreRules();
    report('<4>the firewall rules of the sites were gone, and are back; visitors went through the splices meanwhile');
  }
  for (const { domain, site, container, port, listen = [] } of known.values()) {
    const lost = listen.filter((each) => ways?.ports.get(each.public) !== `${container}:${each.container}`);
    const isLost = ways?.forwarded.has(site) !== true;
    if ((!isLost && lost.length === 0) || !looks.some((each) => each.domain === domain && each.state === 'awake')) continue;
    if (!await isActive(domain)) continue;
    if (isLost) await forward(site, container, port);
    const mended: ListenPort[] = [];
    // A port whose socket somebody has stopped stays closed.
    for (const each of lost) if (await isHeld(domain, each.public)) mended.push(each);
    if (mended.length > 0) {
      await forwardPorts(container, mended).catch((error: unknown) => {
        // Below what its unit writes down: the wake has said so, and each round would again.
        report(`<6>${domain}: visitors of its ports go through the splices: ${reasonOf(error)}`);
        mended.length = 0;
      });
    }
    // A stop that has begun meanwhile has taken it out already, or will do so.
    if (!await isActive(domain)) {
      if (isLost) await unforward(site);
      for (const each of mended) await unforwardPort(each.public);
      continue;
    }
    if (isLost || mended.length > 0) report(`<5>${domain}: new connections go straight to its container again`);
  }
}
