import { readIfThere, writeAtomic } from '../effects/files.ts';
import { makePrivate } from '../effects/folder.ts';
import { makeSecret } from '../effects/secret.ts';
import { editYaml } from '../pure/config.ts';
import { siteNames, type SiteNames } from '../pure/names.ts';
import { siteFile } from './read-sites.ts';
import { loadDefaults, loadSite, type LoadedSite } from './settings.ts';

/**
 * Passwords and keys that an app wants made for each site. They are in the site's settings, which
 * are root's alone and whose secrets backups contain encrypted only; and once more beside its data,
 * as a site may be removed without that, and added again.
 */

/** Names of what is to be made for a site, with the lengths. */
export function missingSecrets({ site }: Pick<LoadedSite, 'site'>): readonly { name: string; length: number }[] {
  return site.workload?.missingSecrets ?? [];
}

/**
 * A site's settings with all the secrets that its app wants: those that its data knows, and new ones
 * for the others. Writes them down beside the data before anything can be made with them.
 * @returns undefined when there is nothing to add
 */
export async function withSecrets(loaded: Pick<LoadedSite, 'site' | 'file' | 'text'>): Promise<string | undefined> {
  const missing = missingSecrets(loaded);
  if (missing.length === 0) return undefined;
  const names = siteNames(loaded.site.domain);
  const kept = await readKept(names);
  const made = Object.fromEntries(missing.map(({ name, length }) => [name, kept[name] ?? makeSecret(length)]));
  await writeKept(names, { ...kept, ...made });
  return editYaml(loaded.text, { secrets: { ...loaded.file.secrets, ...made } });
}

/** The same, written into the settings of a site that has them. */
export async function recordSecrets(loaded: LoadedSite, report: (line: string) => void): Promise<LoadedSite> {
  const text = await withSecrets(loaded);
  if (text === undefined) return loaded;
  const { domain, settingsFile } = siteNames(loaded.site.domain);
  await writeAtomic({ path: settingsFile, content: text, mode: 0o600 });
  report(`${domain}: made ${missingSecrets(loaded).map(({ name }) => name).join(', ')}; see: sitegen secrets ${domain}`);
  return loadSite(text, settingsFile, await loadDefaults());
}

/** Keeps a site's secrets beside its data, for when its settings go and that stays. */
export async function keepSecrets(names: SiteNames): Promise<void> {
  const { secrets = {} } = await siteFile(names.domain).catch(() => ({ secrets: {} }));
  if (Object.keys(secrets).length > 0) await writeKept(names, { ...await readKept(names), ...secrets });
}

/** The secrets of a site by name. @throws SitegenError when there is no such site */
export async function secretsOf(domain: string): Promise<Record<string, string>> {
  return (await siteFile(domain)).secrets ?? {};
}

async function readKept(names: Pick<SiteNames, 'secretsFile'>): Promise<Record<string, string>> {
  const text = await readIfThere(names.secretsFile);
  return text === undefined ? {} : JSON.parse(text) as Record<string, string>;
}

async function writeKept(names: Pick<SiteNames, 'secretsFile' | 'metaDir'>, secrets: Readonly<Record<string, string>>): Promise<void> {
  await makePrivate(names.metaDir);
  await writeAtomic({ path: names.secretsFile, content: `${JSON.stringify(secrets, undefined, 2)}\n`, mode: 0o600 });
}
