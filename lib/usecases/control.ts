import type { Systemd } from '../effects/systemd.ts';
import { reasonOf, SitegenError } from '../pure/errors.ts';
import { siteNames } from '../pure/names.ts';
import { apply } from './apply.ts';
import { setEnabled } from './add.ts';
import type { Deps } from './machine.ts';
import { loadSettings, type Fault } from './settings.ts';

/** What can be done to several sites at once. */
export type Action = 'start' | 'stop' | 'restart' | 'enable' | 'disable';

/**
 * Carries an action out on each domain; one that fails does not keep the others.
 * Starting is left to systemd for all at once, so that slow sites wait side by side.
 */
export async function control(deps: Deps, action: Action, domains: readonly string[]): Promise<Fault[]> {
  if (action === 'enable' || action === 'disable') {
    const faults: Fault[] = [];
    for (const domain of domains) {
      try {
        await setEnabled(domain, action === 'enable');
      } catch (error) {
        faults.push({ domain, reason: reasonOf(error) });
      }
    }
    const done = domains.filter((domain) => !faults.some((fault) => fault.domain === domain));
    return [...faults, ...(await apply(deps, done)).faults];
  }
  const results = await Promise.allSettled(domains.map((domain) => act(deps, action, domain)));
  return results.flatMap((result, index) => (result.status === 'rejected' ? [{ domain: domains[index] ?? '', reason: reasonOf(result.reason) }] : []));
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

async function act({ systemd }: Deps, action: 'start' | 'stop' | 'restart', domain: string): Promise<void> {
  const { service } = siteNames(domain);
  if (action !== 'start') await systemd.stop(service);
  if (action !== 'stop') await wakeSite(systemd, domain);
}
