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

async function differences(api: Router, wanted: MapEntries): Promise<Difference[]> {
  return Promise.all(mapNames.map(async (name) => {
    const running = await api.map(mapFile(name));
    return {
      name,
      wanted: wanted[name],
      set: [...wanted[name]].filter(([key, value]) => running.get(key) !== value),
      gone: [...running.keys()].filter((key) => !wanted[name].has(key)),
    };
  }));
}

/** Number of entries in which the running router is not as its files are. */
export async function driftOf(api: Router, files: MapEntries): Promise<number> {
  return (await differences(api, files)).reduce((sum, { set, gone }) => sum + set.length + gone.length, 0);
}

/** Makes the running maps equal to the wanted ones, where they differ. */
export async function correct(api: Router, wanted: MapEntries): Promise<void> {
  // Names come last, as they let visitors in, and go first. Options say which of the other maps are
  // asked, so they come after these, and what nobody asks for any more goes at the end.
  const rank = (name: MapName) => (name === 'names' ? 2 : name === 'options' ? 1 : 0);
  const ordered = (await differences(api, wanted)).sort((a, b) => rank(a.name) - rank(b.name));
  const whole = ({ set, gone }: Difference) => set.length + gone.length > many;
  const takeOut = async ({ name, gone }: Difference) => { for (const key of gone) await api.deleteEntry(mapFile(name), key); };
  for (const each of ordered) if (each.name === 'names' && !whole(each)) await takeOut(each);
  for (const each of ordered) {
    if (whole(each)) await api.replaceMap(mapFile(each.name), each.wanted);
    else for (const [key, value] of each.set) await api.setEntry(mapFile(each.name), key, value);
  }
  for (const each of ordered) if (each.name !== 'names' && !whole(each)) await takeOut(each);
}

