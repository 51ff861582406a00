import { guestTest, until, type Guest } from './_guest.ts';
import { write } from './_machine.ts';
import { ensureServerImage, serverImage } from './_server.ts';

const domain = 'steps.example.com';

/** Each way to sleep, and the steps of it, in their order, as the programs name them. */
const ways: Readonly<Record<string, { steps: readonly string[]; idle: string; begin: (guest: Guest) => Promise<unknown> }>> = {
  'from awake to frozen': { steps: ['due', 'drain', 'spliced', 'released', 'unvisited', 'frozen'], idle: 'after: 1s', begin: round },
  'from awake to asleep': { steps: ['drain', 'held', 'spliced', 'released', 'stopping', 'stopped'], idle: 'after: 1h', begin: (guest) => guest.run(['systemctl', 'stop', `site-${domain}`]) },
  'from awake to asleep, as nobody comes': { steps: ['drain', 'held', 'spliced', 'released', 'stopping', 'stopped'], idle: 'after: 1s, freeze: false', begin: round },
  'from frozen to asleep': { steps: ['dumped', 'ending', 'ended'], idle: 'after: 1s, stopAfter: 1s', begin: round },
};

async function round(guest: Guest): Promise<void> {
  await guest.sh('sleep 1.2; systemctl start sitegen-idle.service');
}

const stateOf = async (guest: Guest) => (await guest.status(domain)).state;

/** A program that has a visitor come when a certain step is reached, and lets it go on once the visitor waits, or has been served. */
const program = (visitor: string, waitS = 0.4) => `#!/bin/bash
[[ $1 == "$(cat /run/test-step/at 2>/dev/null)" ]] || exit 0
mv /run/test-step/at /run/test-step/reached
cat >/run/test-step/visitor <<'E'
${visitor}
E
systemd-run --quiet --collect --no-block --unit test-visitor bash /run/test-step/visitor
sleep ${waitS}
`;

const curl = `curl -s --max-time 60 -o /dev/null -w "%{http_code} %{time_total}" "http://$(cat /run/test-step/address)/?id=1" >/run/test-step/answer`;

/** One who opens a websocket, is silent for longer than the rest of going to sleep takes, and then uses it. */
const talker = `exec 3<>/dev/tcp/$(cat /run/test-step/address)/80
printf '%s\\r\\n' 'GET /socket HTTP/1.1' 'Host: ${domain}' 'Connection: Upgrade' 'Upgrade: websocket' 'Sec-WebSocket-Version: 13' 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==' '' >&3
while read -r line <&3 && [[ $line != $'\\r' ]]; do :; done
sleep 6; printf said >&3; IFS= read -r -N 4 -t 20 answer <&3; echo "$answer" >/run/test-step/answer`;

guestTest('a visitor at each single step of going to sleep is held and served', async (t, guest) => {
  await ensureServerImage(guest);
  const drops = ['sitegen-idle.service', `site-${domain}.service`].map((unit) => `/run/systemd/system/${unit}.d/step.conf`);
  try {
    await write(guest, '/run/test-step/program', program(curl));
    for (const drop of drops) await write(guest, drop, '[Service]\nEnvironment=SITEGEN_AT_STEP=/run/test-step/program\nReadWritePaths=/run/test-step\n');
    await guest.sh('chmod +x /run/test-step/program; systemctl daemon-reload');
    for (const [way, { steps, idle, begin }] of Object.entries(ways)) {
      await write(guest, `/etc/sitegen/sites/${domain}.yaml`, `domain: ${domain}\nimage: ${serverImage}\nvolumes: ["data:/data"]\nstop: {timeout: 2s}\nidle: {${idle}}\nbackup: false\n`);
      await guest.sh('systemctl stop sitegen-idle.timer; sitegen apply --quiet');
      const { address } = await guest.status(domain);
      await guest.sh(`echo ${address} >/run/test-step/address`);
      for (const step of steps) {
        await guest.sh('rm -f /run/test-step/at /run/test-step/reached /run/test-step/answer');
        t.is((await guest.get(address, { path: '/?id=0' })).status, 200, `${way}, before ${step}`);
        await guest.sh('systemctl stop sitegen-idle.timer');
        if (way.startsWith('from frozen')) await until('it is frozen', async () => { await round(guest); return await stateOf(guest) === 'frozen'; }, 30_000);
        await guest.sh(`echo ${step} >/run/test-step/at`);
        await until(`${way}: ${step} is reached`, async () => { await begin(guest); return (await guest.run(['test', '-e', '/run/test-step/reached'])).code === 0; }, 20_000);
        await until(`${way}: the visitor at ${step} is answered`, async () => await guest.sh('cat /run/test-step/answer 2>/dev/null || true') !== '', 60_000);
        const [status, seconds] = (await guest.sh('cat /run/test-step/answer')).split(' ');
        t.is(status, '200', `${way}, at ${step}`);
        t.log(`${way}, at ${step}: served after ${Number(seconds).toFixed(2)} s`);
        t.is((await guest.get(address, { path: '/?id=2' })).status, 200, `${way}, after ${step}`);
        t.is(await stateOf(guest), 'awake');
      }
    }
  } finally {
    await guest.sh(`rm -rf /run/test-step ${drops.map((drop) => drop.replace('/step.conf', '')).join(' ')}; systemctl daemon-reload`);
    await guest.sitegen('remove', '--purge', '--yes', domain);
  }
});

