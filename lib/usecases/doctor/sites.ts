import { missingQuotaTools, projectMount, readMounts } from '../../effects/project-quota.ts';
import { judgeBackup, judgeCertificate, judgeDisks, judgeDrift, judgeLeftOvers, judgeReachable, judgeRehearsal, judgeServers, judgeSites, type BackupFacts } from '../../pure/doctor/sites.ts';
import { ok, unlessNone, type Verdict } from '../../pure/doctor/verdict.ts';
import { reasonOf, SitegenError } from '../../pure/errors.ts';
import { siteNames } from '../../pure/names.ts';
import { inParallel } from '../../pure/parallel.ts';
import { readState } from '../backup-state.ts';
import { certificateStatus } from '../cert-commands.ts';
import { wayOf } from '../certify.ts';
import { diskState } from '../disk.ts';
import { readFence } from '../fence.ts';
import { openServers } from '../servers.ts';
import { status } from '../status.ts';
import { staleSite } from '../watch.ts';
import type { Check, Context } from './context.ts';
import { dnsCheck } from './network.ts';

/** Checks of sites and their backups. */

const serverUrls = async ({ defaults }: Context) => ((await defaults()).backup?.servers ?? []).map(({ url }) => url);

async function backups(context: Context): Promise<BackupFacts[]> {
  const facts: BackupFacts[] = [];
  await inParallel(await context.sites(), 4, async (file) => {
    const names = siteNames(file.domain);
    // Another server has it, and backs it up.
    if (file.enabled === false || await readFence(names)) return;
    const wanted = file.backup !== false;
    facts.push({ domain: file.domain, state: await readState(names), wanted, stale: await staleSite(context.systemd, file, context.now), pushUnit: names.pushUnit });
  });
  return facts.sort((a, b) => (a.domain < b.domain ? -1 : 1));
}

async function drift(context: Context): Promise<{ steps: Map<string, string[]>; leftOver: string[]; faults: { domain: string; reason: string }[] }> {
  const { lines, plans, faults } = await context.diff();
  const leftOver = plans.filter(({ loaded, steps }) => loaded === undefined && steps.length > 0).map(({ domain }) => domain);
  const known = new Set((await context.settings()).faults.map(({ domain }) => domain));
  const steps = new Map<string, string[]>();
  for (const line of lines) {
    // Changed lines of a unit are indented; the machine's own are other checks'.
    const [, owner = '', text = ''] = /^([^\s:]+): (.*)$/.exec(line) ?? [];
    if (owner !== '' && !leftOver.includes(owner)) steps.set(owner, [...(steps.get(owner) ?? []), text]);
  }
  return { steps, leftOver, faults: faults.filter(({ domain }) => !known.has(domain)) };
}

export const siteChecks: readonly Check[] = [
  dnsCheck,
  ['certificate', async ({ defaults, sites, now, domain }) => {
    const files = await sites();
    const named = new Map(files.filter(({ enabled }) => enabled !== false).map((file) => [file.domain, file]));
    const all = await certificateStatus(now, domain === undefined ? undefined : [domain]);
    const verdicts: Verdict[] = [];
    for (const row of all) {
      const file = named.get(row.domain);
      if (file) verdicts.push(...judgeCertificate({ ...row, way: wayOf(file, await defaults()), unit: siteNames(row.domain).certifyUnit }, now.getTime()));
    }
    return unlessNone(verdicts, `${all.length} site${all.length === 1 ? '' : 's'}`);
  }],
  ['site', async ({ systemd, docker, domain }) => {
    const all = await status({ systemd, docker }, domain === undefined ? undefined : [domain]);
    return judgeSites(all);
  }],
  ['disk-quota', async ({ settings }) => {
    const [{ sites }, mounts] = [await settings(), await readMounts()];
    const limited = sites.flatMap(({ site: { domain, workload } }) => (workload?.diskBytes === undefined ? [] : [{ domain, limitBytes: workload.diskBytes }]));
    return judgeDisks(await Promise.all(limited.map(async ({ domain, limitBytes }) => {
      const names = siteNames(domain);
      const { usedBytes, quota } = await diskState(names);
      return { domain, limitBytes, usedBytes, quota, dataDir: names.dataDir, offers: await projectMount(names.dataDir, mounts) !== undefined };
    })), await missingQuotaTools());
  }],
  ['drift', async (context) => {
    const { steps, faults } = await drift(context);
    return judgeDrift(steps, faults);
  }],
  ['backup', async (context) => {
    const [urls, all] = [await serverUrls(context), await backups(context)];
    return unlessNone(all.flatMap((facts) => judgeBackup(facts, urls)), `${all.filter(({ wanted }) => wanted).length} sites`);
  }],
  ['rehearsal', async (context) => {
    const [urls, all] = [await serverUrls(context), await backups(context)];
    return unlessNone(all.flatMap((facts) => judgeRehearsal(facts, urls, context.now.getTime())), urls.length === 0 ? 'there is no server to restore from' : `${all.length} sites`);
  }],
];

/** Those of all sites together. */
export const allSitesChecks: readonly Check[] = [
  ['left-overs', async (context) => judgeLeftOvers((await drift(context)).leftOver)],
  ['backup-servers', async (context) => judgeServers(await serverUrls(context))],
  ['backup-reachable', async ({ defaults, sites }) => {
    const servers = await openServers(await defaults());
    const [site] = await sites();
    if (servers.length === 0) return ok('there are none');
    return judgeReachable(await Promise.all(servers.map(async (store) => store.look(siteNames(site?.domain ?? 'doctor.invalid').id).then(
      () => ({ url: store.url, error: undefined, hint: undefined }),
      (thrown: unknown) => ({ url: store.url, error: reasonOf(thrown), hint: thrown instanceof SitegenError ? thrown.hint : undefined }),
    ))));
  }],
];
