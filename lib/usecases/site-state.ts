import { exists } from '../effects/files.ts';
import type { Systemd, UnitState } from '../effects/systemd.ts';
import { parseDomain, paths, siteNames } from '../pure/names.ts';
import { isDown, stateOf, type State } from '../pure/state.ts';

/** The words that monitors get. */
export type MonitorWord = 'asleep' | 'waking' | 'awake' | 'broken';

/** What a monitor is told for a state: what a visitor would find, not why. */
export function monitorWord(state: State): MonitorWord {
  if (isDown(state)) return 'broken';
  if (state === 'awake') return 'awake';
  return state === 'waking' || state === 'installing' ? 'waking' : 'asleep';
}

/**
 * The state of one site, without waking it and without reading any settings: systemd is asked for
 * its socket and its service alone. A site without units of its own is always awake.
 * @param domain of a site that the router knows
 */
export async function monitorSite(systemd: Pick<Systemd, 'list'>, domain: string): Promise<MonitorWord> {
  const { socket, service } = siteNames(parseDomain(domain));
  return wordOf(domain, await systemd.list([socket, service]));
}

/** The same for many sites, in one call to systemd. */
export async function monitorSites(systemd: Pick<Systemd, 'list'>, domains: readonly string[]): Promise<Map<string, MonitorWord>> {
  const units = await systemd.list(['site-*.socket', 'site-*.service']);
  const byName = new Map(units.map((unit) => [unit.name, unit]));
  return new Map(await Promise.all(domains.map(async (domain) => {
    const { socket, service } = siteNames(domain);
    const own = [byName.get(socket), byName.get(service)].filter((unit) => unit !== undefined);
    return [domain, await wordOf(domain, own)] as const;
  })));
}

async function wordOf(domain: string, units: readonly UnitState[]): Promise<MonitorWord> {
  const names = siteNames(domain);
  const of = (name: string) => units.find((unit) => unit.name === name);
  if (!await exists(`${paths.unitsDir}/${names.service}`)) return 'awake';
  // What only Docker knows is left out: it is put right by the next visit, or makes that fail.
  const { state } = stateOf({
    settingsFault: undefined,
    enabled: true,
    socket: of(names.socket),
    service: of(names.service),
    unitFiles: true,
    data: await exists(names.dataDir),
    image: true,
    container: 'unknown',
    frozen: false,
    isFull: await exists(names.fullFile).catch(() => false),
    // What it is, root alone can read.
    pending: await exists(names.pendingFile).catch(() => false) ? 'install it' : undefined,
  });
  return monitorWord(state);
}
