import { exists, namesIn, readIfThere, remove, writeAtomic } from '../effects/files.ts';
import { exportCommit, fetchCommit, remoteCommit, type Source } from '../effects/git/pull.ts';
import { withLock } from '../effects/lock.ts';
import type { Systemd } from '../effects/systemd.ts';
import { isPlainDirectory, linkTarget, linkTree, makeReadable, renameTree, showTree } from '../effects/tree.ts';
import { reasonOf, SitegenError } from '../pure/errors.ts';
import { paths, siteNames, type SiteNames } from '../pure/names.ts';
import { inParallel } from '../pure/parallel.ts';
import type { SiteFile } from '../pure/schema.ts';
import { checkedOut, remoteOf, shortCommit, type StaticSettings } from '../pure/static.ts';
import { readableSites, siteFile } from './read-sites.ts';
import type { Fault } from './settings.ts';

/** The commits that visitors were and are shown; equal when there was nothing new. */
export interface Pulled {
  before: string | undefined;
  after: string;
}

/**
 * Fetches what a static site's repository has, and shows it to visitors from one moment to the
 * next: each request gets a whole file of the old or of the new commit. On any failure the old one
 * stays. The site's settings need not be on the disk yet.
 * @param settings `static` of the site's settings; must have `git`
 * @param report takes lines about what goes on
 * @throws SitegenError when the repository cannot be had, or lacks the branch or the directory
 */
export async function pullSite(domain: string, settings: StaticSettings, report: (line: string) => void): Promise<Pulled> {
  if (settings.git === undefined) throw withoutRepository(domain);
  const names = siteNames(domain);
  const source: Source = { remote: remoteOf(settings.git), branch: settings.branch, progress: progressOf(domain, report) };
  return withLock(names.pullLock, { waiting: () => { report(`waiting for another pull of ${domain}`); } }, async () => {
    const before = await shownCommit(names);
    const there = await remoteCommit(source);
    const after = there === before ? before : await fetchCommit(`${names.checkoutDir}/repository.git`, source);
    const tree = `${names.checkoutDir}/trees/${after}`;
    const directory = partsOf(settings);
    if (after !== before) await build(names, source, before, after);
    // With links on the way to it, the static server would refuse every file.
    if (!await isPlainDirectory(after === before ? tree : building(names), directory)) {
      throw new SitegenError(`${source.remote.url} has no directory "${directory.join('/')}" in its commit ${shortCommit(after)}`, { hint: 'set static.directory to one that it has' });
    }
    if (after !== before) await show(names, before, after);
    await writeAtomic({ path: sourceFile(names), content: sourceText(settings) });
    return { before, after };
  }).catch((error: unknown) => {
    if (error instanceof SitegenError) throw error;
    throw new SitegenError(`${domain}: cannot keep what was pulled: ${reasonOf(error)}`, { hint: 'is the disk full? df -h', cause: error });
  });
}

/**
 * Whether what visitors are shown is of the repository and branch that the settings name, and has
 * the directory; not whether it is up to date.
 */
export async function isPulled(domain: string, settings: StaticSettings): Promise<boolean> {
  const names = siteNames(domain);
  const commit = await shownCommit(names);
  return commit !== undefined && await readIfThere(sourceFile(names)) === sourceText(settings)
    && isPlainDirectory(`${names.checkoutDir}/trees/${commit}`, partsOf(settings));
}

/** Removes all that was pulled for a site; nobody may be shown it any more. */
export async function removeCheckout(domain: string): Promise<void> {
  await remove(siteNames(domain).checkoutDir);
}

/**
 * Removes what was pulled for sites that have no repository now.
 * @param sites all that have one
 * @returns the instance names of those that are gone
 */
export async function sweepCheckouts(sites: readonly string[]): Promise<string[]> {
  const kept = new Set(sites.map((domain) => siteNames(domain).id));
  const gone = (await namesIn(paths.checkoutsDir)).filter((id) => !kept.has(id));
  for (const id of gone) await remove(`${paths.checkoutsDir}/${id}`);
  return gone;
}

/** The commit that visitors of a site are shown; undefined before the first pull. */
export async function shownCommit(names: SiteNames): Promise<string | undefined> {
  const commit = /^trees\/([0-9a-f]{40,64})$/.exec(await linkTarget(checkedOut(names)) ?? '')?.[1];
  return commit !== undefined && await exists(`${names.checkoutDir}/trees/${commit}`) ? commit : undefined;
}

