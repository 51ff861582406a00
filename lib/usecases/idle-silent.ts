import { containerPid, openConnections } from '../effects/cgroup.ts';
import { endSilent } from '../effects/silent.ts';
import { reasonOf } from '../pure/errors.ts';
import { siteNames } from '../pure/names.ts';
import { formatMs } from '../pure/quantities.ts';
import type { KnownSite } from './idle-memory.ts';

/**
 * Gives up clients of public ports who have vanished: the container's kernel would keep their
 * connections, and these the site awake, until its program notices, which many never do.
 * @param awake sites to which connections may be open
 */
export async function giveUpSilent(awake: readonly KnownSite[], report: (line: string) => void): Promise<void> {
  for (const { domain, container, listen = [], silentMs } of awake) {
    const { appCgroup } = siteNames(domain);
    const ports = listen.map((port) => port.container);
    // No process for a site without any.
    if (silentMs === undefined || openConnections(appCgroup, ports) === 0) continue;
    const pid = containerPid(appCgroup);
    if (pid === undefined) continue;
    try {
      const ended = await endSilent(pid, container, ports, silentMs);
      if (ended > 0) report(`<5>${domain}: ${ended} connection${ended === 1 ? '' : 's'} to its ports ended: nothing came from the client for ${formatMs(silentMs)}`);
    } catch (error) {
      report(`<4>${domain}: connections to its ports could not be looked at: ${reasonOf(error)}`);
    }
  }
}
