import { giveTree } from '../effects/data-tree/give.ts';
import { headOf, isAncestor } from '../effects/git/objects.ts';
import { exists, namesIn, remove, writeAtomic } from '../effects/files.ts';
import { withLock } from '../effects/lock.ts';
import { moveTree, putInto, replaceTree } from '../effects/site-tree.ts';
import { makeReadable } from '../effects/tree.ts';
import { reasonOf, SitegenError } from '../pure/errors.ts';
import { nobodyMapped } from '../pure/ids.ts';
import { siteNames, type SiteNames } from '../pure/names.ts';
import { formatPending, pendingOf } from '../pure/pending.ts';
import type { DefaultsFile } from '../pure/schema.ts';
import { shortCommit } from '../pure/static.ts';
import { backupSite, type BackupDeps } from './backup.ts';
import { chooseBackup, requireCommit, requireSigned, type Chosen, type Search } from './choose.ts';
import { makeDataDir, removeContainer } from './containers.ts';
import { usersOf } from './data-ids.ts';
import { joinData, limitTreeIfPossible } from './disk-quota.ts';
import { epochOf, localEpoch, thisServer } from './epoch.ts';
import { extractSite } from './extract.ts';
import { readFence } from './fence.ts';
import { readPending } from './first-start.ts';
import type { Deps } from './machine.ts';
import { describeSource, goOnFrom } from './restore-history.ts';
import { stopSite } from './quiet.ts';
import { openServers } from './servers.ts';
import { loadOwnSite, loadSettings, type LoadedSite } from './settings.ts';
import { placesOf, settleSite } from './swap.ts';
import { settingsOf } from './unseal.ts';
import { wantOf } from './want.ts';

/** What a restore needs of the machine. */
export type RestoreDeps = Deps & Pick<BackupDeps, 'now'> & Pick<Search, 'progress'>;

/** What is to come back. */
export interface RestoreRequest extends Pick<Search, 'at' | 'from'> {
  domain: string;
  /** Only these files and directories, below the data; all of the site when there are none. */
  paths: readonly string[];
  /** The backup may lack what the site has now. */
  force: boolean;
  /** Another server has the site: from now on this one has it again. */
  takeOver?: boolean;
  /** A commit that the backup must have in it. */
  has?: string | undefined;
  /** See `claimEpoch`. */
  proxyProtocol?: boolean;
}

/** What came back. */
export interface Restored {
  commit: string;
  from: readonly string[];
  files: number;
  bytes: number;
  /** The commit that has the site as it was. */
  saved: string | undefined;
}

/**
 * Brings a site back from a backup. What it is now is committed first. The backup is fetched, checked
 * and laid out beside the site while that goes on; it is stopped for the exchange alone, and its
 * visitors wait. Whatever goes wrong before leaves everything as it was.
 * @throws SitegenError also when the site has what the backup lacks, unless `force`
 */
export async function restoreSite(deps: RestoreDeps, request: RestoreRequest): Promise<Restored> {
  const { domain, at, from } = request;
  const { report, progress } = deps;
  const names = siteNames(domain);
  return withLock(names.restoreLock, { waiting: () => { report(`${domain}: waiting for another restore of it`); } }, async () => {
    const { sites: [loaded], faults: [fault], defaults } = await loadSettings([domain]);
    if (!loaded) throw new SitegenError(fault?.reason ?? `${domain}: there is no such site`, { hint: `a site that this machine does not have comes with: sitegen adopt ${domain}` });
    const fenced = await readFence(names);
    if (fenced && request.takeOver !== true) throw new SitegenError(`${domain}: ${fenced.server} has the site now`, { hint: `take it back: sitegen adopt --force ${domain}` });
    await settleSite(names);
    const chosen = await chooseBackup({ names, stores: await openServers(defaults), elsewhere: fenced !== undefined, from, at, report, progress });
    if (chosen.kind === 'none') throw new SitegenError(`${domain}: there is no backup of it: neither here nor on a backup server`, { hint: 'see: sitegen backup list' });
    await requireSigned(names, chosen, defaults);
    await requireCommit(names, chosen, request.has);
    report(`${domain}: taking ${shortCommit(chosen.commit)} from ${describeSource(chosen.from)}`);
    // Its settings here are those of a site whose visitors are forwarded.
    const own = fenced ? await loadOwnSite(await settingsOf({ ...names, commit: chosen.commit }, defaults), names.settingsFile, defaults) : loaded;
    const saved = fenced ? await headOf(names.repository) : await savePresent(deps, names, request.force);
    return request.paths.length > 0
      ? { ...await restorePaths(deps, names, chosen, request.paths), saved }
      : { ...await restoreAll(deps, { names, loaded: own, defaults, chosen, saved, force: request.force, keepFormer: fenced !== undefined, proxyProtocol: request.proxyProtocol }), saved };
  });
}

