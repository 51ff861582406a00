import { chooseOffset, offsetOf, type Ranges } from './addresses.ts';
import { siteNames } from './names.ts';
import type { Site } from './site.ts';

/**
 * The address of each site: what its file records, else what its domain's hash gives. Sites that
 * are set up keep theirs; among new ones the first in alphabetical order wins.
 * @param taken offsets that sockets listen on by now, by socket unit
 * @returns offsets by domain, for whom the address has to be recorded, and whose recorded address
 * is another site's, with the reason
 */
export function allot(sites: readonly Site[], ranges: Ranges, taken: ReadonlyMap<string, number>): { offsets: Map<string, number>; record: Set<string>; clashes: Map<string, string> } {
  const offsets = new Map<string, number>();
  const record = new Set<string>();
  const clashes = new Map<string, string>();
  const used = new Set<number>();
  const claim = (site: Site, offset: number) => {
    offsets.set(site.domain, offset);
    used.add(offset);
  };
  const own = (site: Site) => chooseOffset(site.domain, ranges, new Set()).offset;
  for (const site of sites) {
    const recorded = site.recordedAddress === undefined ? undefined : offsetOf(site.recordedAddress, ranges);
    if (recorded === undefined) continue;
    const { socket } = siteNames(site.domain);
    // A site that is set up would lose its visitors to whoever types its address.
    const owner = [...taken].find(([other, offset]) => offset === recorded && other !== socket)?.[0]
      ?? (used.has(recorded) ? [...offsets].find(([, offset]) => offset === recorded)?.[0] : undefined);
    if (owner === undefined) claim(site, recorded);
    else clashes.set(site.domain, `address: ${site.recordedAddress ?? ''} belongs to ${owner.replace(/^site-|\.socket$/g, '')}: take the line out, and sitegen chooses another one`);
  }
  for (const site of sites) {
    const present = taken.get(siteNames(site.domain).socket);
    if (!offsets.has(site.domain) && present !== undefined && present === own(site) && !used.has(present)) claim(site, present);
  }
  // Sites that are not among `sites` keep theirs too.
  const ours = new Set(sites.map((site) => siteNames(site.domain).socket));
  for (const [socket, offset] of taken) if (!ours.has(socket)) used.add(offset);
  for (const site of sites) {
    if (offsets.has(site.domain)) continue;
    const { offset, collided } = chooseOffset(site.domain, ranges, used);
    claim(site, offset);
    if (collided && !clashes.has(site.domain)) record.add(site.domain);
  }
  return { offsets, record, clashes };
}
