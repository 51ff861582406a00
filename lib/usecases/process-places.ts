import { addressAt, chooseOffset, offsetOf } from '../pure/addresses.ts';
import { loopbackOf, sitesNamed, type Place } from '../pure/process.ts';
import { builtIn, type Site } from '../pure/site.ts';
import { siteFile } from './read-sites.ts';

/**
 * Tells a site's program where those of other sites listen that its settings name. Of those that are
 * not there, or have no program, it is told nothing: what is made of the settings says so.
 */
export async function placesOf(site: Site): Promise<Site> {
  const program = site.workload?.program;
  if (!site.workload || !program) return site;
  const places = new Map<string, Place>();
  for (const domain of sitesNamed(program.settings)) {
    if (domain === site.domain) continue;
    const file = await siteFile(domain.toLowerCase()).catch(() => undefined);
    if (!file?.process) continue;
    // Where it was not the domain's own, apply has recorded it.
    const recorded = file.address === undefined ? undefined : offsetOf(file.address, program.ranges);
    const { container } = addressAt(recorded ?? chooseOffset(file.domain, program.ranges, new Set()).offset, program.ranges);
    places.set(domain, { address: loopbackOf(container), port: file.port ?? builtIn.processPort });
  }
  return { ...site, workload: { ...site.workload, program: { ...program, places } } };
}