/** Commits what the site is now. @returns the commit; undefined when there is nothing */
async function savePresent(deps: RestoreDeps, names: SiteNames, force: boolean): Promise<string | undefined> {
  if (!await exists(names.dataDir)) return undefined;
  try {
    const { commit, skipped } = await backupSite(deps, names.domain);
    if (skipped !== undefined) {
      const said = `${names.domain}: what it is now is not committed: ${skipped}`;
      if (!force && await readPending(names) === undefined) throw new SitegenError(said, { hint: 'give it up: --force' });
      deps.report(said);
    }
    return commit ?? await headOf(names.repository);
  } catch (error) {
    if (!force) throw new SitegenError(`${names.domain}: what it is now cannot be committed, and would be lost: ${reasonOf(error)}`, { hint: 'mend that, or give it up: --force', cause: error });
    deps.report(`warning: ${names.domain}: what it is now is lost, as it cannot be committed: ${reasonOf(error)}`);
    return headOf(names.repository);
  }
}

async function restorePaths({ progress }: RestoreDeps, names: SiteNames, { commit, from }: Chosen, wanted: readonly string[]): Promise<Omit<Restored, 'saved'>> {
  await remove(names.nextDir);
  // Names are bytes, and a terminal's are UTF-8.
  const inGit = wanted.map((path) => Buffer.from(path, 'utf8').toString('latin1'));
  const done = await extractSite({ repository: names.repository, commit, into: names.nextDir, paths: inGit, progress });
  try {
    await joinData(names, `${names.nextDir}/data`);
    await giveTree(`${names.nextDir}/data`, nobodyMapped, (await usersOf(names)).root);
    for (const [index, path] of wanted.entries()) {
      const aside = `${names.nextDir}/replaced-${index}`;
      await putInto(names.dataDir, path, `${names.nextDir}/data/${path}`, aside);
    }
  } finally {
    await remove(names.nextDir);
  }
  return { commit, from, ...done };
}

interface Exchange {
  names: SiteNames;
  loaded: LoadedSite;
  defaults: DefaultsFile;
  chosen: Chosen;
  /** Where the site's history ended when it was last looked at. */
  saved: string | undefined;
  force: boolean;
  /** What was there was never committed, so it is kept beside. */
  keepFormer: boolean;
  proxyProtocol?: boolean | undefined;
}

/** Gives the former tree a name that nothing takes for a left-over. */
async function keepAside(names: SiteNames, { now, report }: RestoreDeps): Promise<void> {
  if (!await exists(names.formerDir)) return;
  const kept = `${names.siteDir}.before-${now().toISOString().replaceAll(/[:.]/g, '-')}`;
  await moveTree(names.formerDir, kept);
  report(`${names.domain}: what was here when it was taken over is kept in ${kept}; remove it when nothing of it is missed`);
}

