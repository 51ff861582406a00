import { forgetServers } from '../effects/git/lineage.ts';
import { exists, readIfThere, remove } from '../effects/files.ts';
import { withLock } from '../effects/lock.ts';
import { hasOnlyDirectories, moveTree, replaceTree } from '../effects/site-tree.ts';
import { editYaml, parseSite } from '../pure/config.ts';
import { namesSaid } from '../pure/entry.ts';
import { reasonOf, SitegenError } from '../pure/errors.ts';
import { parseDomain, siteNames, type SiteNames } from '../pure/names.ts';
import { pendingOf } from '../pure/pending.ts';
import { add } from './add.ts';
import { readState } from './backup-state.ts';
import { backupSite } from './backup.ts';
import { forgetCertificate } from './certs.ts';
import { noSuchSite } from './domains.ts';
import { extractSite } from './extract.ts';
import { readFence } from './fence.ts';
import { readPending } from './first-start.ts';
import { planRemove, removeSite } from './remove.ts';
import { makeReady, type RestoreDeps } from './restore.ts';
import { loadDefaults, loadSite, ownerOf } from './settings.ts';
import { placesOf, settleSite } from './swap.ts';

/**
 * Gives a site another domain: data, history and settings go along, and the first container is told.
 * For a moment nobody is served. When a step fails, those before it are undone.
 * @param options redirect: visitors of the old domain are sent to the new one
 * @returns URLs of the servers that keep the history under the old domain
 * @throws SitegenError when there is no such site, or the new domain is taken
 */
export async function renameSite(deps: RestoreDeps, fromInput: string, toInput: string, { redirect }: { redirect: boolean }): Promise<string[]> {
  const { old, now, text: before } = await bothOf(fromInput, toInput);
  const { aliases = [], redirects = [] } = parseSite(before, old.settingsFile);
  const text = editYaml(before, {
    domain: now.domain,
    address: undefined,
    aliases: listOf(aliases.filter((name) => name !== now.domain)),
    redirects: listOf([...redirects.filter((name) => name !== now.domain), ...(redirect ? [old.domain] : [])]),
  });
  const { site } = await checkFree(now, text, old.domain);
  if (await exists(now.repository)) {
    throw new SitegenError(`${now.domain}: there is a history of an earlier site of this name in ${now.repository}`, { hint: `end it: sitegen remove --purge --backups ${now.domain}` });
  }
  const { servers } = await readState(old);
  await saveFirst(deps, old);

  return withLock(old.restoreLock, {}, async () => {
    await settleSite(old);
    const undo: (() => Promise<unknown>)[] = [];
    try {
      // The first of these commits what came since the backup.
      undo.push(() => add(deps, { domain: old.domain, text: before }));
      await removeSite(deps, await planRemove(old.domain, false));
      for (const [source, target] of [[old.siteDir, now.siteDir], [old.repository, now.repository], [old.backupCache, now.backupCache], [old.epochFile, now.epochFile]] as const) {
        if (!await exists(source)) continue;
        if (target === now.siteDir) await remove(target);
        await moveTree(source, target);
        undo.push(() => moveTree(target, source));
      }
      if (await exists(now.repository)) await forgetServers(now.repository);
      const told = site.workload?.hooks.rename === undefined ? undefined : old.domain;
      const pending = await readPending(now) ?? (told === undefined ? undefined : pendingOf({}));
      await add(deps, { domain: now.domain, text, pending: pending && { ...pending, renamedFrom: told } });
    } catch (error) {
      for (const back of undo.reverse()) await back().catch((undoing: unknown) => { deps.report(`while undoing: ${reasonOf(undoing)}`); });
      throw error;
    }
    await forgetCertificate(old.domain);
    for (const file of [old.backupState, old.sealedFile]) await remove(file);
    await deps.systemd.enqueue(now.dumpUnit);
    return Object.entries(servers).filter(([, { commit }]) => commit !== null).map(([url]) => url);
  });
}

/**
 * Makes a copy of a site under another domain, as it is now, with a history of its own: for trying
 * things out. Its first container is told the new domain. The site itself goes on, and keeps its ports.
 * @returns how much was copied
 * @throws SitegenError when there is no such site, or the other domain is taken
 */
export async function cloneSite(deps: RestoreDeps, fromInput: string, toInput: string): Promise<{ files: number; bytes: number }> {
  const { old, now, text: before } = await bothOf(fromInput, toInput);
  const text = editYaml(before, { domain: now.domain, address: undefined, aliases: undefined, redirects: undefined, listen: undefined });
  const loaded = await checkFree(now, text, undefined);
  const commit = await saveFirst(deps, old);
  if (commit === undefined) throw new SitegenError(`${old.domain}: there is no backup of it that could be copied`, { hint: `its settings may say "backup: false"; else: sitegen backup now ${old.domain}` });
  return withLock(now.restoreLock, {}, async () => {
    await settleSite(now);
    await remove(now.nextDir);
    try {
      const done = await extractSite({ repository: old.repository, commit, into: now.nextDir, progress: deps.progress });
      await makeReady(now, loaded, old.domain);
      await replaceTree(placesOf(now));
      await add(deps, { domain: now.domain, text });
      return done;
    } catch (error) {
      await remove(now.nextDir);
      if (!await exists(now.settingsFile)) await remove(now.siteDir);
      throw error;
    } finally {
      await remove(now.formerDir);
    }
  });
}

async function bothOf(fromInput: string, toInput: string): Promise<{ old: SiteNames; now: SiteNames; text: string }> {
  const [old, now] = [siteNames(parseDomain(fromInput)), siteNames(parseDomain(toInput))];
  const text = await readIfThere(old.settingsFile);
  if (text === undefined) throw noSuchSite(old.domain);
  const fenced = await readFence(old);
  if (fenced) throw new SitegenError(`${old.domain}: ${fenced.server} has the site now`, { hint: 'do it there' });
  return { old, now, text };
}

/** @param owner the site whose names may be taken over */
async function checkFree(now: SiteNames, text: string, owner: string | undefined) {
  const { domain } = now;
  if (await exists(now.settingsFile)) throw new SitegenError(`${domain}: the site exists already`, { hint: `see: sitegen status ${domain}` });
  if (!await hasOnlyDirectories(now.siteDir)) throw new SitegenError(`${domain}: there is data of an earlier site of this name in ${now.siteDir}`, { hint: 'move it away' });
  const loaded = await loadSite(text, now.settingsFile, await loadDefaults());
  const other = await ownerOf(namesSaid(loaded.file), owner ?? domain);
  if (other) throw new SitegenError(`${other.domain} belongs to the site ${other.owner}`, { hint: `take it out of aliases in ${siteNames(other.owner).settingsFile}` });
  return loaded;
}

async function saveFirst(deps: RestoreDeps, names: SiteNames): Promise<string | undefined> {
  const { commit, skipped } = await backupSite(deps, names.domain);
  if (skipped !== undefined) deps.report(`${names.domain}: not backed up before: ${skipped}`);
  return commit;
}

function listOf(names: readonly string[]): readonly string[] | undefined {
  return names.length > 0 ? names : undefined;
}
