import type { Docker } from '../effects/docker.ts';
import { exists, readIfThere, remove, writeAtomic } from '../effects/files.ts';
import { makePrivate } from '../effects/folder.ts';
import { extendTimeout } from '../effects/notify.ts';
import { emptyDirectory, emptyMatching, hasOnlyDirectories } from '../effects/site-tree.ts';
import type { Desired } from '../pure/desired.ts';
import type { SiteNames } from '../pure/names.ts';
import { formatPending, parsePending, pendingOf, type Pending } from '../pure/pending.ts';
import type { hookNames, Workload } from '../pure/site.ts';
import { createContainer, formerImage, makeDataDir, recordImage, type ImageUse } from './containers.ts';
import { startSite } from './project.ts';
import { loadDatabase, runHook } from './dump.ts';
import type { LoadedSite } from './settings.ts';

/**
 * What a container does once before anybody visits it: it installs the application, loads the dump
 * of a backup, is told its new domain, is launched. Until all of that is done nothing names the
 * container as the one to start, and the next try begins with a clean slate.
 */

/** How often systemd is told to wait on, and how long each time. */
const keepAlive = { everyMs: 10_000, forMs: 60_000 };

/** What is to be done before a site's first visitor; undefined when there is nothing. */
export async function readPending(names: Pick<SiteNames, 'pendingFile'>): Promise<Pending | undefined> {
  return parsePending(await readIfThere(names.pendingFile));
}

/** Has the next container of a site begin with these; see `Pending`. */
export async function writePending(names: Pick<SiteNames, 'pendingFile' | 'metaDir'>, pending: Pending): Promise<void> {
  await makePrivate(names.metaDir);
  await writeAtomic({ path: names.pendingFile, content: formatPending(pending), mode: 0o600 });
}

/** Whether a container has to be made ready before it can be visited. @param id of the one that is there, if any */
export async function needsFirstStart(want: ImageUse, workload: Workload, id: string | undefined): Promise<boolean> {
  const { names } = want;
  if (await exists(names.pendingFile) || await formerImage(want) !== undefined) return true;
  return workload.hooks.launch !== undefined && (id === undefined || (await readIfThere(names.cidFile))?.trim() !== id);
}

/** A site whose first container is to be made ready. */
export interface FirstStart {
  want: Desired;
  loaded: LoadedSite;
  workload: Workload;
  /** Waits until the container answers. */
  ready: () => Promise<void>;
  report: (line: string) => void;
}

/**
 * Makes a new container, has it do what is pending, and only then writes down that it is the one to
 * start. The caller holds the site's lock.
 * @returns its id; it runs
 * @throws SitegenError with the reason; the container is gone then
 */
export async function firstStart(docker: Docker, site: FirstStart): Promise<string> {
  const { want, workload, ready, report } = site;
  const { names } = want;
  void extendTimeout(keepAlive.forMs);
  let todo: Pending | undefined;
  const alive = setInterval(() => { void extendTimeout(keepAlive.forMs); }, keepAlive.everyMs);
  try {
    const present = await docker.find(names.container, names.domain);
    const pending = await readPending(names);
    const former = await formerImage(want);
    // A new one that nobody has started yet is as good as one that is made now, if it is of the new image.
    const isNew = present?.status === 'created' && (former === undefined || present.specHash === want.spec);
    const fresh = pending === undefined && isNew ? present.id : undefined;
    if (fresh === undefined) await docker.remove(names.container, names.domain);
    await remove(names.cidFile);
    todo = pending && await cleanSlate(site, pending);
    const id = fresh ?? await createContainer(docker, want, report);
    const start = (services?: readonly string[]) => startSite(docker, want, id, Date.now() + workload.ready.timeoutMs, services);
    await start(todo && firstServices(workload, todo));
    const upgrade = former === undefined || todo?.install === true ? undefined : { from: former, to: want.container?.Image ?? '' };
    await makeReady(docker, { names, workload, report, rest: start }, todo ?? pendingOf({}), upgrade);
    await ready();
    if (want.upgrades) await recordImage(want);
    // In this order: were the first left behind, an old dump would be loaded over newer data one day.
    await remove(names.pendingFile);
    await writeAtomic({ path: names.cidFile, content: `${id}\n` });
    return id;
  } catch (error) {
    await docker.remove(names.container, names.domain).catch((removing: unknown) => { report(String(removing)); });
    // Now, not at the next try: it may be what has filled the disk, and others need the room.
    if (todo?.install === true) await clearData(site).catch((clearing: unknown) => { report(String(clearing)); });
    throw error;
  } finally {
    clearInterval(alive);
  }
}

