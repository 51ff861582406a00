import { readIfThere, writeAtomic } from '../effects/files.ts';
import { addToList, editYaml, hasKey, parseDefaults, parseSite } from '../pure/config.ts';
import { SitegenError } from '../pure/errors.ts';
import { paths, siteNames } from '../pure/names.ts';
import { stringify } from 'yaml';

/** A new site's settings as YAML; keys without a value are left out. */
export function settingsText(settings: Record<string, unknown>): string {
  const given = Object.entries(settings).filter(([, value]) => value !== undefined && !(Array.isArray(value) && value.length === 0));
  return `# Settings of a site; "sitegen apply" carries changes out. All keys: ${paths.settings}/example-site.yaml\n${stringify(Object.fromEntries(given), { lineWidth: 0 })}`;
}

/** Sets or clears `enabled` in a site's settings; apply carries it out. */
export async function setEnabled(domain: string, enabled: boolean): Promise<void> {
  // Written out where it stood: taking the key out would take the comments on it along.
  await editSettings(domain, (text) => ({ enabled: enabled ? (hasKey(text, 'enabled') ? true : undefined) : false }));
}

/**
 * Changes keys of a site's settings; undefined takes a key out.
 * @throws SitegenError when the result would be wrong; the file then stays as it was
 */
export async function editSettings(domain: string, changes: Readonly<Record<string, unknown>> | ((text: string) => Readonly<Record<string, unknown>>)): Promise<void> {
  const { settingsFile } = siteNames(domain);
  const text = await readIfThere(settingsFile);
  if (text === undefined) throw new SitegenError(`${domain}: there is no such site`, { hint: 'see: sitegen list' });
  const edited = editYaml(text, typeof changes === 'function' ? changes(text) : changes);
  parseSite(edited, settingsFile);
  await writeAtomic({ path: settingsFile, content: edited, mode: 0o600 });
}

/**
 * Has the router take visitors' addresses from a server that forwards connections here; apply carries it out.
 * @param address of that server, or a range
 * @returns an action that takes this back
 * @throws SitegenError when it is no address; the file then stays as it was
 */
export async function trustProxy(address: string): Promise<() => Promise<void>> {
  const path = paths.defaultsFile;
  const text = (await readIfThere(path)) ?? '';
  const edited = addToList(text, ['router', 'proxies'], address);
  parseDefaults(edited, path);
  const write = (content: string) => writeAtomic({ path, content, mode: 0o600 });
  if (edited !== text) await write(edited);
  return async () => { if ((await readIfThere(path)) === edited) await write(text); };
}
