import type { Docker } from '../effects/docker.ts';
import { withLock } from '../effects/lock.ts';
import { linkInto, makeBelow, remove, removeTemporary, requireBelow, writeAtomic } from '../effects/files.ts';
import { addressAt, type Ranges } from '../pure/addresses.ts';
import { allot } from '../pure/allot.ts';
import { editYaml } from '../pure/config.ts';
import { desired, type Desired } from '../pure/desired.ts';
import { changedLines, describeStep, diffRemoved, diffSite, foreignFiles, isOurs, type Actual, type Step } from '../pure/diff.ts';
import { reasonOf, SitegenError } from '../pure/errors.ts';
import { paths, shared, siteNames, type SiteNames } from '../pure/names.ts';
import { repairCertificates } from './certs.ts';
import { machineReady, observe, prepareMachine, type Deps } from './machine.ts';
import { rangesOf } from '../pure/site.ts';
import { isPulled, pullSite, sweepCheckouts } from './pull.ts';
import { publishedOf, syncRouter, type RouterChange } from './router.ts';
import { loadDefaults, loadSettings, loadTemplates, nameClashes, takenOffsets, type Fault, type LoadedSite } from './settings.ts';

/** What is to be done for one site. */
export interface Plan {
  domain: string;
  steps: readonly Step[];
  /** Missing for a site whose settings are gone. */
  want: Desired | undefined;
  loaded: LoadedSite | undefined;
  /** Settings with the address recorded, when the domain's own was taken. */
  newSettings: string | undefined;
}

/** What apply did, and what it could not do. */
export interface ApplyResult {
  done: string[];
  changed: string[];
  faults: Fault[];
}

/**
 * Compares settings and machine. Changes nothing.
 * @param domains only these; all sites, and left-overs of removed ones, when not given
 */
export async function planApply(deps: Pick<Deps, 'systemd' | 'docker'>, domains?: readonly string[]): Promise<{ plans: Plan[]; faults: Fault[]; ranges: Ranges; actual: Actual; change: RouterChange }> {
  const settings = await loadSettings(domains);
  const [templates, taken] = [await loadTemplates(), await takenOffsets(settings.ranges)];
  const { offsets, record, clashes } = allot(settings.sites.map(({ site }) => site), settings.ranges, taken);
  const faults = [...settings.faults, ...await nameClashes(settings.sites, domains === undefined)];
  for (const [domain, reason] of clashes) faults.push({ domain, reason });
  const wanted = settings.sites.flatMap((loaded) => {
    const { domain } = loaded.site;
    if (faults.some((fault) => fault.domain === domain)) return [];
    try {
      const address = addressAt(offsets.get(domain) ?? -1, settings.ranges);
      const newSettings = record.has(domain) ? editYaml(loaded.text, { address: address.site }) : undefined;
      return [{ loaded, newSettings, want: desired(loaded.site, address, loaded.image, templates) }];
    } catch (error) {
      faults.push({ domain, reason: reasonOf(error) });
      return [];
    }
  });
  const actual = await observe(deps, wanted.map(({ want }) => want), domains?.length !== 1);
  const plans: Plan[] = [];
  for (const { loaded, want, newSettings } of wanted) {
    const [foreign] = foreignFiles(want, actual);
    if (foreign !== undefined) {
      faults.push({ domain: loaded.site.domain, reason: `${foreign} exists and is not sitegen's: rename it` });
      continue;
    }
    plans.push({ domain: loaded.site.domain, steps: diffSite(want, actual), want, loaded, newSettings });
  }
  if (domains === undefined) {
    const known = new Set([...wanted.map(({ want }) => want.names.id), ...faults.map(({ domain }) => siteNames(domain).id)]);
    for (const domain of leftOvers(actual, known)) {
      plans.push({ domain, steps: diffRemoved(domain, actual), want: undefined, loaded: undefined, newSettings: undefined });
    }
  }
  const fine = settings.sites.filter(({ site }) => !faults.some(({ domain }) => domain === site.domain));
  const change: RouterChange = {
    defaults: settings.defaults,
    published: await publishedOf(fine, offsets, settings.defaults, domains === undefined),
    domains: domains === undefined ? undefined : new Set(fine.map(({ site }) => site.domain)),
    keep: new Set(faults.map(({ domain }) => domain)),
  };
  return { plans, faults, ranges: settings.ranges, actual, change };
}

/**
 * Makes the machine equal to the settings. A site that fails is reported and the others go on.
 * Units are reloaded at most once, and only when a loaded one changed.
 */
