import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { guestTest, until, type Guest } from './_guest.ts';
import { buildImage } from './_images.ts';
import { changes, inventory, write } from './_machine.ts';
import { ask, withProcess } from './_process.ts';

/** Servers beside the guest, on a link of its own: what is "outside" here. It has a name server too, which is the guest's meanwhile. */
const [server, other] = ['192.0.2.2', '192.0.2.3'] as const;
const image = 'test/egress:1';
const domain = 'kept.example.com';
const settingsFile = (site: string) => `/etc/sitegen/sites/${site}.yaml`;

guestTest('a container reaches what it may, all else is refused at once, and a change takes hold while it runs', (t, guest) => withOutside(guest, async () => {
  const before = await inventory(guest);
  const address = await guest.site(domain, '--image', image);
  t.is((await guest.get(address)).status, 200);
  const container = await guest.sh(`docker inspect -f '{{.Id}} {{.State.StartedAt}}' site-${domain}`);
  t.deepEqual(await reached(guest, domain), ['server:8080', 'server:8081', 'other:8080', 'moves.test:8080', 'dns'], 'any');
  t.regex(await shown(guest, domain), /^any$/);

  await set(guest, domain, `[${server}:8080, "192.0.2.2/31:9000-9001/udp", moves.test:8080]`);
  t.regex((await guest.sitegen('diff', domain)).stdout, /^kept\.example\.com: egress: 192\.0\.2\.2:8080, 192\.0\.2\.2\/31:9000-9001\/udp, moves\.test:8080 instead of any\n$/);
  t.is((await guest.sitegen('apply', domain)).code, 0);
  t.is((await guest.sitegen('diff', domain)).stdout, '');
  t.deepEqual(await reached(guest, domain), ['server:8080', 'moves.test:8080', 'dns']);
  t.deepEqual(await udp(guest, domain), ['9001'], 'a port beside the range is not answered');
  const [code, seconds] = await refusal(guest, domain, `${server} 8081`);
  t.regex(code, /refused/);
  t.true(seconds < 2, `${seconds} s`);

  await until('what was blocked is in its journal', async () => (await journal(guest, domain)).includes(`${server}:8081 (`), 60_000, 1000);
  t.regex(await journal(guest, domain), /egress: blocked \d+ packets to .*192\.0\.2\.2:8081 \(\d+\)/);
  t.regex(await shown(guest, domain), /^192\.0\.2\.2:8080, .*\([1-9]\d* packets blocked\)$/);

  // It is followed while the site runs: the answer holds for a second.
  await names(guest, other);
  await until('the name\'s new address is reached', async () => (await reached(guest, domain)).includes('moves.test:8080'), 60_000, 1000);
  t.true((await guest.sh(`nft list chain inet sitegen egress_${domain}`)).includes(`ip daddr ${other} tcp dport 8080 accept`));
  await names(guest, server);

  await set(guest, domain, 'none');
  t.is((await guest.sitegen('apply', domain)).code, 0);
  t.deepEqual(await reached(guest, domain), [], 'neither servers, nor a name server');
  t.is((await guest.get(address)).status, 200, 'visitors are answered');
  t.is(await guest.sh(`docker exec site-${domain} nc -w 2 10.214.0.1 80 -e true </dev/null && echo reached`), 'reached', 'and the router is the host\'s own');
  await set(guest, domain, 'any');
  t.is((await guest.sitegen('apply', domain)).code, 0);
  t.deepEqual(await reached(guest, domain), ['server:8080', 'server:8081', 'other:8080', 'moves.test:8080', 'dns']);
  t.is(await guest.sh(`docker inspect -f '{{.Id}} {{.State.StartedAt}}' site-${domain}`), container, 'it was never started anew');

  await set(guest, domain, `[moves.test:8080]`);
  await guest.sh(`sitegen apply --quiet ${domain}; sitegen rename ${domain} renamed.example.com >/dev/null 2>&1`);
  t.is(await guest.sh('ls /var/lib/sitegen/egress'), 'renamed.example.com.nft');
  t.is((await guest.sitegen('remove', '--purge', '--backups', '--yes', 'renamed.example.com')).code, 0);
  t.deepEqual(changes(before, await inventory(guest)).filter((line) => !line.startsWith('+ neighbour')), []);
}));

