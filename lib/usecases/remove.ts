import { exists, namesIn, readIfThere, remove } from '../effects/files.ts';
import type { Systemd } from '../effects/systemd.ts';
import { networkOf } from '../pure/addresses.ts';
import { allot } from '../pure/allot.ts';
import { isOurs } from '../pure/diff.ts';
import { SitegenError, usageError } from '../pure/errors.ts';
import { enabledLink, isJobTimer, isListenSocket, jobPattern, parseDomain, paths, shared, siteNames, timerStamp, type SiteNames } from '../pure/names.ts';
import { namesOfSite } from '../pure/routes.ts';
import { rangesOf } from '../pure/site.ts';
import { readState } from './backup-state.ts';
import { removeContainer } from './containers.ts';
import { dropEgress } from './egress.ts';
import { forgetCertificate, uninstallCertificate } from './certs.ts';
import { forgetDisk } from './disk.ts';
import { quotaToForget } from './disk-quota.ts';
import type { Deps } from './machine.ts';
import { syncMail } from './mail-sync.ts';
import { forgetProcess } from './process.ts';
import { removeCheckout } from './pull.ts';
import { stopSite } from './quiet.ts';
import { neighbours, publishedOf, syncRouter } from './router.ts';
import { readMaps } from './router-files.ts';
import { keepSecrets } from './secrets.ts';
import { loadDefaults, loadSettings, takenOffsets } from './settings.ts';

/** What a removal takes away. */
export interface RemovePlan {
  domain: string;
  purge: boolean;
  /** Its history on this machine goes too. */
  backups: boolean;
  lines: string[];
  /** URLs of servers that have, or once had, a backup of it: no site's server can take that away. */
  servers: string[];
}

/**
 * Checks that a site exists, or with `backups` its history, and says what its removal would take away.
 * @throws SitegenError for `backups` without `purge`: the next backup would bring it all back
 */
export async function planRemove(domainInput: string, purge: boolean, backups = false): Promise<RemovePlan> {
  if (backups && !purge) throw usageError('--backups goes with --purge alone', 'to switch backups off, write "backup: false" into the site\'s settings');
  const domain = parseDomain(domainInput);
  const names = siteNames(domain);
  const units = await ownUnits([...names.units, ...await partUnits(names)]);
  const there = [names.settingsFile, ...units.flatMap((unit) => [`${paths.unitsDir}/${unit}`, `${paths.unitsDir}/${unit}.d`]), ...(purge ? [names.siteDir] : []), ...(backups ? backupFiles(names) : [])];
  const lines: string[] = [];
  for (const file of there) if (await exists(file)) lines.push(`remove ${file}`);
  if (lines.length === 0) {
    throw new SitegenError(`${domain}: there is no such site`, { hint: 'see: sitegen list' });
  }
  lines.push(`remove container ${names.container}`);
  const { servers } = await readState(names);
  return { domain, purge, backups, lines, servers: Object.entries(servers).filter(([, { acknowledged, commit }]) => acknowledged || commit !== null).map(([url]) => url) };
}

/**
 * Removes a site: requests in flight are finished, then units, container and settings go.
 * Its data stays unless `purge`. May be repeated after an interruption.
 */
