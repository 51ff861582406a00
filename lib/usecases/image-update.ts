import { readIfThere, writeAtomic } from '../effects/files.ts';
import { withLock } from '../effects/lock.ts';
import { editYaml } from '../pure/config.ts';
import { reasonOf, SitegenError } from '../pure/errors.ts';
import { paths, siteNames } from '../pure/names.ts';
import { apply } from './apply.ts';
import { backupSite } from './backup.ts';
import { fetchImage } from './containers.ts';
import { wakeSite } from './control.ts';
import type { RestoreDeps } from './restore.ts';
import { loadDefaults, loadSite } from './settings.ts';

/**
 * Gives a site a newer image. It is fetched while the site goes on, then the site is backed up, and
 * woken with the new one, which has its data brought up to date. When it does not wake, the image
 * from before comes back; what the new one has done to the data stays, and the backup is named.
 * @throws SitegenError that says which image the site has now
 */
export async function updateImage(deps: RestoreDeps, { domain, pin }: { domain: string; pin: string }): Promise<void> {
  const names = siteNames(domain);
  const before = await readIfThere(names.settingsFile);
  if (before === undefined) throw new SitegenError(`${domain}: there is no such site`, { hint: 'see: sitegen list' });
  const text = editYaml(before, { pin });
  const { origin } = await loadSite(text, names.settingsFile, await loadDefaults());
  if (!origin) throw new SitegenError(`${domain}: it has no image`);
  // Other sites of the same app may have fetched it a moment ago.
  if (!await deps.docker.hasImage(origin.reference)) await fetchImage(deps, origin, true);
  const { commit, skipped } = await backupSite(deps, domain);
  if (skipped !== undefined) deps.report(`${domain}: not backed up before: ${skipped}`);
  await put(deps, domain, text, before);
  try {
    await wakeSite(deps.systemd, domain);
  } catch (error) {
    await put(deps, domain, before, text);
    throw new SitegenError(`${domain}: it does not wake with ${origin.reference}, and has its former image again: ${reasonOf(error)}`, {
      hint: commit === undefined ? `look at: sitegen logs ${domain}` : `if its data was changed: sitegen restore ${domain}, of the commit ${commit.slice(0, 12)}`, cause: error,
    });
  }
}

/** @throws SitegenError when somebody has changed the settings meanwhile */
async function put(deps: RestoreDeps, domain: string, text: string, expected: string): Promise<void> {
  const { settingsFile } = siteNames(domain);
  await withLock(paths.machineLock, { waiting: () => { deps.report('waiting for another sitegen to finish'); } }, async () => {
    if (await readIfThere(settingsFile) !== expected) throw new SitegenError(`${domain}: its settings were changed meanwhile`, { hint: 'repeat it' });
    await writeAtomic({ path: settingsFile, content: text, mode: 0o600 });
    const { faults: [fault] } = await apply(deps, [domain]);
    if (fault) {
      await writeAtomic({ path: settingsFile, content: expected, mode: 0o600 });
      throw new SitegenError(`${domain}: ${fault.reason}`);
    }
  });
}