/**
 * Pulls some sites, a few at a time; what one cannot do is its fault and keeps no other.
 * @param done called after each success
 * @param asUnit whether a site's fault raises its alarm, by a second try in its unit
 * @returns what went wrong, by site
 */
export async function pullSites(systemd: Systemd, sites: readonly GitSite[], options: { asUnit: boolean; report: (line: string) => void; done: (domain: string, pulled: Pulled) => void }): Promise<Fault[]> {
  const faults: Fault[] = [];
  // Most of a pull is waiting for somebody else's server.
  await inParallel(sites, 3, async ({ domain, settings }) => {
    const { pullUnit } = siteNames(domain);
    try {
      options.done(domain, await pullSite(domain, settings, options.report));
      if (await hasAlarm(systemd, pullUnit)) await systemd.restart(pullUnit);
    } catch (error) {
      faults.push({ domain, reason: error instanceof SitegenError && error.hint !== undefined ? `${error.message}; ${error.hint}` : reasonOf(error) });
      if (options.asUnit) await systemd.restart(pullUnit).catch(() => undefined);
    }
  });
  return faults;
}

/** A site with a repository. */
export interface GitSite {
  domain: string;
  settings: StaticSettings;
}

/**
 * Those of some sites that have a repository.
 * @param domains that must all have one; undefined: all sites that are enabled and have one
 * @throws SitegenError when one of them has none, or its settings cannot be read
 */
export async function gitSites(domains: readonly string[] | undefined): Promise<GitSite[]> {
  if (domains) return Promise.all(domains.map(async (domain) => gitSite(await siteFile(domain))));
  const sites = await readableSites((text) => text.includes('git'));
  return sites.filter((site) => site.enabled !== false && site.static?.git !== undefined).map((site) => gitSite(site));
}

function gitSite({ domain, static: settings }: SiteFile): GitSite {
  if (settings?.git === undefined) throw withoutRepository(domain);
  return { domain, settings };
}

function withoutRepository(domain: string): SitegenError {
  return new SitegenError(`${domain}: there is no repository to pull from`, { hint: `set static.git in ${siteNames(domain).settingsFile}` });
}

/** Says of what the shown tree is a commit. */
const sourceFile = ({ checkoutDir }: SiteNames) => `${checkoutDir}/source`;

function sourceText({ git = '', branch = '' }: StaticSettings): string {
  return `${remoteOf(git).url} ${branch}\n`;
}

const partsOf = ({ directory = '' }: StaticSettings) => directory.split('/').filter((part) => part !== '' && part !== '.');

const building = ({ checkoutDir }: SiteNames) => `${checkoutDir}/trees/new`;

async function build(names: SiteNames, { remote }: Source, before: string | undefined, commit: string): Promise<void> {
  const tree = building(names);
  await remove(tree);
  await makeReadable(paths.checkoutsDir, names.checkoutDir, `${names.checkoutDir}/trees`, tree);
  if (before !== undefined) await linkTree(`${names.checkoutDir}/trees/${before}`, tree);
  await exportCommit(`${names.checkoutDir}/repository.git`, commit, tree, remote);
}

async function show(names: SiteNames, before: string | undefined, commit: string): Promise<void> {
  const tree = `${names.checkoutDir}/trees/${commit}`;
  await remove(tree);
  await renameTree(building(names), tree);
  await showTree(checkedOut(names), `trees/${commit}`);
  // Requests that had opened the old tree may still be looking for their file in it.
  for (const name of await namesIn(`${names.checkoutDir}/trees`)) {
    if (name !== commit && name !== before) await remove(`${names.checkoutDir}/trees/${name}`);
  }
}

/** Whether a unit has failed and not worked since, be it before a reboot. */
async function hasAlarm(systemd: Systemd, unit: string): Promise<boolean> {
  return await exists(`${paths.alarmsDir}/${unit}.json`) && (await systemd.properties(unit, 'Unit'))['ActiveState'] !== 'active';
}

/** Not more than a line in some seconds, and none when it is quick. */
function progressOf(domain: string, report: (line: string) => void): NonNullable<Source['progress']> {
  let last = performance.now();
  return (stage, percent) => {
    if (performance.now() - last < 3000) return;
    last = performance.now();
    report(`${domain}: ${stage} ${percent} %`);
  };
}
