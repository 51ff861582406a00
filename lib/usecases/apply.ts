import path from 'node:path';
import { exists, linkInto, remove, removeTemporary, writeAtomic } from '../effects/files.ts';
import { withLock } from '../effects/lock.ts';
import type { Step } from '../pure/diff.ts';
import { reasonOf, SitegenError } from '../pure/errors.ts';
import { bothUnits, enabledLink, isJobTimer, paths, shared, siteNames, timerStamp } from '../pure/names.ts';
import { inParallel } from '../pure/parallel.ts';
import { pendingOf } from '../pure/pending.ts';
import { repairCertificates } from './certs.ts';
import { createContainer, ensureImage, makeDataDir, removeContainer } from './containers.ts';
import { limitSite } from './disk-quota.ts';
import { dropEgress, enforceEgress } from './egress.ts';
import { writePending } from './first-start.ts';
import { prepareMachine, type Deps } from './machine.ts';
import { syncMail } from './mail-sync.ts';
import { mailChange, planApply, type Plan } from './plan.ts';
import { forgetProcess } from './process.ts';
import { stopSite } from './quiet.ts';
import { isPulled, pullSite, sweepCheckouts } from './pull.ts';
import { syncRouter, type RouterChange } from './router.ts';
import { recordSecrets } from './secrets.ts';
import { settleSite } from './swap.ts';
import { loadDefaults, type Fault } from './settings.ts';

/** What apply did, and what it could not do. */
export interface ApplyResult {
  done: string[];
  changed: string[];
  faults: Fault[];
}

/**
 * Makes the machine equal to the settings. A site that fails is reported and the others go on.
 * Units are reloaded at most once, and only when a loaded one changed.
 */
