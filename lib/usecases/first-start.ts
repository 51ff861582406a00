import type { Docker } from '../effects/docker.ts';
import { exists, makeBelow, readIfThere, remove, writeAtomic } from '../effects/files.ts';
import { makePrivate } from '../effects/folder.ts';
import { extendTimeout } from '../effects/notify.ts';
import { emptyDirectory, emptyMatching, hasOnlyDirectories } from '../effects/site-tree.ts';
import type { Desired } from '../pure/desired.ts';
import { paths, type SiteNames } from '../pure/names.ts';
import { formatPending, parsePending, pendingOf, type Pending } from '../pure/pending.ts';
import type { Hook, Workload } from '../pure/site.ts';
import { createContainer } from './containers.ts';
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
export async function needsFirstStart(names: SiteNames, workload: Workload, id: string | undefined): Promise<boolean> {
  if (await exists(names.pendingFile)) return true;
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
  const alive = setInterval(() => { void extendTimeout(keepAlive.forMs); }, keepAlive.everyMs);
  try {
    const present = await docker.find(names.container, names.domain);
    const pending = await readPending(names);
    // A new one that nobody has started yet is as good as one that is made now.
    const fresh = pending === undefined && present?.status === 'created' ? present.id : undefined;
    if (fresh === undefined) await docker.remove(names.container, names.domain);
    await remove(names.cidFile);
    const todo = pending && await cleanSlate(site, pending);
    const id = fresh ?? await createContainer(docker, want);
    const start = (services?: readonly string[]) => startSite(docker, want, id, Date.now() + workload.ready.timeoutMs, services);
    await start(todo && firstServices(workload, todo));
    await makeReady(docker, { names, workload, report, rest: start }, todo ?? pendingOf({}));
    await ready();
    // In this order: were the first left behind, an old dump would be loaded over newer data one day.
    await remove(names.pendingFile);
    await writeAtomic({ path: names.cidFile, content: `${id}\n` });
    return id;
  } catch (error) {
    await docker.remove(names.container, names.domain).catch((removing: unknown) => { report(String(removing)); });
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

/** Has a running container do what is pending, and launch. @throws SitegenError with the program's last words */
export async function makeReady(docker: Docker, site: Pick<FirstStart, 'workload' | 'report'> & { names: SiteNames; rest?: () => Promise<void> }, todo: Pending): Promise<void> {
  const { names, workload: { hooks, dump, project }, report, rest } = site;
  const run = async (what: string, hook: Hook | undefined, args: readonly string[] = []) => {
    if (!hook) return;
    report(`${names.domain}: ${what}`);
    await runHook(docker, names, hook, args, report);
  };
  if (todo.install) await run('installing it', hooks.install);
  if (todo.load) {
    await run('preparing it for its dump', hooks.load);
    const source = dump && `${names.metaDir}/dump/${dump.file}`;
    if (dump && source !== undefined && await exists(source)) await loadDatabase(docker, names, dump, source, report);
  }
  if (project) await rest?.();
  if (todo.renamedFrom !== undefined) await run(`telling it that it was ${todo.renamedFrom}`, hooks.rename, [todo.renamedFrom, names.domain]);
  await run('launching it', hooks.launch);
}

/**
 * Takes away what an interrupted try has left, and nothing else: of an installation, what came after
 * it had begun in empty data; of a load, what backups leave out.
 * @returns what is really to be done
 */
async function cleanSlate({ want, loaded, workload, report }: FirstStart, pending: Pending): Promise<Pending> {
  const { names } = want;
  const makeDirs = async () => { for (const directory of want.dataDirs) await makeBelow(paths.stateDir, directory); };
  if (pending.install) {
    if (!pending.begun && !await hasOnlyDirectories(names.dataDir)) {
      report(`${names.domain}: there is data, so it is not installed`);
      return { ...pending, install: false };
    }
    await writePending(names, { ...pending, begun: true });
    await emptyDirectory(names.dataDir);
  }
  const dumped = workload.dump !== undefined && await exists(`${names.metaDir}/dump/${workload.dump.file}`);
  // Without a dump the database is nowhere else.
  if (pending.load && dumped) await emptyMatching(names.dataDir, loaded.site.exclude);
  await makeDirs();
  return pending;
}
