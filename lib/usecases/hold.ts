import { stat } from 'node:fs/promises';
import { readIfThere } from '../effects/files.ts';
import type { Decision } from '../effects/hold.ts';
import { makeRefusals } from '../pure/adopt.ts';
import { mapFile, router } from '../pure/names.ts';
import { parseMap } from '../pure/routes.ts';

/** For how long a name is refused at once, and how many such are kept in mind. */
const refusedMs = 60_000;
const refusedMax = 10_000;

/** What the decisions are made with. */
export interface Deciding {
  /** Has a site brought here, and says how that ended: `adopted`, or anything else. */
  adopt: (name: string) => Promise<string>;
  now: () => number;
  /** Files of the names that the router knows, and of those that may be adopted. */
  names?: string;
  adoptable?: string;
}

/**
 * Makes the function that decides about names the router did not know. One that belongs to a site
 * by now was added a moment ago, and its connection goes on; so does one whose site can be adopted,
 * once it is here. The router's files are read again only when they have changed, so invented names
 * cost next to nothing.
 */
export function makeDecision({ adopt, now, names = mapFile('names'), adoptable = router.adoptable }: Deciding): (name: string) => Promise<Decision> {
  const known = makeLookUp(names);
  const permitted = makeLookUp(adoptable);
  const refusals = makeRefusals(refusedMs, refusedMax, now);
  const decide = async (name: string): Promise<Decision | undefined> => {
    const value = await known(name);
    // TLS of a passthrough site does not end here; its visitor's next try reaches it.
    return value === undefined ? undefined : value.split('|')[1] === 'pass' ? 'refuse' : 'pass';
  };
  return async (name) => {
    const decision = await decide(name);
    if (decision !== undefined) return decision;
    if (refusals.has(name) || await permitted(name) === undefined) return 'refuse';
    if (await adopt(name) === 'adopted') return await decide(name) ?? 'refuse';
    refusals.add(name);
    return 'refuse';
  };
}

/** Looks names up in a map's file, wildcards too. */
function makeLookUp(file: string): (name: string) => Promise<string | undefined> {
  let map = new Map<string, string>();
  let version = '';
  return async (name) => {
    const status = await stat(file).catch(() => undefined);
    const now = status === undefined ? '' : `${status.ino} ${status.size} ${status.mtimeMs}`;
    if (now !== version) {
      map = parseMap((await readIfThere(file)) ?? '');
      version = now;
    }
    return map.get(name) ?? map.get(name.replace(/^[^.]*/, '*'));
  };
}

/** Lines of a minute at most; the rest is counted. */
const linesMax = 20;
const windowMs = 60_000;

/**
 * Makes the function that says which names were refused: whoever invents them decides how many
 * there are, so only the first of a minute get a line, and the others one together. No
 * addresses are told.
 */
export function makeReport(print: (line: string) => void, now: () => number): { refused(name: string | undefined): void; flush(): void } {
  let began = now();
  let lines = 0;
  let more = 0;
  const flush = () => {
    if (more > 0) print(`refused ${more} more`);
    began = now();
    lines = 0;
    more = 0;
  };
  return {
    refused(name) {
      if (now() - began >= windowMs) flush();
      lines += 1;
      if (lines <= linesMax) print(`refused ${name ?? 'a client that asks for no name'}: no site has it`);
      else more += 1;
    },
    flush,
  };
}