guestTest('a visitor with a websocket who comes after the look that found nobody keeps the site awake, and his connection', async (t, guest) => {
  await ensureServerImage(guest);
  const drop = `/run/systemd/system/site-${domain}.service.d`;
  const since = await guest.sh('date +%s.%N');
  try {
    await write(guest, '/run/test-step/program', program(talker));
    await write(guest, `${drop}/step.conf`, '[Service]\nEnvironment=SITEGEN_AT_STEP=/run/test-step/program\n');
    await guest.sh('chmod +x /run/test-step/program; systemctl daemon-reload');
    for (const idle of ['after: 1s', 'after: 1s, freeze: false']) {
      await write(guest, `/etc/sitegen/sites/${domain}.yaml`, `domain: ${domain}\nimage: ${serverImage}\nvolumes: ["data:/data"]\nstop: {timeout: 2s}\nidle: {${idle}}\nbackup: false\n`);
      await guest.sh('systemctl stop sitegen-idle.timer; sitegen apply --quiet');
      const { address } = await guest.status(domain);
      await guest.sh(`echo ${address} >/run/test-step/address; rm -f /run/test-step/{reached,answer}; echo drain >/run/test-step/at`);
      t.is((await guest.get(address, { path: '/?id=0' })).status, 200);
      await until('it begins to fall asleep', async () => { await round(guest); return (await guest.run(['test', '-e', '/run/test-step/reached'])).code === 0; }, 20_000);
      await until('the visitor has ended', async () => await guest.sh('cat /run/test-step/answer 2>/dev/null || true') !== '', 60_000);
      t.is(await guest.sh('cat /run/test-step/answer'), 'said', idle);
    }
    const stays = () => guest.sh(`journalctl --sync; journalctl -u site-${domain} --since @${since} -o cat | grep -c 'stays awake: a visitor came in the very moment'`);
    t.is(await stays(), '2');

    t.log('who stops it by hand meanwhile has it stopped, whoever has come');
    await write(guest, '/run/test-step/program', program(`{ ${talker}\n} & sitegen stop ${domain} && echo stopped >/run/test-step/told`, 5));
    await guest.sh('chmod +x /run/test-step/program; rm -f /run/test-step/{reached,answer}; echo drain >/run/test-step/at');
    const { address } = await guest.status(domain);
    t.is((await guest.get(address, { path: '/?id=0' })).status, 200);
    await until('it begins to fall asleep', async () => { await round(guest); return (await guest.run(['test', '-e', '/run/test-step/reached'])).code === 0; }, 20_000);
    await until('it was stopped', async () => (await guest.run(['test', '-e', '/run/test-step/told'])).code === 0, 60_000);
    t.is(await stateOf(guest), 'asleep');
    t.is(await stays(), '2');
  } finally {
    await guest.sh(`rm -rf /run/test-step ${drop}; systemctl daemon-reload`);
    await guest.sitegen('remove', '--purge', '--yes', domain);
  }
});
