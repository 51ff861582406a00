import type { Systemd } from '../effects/systemd.ts';
import { endedUndumped, staleness, type BackupState } from '../pure/backup.ts';
import { reasonOf } from '../pure/errors.ts';
import { siteNames } from '../pure/names.ts';
import { inParallel } from '../pure/parallel.ts';
import type { SiteFile } from '../pure/schema.ts';
import { readState } from './backup-state.ts';
import { readFence } from './fence.ts';
import { readableSites } from './read-sites.ts';
import { connectRunner } from './runner.ts';
import { headsOf } from './servers.ts';
import { loadDefaults } from './settings.ts';

/** What a look at all backups found. */
export interface Watched {
  /** Sites whose backup calls for an alarm, and why. */
  stale: { domain: string; reason: string }[];
  /** What was set going, a line each. */
  lines: string[];
}

const dayMs = 86_400_000;

/**
 * Looks at the backups of all sites, and sets going what is missing: pushes, dumps that failed,
 * dumps of sites that never sleep as nothing of ours runs for them.
 * @param boot asks the servers too whether another one has taken a site over meanwhile
 */
export async function watchBackups(systemd: Systemd, boot: boolean, clock: () => Date): Promise<Watched> {
  const defaults = await loadDefaults();
  const urls = (defaults.backup?.servers ?? []).map(({ url }) => url);
  const stale: Watched['stale'] = [];
  const lines: string[] = [];
  const sites = (await readableSites()).filter(({ enabled, backup }) => enabled !== false && backup !== false);
  await inParallel(sites, 4, async (file) => {
    const names = siteNames(file.domain);
    try {
      if (await readFence(names)) return;
      const state = await readState(names);
      const awakeSince = await awakeSinceOf(systemd, names.service, clock());
      const reason = staleness(state, { servers: urls, wanted: true, awakeSince, now: clock().getTime() });
      if (reason !== undefined) stale.push({ domain: file.domain, reason });
      const behind = state.commit !== null && urls.some((url) => state.servers[url]?.commit !== state.commit);
      if (behind || (boot && state.commit !== null && await isElsewhere(file, state.commit, defaults))) {
        await systemd.enqueue(names.pushUnit);
        lines.push(`${file.domain}: pushing`);
      }
      if (awakeSince === undefined && (wantsDump(file, state, clock()) || endedUndumped(state, await finishedAt(names.container)))) {
        await retryDump(systemd, file);
        lines.push(`${file.domain}: dumped`);
      }
    } catch (error) {
      stale.push({ domain: file.domain, reason: reasonOf(error) });
    }
  });
  return { stale, lines };
}

/** Why the backup of one site calls for an alarm now; undefined when it does not. */
export async function staleSite(systemd: Systemd, file: SiteFile, now: Date): Promise<string | undefined> {
  const names = siteNames(file.domain);
  if (file.enabled === false || await readFence(names)) return undefined;
  const servers = ((await loadDefaults()).backup?.servers ?? []).map(({ url }) => url);
  return staleness(await readState(names), { servers, wanted: file.backup !== false, awakeSince: await awakeSinceOf(systemd, names.service, now), now: now.getTime() });
}

/** By the monotonic clock, as the other may have been set since. @returns ms since 1970, as the clock is now */
async function awakeSinceOf(systemd: Systemd, service: string, now: Date): Promise<number | undefined> {
  const unit = await systemd.properties(service, 'Unit');
  if (unit['ActiveState'] !== 'active') return undefined;
  // The same clock as systemd's: CLOCK_MONOTONIC.
  const upMs = Number(process.hrtime.bigint() / 1_000_000n);
  return now.getTime() - Math.max(0, upMs - Number(unit['ActiveEnterTimestampMonotonic'] ?? 0) / 1000);
}

/** One without a container is looked at once a day; a container's site is dumped as it falls asleep. */
function wantsDump(file: SiteFile, state: BackupState, now: Date): boolean {
  if (state.error !== null) return true;
  if (file.passthrough || file.redirect || file.proxy) return state.commit === null;
  return file.static !== undefined && (state.dumpedAt === null || now.getTime() - Date.parse(state.dumpedAt) > dayMs);
}

/** When a site's container ended; undefined where there is none. */
async function finishedAt(container: string): Promise<string | undefined> {
  return connectRunner().end(container).then((end) => end.finishedAt, () => undefined);
}

/** A database can be dumped only while its container runs. */
async function retryDump(systemd: Systemd, file: SiteFile): Promise<void> {
  const { service, dumpUnit } = siteNames(file.domain);
  const wakes = file.static === undefined && !file.proxy && !file.passthrough && !file.redirect;
  if (wakes) await systemd.start(service);
  try {
    await systemd.start(dumpUnit);
  } finally {
    if (wakes) await systemd.stop(service);
  }
}

/** Whether a server has something else than this one's last commit. */
async function isElsewhere(file: SiteFile, commit: string, defaults: Awaited<ReturnType<typeof loadDefaults>>): Promise<boolean> {
  const heads = await headsOf(defaults, siteNames(file.domain).id);
  return heads.some((head) => head.commit !== undefined && head.commit !== commit);
}
