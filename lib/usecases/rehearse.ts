import { giveTree } from '../effects/data-tree/give.ts';
import { remove } from '../effects/files.ts';
import { diskOf, usedBy } from '../effects/disk.ts';
import { makePrivate } from '../effects/folder.ts';
import { askInside } from '../effects/probe.ts';
import type { ContainerSpec } from '../pure/desired.ts';
import { reasonOf, SitegenError } from '../pure/errors.ts';
import { nobodyMapped } from '../pure/ids.ts';
import { paths, shared, siteNames, type SiteNames } from '../pure/names.ts';
import { pendingOf } from '../pure/pending.ts';
import { formatBytes, parseSize } from '../pure/quantities.ts';
import type { Limits } from '../pure/limits.ts';
import { readState, updateState } from './backup-state.ts';
import { requireSigned } from './choose.ts';
import { ensureImage } from './containers.ts';
import { extractSite, verifyCommit } from './extract.ts';
import { readFence } from './fence.ts';
import { makeReady } from './first-start.ts';
import type { Deps } from './machine.ts';
import { readableSites } from './read-sites.ts';
import { openServers } from './servers.ts';
import { loadDefaults, loadSettings, type Fault } from './settings.ts';
import { wantOf } from './want.ts';

/**
 * Reads a whole backup, and compares every file with its checksum.
 * @param server a part of a server's URL; this machine's own repository unless given
 * @throws SitegenError that says what is damaged
 */
export async function verifyBackup(domain: string, server: string | undefined, report: (line: string) => void): Promise<{ commit: string; files: number; bytes: number }> {
  const names = siteNames(domain);
  if (server === undefined) {
    const { commit, files, bytes } = await verifyCommit(names.repository, 'refs/heads/main');
    return { commit, files, bytes };
  }
  const defaults = await loadDefaults();
  const found = (await openServers(defaults)).filter(({ url }) => url.includes(server));
  const [store] = found;
  if (!store || found.length > 1) throw new SitegenError(`${found.length === 0 ? 'no' : 'more than one'} backup server has "${server}" in its URL`, { hint: 'see backup.servers in sitegen.yaml' });
  const directory = rehearsalDir(names);
  try {
    await remove(directory);
    report(`${domain}: fetching it from ${store.url}`);
    const commit = await store.fetch(`${directory}/repository.git`, names.id);
    await requireSigned({ domain, repository: `${directory}/repository.git` }, { commit, local: undefined }, defaults);
    const { files, bytes } = await verifyCommit(`${directory}/repository.git`, commit);
    return { commit, files, bytes };
  } finally {
    await remove(directory);
  }
}

/**
 * Restores sites from each server into containers without a network, and throws them away: what
 * does that is known to come back. The result is kept for `backup list`.
 * @param done gets a line for each that came back
 * @returns what did not
 */
export async function rehearseSites(deps: Deps, domains: readonly string[], clock: () => Date, done: (line: string) => void): Promise<Fault[]> {
  const faults: Fault[] = [];
  const defaults = await loadDefaults();
  for (const domain of domains) {
    const names = siteNames(domain);
    for (const store of await openServers(defaults)) {
      let commit = '';
      let error: string | null = null;
      try {
        const directory = rehearsalDir(names);
        await remove(directory);
        await makePrivate(directory);
        commit = await store.fetch(`${directory}/repository.git`, names.id);
        await requireSigned({ domain, repository: `${directory}/repository.git` }, { commit, local: undefined }, defaults);
        await rehearse(deps, names, commit);
        done(`${domain}: came back from ${store.url} and answered`);
      } catch (failure) {
        error = reasonOf(failure);
        faults.push({ domain, reason: `its backup on ${store.url} did not come back: ${error}` });
      } finally {
        await deps.docker.remove(rehearsalNames(names).container, domain).catch(() => undefined);
        await remove(rehearsalDir(names));
      }
      await updateState(names, (state) => ({ ...state, rehearsals: { ...state.rehearsals, [store.url]: { at: clock().toISOString(), commit, error } } }));
    }
  }
  return faults;
}

/** What a rehearsed site may use at most, whatever its own limits are. */
const rehearsalMax = { memory: 2 * 1024 ** 3, tasks: 4096 };
/** Bytes that stay free. */
const reserve = 1024 ** 3;
const dayMs = 86_400_000;

