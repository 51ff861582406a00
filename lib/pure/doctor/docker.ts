import { overlap, type Ranges } from '../addresses.ts';
import { atLeast, error, ok, unlessNone, warning, type Verdict } from './verdict.ts';

/** Judges Docker. */

/** What Docker says of itself. */
export interface DockerFacts {
  version: string;
  storageDriver: string;
  cgroupDriver: string;
  cgroupVersion: string;
  logDrivers: readonly string[];
  /** The network called like that of all sites; undefined when there is none. */
  network: { subnet: string; bridge: string; connected: boolean; containers: number } | undefined;
}

export function judgeDocker({ version }: Pick<DockerFacts, 'version'>): Verdict {
  return atLeast(version, '20.10') ? ok(version) : error(`Docker ${version} is too old`, 'Docker 20.10 or later is needed: upgrade docker.io');
}

/** @param reason why it does not answer */
export function judgeSilentDocker(reason: string): Verdict {
  return error(reason, 'systemctl start docker; journalctl -u docker -n 30', { do: 'start', unit: 'docker.service' });
}

export function judgeCgroupDriver({ cgroupDriver, cgroupVersion }: Pick<DockerFacts, 'cgroupDriver' | 'cgroupVersion'>): Verdict {
  if (cgroupDriver !== 'systemd') {
    return error(`Docker manages cgroups with "${cgroupDriver}": sites have no limits and cannot be frozen`, 'set "exec-opts": ["native.cgroupdriver=systemd"] in /etc/docker/daemon.json, then systemctl restart docker');
  }
  return cgroupVersion === '2' ? ok('systemd, with cgroup v2') : error(`Docker uses cgroup v${cgroupVersion}`, 'boot with systemd.unified_cgroup_hierarchy=1');
}

export function judgeStorage({ storageDriver }: Pick<DockerFacts, 'storageDriver'>): Verdict {
  // docs.docker.com: devicemapper, aufs and overlay are gone since 24; vfs copies every layer.
  if (storageDriver === 'vfs') return warning('vfs copies an image for each container: disk and time are wasted', 'use a file system that overlay2 can be on, and "storage-driver": "overlay2" in /etc/docker/daemon.json');
  return ['devicemapper', 'aufs', 'overlay'].includes(storageDriver) ? warning(`${storageDriver} is no longer maintained`, 'move to overlay2: docs.docker.com/engine/storage/drivers/select-storage-driver') : ok(storageDriver);
}

export function judgeLog({ logDrivers }: Pick<DockerFacts, 'logDrivers'>): Verdict {
  return logDrivers.includes('journald') ? ok('the sites\' own, journald, is there') : error('Docker has no log driver "journald": no container of a site can start', 'install a Docker that has it: docker.io of the distribution, or docker-ce');
}

export function judgeNetwork({ network }: Pick<DockerFacts, 'network'>, { subnet, bridge }: { subnet: string; bridge: string }): Verdict {
  if (!network) return error('Docker\'s network for the sites is missing', 'sitegen apply', { do: 'apply' });
  if (network.bridge !== bridge || network.connected) return error('Docker\'s network "sitegen" is not sitegen\'s', 'rename or remove it: docker network rm sitegen; then sitegen apply');
  if (network.subnet !== subnet) return error(`Docker's network "sitegen" has the range ${network.subnet}, and the settings say ${subnet}`, 'set network.containers back; or stop all sites, docker network rm sitegen, sitegen apply');
  return ok(subnet);
}

/** A bridge of Linux has 1,023 ports. */
export function judgeBridge({ network }: Pick<DockerFacts, 'network'>): Verdict {
  const count = network?.containers ?? 0;
  if (count < 800) return ok(`${count} containers`);
  return (count < 1000 ? warning : error)(`${count} containers run or stand frozen, and a bridge of Linux has 1,023 ports`, 'have sites stopped sooner: idle.stopAfter, or machine.memory, in sitegen.yaml');
}

/** @param others address ranges with who uses them */
export function judgeRanges(ranges: Ranges, others: readonly { range: string; user: string }[]): Verdict[] {
  const own = overlap(ranges.sites, ranges.containers) ? [error(`network.sites ${ranges.sites} and network.containers ${ranges.containers} overlap`, 'set them to different ranges in sitegen.yaml')] : [];
  const taken = (Object.entries(ranges) as [string, string][]).flatMap(([key, range]) => others.filter((other) => overlap(other.range, range))
    .map(({ range: other, user }) => error(`network.${key} ${range} is in use by ${user} (${other})`, `set network.${key} in sitegen.yaml to a private range that nobody uses, or give the other one another range; then sitegen apply`)));
  return unlessNone([...own, ...taken], `${ranges.sites} and ${ranges.containers} are nobody else's`);
}
