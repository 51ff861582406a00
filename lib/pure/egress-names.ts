import { paths } from './paths.ts';

/** What a site has because it may not reach everything outside. */
export interface EgressNames {
  /** Its rules, as nft reads them; there is none for a site that may reach everything. */
  egressFile: string;
  /** Asks for the addresses of the names among what it may reach. */
  egressUnit: string;
}

/** Where those of a site are. @param id as `siteNames` has it */
export function egressNamesOf(id: string): EgressNames {
  return { egressFile: `${paths.egressDir}/${id}.nft`, egressUnit: `sitegen-egress@${id}.service` };
}

/** The site's id by the name of such a file; undefined for other files. */
export function idOfEgressFile(name: string): string | undefined {
  return name.endsWith('.nft') && !name.startsWith('.') ? name.slice(0, -'.nft'.length) : undefined;
}

/** The setting as one text; here, as whoever only shows it needs nothing that reads places. */
export function formatEgress(places: readonly string[] | undefined): string {
  return places === undefined ? 'any' : places.length === 0 ? 'none' : places.join(', ');
}
