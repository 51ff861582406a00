import { exists } from '../effects/files.ts';
import { otherListeners } from '../effects/network.ts';
import { portClashes, type ListenPort, type PortClaim } from '../pure/listen.ts';
import { listenSocket, paths, siteNames } from '../pure/names.ts';
import { fencedSettings } from './fence.ts';
import { readableSites } from './read-sites.ts';
import type { Fault, LoadedSite } from './settings.ts';

/** Why some sites cannot have their public ports: another site has one, or another program of this host. */
export async function portFaults(sites: readonly LoadedSite[], all: boolean): Promise<Fault[]> {
  const faults = await claimFaults(sites, all);
  const fine = sites.filter(({ site }) => site.enabled && !faults.some(({ domain }) => domain === site.domain));
  const ports = fine.flatMap(({ site }) => (site.workload?.listen ?? []).map(({ public: port }) => ({ domain: site.domain, port })));
  if (ports.length === 0) return faults;
  const others = await otherListeners();
  for (const { domain, port } of ports) {
    const program = others.get(port);
    if (program !== undefined) faults.push({ domain, reason: `listen: port ${port} is in use by ${program}: stop that, or choose another port` });
  }
  return faults;
}

/**
 * Public ports that two sites claim; sites that are switched off claim none.
 * @param all whether `sites` are all there are; otherwise the files of others are looked at too
 */
export async function claimFaults(sites: readonly LoadedSite[], all: boolean): Promise<Fault[]> {
  const own = sites.flatMap(({ site }) => (site.enabled && site.workload ? [{ domain: site.domain, ports: site.workload.listen }] : [])).filter(({ ports }) => ports.length > 0);
  if (own.length === 0) return [];
  const given = new Set(sites.map(({ site }) => site.domain));
  const others = all ? [] : (await readableSites((text) => /\blisten\b/.test(text))).map((file) => fencedSettings(file)).filter(({ domain, enabled }) => !given.has(domain) && enabled !== false);
  const claims = await Promise.all([...own, ...others.map(({ domain, listen = [] }) => ({ domain, ports: listen }))].map((claim) => withHeld(claim)));
  return portClashes(claims).filter(({ domain }) => given.has(domain))
    .map(({ domain, port, owner }) => ({ domain, reason: `listen: port ${port} belongs to the site ${owner}` }));
}

async function withHeld({ domain, ports }: { domain: string; ports: readonly ListenPort[] }): Promise<PortClaim> {
  const names = siteNames(domain);
  const held = new Set<number>();
  for (const { public: port } of ports) if (await exists(`${paths.unitsDir}/${listenSocket(names, port)}`)) held.add(port);
  return { domain, ports, held };
}
