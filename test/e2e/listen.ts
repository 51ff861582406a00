import { guestTest, longTest, newestTest, until, type Guest } from './_guest.ts';
import { buildImage } from './_images.ts';
import { write } from './_machine.ts';
import { outside, withVisitor } from './_router.ts';
import { ensureServerImage, put, serverImage } from './_server.ts';

const image = 'test/listen-app:1';
const gateway = '10.214.0.1';

/** Writes settings of a site with a page and a service at port 2626, without applying them. */
async function writeSite(guest: Guest, domain: string, settings: string): Promise<void> {
  await ensureServerImage(guest);
  await put(guest, 'listen-app.mjs', '/tmp/listen-app.mjs');
  await buildImage(guest, image, { Dockerfile: `FROM ${serverImage}\nCOPY app.mjs /server.mjs\n`, 'app.mjs': await guest.sh('cat /tmp/listen-app.mjs') });
  await write(guest, `/etc/sitegen/sites/${domain}.yaml`, `domain: ${domain}\nimage: ${image}\nbackup: false\nstop: {timeout: 4s}\n${settings}`);
}

/** Has sites while something is done; those without settings are only taken away at the end. */
async function withSites(guest: Guest, sites: Readonly<Record<string, string | undefined>>, body: () => Promise<void>): Promise<void> {
  try {
    for (const [domain, settings] of Object.entries(sites)) if (settings !== undefined) await writeSite(guest, domain, settings);
    await guest.sh('sitegen apply --quiet');
    await body();
  } finally {
    const domains = Object.keys(sites);
    await guest.run(['sh', '-c', `cd /etc/sitegen/sites && rm -f ${domains.map((domain) => `${domain}.yaml`).join(' ')}; sitegen apply --quiet; cd /var/lib/sitegen/sites && rm -rf ${domains.join(' ')}`]);
  }
}

/** What the service tells somebody who connects and says a line: where he comes from, and his line; nothing when nobody answers. */
async function ask(guest: Guest, port: number, to: string = outside.machine, from = 'ip netns exec visitor'): Promise<string> {
  // Its end is not told early: a splice takes that for the end of both directions.
  return guest.sh(`(echo hello; sleep 1.5) | timeout 30 ${from} nc -w 10 ${to} ${port} | tr '\\n' ' ' || true`);
}

/** Has a connection of the visitor's open while something is done. @returns what came over it */
async function withOpen(guest: Guest, port: number, body: () => Promise<void>): Promise<string> {
  await guest.sh(`rm -f /tmp/open.out; systemd-run --quiet --collect --unit=test-open --property=StandardOutput=file:/tmp/open.out ip netns exec visitor sh -c '(sleep 600) | nc ${outside.machine} ${port}'`);
  try {
    await until('it is open', async () => await guest.sh('cat /tmp/open.out') !== '');
    await body();
    return await guest.sh('cat /tmp/open.out');
  } finally {
    await guest.run(['systemctl', '--quiet', 'stop', 'test-open']);
  }
}

const entries = (guest: Guest) => guest.sh("nft list map inet sitegen public | tr -d '\\n\\t' | sed -n 's/.*elements = { \\(.*\\) }}}$/\\1/p'");
const forwarded = (guest: Guest, port: number) => until(`the kernel leads visitors of port ${port} on`, async () => (await entries(guest)).includes(`${port} : `), 10_000);
const round = (guest: Guest) => guest.sh('systemctl start sitegen-idle.service');
const stateOf = async (guest: Guest, domain: string) => (await guest.status(domain)).state;

