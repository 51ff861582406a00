import { namesIn, readIfThere } from '../effects/files.ts';
import { askCounters } from '../effects/router.ts';
import { paths, siteNames } from '../pure/names.ts';
import { parseReading } from '../pure/stats.ts';
import type { Sample } from '../pure/top.ts';
import { allDomains } from './domains.ts';
import { look } from './idle.ts';

/** A sample, and what all sites may hold together. */
export interface Snapshot extends Sample {
  budgetBytes: number | undefined;
}

/** Looks at all sites that run, and counts those that sleep. Changes nothing, and wakes nobody. */
export async function takeSample(): Promise<Snapshot> {
  const [round, answer, domains, units, links] = await Promise.all([look({ remembers: false }), askCounters(), allDomains(), namesIn(paths.unitsDir), namesIn(paths.enabledDir)]);
  const { looks, seen, machine } = round;
  const limits = await Promise.all(looks.map(async ({ domain }) => [domain, Number((await readIfThere(`${siteNames(domain).cgroup}/memory.max`))?.trim())] as const));
  const running = new Set(looks.map(({ domain }) => domain));
  // Sites without a container have no such slice, and those that are switched off no such link.
  const [written, linked] = [new Set(units), new Set(links)];
  const sleeps = (domain: string) => {
    const { appSlice, socket } = siteNames(domain);
    return !running.has(domain) && written.has(appSlice) && linked.has(socket);
  };
  return {
    at: machine.now, date: machine.date, looks, seen, budgetBytes: machine.budgetBytes,
    reading: parseReading(answer ?? ''),
    // "max" is no number.
    limits: new Map(limits.filter(([, bytes]) => Number.isFinite(bytes))),
    asleep: domains.filter((domain) => sleeps(domain)).sort(),
  };
}
