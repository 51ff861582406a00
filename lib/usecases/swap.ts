import { settleTree, type Places } from '../effects/site-tree.ts';
import type { SiteNames } from '../pure/names.ts';

/** Where a site's tree is, what is to replace it, and what it was. */
export function placesOf(names: SiteNames): Places {
  return { current: names.siteDir, next: names.nextDir, former: names.formerDir };
}

/** Puts right what a killed restore has left of a site's tree; see `settleTree`. */
export async function settleSite(names: SiteNames): Promise<boolean> {
  return settleTree(placesOf(names));
}
