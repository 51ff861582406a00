import { addressAt, networkOf, type Ranges } from '../pure/addresses.ts';
import { allot } from '../pure/allot.ts';
import { editYaml } from '../pure/config.ts';
import { desired, type Desired } from '../pure/desired.ts';
import { changedLines, describeStep, diffRemoved, diffSite, foreignFiles, isOurs, type Actual, type Step } from '../pure/diff.ts';
import { reasonOf } from '../pure/errors.ts';
import { shared, siteNames } from '../pure/names.ts';
import { jobFaults } from './jobs.ts';
import { portFaults } from './listen.ts';
import { syncMail, type MailChange } from './mail-sync.ts';
import { machineReady, observe, type Deps } from './machine.ts';
import { publishedOf, syncRouter, type RouterChange } from './router.ts';
import { missingSecrets } from './secrets.ts';
import { loadSettings, loadTemplates, nameClashes, takenOffsets, type Fault, type LoadedSite, type Settings } from './settings.ts';

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

/**
 * Compares settings and machine. Changes nothing.
 * @param domains only these; all sites, and left-overs of removed ones, when not given
 * @param complete gives a site's settings with what is still to be recorded in them
 */
export async function planApply(deps: Pick<Deps, 'systemd' | 'docker'>, domains?: readonly string[], complete: (loaded: LoadedSite) => Promise<LoadedSite> = (loaded) => Promise.resolve(loaded)): Promise<{ plans: Plan[]; faults: Fault[]; ranges: Ranges; actual: Actual; change: RouterChange }> {
  const settings = await completed(await loadSettings(domains), complete);
  const [templates, taken] = [await loadTemplates(), await takenOffsets(settings.ranges)];
  const { offsets, record, clashes } = allot(settings.sites.map(({ site }) => site), settings.ranges, taken);
  const faults = [...settings.faults, ...await nameClashes(settings.sites, domains === undefined)];
  for (const [domain, reason] of clashes) faults.push({ domain, reason });
  let wanted = settings.sites.flatMap((loaded) => {
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
  for (const { domain, reason } of await jobFaults(wanted.map(({ loaded }) => loaded.site))) faults.push({ domain, reason });
  wanted = wanted.filter(({ loaded }) => !faults.some(({ domain }) => domain === loaded.site.domain));
  for (const { domain, reason } of await portFaults(wanted.map(({ loaded }) => loaded), domains === undefined)) faults.push({ domain, reason });
  wanted = wanted.filter(({ loaded }) => !faults.some(({ domain }) => domain === loaded.site.domain));
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

/** What the relay for mail is to know of planned sites. @param keep sites that keep what they have */
export function mailChange(plans: readonly Plan[], domains: readonly string[] | undefined, ranges: Ranges, keep: ReadonlySet<string>): MailChange {
  const { gateway } = networkOf(ranges.containers);
  return { sites: plans.flatMap(({ want }) => (want && !keep.has(want.names.domain) ? [want] : [])), gateway, keep: domains === undefined ? keep : undefined };
}

/** What apply would do, as text: a line a step, with the changed lines of units. */
export async function describeDiff(deps: Pick<Deps, 'systemd' | 'docker'>, domains?: readonly string[]): Promise<{ lines: string[]; plans: Plan[]; faults: Fault[] }> {
  const { plans, faults, ranges, change } = await planApply(deps, domains);
  const lines: string[] = [];
  if (!await machineReady(ranges)) lines.push(`restart ${shared.networkUnit}: route and firewall rules are missing or differ`);
  for (const plan of plans) {
    if (plan.newSettings !== undefined) lines.push(`${plan.domain}: record its address in ${siteNames(plan.domain).settingsFile}`);
    const secrets = plan.loaded ? missingSecrets(plan.loaded) : [];
    if (secrets.length > 0) lines.push(`${plan.domain}: make ${secrets.map(({ name }) => name).join(', ')}`);
    for (const step of plan.steps) {
      lines.push(`${plan.domain}: ${describeStep(step)}`);
      // What root alone may read is not for whoever looks over a shoulder, or gets the output.
      if (step.do === 'write' && step.before !== undefined && step.file.mode === undefined) lines.push(...changedLines(step.before, step.file.content).map((line) => `    ${line}`));
    }
  }
  const router = await syncRouter(deps.systemd, change, true);
  lines.push(...router.changes.map(({ domain, text }) => `${domain}: router: ${text}`), ...router.lines);
  lines.push(...await syncMail(deps.systemd, mailChange(plans, domains, ranges, new Set(faults.map(({ domain }) => domain))), true));
  return { lines, plans, faults };
}

/** Sites for which that fails have a fault. */
async function completed(settings: Settings, complete: (loaded: LoadedSite) => Promise<LoadedSite>): Promise<Settings> {
  const sites: LoadedSite[] = [];
  const faults = [...settings.faults];
  for (const loaded of settings.sites) {
    try {
      sites.push(await complete(loaded));
    } catch (error) {
      faults.push({ domain: loaded.site.domain, reason: reasonOf(error) });
    }
  }
  return { ...settings, sites, faults };
}

/** Domains, or their stand-ins, of units and containers of ours whose settings are gone. */
function leftOvers(actual: Actual, known: ReadonlySet<string>): string[] {
  const found = new Set<string>();
  for (const [file, content] of actual.files) {
    const id = /\/(?:site-(.+)\.socket|sitegen-job@([^:]+):.+\.timer|sitegen-listen@([^:]+):\d+\.socket)$/.exec(file)?.slice(1).find((part) => part !== undefined);
    if (id !== undefined && isOurs(content)) found.add(id);
  }
  for (const id of actual.egress.keys()) found.add(id);
  for (const container of actual.containers.values()) found.add(siteNames(container.domain).id);
  return [...found].filter((id) => !known.has(id)).sort();
}
