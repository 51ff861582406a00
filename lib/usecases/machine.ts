import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { machineMemory } from '../effects/cgroup.ts';
import type { ContainerState, Docker } from '../effects/docker.ts';
import { exists, namesIn, readIfThere, readMany, writeAtomic } from '../effects/files.ts';
import { inPlace, removeRoute, routes } from '../effects/network.ts';
import { swapState } from '../effects/cgroup/swap.ts';
import type { Systemd } from '../effects/systemd.ts';
import { networkOf, overlap, type Ranges } from '../pure/addresses.ts';
import type { Desired } from '../pure/desired.ts';
import { siteUnitFiles, type Actual } from '../pure/diff.ts';
import { idOfEgressFile } from '../pure/egress-names.ts';
import { SitegenError } from '../pure/errors.ts';
import { isJobTimer, isListenSocket, isSiteUnit, jobPattern, listenPattern, mail, paths, shared, unitPatterns } from '../pure/names.ts';
import { refuseSpecial, render } from '../pure/render.ts';
import { budgetOf } from '../pure/room.ts';
import type { DefaultsFile } from '../pure/schema.ts';
import { builtIn, rangesOf } from '../pure/site.ts';
import { quotaFacts } from './disk-quota.ts';
import { tellBudget } from './idle-memory.ts';
import { templatesDir } from './apps.ts';

/** What use cases act through. */
export interface Deps {
  systemd: Systemd;
  docker: Docker;
  /** Tells the admin what takes long, on stderr. */
  report: (line: string) => void;
}

/**
 * Asks files, systemd and Docker for everything that apply compares.
 * @param wanted the sites whose files and directories are looked at
 * @param all whether units and containers of other sites are looked at too, to find left-overs
 */
export async function observe({ systemd, docker }: Pick<Deps, 'systemd' | 'docker'>, wanted: readonly Desired[], all: boolean): Promise<Actual> {
  const one = all ? undefined : wanted[0]?.names;
  const files = new Map<string, string>();
  const candidates = new Set(wanted.flatMap((site) => site.files.map((file) => file.path)));
  const listing = await namesIn(paths.unitsDir);
  for (const file of siteUnitFiles(listing.filter((name) => all || (one && (isJobTimer(name, one) || isListenSocket(name, one) || one.moreUnits.includes(name)))))) candidates.add(file);
  for (const { path: file, content } of readMany([...candidates])) files.set(file, content);
  const loaded = await systemd.list(one ? [...unitPatterns(one), jobPattern(one, 'timer'), listenPattern(one)] : ['site-*', 'sitegen-process@*', 'sitegen-job@*.timer', 'sitegen-listen@*.socket']);
  const containers: (ContainerState | undefined)[] = one ? [await docker.find(one.container, one.domain)] : await docker.list();
  const rules = one ? [one.egressFile] : (await namesIn(paths.egressDir)).filter((name) => idOfEgressFile(name) !== undefined).map((name) => `${paths.egressDir}/${name}`);
  const directories = new Set<string>();
  for (const directory of wanted.flatMap((site) => site.dataDirs)) if (await exists(directory)) directories.add(directory);
  return {
    files,
    units: new Map(loaded.filter(({ name }) => isSiteUnit(name) || isJobTimer(name) || isListenSocket(name)).map((unit) => [unit.name, unit.activeState])),
    enabled: new Set([...await namesIn(paths.enabledDir), ...await namesIn(paths.enabledTimersDir)]),
    containers: new Map(containers.flatMap((container) => (container ? [[container.name, container] as const] : []))),
    egress: new Map(readMany(rules).map(({ path: file, content }) => [idOfEgressFile(path.basename(file)) ?? '', content])),
    directories,
    quotas: await quotaFacts(wanted),
  };
}

/**
 * Checks that our address ranges are nobody else's on this machine.
 * @throws SitegenError that names the other user of a range
 */
