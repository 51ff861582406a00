import { runState } from '../effects/cgroup.ts';
import { diskOf } from '../effects/disk.ts';
import { exists, namesIn } from '../effects/files.ts';
import { withLock } from '../effects/lock.ts';
import { joinProject, missingQuotaTools, namedProjects, projectMount, projectsOf, quotaInForce, readMounts, setProjectLimit } from '../effects/project-quota.ts';
import type { Desired } from '../pure/desired.ts';
import type { QuotaFacts } from '../pure/diff.ts';
import { projectFor } from '../pure/disk-quota.ts';
import { reasonOf } from '../pure/errors.ts';
import { paths, type SiteNames } from '../pure/names.ts';
import { stopSite } from './quiet.ts';

/**
 * The kernel's own limit of a site's data, where its file system has quotas of projects. The number
 * of a site's project is on its data's directory and nowhere else, so it goes where that goes.
 */

/** flock(2): held while a site gets a number, or two could get the same. */
const numbersLock = `${paths.runDir}/projects.lock`;

type QuotaNames = Pick<SiteNames, 'id' | 'domain' | 'dataDir'>;

/** Quotas of sites, as far as apply compares them; none of a site where they cannot be had, or set. */
export async function quotaFacts(wanted: readonly Pick<Desired, 'names' | 'diskBytes'>[]): Promise<Map<string, QuotaFacts>> {
  const mounts = await readMounts();
  const facts = new Map<string, QuotaFacts>();
  const [shared, missing] = await Promise.all([projectMount(sitesDir, mounts), missingQuotaTools()]);
  if (missing.length > 0) return facts;
  for (const { names, diskBytes } of wanted) {
    // Most machines have none, and most sites no limit.
    if (shared === undefined && diskBytes === undefined) continue;
    const point = await projectMount(names.dataDir, mounts);
    if (point === undefined) continue;
    facts.set(names.id, { limitBytes: (await quotaInForce(names.dataDir, mounts))?.limitBytes, diskBytes: (await diskOf(point)).size });
  }
  return facts;
}

/**
 * Limits what a tree of a site's data may take, as a project that it becomes when it is none yet.
 * Nobody may be changing it meanwhile.
 * @param tree the data, or what is about to take its place
 * @param bytes undefined for no limit
 * @returns false where the file system has no quotas; then the limit is watched
 * @throws SitegenError when a program for that is missing, or refuses
 */
export async function limitTree(names: QuotaNames, tree: string, bytes: number | undefined): Promise<boolean> {
  const point = await projectMount(tree);
  if (point === undefined) return false;
  return withLock(numbersLock, {}, async () => {
    const known = await projectsOf([...new Set([tree, names.dataDir])]);
    const own = [known.get(tree), known.get(names.dataDir)].find((project) => project !== undefined && project !== 0);
    if (own === undefined && bytes === undefined) return false;
    const project = own ?? projectFor(names.id, new Set([...await namedProjects(), ...(await projectsOf(await allData())).values()]));
    if (bytes !== undefined && known.get(tree) !== project) await joinProject(tree, project);
    await setProjectLimit(point, project, bytes ?? 0);
    return true;
  });
}

/** The same where a failure must not keep a site from what it comes for: its limit is watched then. */
export async function limitTreeIfPossible(names: QuotaNames, tree: string, bytes: number | undefined, report: (line: string) => void): Promise<void> {
  if (bytes === undefined) return;
  await limitTree(names, tree, bytes).catch((error: unknown) => { report(`${names.domain}: limits.disk is watched, and not held by the kernel: ${reasonOf(error)}`); });
}

/** Makes a tree part of a site's project: nothing else can be renamed into its data (EXDEV of rename(2)). */
export async function joinData({ dataDir }: Pick<SiteNames, 'dataDir'>, tree: string): Promise<void> {
  if (await projectMount(tree) === undefined) return;
  const project = (await projectsOf([dataDir])).get(dataDir) ?? 0;
  if (project !== 0) await joinProject(tree, project);
}

/** For apply: a site that runs is stopped before its files become a project; its visitors wait. */
export async function limitSite(deps: Parameters<typeof stopSite>[0], names: SiteNames, bytes: number | undefined): Promise<void> {
  const isProject = ((await projectsOf([names.dataDir])).get(names.dataDir) ?? 0) !== 0;
  if (isProject || bytes === undefined || runState(names.appCgroup) === 'stopped') {
    await limitTree(names, names.dataDir, bytes);
    return;
  }
  await withLock(names.lockFile, { mark: 'sitegen apply\n' }, async () => {
    await stopSite(deps, names, true);
    await limitTree(names, names.dataDir, bytes);
  });
}

/** To be called before the data goes for good. @returns takes its number's limit away */
export async function quotaToForget(names: QuotaNames): Promise<() => Promise<void>> {
  const point = await projectMount(names.dataDir);
  const project = point === undefined ? undefined : (await projectsOf([names.dataDir])).get(names.dataDir);
  if (point === undefined || project === undefined || project === 0) return () => Promise.resolve();
  // One that is left over limits nobody.
  return () => setProjectLimit(point, project, 0).catch(() => undefined);
}

const sitesDir = `${paths.stateDir}/sites`;

/** Data of all sites, and what is about to be or has been. */
async function allData(): Promise<string[]> {
  const found: string[] = [];
  for (const name of await namesIn(sitesDir)) if (await exists(`${sitesDir}/${name}/data`)) found.push(`${sitesDir}/${name}/data`);
  return found;
}