export async function removeSite(deps: Deps, plan: RemovePlan): Promise<void> {
  const names = siteNames(plan.domain);
  const units = await ownUnits([...names.units, ...await partUnits(names)]);
  // They would write down what is about to go.
  await stopHelpers(deps, [names.watchUnit, names.certifyUnit, names.dropUnit, names.pullUnit, names.diskUnit]);
  await withdraw(deps.systemd, plan.domain);
  // Timers and socket first, so that nobody wakes it again.
  await stopJobs(deps.systemd, names, units);
  if (units.includes(names.socket)) await deps.systemd.stop(names.socket);
  if (units.includes(names.service)) await stopSite(deps, names);
  await stopAll(deps, units);
  for (const unit of units) await remove(enabledLink(unit));
  await removeContainer(deps.docker, names);
  await forgetProcess(names);
  await dropEgress(names.id);
  for (const unit of units) {
    await remove(`${paths.unitsDir}/${unit}`);
    await remove(`${paths.unitsDir}/${unit}.d`);
    if (isJobTimer(unit)) await remove(timerStamp(unit));
  }
  for (const unit of units) await deps.systemd.resetFailed(unit);
  await syncMail(deps.systemd, { sites: [], gone: [plan.domain], gateway: networkOf(rangesOf(await loadDefaults()).containers).gateway });
  if (!plan.purge) await keepSecrets(names);
  await remove(names.settingsFile);
  // Or what comes back under this name would be forwarded.
  await remove(names.fenceFile);
  await remove(names.memoryFile);
  await remove(names.workFile);
  await forgetDisk(names);
  await removeCheckout(plan.domain);
  if (plan.purge) {
    const forgetQuota = await quotaToForget(names);
    await remove(names.siteDir);
    await forgetQuota();
    await forgetCertificate(plan.domain);
  }
  if (plan.backups) {
    await stopHelpers(deps, [names.dumpTimer, names.dumpUnit, names.pushTimer, names.pushUnit]);
    for (const file of backupFiles(names)) await remove(file);
  }
  const others = (await namesIn(paths.sitesDir)).filter((name) => name.endsWith('.yaml'));
  if (others.length === 0) await stopAll(deps, [shared.parentSlice]);
}

/** The site's history on this machine, and all that is known of it. */
function backupFiles(names: SiteNames): string[] {
  return [names.repository, names.backupState, names.backupCache, names.sealedFile, names.epochFile, names.fenceFile];
}

async function stopHelpers({ systemd }: Pick<Deps, 'systemd'>, units: readonly string[]): Promise<void> {
  for (const unit of units) {
    await systemd.stop(unit);
    await systemd.resetFailed(unit);
  }
}

/** Takes a site out of the router; sites that had one of its names beside their own get it back. */
export async function withdraw(systemd: Systemd, domain: string): Promise<void> {
  const defaults = await loadDefaults();
  const others: string[] = [];
  for (const other of neighbours([domain, ...namesOfSite(await readMaps(), domain)])) if (await exists(siteNames(other).settingsFile)) others.push(other);
  const loaded = (await loadSettings(others)).sites;
  const ranges = rangesOf(defaults);
  const { offsets } = allot(loaded.map(({ site }) => site), ranges, await takenOffsets(ranges));
  const published = await publishedOf(loaded, offsets, defaults, false, domain);
  await syncRouter(systemd, { defaults, published, domains: new Set([domain, ...loaded.map(({ site }) => site.domain)]) });
  await uninstallCertificate(domain);
}

/** Timers of a site's jobs, sockets of its ports and the slice of its project's entrypoint, by their files. */
async function partUnits(names: SiteNames): Promise<string[]> {
  return (await namesIn(paths.unitsDir)).filter((name) => isJobTimer(name, names) || isListenSocket(name, names) || names.moreUnits.includes(name));
}

/** Stops the timers of a site's jobs, and the jobs that are at work, before their site goes. */
async function stopJobs(systemd: Systemd, names: SiteNames, units: readonly string[]): Promise<void> {
  for (const unit of units.filter((each) => isJobTimer(each))) await systemd.stop(unit);
  for (const { name } of await systemd.list([jobPattern(names, 'service')])) {
    await systemd.stop(name);
    await systemd.resetFailed(name);
  }
}

/** Those of a site's units that no file of the admin's own has taken. */
async function ownUnits(units: readonly string[]): Promise<string[]> {
  const own: string[] = [];
  for (const unit of units) if (isOurs((await readIfThere(`${paths.unitsDir}/${unit}`)) ?? '# Made by sitegen')) own.push(unit);
  return own;
}

/** Stops a site's units: the socket first, so that nobody wakes it again. */
export async function stopAll({ systemd }: Pick<Deps, 'systemd'>, units: readonly string[]): Promise<void> {
  for (const unit of [...units].reverse()) await systemd.stop(unit);
}
