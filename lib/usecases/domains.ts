import { namesIn, readIfThere } from '../effects/files.ts';
import { SitegenError, usageError } from '../pure/errors.ts';
import { domainOfFile, parseDomain, paths } from '../pure/names.ts';

/** Paths of all sites' settings. */
export async function settingsFiles(): Promise<string[]> {
  const names = await namesIn(paths.sitesDir);
  return names.filter((name) => name.endsWith('.yaml') && !name.startsWith('.')).map((name) => `${paths.sitesDir}/${name}`);
}

/** The domains that have settings, sorted. Files are read only where their name is a stand-in for a long domain. */
export async function allDomains(): Promise<string[]> {
  const files = await settingsFiles();
  const domains = await Promise.all(files.map(async (file) => domainOfFile(file.slice(file.lastIndexOf('/') + 1)) ?? await domainIn(file)));
  return domains.filter((domain) => domain !== undefined);
}

/** Only for names too long for a file; most commands need no YAML parser. */
async function domainIn(file: string): Promise<string | undefined> {
  try {
    const { parseSite } = await import('../pure/config.ts');
    return parseSite((await readIfThere(file)) ?? '', file).domain;
  } catch {
    return undefined;
  }
}

/**
 * The domains that a command means: those named, checked and known, or all.
 * @throws SitegenError when none or both are given, or a name has no site
 */
export async function selectDomains(named: readonly string[], all: boolean): Promise<string[]> {
  if (all && named.length > 0) throw usageError('give domains or --all, not both');
  const known = await allDomains();
  if (all) return known;
  if (named.length === 0) throw usageError('no domain given', 'name one or more, or use --all');
  return named.map((input) => {
    const domain = parseDomain(input);
    if (!known.includes(domain)) throw noSuchSite(domain);
    return domain;
  });
}

/** The error for a domain that has no settings. */
export function noSuchSite(domain: string): SitegenError {
  return new SitegenError(`${domain}: there is no such site`, { hint: `add it: sitegen add ${domain}, or see: sitegen list` });
}
