import { addressAt } from '../pure/addresses.ts';
import { allot } from '../pure/allot.ts';
import { desired, type Desired } from '../pure/desired.ts';
import { SitegenError } from '../pure/errors.ts';
import { rangesOf } from '../pure/site.ts';
import { loadDefaults, loadTemplates, takenOffsets, type LoadedSite } from './settings.ts';

/** What one site should be on this machine. @throws SitegenError when its recorded address is another site's */
export async function wantOf({ site, image }: Pick<LoadedSite, 'site' | 'image'>): Promise<Desired> {
  const ranges = rangesOf(await loadDefaults());
  const { offsets, clashes } = allot([site], ranges, await takenOffsets(ranges));
  const clash = clashes.get(site.domain);
  if (clash !== undefined) throw new SitegenError(`${site.domain}: ${clash}`);
  return desired(site, addressAt(offsets.get(site.domain) ?? 0, ranges), image, await loadTemplates());
}