guestTest('a public port wakes its site, shows visitors\' addresses from the second connection on, and is held again when it sleeps', (t, guest) => withVisitor(guest, async () => {
  const domain = 'mail.example.com';
  await withSites(guest, { [domain]: 'listen: ["2600:2626", 2626]\n' }, async () => {
    t.is(await ask(guest, 2600), `${gateway} hello`, 'the first goes through the splice');
    await forwarded(guest, 2600);
    t.is(await ask(guest, 2600), `${outside.visitor} hello`);
    t.is(await ask(guest, 2626), `${outside.visitor} hello`);
    t.is(await ask(guest, 2600, outside.machine6), `${gateway} hello`, 'IPv6 goes through the splice');
    t.is(await ask(guest, 2600, '127.0.0.1', ''), `${gateway} hello`);
    t.is(await ask(guest, 2600, outside.machine, ''), `${gateway} hello`);
    const { address, containerAddress, units } = await guest.status(domain);
    t.is(units[`sitegen-listen@${domain}:2600.socket`], 'active');
    t.is((await guest.get(address)).body, 'page\n');
    await guest.sh(`ip -n visitor route add 10.214.0.0/16 via ${outside.machine}`);
    t.is(await ask(guest, 2626, containerAddress ?? ''), '', 'the container itself is reached by nobody');
    t.is(await ask(guest, 2600, outside.machine, `nsenter --net=/proc/$(docker inspect -f '{{.State.Pid}}' site-${domain})/ns/net`), '', 'nor by containers of sites');
    t.is(await guest.sh(`docker run --detach --rm --name stranger ${serverImage} >/dev/null; docker inspect -f '{{.State.Pid}}' stranger >/tmp/stranger`), '');
    t.regex(await ask(guest, 2600, outside.machine, 'nsenter --net=/proc/$(cat /tmp/stranger)/ns/net'), /hello/, 'other networks of Docker have it as everybody');
    await guest.sh('docker rm --force stranger');

    await guest.sh(`sitegen stop ${domain}`);
    t.is(await entries(guest), '');
    t.is(await stateOf(guest, domain), 'asleep');
    await guest.sh(`nft add element inet sitegen public '{ 2600 : ${containerAddress ?? ''} . 2626 }'`);
    await round(guest);
    t.is(await entries(guest), '', 'what somebody has left there who was killed');
    t.is(await ask(guest, 2626), `${gateway} hello`, 'woken again, by the other port');
    await forwarded(guest, 2600);
    t.is(await ask(guest, 2600), `${outside.visitor} hello`);

    await guest.sh(`systemctl stop 'sitegen-listen@${domain}:2600.socket'`);
    t.is(await ask(guest, 2600), '', 'a port that is closed by hand is closed, had the site been awake');
    t.is(await ask(guest, 2626), `${gateway} hello`, 'and the others are not');
    await forwarded(guest, 2626);
    await round(guest);
    t.is(await ask(guest, 2600), '');
    t.is((await guest.sitegen('apply')).code, 0);
    t.is(await ask(guest, 2600), `${gateway} hello`);
    t.is((await guest.sitegen('diff')).stdout, '');
  });
}));

longTest('connections to public ports count as use, and a stop ends those that are at rest', (t, guest) => withVisitor(guest, async () => {
  const domain = 'mail.example.com';
  await withSites(guest, { [domain]: 'listen: ["2600:2626"]\nidle: {after: 3s}\n' }, async () => {
    await ask(guest, 2600);
    await forwarded(guest, 2600);
    t.regex(await withOpen(guest, 2600, async () => {
      for (let n = 0; n < 4; n++) {
        await guest.sh('sleep 2');
        await round(guest);
      }
      t.is(await stateOf(guest, domain), 'awake', 'a connection without a byte keeps it awake');
    }), new RegExp(`^${outside.visitor}`));
    await until('it is frozen', async () => await stateOf(guest, domain) === 'frozen', 60_000, 500);
    t.is(await entries(guest), '');
    t.is(await ask(guest, 2600), `${gateway} hello`);
    await forwarded(guest, 2600);

    // From here on a slow machine must not let it fall asleep in between.
    await guest.sh(`sed -i 's/after: 3s/after: 10min/' /etc/sitegen/sites/${domain}.yaml`);
    await withOpen(guest, 2600, async () => {
      await guest.sh(`sitegen stop ${domain}`);
      t.is(await stateOf(guest, domain), 'asleep');
      await until('the visitor has heard of it', async () => (await guest.run(['bash', '-c', 'ip netns exec visitor ss -Htn state established dst 192.0.2.1 | grep -q .'])).code !== 0, 10_000);
    });
    t.is(await ask(guest, 2600), `${gateway} hello`);
    await forwarded(guest, 2600);
    await guest.sh('nft delete table inet sitegen');
    t.is(await ask(guest, 2600), `${gateway} hello`, 'without the rules it goes through the splice');
    await round(guest);
    t.is(await ask(guest, 2600), `${outside.visitor} hello`, 'and the next look puts them back');
  });
}));