export async function apply(deps: Deps, domains?: readonly string[]): Promise<ApplyResult> {
  const result: ApplyResult = { done: [], changed: [], faults: [] };
  await removeTemporary([paths.unitsDir, paths.sitesDir, paths.stateDir, `${paths.stateDir}/containers`]);
  result.done.push(...await prepareMachine(deps, rangesOf(await loadDefaults())));
  const { plans, faults, actual, change } = await planApply(deps, domains);
  result.faults.push(...faults);
  const active = plans.filter((plan) => plan.steps.length > 0 || plan.newSettings !== undefined);
  const failed = new Set<string>();
  const forEach = async (what: string, kinds: readonly Step['do'][], act: (plan: Plan, steps: readonly Step[]) => Promise<void>) => {
    let count = 0;
    const concerned = active.filter((plan) => plan.steps.some((step) => kinds.includes(step.do)));
    await inParallel(concerned, async (plan) => {
      count += 1;
      if (count % 100 === 0) deps.report(`${what}: ${count} of ${concerned.length} sites`);
      if (failed.has(plan.domain)) return;
      try {
        await act(plan, plan.steps.filter((each) => kinds.includes(each.do)));
      } catch (error) {
        failed.add(plan.domain);
        result.faults.push({ domain: plan.domain, reason: faultOf(error) });
      }
    });
  };
  const runAll = async (plan: Plan, steps: readonly Step[]) => { for (const step of steps) await runStep(deps, plan, step); };

  // First what can fail: a site whose image cannot be had goes on as it is.
  const images = new Map<string, Promise<unknown>>();
  await forEach('images', ['create container'], async ({ loaded }) => {
    if (!loaded) return;
    // Once an image, not once a site.
    const ensured = images.get(loaded.image) ?? ensureImage(deps, loaded);
    images.set(loaded.image, ensured);
    await ensured;
  });
  await forEach('units', ['make directory', 'write', 'create container'], async (plan, steps) => {
    if (plan.newSettings !== undefined) await writeAtomic({ path: siteNames(plan.domain).settingsFile, content: plan.newSettings, mode: 0o600 });
    await runAll(plan, steps.filter((step) => step.do !== 'create container'));
  });
  if (active.some((plan) => !failed.has(plan.domain) && plan.steps.some((step) => step.do === 'reload'))) {
    deps.report('reloading systemd, because units that it has loaded changed; sites wake a little later meanwhile');
    await deps.systemd.reload();
  }
  await forEach('limits', ['set limits'], runAll);
  await forEach('sites', ['stop', 'remove container', 'create container', 'enable', 'disable', 'start', 'remove file'], async (plan, steps) => {
    const { socket, lockFile } = siteNames(plan.domain);
    const replace = () => runAll(plan, steps).finally(async () => {
      const stopped = steps.some((step) => step.do === 'stop' && step.unit === socket);
      if (stopped && plan.want?.enabled) await deps.systemd.start(socket);
    });
    // A visitor of a site that listens must not wake the old container, or make the new one too.
    const wakes = actual.units.get(socket) === 'active' && steps.some((step) => step.do === 'create container');
    await (wakes ? withLock(lockFile, { mark: 'sitegen apply\n' }, replace) : replace());
  });
  for (const { domain, want } of active) if (!want) await deps.systemd.stop(siteNames(domain).certifyUnit);
  await pullNew(deps, change, result);
  if (domains === undefined && faults.length === 0) await sweepCheckouts(change.published.flatMap(({ file }) => (file.static?.git === undefined ? [] : [file.domain])));
  // Last, as a name that the router knows has to lead somewhere.
  try {
    result.done.push(...await syncRouter(deps.systemd, change), ...await repairCertificates(change.published.map(({ file }) => file), domains === undefined));
    // One process for all: it takes them one after the other, knows when each is due, and has the
    // folders watched that somebody puts certificates into.
    if (change.published.some(({ site }) => site.enabled && site.entry.certificate !== 'none')) await deps.systemd.enqueue(shared.renewUnit);
  } catch (error) {
    result.faults.push({ domain: 'router', reason: faultOf(error) });
  }
  result.changed = active.map((plan) => plan.domain).filter((domain) => !failed.has(domain));
  return result;
}

/** What apply would do, as text: a line a step, with the changed lines of units. */
export async function describeDiff(deps: Pick<Deps, 'systemd' | 'docker'>, domains?: readonly string[]): Promise<{ lines: string[]; plans: Plan[]; faults: Fault[] }> {
  const { plans, faults, ranges, change } = await planApply(deps, domains);
  const lines: string[] = [];
  if (!await machineReady(ranges)) lines.push(`restart ${shared.networkUnit}: route and firewall rules are missing or differ`);
  for (const plan of plans) {
    if (plan.newSettings !== undefined) lines.push(`${plan.domain}: record its address in ${siteNames(plan.domain).settingsFile}`);
    for (const step of plan.steps) {
      lines.push(`${plan.domain}: ${describeStep(step)}`);
      if (step.do === 'write' && step.before !== undefined) lines.push(...changedLines(step.before, step.file.content).map((line) => `    ${line}`));
    }
  }
  lines.push(...await syncRouter(deps.systemd, change, true));
  return { lines, plans, faults };
}

