import type { ExecutionContext } from 'ava';
import { guestTest, type Guest } from './_guest.ts';
import { buildImage } from './_images.ts';

/** Two sites that are awake, and what could disturb them. */
interface Scene {
  /** Site address and container address, with ports. */
  awake: { site: string; container: string }[];
  asleep: { domain: string; site: string };
  /** Programs that reach out from somewhere when an nc command follows them. */
  from: { neighbour: string; container: string; stranger: string };
  /** Services of the host that are nobody's business, as a container sees them. */
  host: string[];
  /** The host's address towards the neighbour, and the neighbour's own. */
  link: { host: string; neighbour: string };
}

guestTest('a site answers nobody but its host, and containers reach neither each other nor the host', (t, guest) => withScene(guest, async (scene) => {
  const { awake, asleep, from, host, link } = scene;
  const sites = [asleep.site, ...awake.map(({ site }) => site)];
  const containers = awake.map(({ container }) => container);
  const [outside, metadata] = [`${link.neighbour}:8080`, '169.254.169.254:8080'];
  const [byNeighbour, byStranger, byContainer] = await Promise.all([
    reached(guest, from.neighbour, [...sites, ...containers, `${link.host}:8080`]),
    reached(guest, from.stranger, [...sites, ...containers, outside]),
    // The other site's container, but not its own, which is no way out.
    reached(guest, from.container, [...sites, ...containers.slice(1), ...host, '10.214.0.1:80', outside, metadata]),
  ]);
  t.deepEqual(byNeighbour, [`${link.host}:8080`]);
  t.deepEqual(byStranger, [outside]);
  t.deepEqual(byContainer, ['10.214.0.1:80', outside]);
  t.deepEqual(await reached(guest, '', [metadata]), [metadata], 'the machine itself gets its credentials');
  t.is(await guest.sh(`docker exec site-one.example.com /bin/busybox find / \\( -path /proc -o -path /sys \\) -prune -o \\( -name docker.sock -o -path '*sitegen*' \\) -print 2>/dev/null || true`), '', 'neither Docker nor what belongs to other sites is within it');

  t.is(await guest.sh(`systemctl show -P InactiveExitTimestamp site-${asleep.domain}.service`), '', 'nobody has woken it');
  t.deepEqual(await reached(guest, '', [...sites, ...containers]), [...sites, ...containers].sort());
  t.is((await guest.get(asleep.site)).status, 200);
}));

guestTest('rules that somebody else flushes are mended by apply, and return by themselves with nftables.service', (t, guest) => withScene(guest, async (scene) => {
  // Docker's rules would hide that ours are missing.
  await guest.sh('iptables-save >/tmp/docker.rules');
  try {
    await guest.sh('nft flush ruleset');
    await openTo(t, guest, scene);
    t.regex((await guest.sitegen('diff')).stdout, /route and firewall rules/);
    t.is((await guest.sitegen('apply')).code, 0);
    await closedTo(t, guest, scene, 'after sitegen apply');
    t.is((await guest.sitegen('diff')).stdout, '');

    for (const verb of ['start', 'reload', 'restart', 'stop']) {
      await guest.sh(`systemctl ${verb} nftables`);
      t.is(await guest.sh('iptables-save'), '', `${verb} has flushed Docker's rules`);
      await closedTo(t, guest, scene, `after systemctl ${verb} nftables`);
    }
    await guest.sh('ip route delete local 10.213.0.0/16 dev lo');
    t.is((await guest.get(scene.awake[0]?.site ?? '', { timeoutS: 2 })).status, 0);
    t.is((await guest.sitegen('apply')).code, 0);
    t.is((await guest.get(scene.awake[0]?.site ?? '')).status, 200);
  } finally {
    await guest.sh('sitegen apply; iptables-restore </tmp/docker.rules');
  }
}));

guestTest('where its root is read-only a container writes into its data and what is lost with it, and nowhere else', async (t, guest) => {
  await buildImage(guest, 'test/plain:1', { Dockerfile: 'FROM scratch\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox", "--install", "/bin"]\nRUN ["/bin/busybox", "sh", "-c", "mkdir -p /usr /etc /www; echo here >/www/index.html"]\nSTOPSIGNAL SIGKILL\nCMD ["/bin/httpd", "-f", "-p", "80", "-h", "/www"]\n' });
  const address = await guest.site('plain.example.com', '--image', 'test/plain:1', '--volume', 'data:/data');
  const writes = async () => {
    t.is((await guest.get(address)).body, 'here\n');
    return guest.sh(`for path in / /usr /etc /run /tmp /var/tmp /data; do docker exec site-plain.example.com /bin/sh -c "mkdir -p $path && echo x >$path/written" 2>/dev/null && echo $path; done; true`);
  };
  t.is(await writes(), '/\n/usr\n/etc\n/run\n/tmp\n/var/tmp\n/data');
  await guest.sh("echo 'readOnly: true' >>/etc/sitegen/sites/plain.example.com.yaml; sitegen apply --quiet");
  t.is(await writes(), '/run\n/tmp\n/var/tmp\n/data');
  await guest.sh('sitegen stop plain.example.com');
  t.is((await guest.get(address)).body, 'here\n');
  t.is(await guest.sh('docker exec site-plain.example.com /bin/sh -c "ls /run/written /tmp/written /data/written 2>/dev/null" || true'), '/data/written');
});

