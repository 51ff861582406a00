import { addressesOf, ownAddresses } from '../../effects/dns.ts';
import { readIfThere } from '../../effects/files.ts';
import { firewalldZone, nftChains, nftTable, ufwStatus } from '../../effects/firewall.ts';
import { routes, wildcardListeners } from '../../effects/network.ts';
import { addressesOfFamily, connects, defaultDevice } from '../../effects/reach.ts';
import { isAddress, isPublic, networkOf } from '../../pure/addresses.ts';
import { judgeBridge, judgeCgroupDriver, judgeDocker, judgeLog, judgeNetwork, judgeRanges, judgeSilentDocker, judgeStorage, type DockerFacts } from '../../pure/doctor/docker.ts';
import { judgeAcme, judgeDns, judgeFirewall, judgeForward, judgeIpv4, judgeIpv6, judgePorts, judgeResolver, judgeRouter, judgeRules, parseFirewalld, parseInputChains, parseUfw } from '../../pure/doctor/network.ts';
import { unlessNone, warning, type Verdict } from '../../pure/doctor/verdict.ts';
import { namesSaid } from '../../pure/entry.ts';
import { reasonOf } from '../../pure/errors.ts';
import { router, shared } from '../../pure/names.ts';
import { inParallel } from '../../pure/parallel.ts';
import type { DefaultsFile } from '../../pure/schema.ts';
import { rangesOf } from '../../pure/site.ts';
import { directoryOf } from '../certify.ts';
import { machineReady } from '../machine.ts';
import { routerStatus } from '../router-status.ts';
import type { Check, Context } from './context.ts';

/** Checks of Docker, and of how visitors come here. */

/** That Docker does not answer is said once. */
const whenKnown = (judge: (facts: DockerFacts, defaults: DefaultsFile) => Verdict): Check[1] => async ({ dockerFacts, defaults }) => {
  const facts = await dockerFacts().catch(() => undefined);
  return facts ? judge(facts, await defaults()) : [];
};

export const dockerChecks: readonly Check[] = [
  ['docker', async ({ dockerFacts }) => dockerFacts().then((facts) => judgeDocker(facts), (thrown: unknown) => judgeSilentDocker(reasonOf(thrown)))],
  ['docker-cgroup', whenKnown(judgeCgroupDriver)],
  ['docker-storage', whenKnown(judgeStorage)],
  ['docker-log', whenKnown(judgeLog)],
  ['docker-network', whenKnown((facts, defaults) => judgeNetwork(facts, { subnet: networkOf(rangesOf(defaults).containers).subnet, bridge: shared.bridge }))],
  ['bridge-ports', whenKnown(judgeBridge)],
  ['address-ranges', async ({ docker, defaults }) => judgeRanges(rangesOf(await defaults()), [
    ...(await docker.otherNetworks()).map(({ name, subnet }) => ({ range: subnet, user: `Docker's network "${name}"` })),
    ...(await routes()).filter(({ device }) => device !== shared.bridge).map(({ range, device }) => ({ range, user: `a route through ${device}` })),
  ])],
];

const isRouted = (defaults: DefaultsFile) => defaults.router?.enabled !== false;

/** This server's addresses as the world knows them, and those of `backup.address`. */
async function publicAddresses(defaults: DefaultsFile): Promise<string[]> {
  const said = defaults.backup?.address;
  const others = said === undefined ? [] : isAddress(said) === 0 ? (await addressesOf(said)) ?? [] : [said];
  return [...new Set([...ownAddresses().filter((address) => isPublic(address)), ...others])];
}

async function firewall({ defaults, sites }: Context): Promise<Verdict[]> {
  const ports = [...(isRouted(await defaults()) ? [80, 443] : []), ...(await sites()).flatMap(({ listen = [], enabled }) => (enabled === false ? [] : listen.map((port) => port.public)))];
  const ufw = parseUfw((await ufwStatus()) ?? '');
  const zone = await firewalldZone((await defaultDevice(4)) ?? undefined);
  const chains = parseInputChains((await nftChains()) ?? '{"nftables":[]}').filter(({ table }) => table !== shared.table && table !== 'firewalld');
  // ufw's own are among the tables that iptables makes.
  const others = chains.filter(({ table }) => !(ufw && table === 'filter'));
  return judgeFirewall(ports, [...(ufw ? [ufw] : []), ...(zone === undefined ? [] : [parseFirewalld(zone)])],
    await Promise.all(others.map(async ({ family, table, name }) => ({ name: `${family} ${table} ${name}`, text: await nftTable(family, table) }))));
}

export const networkChecks: readonly Check[] = [
  ['rules', async ({ defaults }) => judgeRules(await machineReady(rangesOf(await defaults())))],
  ['ip-forward', async () => judgeForward(await readIfThere('/proc/sys/net/ipv4/ip_forward'))],
  ['firewall', firewall],
  ['ports', async ({ systemd, defaults }) => {
    const listening = (await systemd.list([router.socketUnit])).some(({ activeState }) => activeState === 'active');
    return judgePorts({ enabled: isRouted(await defaults()), listening, others: [...new Set([...await wildcardListeners(80), ...await wildcardListeners(443)])] });
  }],
  ['router', async ({ systemd, defaults }) => {
    const enabled = isRouted(await defaults());
    const status = enabled ? await routerStatus(systemd) : undefined;
    return judgeRouter({ enabled, runs: status?.running !== undefined, drift: status?.drift ?? [] });
  }],
  ['ipv4', async () => judgeIpv4({ addresses: addressesOfFamily(4), route: await defaultDevice(4) !== undefined })],
  ['ipv6', async () => judgeIpv6({ addresses: addressesOfFamily(6), route: await defaultDevice(6) !== undefined })],
  ['resolver', async ({ defaults }) => {
    const { hostname } = new URL(directoryOf(await defaults()));
    return judgeResolver(hostname, isAddress(hostname) === 0 ? await addressesOf(hostname) : [hostname]);
  }],
  ['acme', async ({ defaults }) => {
    const { acme } = await defaults();
    const { hostname, port } = new URL(directoryOf(await defaults()));
    const enabled = acme?.enabled !== false;
    return judgeAcme({ enabled, email: acme?.email, host: hostname, reachable: enabled && await connects(hostname, Number(port || 443), 5000) });
  }],
];

/** DNS of each name of the sites. */
export const dnsCheck: Check = ['dns', async ({ defaults, sites }) => {
  const own = await publicAddresses(await defaults());
  const names = (await sites()).filter(({ enabled }) => enabled !== false).flatMap((site) => namesSaid(site).filter((name) => !name.startsWith('*.')).map((name) => ({ domain: site.domain, name })));
  const verdicts: Verdict[] = [];
  let silent = 0;
  await inParallel(names, 16, async ({ domain, name }) => {
    const found = await addressesOf(name);
    if (found === undefined) silent += 1;
    const verdict = judgeDns(domain, name, own, found);
    if (verdict) verdicts.push(verdict);
  });
  // It is the machine that cannot ask, and "resolver" says so.
  if (names.length > 1 && silent === names.length) return warning('no name could be asked for', 'see the check "resolver"');
  verdicts.sort((a, b) => (a.found < b.found ? -1 : 1));
  return unlessNone(verdicts, `${names.length} name${names.length === 1 ? '' : 's'}${own.length === 0 ? '; where they lead cannot be told, as this server has no public address: set backup.address' : ' lead here'}`);
}];