/**
 * Creates a site's container, and writes down which one it is.
 * @throws SitegenError also when a link stands where a directory is to be mounted: an earlier
 *   container may have made it, and Docker would follow it out of the site's data
 */
export async function createContainer(docker: Pick<Docker, 'create'>, want: Desired): Promise<string> {
  if (!want.container) throw new SitegenError(`${want.names.domain}: it has no container`);
  for (const directory of want.dataDirs) await requireBelow(paths.stateDir, directory);
  const id = await docker.create(want.names.container, want.container);
  await writeAtomic({ path: want.names.cidFile, content: `${id}\n` });
  return id;
}

/** Removes a site's container, and what was written down of it. */
export async function removeContainer(docker: Pick<Docker, 'remove'>, names: SiteNames): Promise<void> {
  await docker.remove(names.container, names.domain);
  await remove(names.cidFile);
}

/**
 * Makes an image available: builds or pulls it when it is missing.
 * @returns true when it was missing
 */
export async function ensureImage(deps: Pick<Deps, 'docker' | 'report'>, loaded: Pick<LoadedSite, 'image' | 'app'>): Promise<boolean> {
  if (await deps.docker.hasImage(loaded.image)) return false;
  if (loaded.app?.context.length) {
    deps.report(`building image ${loaded.image} of app ${loaded.app.name}`);
    await deps.docker.build(loaded.image, loaded.app.context);
  } else {
    deps.report(`pulling image ${loaded.image}`);
    await deps.docker.pull(loaded.image, deps.report);
  }
  return true;
}

/** Works on some sites at a time: Docker and the disk have their own waits. */
async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const queue = items.values();
  await Promise.all(Array.from({ length: 4 }, async () => {
    for (const item of queue) await work(item);
  }));
}

async function runStep(deps: Deps, plan: Plan, step: Step): Promise<void> {
  const { systemd, docker } = deps;
  switch (step.do) {
    case 'make directory': {
      await makeBelow(paths.stateDir, step.path);
      break;
    }
    case 'stop': {
      await systemd.stop(step.unit);
      break;
    }
    case 'start': {
      await systemd.start(step.unit);
      break;
    }
    case 'write': {
      await writeAtomic(step.file);
      break;
    }
    case 'remove file': {
      await remove(step.path);
      break;
    }
    case 'remove container': {
      await removeContainer(docker, siteNames(step.domain));
      break;
    }
    case 'create container': {
      if (plan.want) await createContainer(docker, plan.want);
      break;
    }
    case 'set limits': {
      // systemd 257 reads new limits of a running slice, but writes them to its cgroup only when
      // something starts inside.
      await systemd.start(step.unit);
      await systemd.stop(step.unit);
      break;
    }
    case 'enable': {
      await linkInto(paths.enabledDir, [`${paths.unitsDir}/${step.unit}`]);
      break;
    }
    case 'disable': {
      await remove(`${paths.enabledDir}/${step.unit}`);
      break;
    }
    case 'reload': {
      break;
    }
  }
}

/** Static sites that have a repository which was not pulled yet. */
async function pullNew({ report }: Pick<Deps, 'report'>, { published }: RouterChange, result: ApplyResult): Promise<void> {
  for (const { file } of published) {
    if (file.static?.git === undefined || await isPulled(file.domain, file.static)) continue;
    try {
      await pullSite(file.domain, file.static, report);
      result.done.push(`${file.domain}: pulled its repository`);
    } catch (error) {
      result.faults.push({ domain: file.domain, reason: faultOf(error) });
    }
  }
}

function faultOf(error: unknown): string {
  return error instanceof SitegenError ? error.message : reasonOf(error);
}

/** Domains, or their stand-ins, of units and containers of ours whose settings are gone. */
function leftOvers(actual: Actual, known: ReadonlySet<string>): string[] {
  const found = new Set<string>();
  for (const [file, content] of actual.files) {
    const id = /\/site-(.+)\.socket$/.exec(file)?.[1];
    if (id !== undefined && isOurs(content)) found.add(id);
  }
  for (const container of actual.containers.values()) found.add(siteNames(container.domain).id);
  return [...found].filter((id) => !known.has(id)).sort();
}
