import type { ExecutionContext } from 'ava';
import { type Guest, guestTest, longTest, until } from './_guest.ts';
import { write } from './_machine.ts';
import { ensureServerImage, serverImage } from './_server.ts';

/** Asks a site for a page over new connections all the time, straight and through the router, and notes what was not answered. */
const asker = `#!/bin/bash
while [[ ! -e /tmp/asker/stop ]]; do
  for way in "http://$1/?id=7" "https://$2/?id=7"; do
    said=$(curl --silent --show-error --insecure --max-time 60 --connect-to "$2:443:127.0.0.1:443" "$way" 2>&1)
    [[ $said == 'GET 7 0' ]] || echo "$(date +%T.%N) $way: $said" >>/tmp/asker/failed
    echo >>/tmp/asker/asked
  done
  sleep 0.05
done
`;

const [awake, later] = ['awake.example.com', 'later.example.com'] as const;
const isForwarded = async (guest: Guest, address: string) => (await guest.run(['nft', 'get', 'element', 'inet', 'sitegen', 'awake', `{ ${address} . 80 }`])).code === 0;

/** Has one site that is awake, and one that sleeps, while something is done. */
async function withSites(guest: Guest, body: (addresses: { awake: string; later: string }) => Promise<void>): Promise<void> {
  await ensureServerImage(guest);
  try {
    for (const domain of [awake, later]) await write(guest, `/etc/sitegen/sites/${domain}.yaml`, `domain: ${domain}\nimage: ${serverImage}\nvolumes: ["data:/data"]\nbackup: false\nstop: {timeout: 3s}\nidle: {after: 1h}\n`);
    await guest.sh('sitegen apply --quiet');
    const addresses = { awake: (await guest.status(awake)).address, later: (await guest.status(later)).address };
    await guest.get(addresses.awake, { path: '/?id=1' });
    await until('it is forwarded', () => isForwarded(guest, addresses.awake));
    await body(addresses);
  } finally {
    await guest.run(['rm', '-f', `/etc/sitegen/sites/${awake}.yaml`, `/etc/sitegen/sites/${later}.yaml`]);
    await guest.sh('sitegen apply --quiet');
    await guest.sh(`rm -rf /var/lib/sitegen/sites/${awake} /var/lib/sitegen/sites/${later}`);
  }
}

/** Has the awake site asked all the while something is done, and a few times more. @returns what was not answered */
async function whileAsked(guest: Guest, address: string, body: () => Promise<void>): Promise<string> {
  await write(guest, '/tmp/asker/run', asker);
  await guest.sh(`rm -f /tmp/asker/{stop,failed,asked}; touch /tmp/asker/{failed,asked}; systemd-run --quiet --collect --unit test-asker bash /tmp/asker/run ${address} ${awake}`);
  const asked = async () => Number(await guest.sh('wc -l </tmp/asker/asked'));
  const more = async () => {
    const before = await asked();
    await until('it is asked', async () => await asked() > before + 4, 30_000);
  };
  try {
    await more();
    await body();
    await more();
  } finally {
    await guest.sh('touch /tmp/asker/stop; while systemctl is-active --quiet test-asker; do sleep 0.1; done');
  }
  return guest.sh('cat /tmp/asker/failed');
}

const idleJournal = (guest: Guest, since: string) => guest.sh(`journalctl --sync; journalctl -u sitegen-idle -o cat --since @${since}`);

guestTest('sites answer while somebody flushes all rules, and the idle timer puts them back and says so', (t, guest) => withSites(guest, async (addresses) => {
  for (const flush of ['nft flush ruleset', 'nft delete table inet sitegen']) {
    const since = await guest.sh('date +%s.%N');
    t.is(await whileAsked(guest, addresses.awake, async () => {
      await guest.sh(flush);
      await until('the rules are back', () => isForwarded(guest, addresses.awake), 25_000, 500);
    }), '', flush);
    t.regex(await idleJournal(guest, since), /rules of the sites were gone, and are back[^]*awake\.example\.com: new connections go straight to its container again/, flush);
  }
  await restartDocker(t, guest, addresses.awake);
}));

guestTest('requests that are under way while the rules come back are answered', (t, guest) => withSites(guest, async (addresses) => {
  await guest.sh('nft flush ruleset');
  const under = [`http://${addresses.awake}/?id=8&ms=4000`, `https://${awake}/?id=9&ms=4000`].map((url) =>
    guest.sh(`curl --silent --show-error --insecure --max-time 30 --connect-to ${awake}:443:127.0.0.1:443 '${url}' 2>&1 || true`));
  await guest.sh('sleep 1; systemctl start sitegen-idle.service');
  await until('the rules are back', () => isForwarded(guest, addresses.awake), 25_000, 100);
  t.deepEqual(await Promise.all(under), ['GET 8 0', 'GET 9 0']);
  await restartDocker(t, guest, addresses.awake);
}));