/** The sites whose restore was not rehearsed for a week from some server that has them; in a week each has its turn. */
export async function sitesToRehearse(now: Date): Promise<string[]> {
  const urls = ((await loadDefaults()).backup?.servers ?? []).map(({ url }) => url);
  const due: string[] = [];
  for (const { domain, backup, enabled } of await readableSites()) {
    if (backup === false || enabled === false) continue;
    const names = siteNames(domain);
    if (await readFence(names)) continue;
    const { servers, rehearsals } = await readState(names);
    const isOld = (url: string) => !(now.getTime() - Date.parse(rehearsals[url]?.at ?? '') < 6.5 * dayMs);
    if (urls.some((url) => servers[url]?.commit != null && isOld(url))) due.push(domain);
  }
  return due;
}

async function rehearse(deps: Deps, names: SiteNames, commit: string): Promise<void> {
  const directory = rehearsalDir(names);
  const settings = await loadSettings([names.domain]);
  const [loaded] = settings.sites;
  if (!loaded) throw new SitegenError(settings.faults[0]?.reason ?? `${names.domain}: there is no such site`);
  const needed = 3 * await usedBy(`${directory}/repository.git`) + reserve;
  const { free } = await diskOf(directory);
  // The files, the database that is made of the dump, and room for the sites that run meanwhile.
  if (free < needed) throw new SitegenError(`${names.domain}: there is too little room for a rehearsal: ${formatBytes(free)} are free, and ${formatBytes(needed)} are wanted`, { hint: 'make room: df -h' });
  await extractSite({ repository: `${directory}/repository.git`, commit, into: `${directory}/site`, progress: () => undefined });
  const { workload } = loaded.site;
  // Its services would need networks of their own, which are the site's; a program has its only with the site's own units.
  if (!workload || workload.project || workload.program) return;
  await ensureImage(deps, loaded);
  const own = rehearsalNames(names);
  const want = await wantOf(loaded);
  if (!want.container) return;
  await giveTree(own.dataDir, nobodyMapped, await deps.docker.containerRoot());
  const container = await deps.docker.create(own.container, isolated(want.container, names, own, workload.limits));
  await deps.docker.start(container);
  await makeReady(deps.docker, { names: own, workload, report: deps.report }, pendingOf({ load: true }));
  const answer = await untilAnswered(deps, own.container, workload.port, workload.ready.path ?? '/', names.domain, workload.ready.timeoutMs);
  if (answer >= 500) throw new SitegenError(`${names.domain}: it answered with ${answer}`);
}

/** Nothing that it does can reach anybody, or the site that runs beside it. */
function isolated(spec: ContainerSpec, names: SiteNames, own: SiteNames, limits: Limits): ContainerSpec {
  return {
    ...spec,
    Labels: { [shared.labels.domain]: names.domain, [shared.labels.spec]: 'rehearsal' },
    HostConfig: {
      ...spec.HostConfig,
      NetworkMode: 'none',
      CgroupParent: shared.parentSlice,
      // The site's own slice, which has its limits, is another.
      Memory: Math.min(parseSize(limits.MemoryMax ?? '') ?? rehearsalMax.memory, rehearsalMax.memory),
      PidsLimit: Math.min(Number(limits.TasksMax ?? Infinity), rehearsalMax.tasks),
      Mounts: spec.HostConfig.Mounts.map((mount) => ({ ...mount, Source: mount.Source.replace(names.dataDir, own.dataDir) })),
    },
    NetworkingConfig: { EndpointsConfig: {} },
  };
}

async function untilAnswered(deps: Deps, container: string, port: number, path: string, host: string, timeoutMs: number): Promise<number> {
  const end = Date.now() + timeoutMs;
  for (;;) {
    const state = await deps.docker.end(container);
    if (!state.running) throw new SitegenError(`${host}: its container ended with exit code ${state.exitCode}`);
    const answer = await askInside(state.pid, { port, path, host });
    if (answer !== undefined && answer < 500) return answer;
    if (Date.now() > end) throw new SitegenError(`${host}: it did not become ready${answer === undefined ? '' : `, and answered with ${answer}`}`);
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

function rehearsalDir({ id }: SiteNames): string {
  return `${paths.rehearsalDir}/${id}`;
}

/** The site's names, but for what a rehearsal has of its own. */
function rehearsalNames(names: SiteNames): SiteNames {
  const siteDir = `${rehearsalDir(names)}/site`;
  return { ...names, container: `rehearsal-${names.id}`, siteDir, dataDir: `${siteDir}/data`, metaDir: `${siteDir}/meta` };
}
