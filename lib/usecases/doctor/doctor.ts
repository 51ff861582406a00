import type { CheckId } from '../../pure/doctor/checks.ts';
import { withIgnored, type Finding } from '../../pure/doctor/verdict.ts';
import type { Docker } from '../../effects/docker.ts';
import type { Systemd } from '../../effects/systemd.ts';
import { inParallel } from '../../pure/parallel.ts';
import { makeContext, type Check } from './context.ts';
import { machineChecks, settings, unknown } from './machine.ts';
import { dockerChecks, networkChecks } from './network.ts';
import { allSitesChecks, siteChecks } from './sites.ts';

/** Of the machine and all its sites, in the order in which they are told. */
export const allChecks: readonly Check[] = [...machineChecks, ...dockerChecks, ...networkChecks, ...siteChecks, ...allSitesChecks];

/**
 * Looks at the machine and all sites, or at one site alone. Changes nothing.
 * @returns at least one finding of each check, in their order; of Docker one alone when it does not answer
 */
export async function examine(deps: { systemd: Systemd; docker: Docker }, now: Date, domain?: string): Promise<Finding[]> {
  const context = makeContext(deps, now, domain);
  const checks: readonly Check[] = domain === undefined ? allChecks : [['settings', settings], ...siteChecks];
  const found = new Map<CheckId, Finding[]>();
  await inParallel(checks, 6, async ([id, look]) => {
    const verdicts = await look(context).catch((error: unknown) => unknown(error));
    found.set(id, [verdicts].flat().map((verdict) => ({ id, ...verdict })));
  });
  const sites = new Map((await context.sites().catch(() => [])).map((site) => [site.domain, site.doctor?.ignore ?? {}]));
  return withIgnored(checks.flatMap(([id]) => found.get(id) ?? []), (await context.defaults()).doctor?.ignore ?? {}, sites);
}