/** Services of a project that installing and loading need: the others, a migration among them, must not see the database before. */
function firstServices({ project, hooks, dump }: Workload, todo: Pending): string[] | undefined {
  if (!project || !(todo.install || todo.load)) return undefined;
  const hook = (todo.install ? hooks.install : undefined) ?? (todo.load ? hooks.load : undefined);
  const needed = [...(hook ? [hook.service ?? project.entry] : []), ...(todo.load && dump ? [dump.service ?? project.entry] : [])];
  return [...new Set(needed)];
}

/**
 * Has a running container do what is pending, and launch.
 * @param site rest: starts what else a project has
 * @param upgrade the images that its data was used with before, and is to be used with now
 * @throws SitegenError with the program's last words
 */
export async function makeReady(docker: Docker, site: Pick<FirstStart, 'workload' | 'report'> & { names: SiteNames; rest?: () => Promise<void> }, todo: Pending, upgrade?: { from: string; to: string }): Promise<void> {
  const { names, workload: { hooks, dump, project }, report, rest } = site;
  const run = async (what: string, name: (typeof hookNames)[number], args: readonly string[] = []) => {
    const hook = hooks[name];
    if (!hook) return;
    report(`${names.domain}: ${what}`);
    await runHook(docker, names, name, hook, args, report);
  };
  if (todo.install) await run('installing it', 'install');
  if (todo.load) {
    await run('preparing it for its dump', 'load');
    const source = dump && `${names.metaDir}/dump/${dump.file}`;
    if (dump && source !== undefined && await exists(source)) await loadDatabase(docker, names, dump, source, report);
  }
  if (upgrade) await run(`bringing its data from ${upgrade.from} to ${upgrade.to}`, 'upgrade', [upgrade.from, upgrade.to]);
  if (project) await rest?.();
  if (todo.renamedFrom !== undefined) await run(`telling it that it was ${todo.renamedFrom}`, 'rename', [todo.renamedFrom, names.domain]);
  await run('launching it', 'launch');
}

/**
 * Takes away what an interrupted try has left, and nothing else: of an installation, what came after
 * it had begun in empty data; of a load, what backups leave out.
 * @returns what is really to be done
 */
async function cleanSlate({ want, loaded, workload, report }: FirstStart, pending: Pending): Promise<Pending> {
  const { names } = want;
  if (pending.install) {
    if (!pending.begun && !await hasOnlyDirectories(names.dataDir)) {
      report(`${names.domain}: there is data, so it is not installed`);
      return { ...pending, install: false };
    }
    await writePending(names, { ...pending, begun: true });
    await clearData({ want });
  }
  const dumped = workload.dump !== undefined && await exists(`${names.metaDir}/dump/${workload.dump.file}`);
  // Without a dump the database is nowhere else.
  if (pending.load && dumped) await emptyMatching(names.dataDir, loaded.site.exclude);
  await makeDirs(want);
  return pending;
}

/** Nothing but the directories of the data is left. */
async function clearData({ want }: Pick<FirstStart, 'want'>): Promise<void> {
  await emptyDirectory(want.names.dataDir);
  await makeDirs(want);
}

async function makeDirs(want: Desired): Promise<void> {
  for (const directory of want.dataDirs) await makeDataDir(want, directory);
}
