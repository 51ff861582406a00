import { addressAt } from '../pure/addresses.ts';
import { allot } from '../pure/allot.ts';
import { siteNames } from '../pure/names.ts';
import { addressFor } from '../pure/process.ts';
import { builtIn } from '../pure/site.ts';
import type { KnownSite } from './idle-memory.ts';
import { siteOfId } from './read-sites.ts';
import { loadSettings, takenOffsets } from './settings.ts';

/**
 * Reads what rounds of the idle timer need of sites' settings. A file of its own, as a round in
 * which nothing has changed neither loads nor needs it. Sites without usable settings are left out,
 * and stay as they are.
 * @param wanted ids, and what their files' times are
 */
export async function readKnown(wanted: readonly { id: string; stamp: string }[]): Promise<{ known: Record<string, KnownSite>; sites: string; memory: string }> {
  const domains = (await Promise.all(wanted.map(async ({ id }) => (await siteOfId(id).catch(() => undefined))?.domain))).filter((domain) => domain !== undefined);
  const { sites, ranges, defaults } = await loadSettings(domains);
  const { offsets } = allot(sites.map(({ site }) => site), ranges, await takenOffsets(ranges));
  const known: Record<string, KnownSite> = {};
  for (const { site } of sites) {
    const { id } = siteNames(site.domain);
    const offset = offsets.get(site.domain);
    if (!site.workload || offset === undefined) continue;
    const address = addressFor(site.workload, addressAt(offset, ranges));
    known[id] = {
      domain: site.domain, stamp: wanted.find((each) => each.id === id)?.stamp ?? '', site: address.site, container: address.container,
      port: site.workload.port, listen: site.workload.listen, silentMs: site.entry.tunnelTimeoutMs, backedUp: site.backedUp, diskBytes: site.workload.diskBytes, idle: site.workload.idle,
    };
  }
  return { known, sites: ranges.sites, memory: defaults.machine?.memory ?? builtIn.memory };
}
