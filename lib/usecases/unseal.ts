import { decrypt } from '../effects/age.ts';
import { readIfThere } from '../effects/files.ts';
import { checkPair, type Certificate } from '../pure/certificate.ts';
import { editYaml } from '../pure/config.ts';
import { reasonOf, SitegenError } from '../pure/errors.ts';
import type { SiteNames } from '../pure/names.ts';
import type { DefaultsFile } from '../pure/schema.ts';
import { readMeta } from './extract.ts';

/** What a backup has of a site besides its data, readable again; the counterpart of seal.ts. */

type Backup = Pick<SiteNames, 'domain' | 'repository'> & { commit: string };

/**
 * A site's settings as they were, with its secrets.
 * @throws SitegenError without settings, or with secrets that this machine cannot read
 */
export async function settingsOf(backup: Backup, defaults: DefaultsFile): Promise<string> {
  const text = await readMeta(backup.repository, backup.commit, 'site.yaml');
  if (text === undefined) throw new SitegenError(`${backup.domain}: the backup has no settings`, { hint: `write them: sitegen add ${backup.domain}; then: sitegen restore ${backup.domain}` });
  const secrets = await unseal(backup, 'secrets.json', defaults);
  return secrets === undefined ? text.toString('utf8') : editYaml(text.toString('utf8'), { secrets: JSON.parse(secrets) as unknown });
}

/**
 * A site's certificate and key, when they still can be served.
 * @returns undefined when there is none, or why it cannot be used
 */
export async function certificateIn(backup: Backup, defaults: DefaultsFile, now: Date): Promise<{ pair: { chain: string; key: string }; facts: Certificate } | string | undefined> {
  const chain = await readMeta(backup.repository, backup.commit, 'certificate/fullchain.pem');
  if (chain === undefined) return undefined;
  const key = await unseal(backup, 'certificate/key.pem', defaults);
  if (key === undefined) return 'its key is not in the backup';
  const pair = { chain: chain.toString('utf8'), key };
  const facts = checkPair(pair, backup.domain, now);
  return typeof facts === 'string' ? facts : { pair, facts };
}

async function unseal({ domain, repository, commit }: Backup, name: string, defaults: DefaultsFile): Promise<string | undefined> {
  const plain = await readMeta(repository, commit, name);
  if (plain !== undefined) return plain.toString('utf8');
  const sealed = await readMeta(repository, commit, `${name}.age`);
  if (sealed === undefined) return undefined;
  const file = defaults.backup?.identity;
  const hint = 'set backup.identity in sitegen.yaml to the file with the age identity whose public key was backup.recipient';
  if (file === undefined) throw new SitegenError(`${domain}: ${name} of the backup is encrypted, and this machine has no identity`, { hint });
  const identity = await readIfThere(file);
  if (identity === undefined) throw new SitegenError(`${file}, which backup.identity in sitegen.yaml names, is missing`, { hint });
  try {
    return (await decrypt(sealed, identity)).toString('utf8');
  } catch (error) {
    throw new SitegenError(`${domain}: ${name} of the backup cannot be decrypted with ${file}: ${reasonOf(error)}`, { hint, cause: error });
  }
}