guestTest('a connection that is no longer allowed ends, and a site asleep knows the address that a name has when it wakes', (t, guest) => withOutside(guest, async () => {
  const address = await guest.site(domain, '--image', image);
  await guest.get(address);
  await set(guest, domain, '[moves.test:8082]');
  await guest.sh(`sitegen apply --quiet ${domain}`);
  // It says something every second, for as long as it can.
  await guest.sh(`docker exec --detach site-${domain} sh -c 'while :; do echo more; sleep 1; done | nc ${server} 8082; touch /tmp/ended'`);
  await until('it is connected', async () => await guest.sh('cat /tmp/egress-said 2>/dev/null || true') !== '', 10_000);
  t.is((await guest.run(['docker', 'exec', `site-${domain}`, 'test', '-e', '/tmp/ended'])).code, 1);
  await set(guest, domain, '[moves.test:8080]');
  await guest.sh(`sitegen apply --quiet ${domain}`);
  await until('it has ended', async () => (await guest.run(['docker', 'exec', `site-${domain}`, 'test', '-e', '/tmp/ended'])).code === 0, 15_000);

  await guest.sitegen('stop', domain);
  await names(guest, other);
  // Without the rounds of the idle timer, which ask too.
  await guest.sh('systemctl --quiet stop sitegen-idle.timer sitegen-idle.service; systemctl --quiet mask --runtime sitegen-idle.timer');
  try {
    t.is((await guest.get(address)).status, 200);
    await until('it is asked for', async () => (await guest.sh(`nft list chain inet sitegen egress_${domain}`)).includes(other), 5000);
  } finally {
    await guest.sh('systemctl --quiet unmask --runtime sitegen-idle.timer');
  }
}));

guestTest('rules that somebody flushes come back, with those of all sites or alone, and at boot', (t, guest) => withOutside(guest, async () => {
  const address = await guest.site(domain, '--image', image);
  await guest.get(address);
  await set(guest, domain, `[${server}:8080]`);
  await guest.sh(`sitegen apply --quiet ${domain}`);
  const kept = ['server:8080'];
  t.deepEqual(await reached(guest, domain), kept);
  await guest.sh('iptables-save >/tmp/docker.rules');
  try {
    await guest.sh('nft flush ruleset');
    t.true((await reached(guest, domain)).includes('server:8081'), 'or this would show nothing');
    await until('a round has put them back', async () => (await guest.sh('nft list table inet sitegen || true')).includes('goto egress_refused'), 30_000, 500);
    t.deepEqual(await reached(guest, domain), kept);
    await guest.sh('systemctl restart nftables');
    t.deepEqual(await reached(guest, domain), kept, 'at once');
    await guest.sh('nft flush map inet sitegen egress_addresses');
    await until('its own are back', async () => JSON.stringify(await reached(guest, domain)) === JSON.stringify(kept), 30_000, 500);
    await until('it is told', async () => (await guest.sh('journalctl --sync; journalctl -u sitegen-idle -n 20 -o cat --no-pager')).includes(`${domain}: the rules of what it may reach outside were gone, and are back`), 10_000);
    // What a boot does.
    await guest.sh('nft delete table inet sitegen; systemctl restart sitegen-network');
    t.deepEqual(await reached(guest, domain), kept);
  } finally {
    await guest.sh('sitegen apply --quiet; iptables-restore </tmp/docker.rules');
  }
}));

