import type { Router } from '../effects/router.ts';
import { mapFile } from '../pure/names.ts';
import { mapNames, type MapEntries, type MapName } from '../pure/routes.ts';

/** From here on one command for a whole map is less work than one an entry. */
const many = 40;

interface Difference {
  name: MapName;
  wanted: ReadonlyMap<string, string>;
  set: [key: string, value: string][];
  gone: string[];
}

/** The maps as the running router has them. */
export async function runningMaps(api: Pick<Router, 'map'>): Promise<MapEntries> {
  const maps = await Promise.all(mapNames.map(async (name) => [name, await api.map(mapFile(name))] as const));
  return Object.fromEntries(maps) as MapEntries;
}

function differences(running: MapEntries, wanted: MapEntries): Difference[] {
  return mapNames.map((name) => ({
    name,
    wanted: wanted[name],
    set: [...wanted[name]].filter(([key, value]) => running[name].get(key) !== value),
    gone: [...running[name].keys()].filter((key) => !wanted[name].has(key)),
  }));
}

/** Number of entries in which the running router is not as its files are. */
export function driftOf(running: MapEntries, files: MapEntries): number {
  return differences(running, files).reduce((sum, { set, gone }) => sum + set.length + gone.length, 0);
}

/** Makes the running maps equal to the wanted ones, where they differ. */
export async function correct(api: Router, running: MapEntries, wanted: MapEntries): Promise<void> {
  // Names come last, as they let visitors in, and go first. Options say which of the other maps are
  // asked, so they come after these, and what nobody asks for any more goes at the end.
  const rank = (name: MapName) => (name === 'names' ? 2 : name === 'options' ? 1 : 0);
  const ordered = differences(running, wanted).sort((a, b) => rank(a.name) - rank(b.name));
  const whole = ({ set, gone }: Difference) => set.length + gone.length > many;
  const takeOut = async ({ name, gone }: Difference) => { for (const key of gone) await api.deleteEntry(mapFile(name), key); };
  for (const each of ordered) if (each.name === 'names' && !whole(each)) await takeOut(each);
  for (const each of ordered) {
    if (whole(each)) await api.replaceMap(mapFile(each.name), each.wanted);
    else for (const [key, value] of each.set) await api.setEntry(mapFile(each.name), key, value);
  }
  for (const each of ordered) if (each.name !== 'names' && !whole(each)) await takeOut(each);
}

