import { readIfThere } from '../effects/files.ts';
import { namesIn } from '../pure/egress.ts';
import { egressNames, parseEgress } from '../pure/egress-rules.ts';
import { egressNamesOf } from '../pure/egress-names.ts';

/** What a site may reach outside, as its settings say, and what came of it. */
export interface EgressStatus {
  allowed: 'any' | readonly string[];
  /** Names among them that have no address just now. */
  unresolved: readonly string[];
  /** Packets since the rules were made; null where nothing is blocked, or nobody can tell. */
  blocked: number | null;
}

/** @param counters of the table, by name; undefined when it cannot be read */
export async function egressStatus(id: string, places: readonly string[] | undefined, counters: ReadonlyMap<string, number> | undefined): Promise<EgressStatus> {
  if (!places) return { allowed: 'any', unresolved: [], blocked: null };
  const known = parseEgress(await readIfThere(egressNamesOf(id).egressFile).catch(() => undefined))?.names;
  const unresolved = known ? namesIn(places).filter((name) => Object.keys(known[name]?.seen ?? {}).length === 0) : [];
  return { allowed: places, unresolved, blocked: counters?.get(egressNames(id).chain) ?? null };
}
