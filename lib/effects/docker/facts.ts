import type Dockerode from 'dockerode';
import type { DockerFacts } from '../../pure/doctor/docker.ts';
import { statusOf } from '../../pure/docker.ts';
import { shared } from '../../pure/names.ts';

/** What Docker says of itself and of the network of all sites. */
export async function dockerFacts(api: Dockerode): Promise<DockerFacts & { directory: string }> {
  const info = await api.info() as Record<string, unknown> & { Plugins?: { Log?: string[] | null } };
  const word = (key: string) => { const value = info[key]; return typeof value === 'string' ? value : ''; };
  return {
    version: word('ServerVersion'),
    storageDriver: word('Driver'),
    cgroupDriver: word('CgroupDriver'),
    // Not said before 20.10, which knew version 1 alone.
    cgroupVersion: word('CgroupVersion') || '1',
    logDrivers: info.Plugins?.Log ?? [],
    directory: word('DockerRootDir'),
    network: await networkFacts(api),
  };
}

async function networkFacts(api: Dockerode): Promise<DockerFacts['network']> {
  try {
    const network = await api.getNetwork(shared.network).inspect() as { IPAM?: { Config?: { Subnet?: string }[] }; Options?: Record<string, string> | null; Containers?: Record<string, unknown> | null };
    return {
      subnet: network.IPAM?.Config?.[0]?.Subnet ?? '',
      bridge: network.Options?.['com.docker.network.bridge.name'] ?? '',
      connected: network.Options?.['com.docker.network.bridge.enable_icc'] !== 'false',
      containers: Object.keys(network.Containers ?? {}).length,
    };
  } catch (error) {
    if (statusOf(error) === 404) return undefined;
    throw error;
  }
}
