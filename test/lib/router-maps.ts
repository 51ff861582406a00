import test from 'ava';
import type { Router } from '../../lib/effects/router.ts';
import { noEntries, type MapEntries } from '../../lib/pure/routes.ts';
import { correct as correctFrom, driftOf as driftFrom, runningMaps } from '../../lib/usecases/router-maps.ts';

/** As commands do it: the maps are asked for once. */
const correct = async (api: Router, wanted: MapEntries) => correctFrom(api, await runningMaps(api), wanted);
const driftOf = async (api: Router, files: MapEntries) => driftFrom(await runningMaps(api), files);

/** A router with some entries, and what is asked of it. */
function routerWith(entries: Partial<MapEntries>): { api: Router; asked: string[] } {
  const maps = { ...noEntries(), ...entries };
  const asked: string[] = [];
  const nameOf = (file: string) => /([a-z]+)\.map$/.exec(file)?.[1] as keyof MapEntries;
  const api = {
    map: (file: string) => Promise.resolve(new Map(maps[nameOf(file)])),
    setEntry: (file: string, key: string, value: string) => {
      asked.push(`+ ${nameOf(file)} ${key}`);
      maps[nameOf(file)].set(key, value);
      return Promise.resolve();
    },
    deleteEntry: (file: string, key: string) => {
      asked.push(`- ${nameOf(file)} ${key}`);
      maps[nameOf(file)].delete(key);
      return Promise.resolve();
    },
    replaceMap: (file: string, all: ReadonlyMap<string, string>) => {
      asked.push(`= ${nameOf(file)}`);
      maps[nameOf(file)] = new Map(all);
      return Promise.resolve();
    },
  } as unknown as Router;
  return { api, asked };
}

const site = (): MapEntries => ({
  ...noEntries(),
  names: new Map([['a.example', 'a.example|serve']]), options: new Map([['a.example', 'a.example|a']]),
  nets: new Map([['192.0.2.7_16|a|a.example', 'a.example|a']]), routes: new Map([['a.example/', 'a.example|be_site']]),
});

test('a site that comes is let in when all of it is there', async (t) => {
  const { api, asked } = routerWith({});
  t.is(await driftOf(api, site()), 4);
  await correct(api, site());
  t.deepEqual(asked, ['+ nets 192.0.2.7_16|a|a.example', '+ routes a.example/', '+ options a.example', '+ names a.example']);
  t.is(await driftOf(api, site()), 0);
});

test('of a site that goes the names are taken first', async (t) => {
  const { api, asked } = routerWith(site());
  await correct(api, noEntries());
  t.is(asked[0], '- names a.example');
  t.is(asked.length, 4);
});

test('what options ask for is there before they do, and goes after they have stopped', async (t) => {
  const open = () => ({ ...site(), options: new Map([['a.example', 'a.example|']]), nets: new Map<string, string>() });
  const closing = routerWith(open());
  await correct(closing.api, site());
  t.deepEqual(closing.asked, ['+ nets 192.0.2.7_16|a|a.example', '+ options a.example']);
  const opening = routerWith(site());
  await correct(opening.api, open());
  t.deepEqual(opening.asked, ['+ options a.example', '- nets 192.0.2.7_16|a|a.example']);
});

test('a map of which much differs is replaced at once', async (t) => {
  const { api, asked } = routerWith(site());
  const names = new Map(Array.from({ length: 50 }, (_, n) => [`${n}.example`, `${n}.example|serve`] as const));
  await correct(api, { ...site(), names });
  t.deepEqual(asked, ['= names']);
});
