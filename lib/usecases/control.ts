import type { Systemd } from '../effects/systemd.ts';
import { reasonOf, SitegenError } from '../pure/errors.ts';
import { siteNames } from '../pure/names.ts';
import { hasAddress } from '../pure/site.ts';
import { apply } from './apply.ts';
import { editSettings, setEnabled } from './edit.ts';
import type { Deps } from './machine.ts';
import { stopSite } from './quiet.ts';
import { loadSettings, type Fault } from './settings.ts';

/** What can be done to several sites at once. */
export type Action = 'start' | 'stop' | 'restart' | 'enable' | 'disable';

/**
 * Carries an action out on each domain; one that fails does not keep the others.
 * Starting is left to systemd for all at once, so that slow sites wait side by side.
 */
export async function control(deps: Deps, action: Action, domains: readonly string[]): Promise<Fault[]> {
  if (action === 'enable' || action === 'disable') {
    return change(deps, domains, (domain) => setEnabled(domain, action === 'enable'));
  }
  const results = await Promise.allSettled(domains.map((domain) => act(deps, action, domain)));
  return results.flatMap((result, index) => (result.status === 'rejected' ? [{ domain: domains[index] ?? '', reason: reasonOf(result.reason) }] : []));
}

/**
 * Puts a page in the place of sites, or the sites back; written into their settings.
 * @param settings as `maintenance:` of a site has it; undefined takes the page away
 */
export async function setMaintenance(deps: Deps, domains: readonly string[], settings: { retryAfter: string | undefined; allow: string[] | undefined } | undefined): Promise<Fault[]> {
  const given = Object.entries(settings ?? {}).filter(([, value]) => value !== undefined);
  const value = settings === undefined ? undefined : given.length > 0 ? Object.fromEntries(given) : true;
  return change(deps, domains, (domain) => editSettings(domain, { maintenance: value }));
}

/** Edits the settings of sites and applies them; one that fails does not keep the others. */
async function change(deps: Deps, domains: readonly string[], edit: (domain: string) => Promise<void>): Promise<Fault[]> {
  const faults: Fault[] = [];
  for (const domain of domains) {
    try {
      await edit(domain);
    } catch (error) {
      faults.push({ domain, reason: error instanceof SitegenError ? error.message : reasonOf(error) });
    }
  }
  const done = domains.filter((domain) => !faults.some((fault) => fault.domain === domain));
  return [...faults, ...(await apply(deps, done)).faults];
}

/**
 * Wakes a site and waits until it answers.
 * @throws SitegenError when it cannot, and for a site that is disabled: nobody holds its connections
 */
export async function wakeSite(systemd: Pick<Systemd, 'start'>, domain: string): Promise<void> {
  const { sites } = await loadSettings([domain]);
  if (sites[0]?.site.enabled === false) throw new SitegenError(`${domain}: it is disabled`, { hint: `let it be visited again: sitegen enable ${domain}` });
  await systemd.start(siteNames(domain).service);
}

/** @throws SitegenError for a site that nothing of ours runs for */
async function requireSocket(domain: string): Promise<void> {
  const { sites } = await loadSettings([domain]);
  if (sites[0] && !hasAddress(sites[0].site)) throw new SitegenError(`${domain}: nothing runs for it, the router answers by itself`, { hint: `switch it off: sitegen disable ${domain}` });
}

async function act(deps: Deps, action: 'start' | 'stop' | 'restart', domain: string): Promise<void> {
  await requireSocket(domain);
  if (action !== 'start') await stopSite(deps, siteNames(domain));
  if (action !== 'stop') await wakeSite(deps.systemd, domain);
}
