import { forward, forwardPorts, restoreRules, unforward, unforwardPort, type Ways } from '../effects/network.ts';
import { reasonOf } from '../pure/errors.ts';
import type { Look } from '../pure/idle.ts';
import type { ListenPort } from '../pure/listen.ts';
import type { KnownSite } from './idle-memory.ts';

/** What tells whether a way is missing that should be there. */
export interface Mender {
  /** Whether a site's service is up, neither on its way there nor from there. */
  isActive: (domain: string) => Promise<boolean>;
  /** Whether systemd holds a public port for it. */
  isHeld: (domain: string, port: number) => Promise<boolean>;
  /** What belongs to services that are up, or on their way there or from there. */
  claims: () => Promise<readonly Claim[]>;
  report: (line: string) => void;
}

/** Where visitors of a site come, as its service has it. */
export interface Claim {
  site: string;
  listen: readonly ListenPort[];
}

/** What a look has found of them. */
export interface Found {
  looks: readonly Look[];
  known: ReadonlyMap<string, KnownSite>;
  /** Undefined while the rules are gone; text: why nobody can tell. */
  ways: Ways | string | undefined;
}

/**
 * Rules that somebody has flushed come back, and so do entries that are missing in them; those of
 * services that have ended are taken out.
 */
export async function mendWays(found: Found, mender: Mender): Promise<void> {
  const { looks, known, ways } = found;
  const { isActive, isHeld, report } = mender;
  if (typeof ways === 'string') {
    if (looks.length > 0) report(`<4>the firewall rules of the sites could not be looked at: ${ways}`);
    return;
  }
  if (ways) await takeStale(found, ways, mender);
  // The next wake puts them back.
  if (looks.length === 0) return;
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

/**
 * Takes entries out whose service has ended without doing so itself, killed as it may be together with
 * its container: visitors would be led to nobody, and systemd would not hear of them. One too many is
 * no harm, as the splice takes over and the next round puts it back.
 */
async function takeStale({ looks, known }: Found, ways: Ways, { claims, report }: Mender): Promise<void> {
  const awake = [...known.values()].filter(({ domain }) => looks.some((each) => each.domain === domain && each.state === 'awake'));
  const stale = await staleWays(ways, awake.map(({ site, listen = [] }) => ({ site, listen })), claims);
  for (const address of stale.sites) {
    await unforward(address);
    report(`<4>${[...known.values()].find(({ site }) => site === address)?.domain ?? address}: its service has ended and left its way in the firewall rules; systemd holds its visitors again`);
  }
  for (const port of stale.public) {
    await unforwardPort(port);
    report(`<4>port ${port}: the service of its site has ended and left its way in the firewall rules; systemd holds its clients again`);
  }
}

/**
 * Entries that belong neither to a site that was awake at the look nor to a service that is up: of those that
 * were, one that has gone to sleep since has taken its own out.
 * @param claims asked only when there is a reason to
 */
export async function staleWays({ forwarded, ports }: Pick<Ways, 'forwarded' | 'ports'>, awake: readonly Claim[], claims: Mender['claims']): Promise<{ sites: string[]; public: number[] }> {
  const others = (claimed: readonly Claim[], sites: Iterable<string>, publics: Iterable<number>) => ({
    sites: [...sites].filter((address) => !claimed.some(({ site }) => site === address)),
    public: [...publics].filter((port) => !claimed.some(({ listen }) => listen.some((each) => each.public === port))),
  });
  const strange = others(awake, forwarded, ports.keys());
  return strange.sites.length + strange.public.length === 0 ? strange : others(await claims(), strange.sites, strange.public);
}
