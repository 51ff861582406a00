import type { Systemd } from '../effects/systemd.ts';
import { routerMetrics } from '../effects/traffic.ts';
import { renderMetrics } from '../pure/metrics.ts';
import { mail } from '../pure/names.ts';
import { noTraffic } from '../pure/stats.ts';
import { allDomains } from './domains.ts';
import { readMailStats } from './mail-stats.ts';
import { monitorSites } from './site-state.ts';
import { totalStats } from './stats.ts';

/**
 * The page for Prometheus: what the router tells of itself, and the sites. Whatever cannot be
 * asked just now is left out; `sitegen_router_up` says whether the router could.
 * @param systemd connects to it; may fail
 */
export async function metricsPage(systemd: () => Promise<Pick<Systemd, 'list'>>, now: number): Promise<string> {
  const [own, { totals, router }, domains, sent] = await Promise.all([routerMetrics(), totalStats(now), allDomains(), readMailStats(mail.stats)]);
  const sites = [...new Set([...domains, ...totals.keys()])].sort();
  const states = await systemd().then((connected) => monitorSites(connected, domains)).catch(() => new Map<string, string>());
  const page = renderMetrics(sites.map((site) => ({ site, traffic: totals.get(site) ?? noTraffic, state: states.get(site), mail: sent.get(site) })), router);
  return `${own ?? ''}${own === undefined || own.endsWith('\n') ? '' : '\n'}${page}`;
}