export async function apply(deps: Deps, domains?: readonly string[]): Promise<ApplyResult> {
  const result: ApplyResult = { done: [], changed: [], faults: [] };
  await removeTemporary([paths.unitsDir, paths.sitesDir, paths.stateDir, `${paths.stateDir}/containers`]);
  result.done.push(...await prepareMachine(deps, await loadDefaults()));
  const { plans, faults, ranges, actual, change } = await planApply(deps, domains, (loaded) => recordSecrets(loaded, deps.report));
  result.faults.push(...faults);
  const active = plans.filter((plan) => plan.steps.length > 0 || plan.newSettings !== undefined);
  const failed = new Set<string>();
  const forEach = async (what: string, kinds: readonly Step['do'][], act: (plan: Plan, steps: readonly Step[]) => Promise<void>) => {
    let count = 0;
    const concerned = active.filter((plan) => plan.steps.some((step) => kinds.includes(step.do)));
    // Docker and the disk have their own waits.
    await inParallel(concerned, 4, async (plan) => {
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
    const key = loaded.site.workload?.project ? loaded.site.domain : loaded.image;
    const ensured = images.get(key) ?? ensureImage(deps, loaded);
    images.set(key, ensured);
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
  await forEach('limits', ['set limits', 'set quota'], runAll);
  // The next visitor's wake looks whether there is room now.
  for (const { want } of plans) if (want && await exists(want.names.fullFile)) await remove(want.names.failedFile);
  // What one site gives up another may be about to open.
  await forEach('ports', ['close'], (plan, steps) => runAll(plan, steps).catch(async (error: unknown) => {
    if (plan.want?.enabled) await deps.systemd.start(siteNames(plan.domain).socket).catch(() => undefined);
    throw error;
  }));
  await forEach('sites', ['stop', 'stop container', 'remove container', 'create container', 'set egress', 'enable', 'disable', 'start', 'remove file'], async (plan, steps) => {
    const { socket, lockFile } = siteNames(plan.domain);
    const replace = () => runAll(plan, steps).finally(async () => {
      const stopped = plan.steps.some((step) => (step.do === 'stop' || step.do === 'close') && step.unit === socket);
      if (stopped && plan.want?.enabled) await deps.systemd.start(socket);
    });
    // A visitor of a site that listens must not wake the old container, or make the new one too.
    const wakes = actual.units.get(socket) === 'active' && steps.some((step) => step.do === 'create container');
    await (wakes ? withLock(lockFile, { mark: 'sitegen apply\n' }, replace) : replace());
  });
  for (const { domain, want } of active) if (!want) await deps.systemd.stop(siteNames(domain).certifyUnit);
  try {
    result.done.push(...await syncMail(deps.systemd, mailChange(plans, domains, ranges, new Set([...faults.map(({ domain }) => domain), ...failed]))));
  } catch (error) {
    result.faults.push({ domain: 'mail', reason: faultOf(error) });
  }
  await pullNew(deps, change, result);
  if (domains === undefined && faults.length === 0) await sweepCheckouts(change.published.flatMap(({ file }) => (file.static?.git === undefined ? [] : [file.domain])));
  // Last, as a name that the router knows has to lead somewhere.
  let routed: string[] = [];
  try {
    const { lines, changes } = await syncRouter(deps.systemd, without(change, failed));
    routed = changes.map(({ domain }) => domain);
    result.done.push(...lines, ...await repairCertificates(change.published.map(({ file }) => file), domains === undefined));
    // One process for all: it takes them one after the other, knows when each is due, and has the
    // folders watched that somebody puts certificates into.
    if (change.published.some(({ site }) => site.enabled && site.entry.certificate !== 'none')) await deps.systemd.enqueue(shared.renewUnit);
  } catch (error) {
    result.faults.push({ domain: 'router', reason: faultOf(error) });
  }
  result.changed = [...new Set([...active.map(({ domain }) => domain), ...routed])].filter((domain) => !failed.has(domain));
  return result;
}

async function runStep(deps: Deps, plan: Plan, step: Step): Promise<void> {
  const { systemd, docker } = deps;
  switch (step.do) {
    case 'make directory': {
      await makeDirectory(plan, step.path);
      break;
    }
    case 'close':
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
      await remove(siteNames(plan.domain).failedFile);
      break;
    }
    case 'remove file': {
      await remove(step.path);
      // Or a job of the same name would have missed runs from its first day.
      const unit = path.basename(step.path);
      if (!isJobTimer(unit)) break;
      await remove(timerStamp(unit));
      // What it failed with last is nobody's concern any more.
      for (const each of Object.values(bothUnits(unit))) await systemd.resetFailed(each);
      break;
    }
    case 'stop container': {
      await stopSite({ systemd, docker }, siteNames(step.domain));
      break;
    }
    case 'remove container': {
      // A frozen one has no service that would have ended it.
      await stopSite({ systemd, docker }, siteNames(step.domain), true);
      await removeContainer(docker, siteNames(step.domain));
      if (!plan.want?.process) await forgetProcess(siteNames(step.domain));
      break;
    }
    case 'create container': {
      if (plan.want) await createContainer(docker, plan.want, deps.report);
      break;
    }
    case 'set egress': {
      await (plan.want ? enforceEgress(plan.want, deps.report) : dropEgress(siteNames(plan.domain).id));
      break;
    }
    case 'set limits': {
      // systemd 257 reads new limits of a running slice, but writes them to its cgroup only when
      // something starts inside.
      await systemd.start(step.unit);
      await systemd.stop(step.unit);
      break;
    }
    case 'set quota': {
      if (plan.want) await limitSite(deps, plan.want.names, step.bytes);
      break;
    }
    case 'enable': {
      await linkInto(path.dirname(enabledLink(step.unit)), [`${paths.unitsDir}/${step.unit}`]);
      break;
    }
    case 'disable': {
      await remove(enabledLink(step.unit));
      break;
    }
    case 'reload': {
      break;
    }
  }
}

/** A site without any data is installed, but for one that has a backup, whose data was lost. */
async function makeDirectory({ domain, loaded, want }: Plan, directory: string): Promise<void> {
  const names = siteNames(domain);
  // An empty one in its place would look as if the exchange had been finished.
  await settleSite(names);
  const install = directory === names.dataDir && !await exists(directory) && loaded?.site.workload?.hooks.install !== undefined && !await exists(names.repository);
  await makeDataDir(want ?? { owners: new Map(), names }, directory);
  if (install) await writePending(names, pendingOf({ install }));
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

/** Sites that could not be set up keep what the router knew of them. */
function without(change: RouterChange, failed: ReadonlySet<string>): RouterChange {
  return {
    ...change,
    published: change.published.filter(({ site }) => !failed.has(site.domain)),
    domains: change.domains && new Set([...change.domains].filter((domain) => !failed.has(domain))),
    keep: new Set([...change.keep ?? [], ...failed]),
  };
}

function faultOf(error: unknown): string {
  return error instanceof SitegenError ? error.message : reasonOf(error);
}
