import { guestTest, longTest, until, type Guest } from './_guest.ts';
import { buildImage } from './_images.ts';
import { write } from './_machine.ts';
import { ensureRouter, outside, withVisitor } from './_router.ts';
import { ensureServerImage, put, serverImage } from './_server.ts';

const domain = 'left.example.com';
const image = 'test/listen-app:1';

/** Has a site that is frozen soon and gives silent clients up soon, while something is done. */
async function withSite(guest: Guest, used: string, settings: string, body: (address: string) => Promise<void>): Promise<void> {
  try {
    await write(guest, `/etc/sitegen/sites/${domain}.yaml`, `domain: ${domain}\nimage: ${used}\nvolumes: ["data:/data"]\nbackup: false\nstop: {timeout: 3s}\n${settings}`);
    await guest.sh(`sitegen apply --quiet ${domain}`);
    await body((await guest.status(domain)).address);
  } finally {
    await guest.sitegen('remove', '--purge', '--yes', domain);
  }
}

/**
 * Has a command of the visitor's go on until its end, with what it prints in /tmp/visitor.out; when it
 * has been answered, its link is cut: nothing that either side sends arrives any more, not even an end.
 */
async function cut(guest: Guest, command: string, answer: string): Promise<void> {
  await guest.sh(`rm -f /tmp/visitor.out; systemd-run --quiet --collect --unit=test-visitor --property=StandardOutput=file:/tmp/visitor.out ip netns exec visitor ${command}`);
  await until('the visitor is answered', async () => (await guest.sh('cat /tmp/visitor.out')).includes(answer), 20_000);
  await guest.sh('ip -n visitor link set eth0 down; systemctl kill --signal=KILL test-visitor');
  await until('the visitor is gone', async () => (await guest.run(['systemctl', 'is-active', '--quiet', 'test-visitor'])).code !== 0);
}

const stateOf = async (guest: Guest) => (await guest.status(domain)).state;
const freezes = (guest: Guest) => until('it is frozen', async () => await stateOf(guest) === 'frozen', 60_000, 500);

/** How many seconds ago something was entered in the guest's journal since a time, counted from that time. */
const secondsUntil = async (guest: Guest, since: string, match: string) => Number(await guest.sh(`journalctl --sync; journalctl --since @${since} ${match} -n 1 -o short-unix | awk -v since=${since} 'NF { print $1 - since }'`));

guestTest('a websocket through the router whose visitor has vanished keeps its site awake for timeouts.tunnel and no longer', (t, guest) => withVisitor(guest, async () => {
  await ensureRouter(guest);
  await ensureServerImage(guest);
  await withSite(guest, serverImage, 'idle: {after: 1s}\ntimeouts: {tunnel: 20s}\n', async (address) => {
    t.is((await guest.get(address)).status, 200);
    const request = `GET / HTTP/1.1\\r\\nHost: ${domain}\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\nSec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\\r\\n\\r\\n`;
    await cut(guest, `bash -c '(printf "${request}"; sleep 1; echo anybody there; sleep 600) | openssl s_client -quiet -connect ${outside.machine}:443 -servername ${domain} 2>/dev/null'`, 'anybody there');
    const since = await guest.sh('date +%s.%N');
    t.is(await stateOf(guest), 'awake');
    t.not(await guest.sh(`ss -Htn state established dst ${address}`), '', 'the router has not heard of it');
    await freezes(guest);
    const seconds = await secondsUntil(guest, since, 'SITEGEN_TO=frozen');
    t.true(seconds > 15, `the connection counted as long as it was kept: ${seconds} s`);
    t.is(await guest.sh(`ss -Htn state established '( sport = :443 )' src ${outside.machine}`), '');
    t.is((await guest.get(address)).status, 200);
  });
}));

for (const [way, wakes] of [['the splice', false], ['the kernel', true]] as const) {
  (wakes ? guestTest : longTest)(`a client of a public port who has vanished is given up, when he came by way of ${way}, and one who lives is not`, (t, guest) => withVisitor(guest, async () => {
    await ensureServerImage(guest);
    await put(guest, 'listen-app.mjs', '/tmp/listen-app.mjs');
    await buildImage(guest, image, { Dockerfile: `FROM ${serverImage}\nCOPY app.mjs /server.mjs\n`, 'app.mjs': await guest.sh('cat /tmp/listen-app.mjs') });
    await withSite(guest, image, 'idle: {after: 1s}\ntimeouts: {tunnel: 20s}\nlisten: ["2600:2626"]\n', async (address) => {
      if (wakes) {
        t.is((await guest.get(address)).status, 200);
        await until('its port is led to the container', async () => (await guest.sh('nft list map inet sitegen public')).includes('2600 : '));
      }
      await cut(guest, `bash -c '(echo anybody there; sleep 600) | nc ${outside.machine} 2600'`, 'anybody there');
      t.regex(await guest.sh('cat /tmp/visitor.out'), wakes ? /^192\.0\.2\.2\n/ : /^10\.214\.0\.1\n/);
      const since = await guest.sh('date +%s.%N');
      // Says something now and then, to the same port.
      await guest.sh("systemd-run --quiet --collect --unit=test-living --property=StandardOutput=file:/tmp/living.out bash -c '(while :; do echo alive; sleep 2; done) | nc 127.0.0.1 2600'");
      try {
        await until('the silent client is given up', async () => (await guest.sh(`journalctl --sync; journalctl -u sitegen-idle --since @${since} -o cat`)).includes(`${domain}: 1 connection to its ports ended`), 60_000, 1000);
        const seconds = await secondsUntil(guest, since, `-u sitegen-idle --grep 'ports ended'`);
        t.true(seconds > 15, `not before its time: ${seconds} s`);
        t.is(await stateOf(guest), 'awake', 'the other one is there');
        const said = Number(await guest.sh('wc -l </tmp/living.out'));
        await until('the other one is answered', async () => Number(await guest.sh('wc -l </tmp/living.out')) > said + 1);
      } finally {
        await guest.sh('systemctl stop test-living');
      }
      await freezes(guest);
      t.is((await guest.get(address)).status, 200);
    });
  }));
}