guestTest('a program without a container is kept to its list too, of both families, and its own machine stays within reach', (t, guest) => withOutside(guest, async () => {
  await withProcess(guest, domain, `egress: ["${server}:8080", "[2001:db8:2::2]:8080", moves.test:8080]\n`, async (address) => {
    const reach = async (host: string, port: number) => ask(guest, address, `/reach?host=${host}&port=${port}`);
    t.is(await reach(server, 8080), 'connected');
    t.is(await reach('moves.test', 8080), 'connected');
    t.is(await reach(server, 8081), 'ECONNREFUSED');
    t.is(await reach(other, 8080), 'ECONNREFUSED');
    t.is(await reach('2001:db8:2::2', 8080), 'connected');
    t.is(await reach('2001:db8:2::2', 8081), 'ECONNREFUSED');
    t.is((await guest.run(['nc', '-z', '-w', '2', server, '8081'])).code, 0, 'others of the machine are not meant');
    // Of both families, and what comes after the first line is told later.
    await until('what was blocked is in its journal', async () => /:8081 \(\d+\)/.test(await journal(guest, domain)), 60_000, 1000);
    const told = `${await journal(guest, domain)}\n${await guest.sh(`nft list set inet sitegen refused4_${domain}; nft list set inet sitegen refused6_${domain}`)}`;
    for (const place of [server, other, '2001:db8:2::2']) t.true(told.includes(place), told);
    const pid = (await ask(guest, address, '/')).split(' ')[1];
    await guest.sh(`sed -i 's/^egress: .*/egress: none/' ${settingsFile(domain)}; sitegen apply --quiet ${domain}`);
    for (const host of [server, '2001:db8:2::2']) t.is(await reach(host, 8080), 'ECONNREFUSED');
    t.not(await reach('moves.test', 8080), 'connected');
    await guest.sh('for port in 53 5400; do systemd-run --quiet --collect --unit=test-outside-$port busybox httpd -f -p 127.0.0.1:$port; done');
    await until('both listen', async () => (await guest.run(['nc', '-z', '127.0.0.1', '53'])).code === 0 && (await guest.run(['nc', '-z', '127.0.0.1', '5400'])).code === 0);
    t.is(await reach('127.0.0.1', 5400), 'connected');
    t.is(await reach('127.0.0.1', 53), 'ECONNREFUSED', 'a name server here would ask those outside');
    await guest.sh(`sed -i 's/^egress: .*/egress: any/' ${settingsFile(domain)}; sitegen apply --quiet ${domain}`);
    t.is(await reach(other, 8080), 'connected');
    t.is((await ask(guest, address, '/')).split(' ')[1], pid, 'the same process all the time');
  });
  t.is(await guest.sh('ls /var/lib/sitegen/egress; nft list map inet sitegen egress_users | grep goto || true'), '');
}));

guestTest('all services of a project are kept to its list, and reach each other; the relay for mail stays within reach', (t, guest) => withOutside(guest, async () => {
  const address = await guest.site(domain, '--image', image);
  await write(guest, settingsFile(domain), `domain: ${domain}\nstop: {timeout: 2s}\negress: [${server}:8080]\nmail: {relay: "smtp://${server}:2526"}\ncompose:\n  entrypoint: web:80\n  project:\n    services:\n      web: {image: "${image}"}\n      worker: {image: "${image}"}\n`);
  t.is((await guest.sitegen('apply', domain)).code, 0);
  t.is((await guest.get(address, { timeoutS: 90 })).status, 200);
  await until('the worker runs', async () => (await guest.run(['docker', 'exec', `site-${domain}__worker`, 'true'])).code === 0, 20_000);
  for (const name of [domain, `${domain}__worker`]) t.deepEqual(await reached(guest, name), ['server:8080'], name);
  t.is(await guest.sh(`docker exec site-${domain} wget -q -T 3 -O - http://worker/; docker exec site-${domain}__worker wget -q -T 3 -O - http://web/`), 'hello\nhello');
  t.regex(await guest.sh(`docker exec site-${domain} sh -c 'sleep 1 | nc -w 3 mail.sitegen.internal 25'`), /^220 /);
  const refused = await guest.run(['sh', '-c', `sed -i 's/worker: {/worker: {network_mode: host, /; s/^compose:/&\\n  allow: [host-network]/' ${settingsFile(domain)}; sitegen apply ${domain}`]);
  t.is(refused.code, 1);
  t.regex(refused.stderr + refused.stdout, /egress: service worker cannot be kept to a list, as it has the network of this machine/);
  await guest.sh(`sed -i 's/network_mode: host, //' ${settingsFile(domain)}`);
}));

/** What `sitegen status` says of it. */
const shown = async (guest: Guest, site: string) => /^\s*egress: (.*)$/m.exec((await guest.sitegen('status', site)).stdout)?.[1] ?? '';
const journal = (guest: Guest, site: string) => guest.sh(`journalctl --sync; journalctl -u site-${site}.service SYSLOG_IDENTIFIER=sitegen-egress -o cat --no-pager`);
const names = (guest: Guest, address: string) => guest.sh(`echo '{"moves.test": "${address}"}' > /tmp/router-dns.json`);
const set = (guest: Guest, site: string, value: string) => guest.sh(`sed -i '/^egress: /d' ${settingsFile(site)}; echo 'egress: ${value}' >> ${settingsFile(site)}`);

