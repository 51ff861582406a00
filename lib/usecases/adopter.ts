import type { Systemd } from '../effects/systemd.ts';
import { candidatesFor, makeRefusals } from '../pure/adopt.ts';
import { reasonOf } from '../pure/errors.ts';
import { parseDomain, siteNames } from '../pure/names.ts';
import { isWhole } from './adopting.ts';
import { loadDefaults } from './settings.ts';

/** How many at once unless `adopt.atOnce` says so, and how many names may wait for their turn. */
const atOnce = 2;
const waitingMax = 32;
/** For how long what could not be adopted is not tried again, and how many names are kept in mind. */
const refusedMs = 120_000;
const refusedMax = 10_000;

/**
 * Makes the function that brings sites here that strangers ask for. Each is brought by a unit of its
 * own, one at a time a site, some at once; whoever asks for the same waits with the first. What the
 * settings do not permit, or was in vain a moment ago, costs nothing.
 * @returns whether the site is here: `adopted` or `refused`
 */
export function makeAdopter({ systemd, now, report }: { systemd: () => Promise<Pick<Systemd, 'start' | 'resetFailed'>>; now: () => number; report: (line: string) => void }): (name: string) => Promise<'adopted' | 'refused'> {
  const refusals = makeRefusals(refusedMs, refusedMax, now);
  const under = new Map<string, Promise<boolean>>();
  const waiting: (() => void)[] = [];
  let running = 0;

  const inTurn = async (most: number, action: () => Promise<void>): Promise<void> => {
    if (running >= most) await new Promise<void>((resolve) => waiting.push(resolve));
    running += 1;
    try {
      await action();
    } finally {
      running -= 1;
      waiting.shift()?.();
    }
  };

  const bring = async (domain: string, most: number): Promise<boolean> => {
    const names = siteNames(domain);
    if (await isWhole(names)) return true;
    if (refusals.has(domain) || waiting.length >= waitingMax) return false;
    await inTurn(most, async () => {
      const manager = await systemd();
      await manager.start(names.adoptUnit).catch((error: unknown) => { report(reasonOf(error)); });
    });
    const here = await isWhole(names);
    if (!here) refusals.add(domain);
    return here;
  };

  return async (asked) => {
    const { adopt } = await loadDefaults();
    let name: string;
    try {
      name = parseDomain(asked);
    } catch {
      return 'refused';
    }
    for (const domain of candidatesFor(name, adopt)) {
      // A name that long has another for its unit, by which nobody could tell it.
      if (siteNames(domain).id !== domain) continue;
      const brought = under.get(domain) ?? bring(domain, adopt?.atOnce ?? atOnce).finally(() => under.delete(domain));
      under.set(domain, brought);
      if (await brought) return 'adopted';
    }
    return 'refused';
  };
}