guestTest('the way to a container whose service was killed with all that would have taken it out does not stay', (t, guest) => withSites(guest, async (addresses) => {
  const unit = `site-${awake}.service`;
  await write(guest, '/tmp/killed-at-step', "#!/bin/bash\n[[ $1 != spliced ]] || kill -9 $PPID\n");
  await write(guest, `/run/systemd/system/${unit}.d/test.conf`, '[Service]\nEnvironment=SITEGEN_AT_STEP=/tmp/killed-at-step\n');
  try {
    await guest.sh('chmod +x /tmp/killed-at-step; systemctl daemon-reload');
    for (const kill of [`docker kill site-${awake}`, `systemctl kill --signal=KILL --kill-whom=main ${unit}`]) {
      const since = await guest.sh('date +%s.%N');
      t.is((await guest.get(addresses.awake, { path: '/?id=2' })).body, 'GET 2 0\n');
      await until('it is forwarded', () => isForwarded(guest, addresses.awake));
      await guest.sh(`systemctl stop sitegen-idle.timer; ${kill}`);
      await until('the service has ended', async () => (await guest.run(['systemctl', 'is-failed', unit])).code === 0);
      t.true(await isForwarded(guest, addresses.awake), `what is to be shown: ${kill}`);
      await guest.sh('systemctl start sitegen-idle.timer');
      await until('it is taken out', async () => !await isForwarded(guest, addresses.awake), 25_000, 200);
      t.is((await guest.get(addresses.awake, { path: '/?id=3' })).body, 'GET 3 0\n', kill);
      t.regex(await idleJournal(guest, since), /(awake\.example\.com|10\.\d+\.\d+\.\d+): its service has ended and left its way/);
    }
  } finally {
    await guest.sh(`rm -r /run/systemd/system/${unit}.d; systemctl daemon-reload; systemctl reset-failed ${unit}`);
  }
}));

longTest('a wake that finds the rules gone has them put back at once', (t, guest) => withSites(guest, async (addresses) => {
  await guest.sh('systemctl stop sitegen-idle.timer; while systemctl is-active sitegen-idle.service | grep -q activating; do sleep 0.1; done; nft delete table inet sitegen');
  const since = await guest.sh('date +%s.%N');
  // So that what comes is by the wake's hand: its timer begins with ten seconds of its own.
  await write(guest, '/run/systemd/system/sitegen-idle.timer.d/test.conf', '[Timer]\nOnActiveSec=\nOnActiveSec=1h\nOnUnitInactiveSec=\nOnUnitInactiveSec=1h\n');
  await guest.sh('systemctl daemon-reload');
  try {
    t.is((await guest.get(addresses.later, { path: '/?id=2' })).status, 200);
    for (const address of [addresses.awake, addresses.later]) await until('it is forwarded', () => isForwarded(guest, address), 20_000);
    t.is((await guest.get(addresses.awake, { path: '/?id=2' })).status, 200);
    t.regex(await guest.sh(`journalctl --sync; journalctl -u site-${later} -o cat --since @${since}`), /the rules of the sites are gone/);
    t.regex(await idleJournal(guest, since), /rules of the sites were gone, and are back/);
  } finally {
    await guest.sh('rm -r /run/systemd/system/sitegen-idle.timer.d; systemctl daemon-reload; systemctl restart sitegen-idle.timer');
  }
}));

/** What firewalls are told, one after the other; the last one ends them. */
const firewalls: Readonly<Record<string, readonly string[]>> = {
  ufw: ['ufw --force enable', 'ufw allow 80,443/tcp', 'ufw reload', 'ufw --force disable'],
  firewalld: ['systemctl start firewalld', 'firewall-cmd --zone=public --add-service=http --add-service=https --permanent', 'firewall-cmd --reload', 'firewall-cmd --complete-reload', 'systemctl restart firewalld', 'systemctl stop firewalld'],
};

for (const [firewall, commands] of Object.entries(firewalls)) {
  (firewall === 'ufw' ? guestTest : longTest)(`sites answer while ${firewall} is started, reloaded and stopped, and wake beside it`, (t, guest) => withSites(guest, async (addresses) => {
    try {
      for (const [n, command] of commands.entries()) {
        t.is(await whileAsked(guest, addresses.awake, async () => { await guest.sh(command); }), '', command);
        t.true(await isForwarded(guest, addresses.awake), command);
        if (n === commands.length - 1) continue;
        // Past the splice, and a wake, with the firewall in force.
        t.is(await guest.sh(`ss -Htn state established src ${addresses.awake}:80`), '', command);
        t.is((await guest.get(addresses.later, { path: '/?id=3' })).body, 'GET 3 0\n', command);
        await guest.sh(`sitegen stop ${later}`);
      }
      await restartDocker(t, guest, addresses.awake);
    } finally {
      // Rules of its own that it leaves, and what was allowed.
      await guest.sh(`${commands.at(-1)}; ${firewall === 'ufw' ? 'ufw --force reset' : 'rm -f /etc/firewalld/zones/*.xml*'} >/dev/null`);
      await guest.sh('systemctl restart docker');
    }
  }));
}

/** Docker's own rules come back by that; awake sites may end, and the next hit works. */
async function restartDocker(t: ExecutionContext, guest: Guest, address: string): Promise<void> {
  await guest.sh('systemctl restart docker');
  t.is((await guest.get(address, { path: '/?id=4', timeoutS: 120 })).body, 'GET 4 0\n');
  await until('it is forwarded again', () => isForwarded(guest, address), 20_000);
  t.is((await guest.get(address, { path: '/?id=5' })).body, 'GET 5 0\n');
}