async function restoreAll(deps: RestoreDeps, exchange: Exchange): Promise<Omit<Restored, 'saved'>> {
  const { names, loaded, chosen, saved, force } = exchange;
  await refuseNewer(names, chosen, saved, force);
  await refuseOthers(exchange);
  await remove(names.nextDir);
  const done = await extractSite({ repository: names.repository, commit: chosen.commit, into: names.nextDir, progress: deps.progress });
  try {
    await makeReady(names, loaded);
    await withLock(names.lockFile, { mark: 'sitegen restore\n', waiting: () => { deps.report(`${names.domain}: waiting until it has woken`); } }, async () => {
      // Commits what came since; visitors wait from now on.
      await stopSite(deps, names, true);
      await withLock(names.dumpLock, {}, async () => {
        const last = await headOf(names.repository);
        if (last !== saved) await refuseNewer(names, chosen, last, force);
        await removeContainer(deps.docker, names);
        await replaceTree(placesOf(names));
        await goOnFrom(exchange, last);
        if (exchange.keepFormer) await keepAside(names, deps);
        else await remove(names.formerDir);
      });
    });
  } finally {
    await remove(names.nextDir);
  }
  return { commit: chosen.commit, from: chosen.from, ...done };
}

/**
 * The tree beside the site gets what backups do not contain, and has its dump loaded by the first container.
 * @param renamedFrom the domain that it had in the backup, when that is another
 * @throws SitegenError when nobody says how it is loaded
 */
export async function makeReady(names: SiteNames, loaded: Pick<LoadedSite, 'site' | 'image'>, renamedFrom?: string): Promise<void> {
  const inNext = (path: string) => `${names.nextDir}${path.slice(names.siteDir.length)}`;
  // The static server reads as another user; meta/ is closed by its own mode.
  await makeReadable(names.nextDir);
  const want = await wantOf(loaded);
  for (const directory of want.dataDirs.filter((each) => each.startsWith(`${names.siteDir}/`))) await makeDataDir(want, directory, inNext);
  const { workload } = loaded.site;
  if (!workload) return;
  await limitTreeIfPossible(names, inNext(names.dataDir), workload.diskBytes, (line) => { console.error(line); });
  const dumps = await namesIn(inNext(`${names.metaDir}/dump`));
  // Now, as its first visitor would find a site that cannot start.
  if (workload.dump && !workload.dump.loadArgv && dumps.includes(workload.dump.file)) {
    throw new SitegenError(`${names.domain}: its settings do not say how its dump is loaded`, { hint: 'set dump.load to a program that reads it from standard input; in the settings on its server, for a site that comes from there' });
  }
  const load = workload.hooks.load !== undefined || dumps.length > 0;
  const pending = pendingOf({ load, renamedFrom: workload.hooks.rename && renamedFrom });
  if (load || pending.renamedFrom !== undefined) await writeAtomic({ path: inNext(names.pendingFile), content: formatPending(pending), mode: 0o600 });
}

async function refuseNewer({ domain, repository }: SiteNames, { commit }: Chosen, present: string | undefined, force: boolean): Promise<void> {
  if (force || present === undefined || await isAncestor(repository, present, commit)) return;
  throw new SitegenError(`${domain}: the site has newer data than the backup ${shortCommit(commit)}; it is committed as ${shortCommit(present)}`, {
    hint: 'go back all the same: --force; that commit stays, and can be restored in turn',
  });
}

/** A backup that another server has gone on with is not this server's to continue, unless it takes the site over. */
async function refuseOthers({ names, defaults, chosen, force }: Exchange): Promise<void> {
  const [theirs, ours, self] = [await epochOf(names.repository, chosen.tip), await localEpoch(names), await thisServer(defaults)];
  if (force || !theirs || theirs.key === self.key || theirs.epoch <= (ours?.epoch ?? 0)) return;
  throw new SitegenError(`${names.domain}: the backup is of ${theirs.server}, which has the site`, { hint: 'take the site over: --force' });
}