/** Which servers outside a container reaches, in order. */
async function reached(guest: Guest, site: string): Promise<string[]> {
  const probes = [['server:8080', server, 8080], ['server:8081', server, 8081], ['other:8080', other, 8080], ['moves.test:8080', 'moves.test', 8080]] as const;
  const lines = probes.map(([label, host, port]) => `nc -w 2 ${host} ${port} -e true </dev/null 2>/dev/null && echo ${label}`);
  const output = await guest.sh(`docker exec site-${site} sh -c '${lines.join('; ')}; nslookup moves.test 2>/dev/null | grep -q 192.0.2 && echo dns; true'`);
  return output.split('\n').filter((line) => line !== '');
}

/** Which of some UDP ports answer a container. Its busybox speaks TCP alone, so that the guest's own nc does it from within its network. */
async function udp(guest: Guest, site: string): Promise<string[]> {
  const output = await guest.sh(`nsenter -n -t "$(docker inspect -f '{{.State.Pid}}' site-${site})" sh -c 'for port in 9001 9002; do [ "$(echo x | nc -u -w 1 ${server} $port 2>/dev/null)" = x ] && echo $port; done; true'`);
  return output.split('\n').filter((line) => line !== '');
}

/** What a container is told that may not reach a place, and after how many seconds. */
async function refusal(guest: Guest, site: string, place: string): Promise<[said: string, seconds: number]> {
  const output = await guest.sh(`docker exec site-${site} sh -c 'read before _ < /proc/uptime; nc ${place} 2>&1 </dev/null; read after _ < /proc/uptime; echo $before $after'`);
  const [before = 0, after = 0] = (output.split('\n').at(-1) ?? '').split(' ').map(Number);
  return [output, after - before];
}

async function withOutside(guest: Guest, body: () => Promise<void>): Promise<void> {
  await buildImage(guest, image, {
    Dockerfile: 'FROM scratch\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox", "--install", "/bin"]\nRUN ["/bin/busybox", "mkdir", "/www", "/tmp"]\nCOPY index.html /www/\nENV PATH=/bin\nCMD ["httpd", "-f", "-p", "80", "-h", "/www"]\n',
    'index.html': 'hello\n',
  });
  await write(guest, '/tmp/router-dns.mjs', (await readFile(path.resolve(import.meta.dirname, 'fixtures/router-dns.mjs'), 'utf8')).replace("'127.0.0.1'", `'${server}'`));
  await write(guest, '/tmp/egress-udp.mjs', "import dgram from 'node:dgram';\nfor (const port of [9001, 9002]) { const socket = dgram.createSocket('udp4', (text, from) => { socket.send(text, from.port, from.address); }); socket.bind(port, '192.0.2.2'); }\n");
  await names(guest, server);
  const beside = (unit: string, command: string) => `systemd-run --quiet --collect --unit=test-outside-${unit} ip netns exec outside ${command}`;
  await guest.sh('rm -f /tmp/egress-said; cp /etc/resolv.conf /tmp/resolv.conf');
  try {
    await guest.sh(`
      ip netns add outside
      ip link add outside0 type veth peer name eth0 netns outside
      ip addr add 192.0.2.1/24 dev outside0
      ip addr add 2001:db8:2::1/64 dev outside0 nodad
      ip link set outside0 up
      for address in ${server} ${other}; do ip -n outside addr add $address/24 dev eth0; done
      ip -n outside addr add 2001:db8:2::2/64 dev eth0 nodad
      ip -n outside link set eth0 up
      ip -n outside link set lo up
      ip -n outside route add default via 192.0.2.1
      ${beside('http', 'busybox httpd -f -p 8080')}
      ${beside('http1', 'busybox httpd -f -p 8081')}
      ${beside('sink', "sh -c 'busybox nc -l -p 8082 > /tmp/egress-said'")}
      ${beside('udp', 'node /tmp/egress-udp.mjs')}
      ${beside('dns', 'node /tmp/router-dns.mjs')}
      cat > /etc/resolv.conf <<<'nameserver ${server}'
      for i in $(seq 50); do nc -z -w 1 ${server} 8080 && nc -z -w 1 ${server} 8081 && break; sleep 0.1; done
      # The router knows name servers too.
      sitegen apply --quiet`);
    await body();
  } finally {
    await guest.sh(`
      cat /tmp/resolv.conf > /etc/resolv.conf
      systemctl --quiet stop 'test-outside-*'
      ip netns delete outside || true
      ip link delete outside0 || true
      sitegen apply --quiet`);
  }
}
