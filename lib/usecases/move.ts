import { ConnectionLost, runOver } from '../effects/ssh.ts';
import { withLock } from '../effects/lock.ts';
import { reasonOf, SitegenError } from '../pure/errors.ts';
import { siteNames } from '../pure/names.ts';
import { shortCommit } from '../pure/static.ts';
import { readState, updateState } from './backup-state.ts';
import { requireSigned } from './choose.ts';
import { epochOf, localEpoch } from './epoch.ts';
import { fence, readFence } from './fence.ts';
import type { Deps } from './machine.ts';
import { stopSite } from './quiet.ts';
import { siteFile } from './read-sites.ts';
import { ensureServerKey } from './server-key.ts';
import { openServers } from './servers.ts';
import { loadDefaults } from './settings.ts';

/** Where a site is to go. */
export interface Target {
  /** As ssh takes it: `root@new.example.net`; sitegen runs there. */
  host: string;
  /** This server's address as the other one sees it: visitors' own addresses are then told to it. */
  proxyFrom: string | undefined;
}

const patienceMs = 60_000;
/** How long a claim is looked for after the other server has said no: "exists already" may mean that it has the site now. */
const failedMs = 15_000;

/**
 * Moves a site to another server: its backup is brought up to date while it runs, and once more
 * while it is stopped, so that nothing written is missing; the other server adopts it; this one
 * forwards its visitors there until DNS has changed. When the other server does not take it, the
 * site goes on here as before.
 * @throws SitegenError that says how far it came
 */
export async function moveSite({ systemd, docker, report }: Deps, domain: string, { host, proxyFrom }: Target): Promise<void> {
  const names = siteNames(domain);
  const { backup } = await siteFile(domain);
  if (backup === false) throw new SitegenError(`${domain}: its settings say "backup: false", and it moves by its backup`, { hint: `take that out of ${names.settingsFile}` });
  const fenced = await readFence(names);
  if (fenced) throw new SitegenError(`${domain}: ${fenced.server} has the site already`, { hint: `visitors are forwarded to ${fenced.address}` });
  const defaults = await loadDefaults();
  const servers = await openServers(defaults);
  if (servers.length === 0) throw new SitegenError(`${domain}: there are no backup servers to move it over`, { hint: 'set backup.servers in sitegen.yaml, here and there' });
  report(`${domain}: backing it up while it runs`);
  await systemd.start(names.dumpUnit);
  await systemd.start(names.pushUnit);
  report(`${domain}: asking ${host} whether it is ready`);
  const { publicKey } = await ensureServerKey();
  await runOver(host, ['sitegen', 'adopt', '--check', '--signer', publicKey, domain], 60_000);
  // Whoever may log in there as root says by moving it that its claim counts.
  const successor = (await runOver(host, ['sitegen', 'backup', 'key'], 60_000)).trim();
  if (!/^ssh-ed25519 \S+/.test(successor)) throw new SitegenError(`${domain}: ${host} does not say with which key it signs: ${JSON.stringify(successor.slice(0, 80))}`, { hint: `try it: ssh ${host} sitegen backup key` });
  await updateState(names, (state) => ({ ...state, successor }));
  let last = '';
  // Whoever comes from here on is held, and a wake waits for the lock.
  await withLock(names.lockFile, { mark: 'sitegen move\n' }, async () => {
    const since = performance.now();
    report(`${domain}: stopping it; visitors wait`);
    await stopSite({ systemd, docker }, names, true);
    const { commit, error } = await readState(names);
    if (error !== null) throw new SitegenError(`${domain}: it is not moved: ${error}`);
    await systemd.start(names.pushUnit);
    report(`${domain}: ${host} takes it over, with commit ${shortCommit(commit ?? '')}`);
    const failure = await handOver(commit);
    // Whatever it says, two servers must not serve the site.
    if (!await untilTaken(failure === undefined ? patienceMs : failedMs)) throw failure ?? untaken();
    report(`${domain}: forwarded to ${(await readFence(names))?.address ?? host} after ${((performance.now() - since) / 1000).toFixed(1)} s; now change its DNS`);
  });

  /**
   * Has the other server adopt the site. While the connection is cut that may go on there, and what is
   * written here would be lost, so it is asked again until it says what became of it.
   * @returns why it has not
   */
  async function handOver(commit: string | null): Promise<Error | undefined> {
    for (const end = Date.now() + patienceMs; ;) {
      try {
        await runOver(host, ['sitegen', 'adopt', '--force', '--yes', ...(commit === null ? [] : ['--commit', commit]), ...(proxyFrom === undefined ? [] : ['--proxy', proxyFrom]), domain], 30 * 60_000);
        return undefined;
      } catch (error) {
        if (!(error instanceof ConnectionLost) || Date.now() > end) return error as Error;
        report(`${error.message}; asking again`);
        await new Promise((resolve) => setTimeout(resolve, 2000));
      }
    }
  }

  /** The other server's claim is in its first commit, which the backup servers have as soon as it is pushed. */
  async function untilTaken(timeoutMs: number): Promise<boolean> {
    const own = await localEpoch(names);
    for (const end = Date.now() + timeoutMs; ;) {
      for (const store of servers) {
        try {
          const commit = await store.fetch(names.repository, names.id);
          const epoch = await epochOf(names.repository, commit);
          if (epoch && epoch.epoch > (own?.epoch ?? 1)) {
            // A backup server must not say by itself where visitors go.
            await requireSigned(names, { commit, local: undefined }, defaults);
            await fence(names, epoch, commit);
            await systemd.start(names.fenceUnit);
            return true;
          }
        } catch (error) {
          last = reasonOf(error);
        }
      }
      if (Date.now() > end) return false;
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }

  function untaken(): SitegenError {
    return new SitegenError(`${domain}: ${host} has adopted it, but no backup server has its claim yet${last === '' ? '' : `: ${last}`}`, {
      hint: `it is looked for every hour; or: systemctl start ${names.pushUnit}`,
    });
  }
}
