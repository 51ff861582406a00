import { readdirSync, statSync } from 'node:fs';
import { readMany } from '../effects/files.ts';
import { readSenderSite, type SenderSite } from '../pure/mail.ts';
import { isSiteId, mail } from '../pure/names.ts';

/** What the relay knows of all sites, by their ids. @param directory must be there */
export function readSenderSites(directory: string = mail.sitesDir): Map<string, SenderSite> {
  // What is being written has another name.
  const files = readdirSync(directory).filter((name) => isSiteId(name)).map((name) => `${directory}/${name}`);
  return new Map(readMany(files).flatMap(({ content }) => {
    const site = readSenderSite(content);
    return site ? [[site.id, site] as const] : [];
  }));
}

/** Times of files are no finer than a tick of the kernel: what was read at once after a change may have missed the next. */
const unsureMs = 2000;

/**
 * Finds the site whose container has an address. Sites come and go meanwhile, so the files are
 * read again whenever their directory has changed.
 */
export function senderByAddress(directory: string = mail.sitesDir): (address: string) => SenderSite | undefined {
  let known = new Map<string, SenderSite>();
  let readAt = -1;
  return (address) => {
    const changed = statSync(directory).mtimeMs;
    if (readAt < changed + unsureMs) {
      readAt = Date.now();
      known = new Map([...readSenderSites(directory).values()].flatMap((site) => (site.address === undefined ? [] : [[site.address, site] as const])));
    }
    return known.get(address);
  };
}