export async function checkRanges(docker: Pick<Docker, 'otherNetworks'>, ranges: Ranges): Promise<void> {
  if (overlap(ranges.sites, ranges.containers)) {
    throw new SitegenError(`network.sites ${ranges.sites} and network.containers ${ranges.containers} overlap`);
  }
  const others = [
    ...(await docker.otherNetworks()).map(({ name, subnet }) => ({ range: subnet, user: `Docker's network "${name}"` })),
    ...(await routes()).filter(({ device }) => device !== shared.bridge).map(({ range, device }) => ({ range, user: `a route through ${device}` })),
  ];
  for (const [key, range] of Object.entries(ranges) as [string, string][]) {
    const taken = others.find((other) => overlap(other.range, range));
    if (taken) {
      throw new SitegenError(`network.${key} ${range} is in use by ${taken.user} (${taken.range})`, {
        hint: `set network.${key} in ${paths.defaultsFile} to a private range that nobody uses, then sitegen apply`,
      });
    }
  }
}

/**
 * Makes what all sites share, where it is missing or differs: the firewall rules and the route
 * of the site addresses, and Docker's network.
 * @returns what was done, a line each
 */
export async function prepareMachine({ systemd, docker }: Pick<Deps, 'systemd' | 'docker'>, defaults: DefaultsFile): Promise<string[]> {
  const ranges = rangesOf(defaults);
  const done: string[] = [];
  const { files, current } = await networkFiles(ranges);
  const changed = files.filter((file) => current.get(file.path) !== file.content);
  const starts = `${defaults.machine?.starts ?? os.availableParallelism()}\n`;
  if (await readIfThere(paths.startsFile) !== starts) await writeAtomic({ path: paths.startsFile, content: starts });
  const budgetBytes = budgetOf(defaults.machine?.memory ?? builtIn.memory, machineMemory());
  if (budgetBytes !== undefined) await tellBudget({ budgetBytes, swapShare: swapState().share });
  await fs.mkdir(paths.egressDir, { recursive: true, mode: 0o700 });
  const differs = changed.length > 0 || !await inPlace(ranges.sites);
  if (differs) await checkRanges(docker, ranges);
  // First, as it refuses a range that containers do not have; then nothing has changed yet.
  const made = await docker.ensureNetwork(networkOf(ranges.containers));
  if (differs) {
    const before = /^SITES=(.+)$/m.exec(current.get(paths.networkEnvironment) ?? '')?.[1];
    await writeAtomic(...changed);
    await systemd.restart(shared.networkUnit);
    // Awake sites have their entries in the new rules again; until then visitors go through the splices.
    await systemd.enqueue(shared.idleUnit);
    // The rules no longer keep neighbours off the range from before.
    if (before !== undefined && before !== ranges.sites) await removeRoute(before);
    done.push(`restarted ${shared.networkUnit}: route and firewall rules`);
  }
  if (made) {
    done.push(`made Docker's network "${shared.network}", ${ranges.containers}`);
  }
  return done;
}

/** True when the shared parts are as they should be; for diff. */
export async function machineReady(ranges: Ranges): Promise<boolean> {
  const { files, current } = await networkFiles(ranges);
  return files.every((file) => current.get(file.path) === file.content) && await inPlace(ranges.sites);
}

async function networkFiles(ranges: Ranges) {
  const template = await fs.readFile(`${templatesDir}/network.nft.mustache`, 'utf8');
  const view = {
    sites: ranges.sites, bridge: shared.bridge, projects: shared.projectBridge,
    gateway: networkOf(ranges.containers).gateway, mailPort: mail.port, mailListenPort: mail.listenPort, egressDir: paths.egressDir,
  };
  const files = [
    { path: paths.networkRules, content: render(template, view, refuseSpecial) },
    { path: paths.networkEnvironment, content: `SITES=${refuseSpecial(ranges.sites)}\n` },
  ];
  const current = new Map<string, string | undefined>();
  for (const file of files) current.set(file.path, await readIfThere(file.path));
  return { files, current };
}
