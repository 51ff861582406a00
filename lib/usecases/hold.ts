import { stat } from 'node:fs/promises';
import { readIfThere } from '../effects/files.ts';
import type { Decision } from '../effects/hold.ts';
import { mapFile } from '../pure/names.ts';
import { parseMap } from '../pure/routes.ts';

/**
 * Makes the function that decides about names the router did not know. One that belongs to a site
 * by now was added a moment ago, and its connection goes on. The router's map is read again only
 * when it has changed, so invented names cost next to nothing.
 */
export function makeDecision(file = mapFile('names')): (name: string) => Promise<Decision> {
  let known = new Map<string, string>();
  let version = '';
  return async (name) => {
    const status = await stat(file).catch(() => undefined);
    const now = status === undefined ? '' : `${status.ino} ${status.size} ${status.mtimeMs}`;
    if (now !== version) {
      known = parseMap((await readIfThere(file)) ?? '');
      version = now;
    }
    const value = known.get(name) ?? known.get(name.replace(/^[^.]*/, '*'));
    // TLS of a passthrough site does not end here; its visitor's next try reaches it.
    return value === undefined || value.split('|')[1] === 'pass' ? 'refuse' : 'pass';
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