guestTest('a container has few capabilities and cannot gain others', async (t, guest) => {
  const address = await guest.site('plain.example.com');
  await guest.get(address);
  const text = await guest.sh('docker exec site-plain.example.com /bin/busybox cat /proc/1/status');
  const field = (name: string) => new RegExp(`^${name}:\\s*(\\S+)$`, 'm').exec(text)?.[1];
  // CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID NET_BIND_SERVICE, by their bits.
  const few = [0, 1, 3, 4, 5, 6, 7, 10].reduce((mask, bit) => mask | (1 << bit), 0).toString(16).padStart(16, '0');
  t.is(field('CapBnd'), few);
  t.is(field('CapPrm'), few);
  t.is(field('CapAmb'), '0'.repeat(16));
  t.is(field('NoNewPrivs'), '1');
  t.is(field('Seccomp'), '2');
  const spaces = async (where: string) => guest.sh(`readlink ${['ipc', 'mnt', 'net', 'pid', 'uts', 'cgroup'].map((name) => `/proc/${where}/ns/${name}`).join(' ')}`);
  const pid = await guest.sh("docker inspect -f '{{.State.Pid}}' site-plain.example.com");
  const host = (await spaces('1')).split('\n');
  t.deepEqual((await spaces(pid)).split('\n').filter((space) => host.includes(space)), []);
});

/** All that a scene protects can be reached: without this, a probe that never works would pass. */
async function openTo(t: ExecutionContext, guest: Guest, scene: Scene): Promise<void> {
  for (const { targets, found } of await tryAll(guest, scene)) t.deepEqual(found, targets);
}

async function closedTo(t: ExecutionContext, guest: Guest, scene: Scene, when: string): Promise<void> {
  for (const { found } of await tryAll(guest, scene)) t.deepEqual(found, [], when);
}

function tryAll(guest: Guest, { awake, from, host }: Scene): Promise<{ targets: string[]; found: string[] }[]> {
  const sites = awake.map(({ site }) => site);
  const containers = awake.map(({ container }) => container);
  const ways = [
    { way: from.neighbour, targets: [...sites, ...containers] },
    { way: from.stranger, targets: [...sites, ...containers] },
    { way: from.container, targets: [...sites, ...containers.slice(1), ...host] },
  ];
  return Promise.all(ways.map(async ({ way, targets }) => ({ targets: targets.sort(), found: await reached(guest, way, targets) })));
}

/** Which of some address:port accept a connection that comes from somewhere; sorted. */
async function reached(guest: Guest, from: string, targets: readonly string[]): Promise<string[]> {
  // Of the container's nc and the host's only one needs a program to end by itself.
  const [nc, end] = from.includes('busybox') ? ['/bin/busybox nc -w 1', '-e /bin/busybox true'] : ['nc -z -w 1', ''];
  const probes = targets.map((target) => `( ${nc} ${target.replace(':', ' ')} ${end} </dev/null >/dev/null 2>&1 && echo ${target} ) &`);
  const script = `${probes.join('\n')}\nwait`;
  const output = await guest.sh(`${from === '' ? 'sh' : from} -c '${script}'`);
  return output.split('\n').filter((line) => line !== '').sort();
}

async function withScene(guest: Guest, body: (scene: Scene) => Promise<void>): Promise<void> {
  const domains = ['one.example.com', 'two.example.com', 'asleep.example.com'] as const;
  for (const domain of domains) await guest.site(domain);
  const [one, two, asleep] = await Promise.all(domains.map((domain) => guest.status(domain)));
  if (!one || !two || !asleep) throw new Error('the sites are missing');
  const awake = [one, two].map((site) => ({ site: `${site.address}:80`, container: `${site.containerAddress}:80` }));
  const link = { host: '192.0.2.1', neighbour: '192.0.2.2' };
  try {
    for (const { address } of [one, two]) await guest.get(address);
    // A neighbour may use the host as its gateway, or ask for an address on the link itself.
    await guest.sh(`
      ip netns add neighbour
      ip link add neighbour0 type veth peer name eth0 netns neighbour
      ip addr add ${link.host}/24 dev neighbour0
      ip link set neighbour0 up
      ip -n neighbour addr add ${link.neighbour}/24 dev eth0
      ip -n neighbour link set eth0 up
      ip -n neighbour route add default via ${link.host}
      # As a cloud's metadata service has it.
      ip -n neighbour addr add 169.254.169.254/32 dev eth0
      ip route add 169.254.169.254/32 dev neighbour0
      ip -n neighbour route add ${two.address} dev eth0
      systemd-run --quiet --collect --unit=test-8080 busybox httpd -f -p 8080
      systemd-run --quiet --collect --unit=test-80 busybox httpd -f -p 10.214.0.1:80
      systemd-run --quiet --collect --unit=test-neighbour ip netns exec neighbour busybox httpd -f -p 8080
      image=$(docker inspect -f '{{.Config.Image}}' site-${one.domain})
      docker run --detach --rm --name stranger "$image" >/dev/null`);
    await body({
      awake,
      asleep: { domain: asleep.domain, site: `${asleep.address}:80` },
      from: {
        neighbour: 'ip netns exec neighbour sh',
        container: `docker exec site-${one.domain} /bin/busybox sh`,
        stranger: 'docker exec stranger /bin/busybox sh',
      },
      host: ['10.214.0.1:22', '10.214.0.1:8080', `${link.host}:22`, `${link.host}:8080`, `${two.address}:22`, `${two.address}:8080`],
      link,
    });
  } finally {
    await guest.sh(`
      docker rm --force stranger || true
      systemctl --quiet stop 'test-*'
      ip netns delete neighbour || true
      ip link delete neighbour0 || true`);
  }
}
