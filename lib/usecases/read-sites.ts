import { readIfThere, readMany } from '../effects/files.ts';
import { parseSite } from '../pure/config.ts';
import { settingsFileOf, siteNames } from '../pure/names.ts';
import type { SiteFile } from '../pure/schema.ts';
import { noSuchSite, settingsFiles } from './domains.ts';

/**
 * Settings of sites as they are written. Files with a fault are left out: whoever applies the
 * settings tells it, and it must not keep the others.
 * @param mayMatter a quick look at a file's text and path; those that cannot matter are not parsed,
 *   which keeps this quick with many sites
 */
export async function readableSites(mayMatter: (text: string, path: string) => boolean = () => true): Promise<SiteFile[]> {
  return readMany(await settingsFiles()).filter(({ content, path }) => mayMatter(content, path)).flatMap(({ content, path }) => {
    try {
      return [parseSite(content, path)];
    } catch {
      return [];
    }
  });
}

/** Settings of one site. @throws SitegenError when there is none, or its settings have a fault */
export async function siteFile(domain: string): Promise<SiteFile> {
  const file = await siteOfId(siteNames(domain).id);
  if (!file) throw noSuchSite(domain);
  return file;
}

/** Settings of the site that a unit's instance names; undefined when it is gone. @throws SitegenError as `parseSite` */
export async function siteOfId(id: string): Promise<SiteFile | undefined> {
  const path = settingsFileOf(id);
  const text = await readIfThere(path);
  return text === undefined ? undefined : parseSite(text, path);
}