newestTest('a site that cannot wake hangs up at its public ports, and they stay held', (t, guest) => withVisitor(guest, async () => {
  const domain = 'mail.example.com';
  await withSites(guest, { [domain]: 'listen: ["2600:2999"]\nready: {timeout: 3s}\n' }, async () => {
    t.is(await ask(guest, 2600), '');
    t.is(await guest.sh(`systemctl is-active 'sitegen-listen@${domain}:2600.socket' site-${domain}.socket`), 'active\nactive');
    t.regex(await guest.sh(`journalctl -u site-${domain} -n 20`), /its port 2999 accepts no connection/);
    await guest.sh(`sed -i 's/2999/2626/' /etc/sitegen/sites/${domain}.yaml; sitegen apply --quiet`);
    t.is(await ask(guest, 2600), `${gateway} hello`);
  });
}));

newestTest('a port belongs to one site alone, moves with its settings, and leaves nothing behind', (t, guest) => withVisitor(guest, async () => {
  const [one, two] = ['one.example.com', 'two.example.com'];
  await withSites(guest, { [one]: 'listen: ["2600:2626"]\n', [two]: undefined }, async () => {
    await writeSite(guest, two, 'listen: ["2600:2626", "2601:2626"]\n');
    const refused = await guest.sitegen('apply');
    t.is(refused.code, 1);
    t.regex(refused.stderr, /two\.example\.com: listen: port 2600 belongs to the site one\.example\.com/);
    t.regex((await guest.sitegen('validate')).stderr, /port 2600 belongs/);
    t.regex((await guest.sitegen('add', 'three.example.com', '--image', image, '--listen', '2600:2626')).stderr, /port 2600 belongs to the site one/);
    t.is((await guest.run(['systemctl', 'cat', `site-${two}.socket`])).code, 1);

    await guest.sh('systemd-run --quiet --collect --unit=test-2601 busybox httpd -f -p 127.0.0.1:2601');
    await guest.sh(`sed -i 's/"2600:2626", //' /etc/sitegen/sites/${two}.yaml`);
    await until('the port is taken', async () => (await guest.sh('ss -Hltn sport = :2601')) !== '');
    t.regex((await guest.sitegen('apply')).stderr, /two\.example\.com: listen: port 2601 is in use by busybox/);
    await guest.sh('systemctl stop test-2601');

    // From an awake one to the other, at once.
    await ask(guest, 2600);
    await forwarded(guest, 2600);
    await guest.sh(`sed -i 's/2600/2602/' /etc/sitegen/sites/${one}.yaml; sed -i 's/2601/2600/' /etc/sitegen/sites/${two}.yaml`);
    const moved = await guest.sitegen('apply');
    t.is(moved.code, 0, moved.stderr);
    t.is(await entries(guest), '');
    await ask(guest, 2600);
    await forwarded(guest, 2600);
    t.is(await stateOf(guest, two), 'awake');
    t.is(await stateOf(guest, one), 'asleep');
    t.is(await ask(guest, 2600), `${outside.visitor} hello`);

    await guest.sh(`sitegen remove --purge --yes ${two}`);
    t.is(await entries(guest), '');
    t.is(await guest.sh(`ls /etc/systemd/system | grep -c 'two.example' || true; systemctl list-units --all --no-legend '*two.example*'; ss -Hltn sport = :2600`), '0');
    await guest.sh(`sed -i '/listen/d' /etc/sitegen/sites/${one}.yaml; sitegen apply --quiet`);
    t.is(await guest.sh(`ls /etc/systemd/system | grep -c 'sitegen-listen' || true; ss -Hltn sport = :2602`), '0');
    t.is((await guest.sitegen('diff')).stdout, '');
  });
}));
