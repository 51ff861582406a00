import type Dockerode from 'dockerode';
import { SitegenError } from '../../pure/errors.ts';
import { shared } from '../../pure/names.ts';

/**
 * Makes the network of all sites when it is missing.
 * @returns true when it was
 * @throws SitegenError when it is somebody else's, has another range, or Docker puts no containers into slices
 */
export async function ensureNetwork(api: Dockerode, range: { subnet: string; gateway: string; dynamic: string }): Promise<boolean> {
  const present = await api.listNetworks({ filters: { name: [shared.network] } });
  const ours = present.find((network) => network.Name === shared.network);
  if (ours) {
    const subnet = ours.IPAM?.Config?.[0]?.Subnet;
    if (ours.Options?.['com.docker.network.bridge.name'] !== shared.bridge || ours.Options['com.docker.network.bridge.enable_icc'] !== 'false') {
      throw new SitegenError(`a Docker network called "${shared.network}" exists and is not sitegen's`, { hint: `rename or remove it: docker network rm ${shared.network}` });
    }
    if (subnet === range.subnet) return false;
    throw new SitegenError(`Docker's network "${shared.network}" has the range ${subnet ?? 'of nobody'}, not ${range.subnet}`, {
      hint: `remove all sites and "docker network rm ${shared.network}", or set network.containers back`,
    });
  }
  // Only systemd's driver puts containers into slices; seen when Docker is new to sitegen.
  const { CgroupDriver: driver } = await api.info() as { CgroupDriver?: string };
  if (driver !== 'systemd') {
    throw new SitegenError(`Docker manages cgroups with "${driver ?? '?'}", not with systemd`, {
      hint: 'set "exec-opts": ["native.cgroupdriver=systemd"] in /etc/docker/daemon.json and restart docker',
    });
  }
  await api.createNetwork({
    Name: shared.network,
    Driver: 'bridge',
    IPAM: { Driver: 'default', Config: [{ Subnet: range.subnet, Gateway: range.gateway, IPRange: range.dynamic }] },
    Options: { 'com.docker.network.bridge.name': shared.bridge, 'com.docker.network.bridge.enable_icc': 'false' },
  });
  return true;
}

/** Names and IPv4 ranges of all other networks. */
export async function otherNetworks(api: Dockerode): Promise<{ name: string; subnet: string }[]> {
  const networks = await api.listNetworks();
  return networks.filter((network) => network.Name !== shared.network)
    .flatMap((network) => (network.IPAM?.Config ?? []).map((config) => ({ name: network.Name, subnet: config.Subnet ?? '' })))
    .filter(({ subnet }) => subnet.includes('.'));
}
