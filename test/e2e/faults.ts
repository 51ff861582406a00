import { guestTest, longTest, until, type Guest } from './_guest.ts';
import { ensureServerImage, serverImage } from './_server.ts';

const domain = 'fault.example.com';

/** PID of the main process of the site's service. */
const mainPid = async (guest: Guest) => guest.sh(`systemctl show -P MainPID site-${domain}`);

const faults: [title: string, script: string | ((guest: Guest) => Promise<unknown>)][] = [
  ['docker rm -f', `docker rm -f site-${domain}`],
  ['docker kill', `docker kill site-${domain}`],
  ['docker stop', `docker stop site-${domain}`],
  ['kill -9 of proxyd', async (guest) => guest.sh(`kill -9 ${await mainPid(guest)}`)],
  ['kill -9 of dockerd', 'kill -9 "$(systemctl show -P MainPID docker)"'],
  ['systemctl restart docker', 'systemctl restart docker'],
  ['docker system prune', 'docker system prune --all --force'],
  ['the image is removed with the container', `docker rm -f site-${domain}; docker image rm -f $(docker image ls -q sitegen/welcome)`],
];

for (const [title, fault] of faults) {
  for (const state of ['awake', 'asleep']) {
    if (state === 'asleep' && title.includes('proxyd')) continue;
    const test = state === 'asleep' && !/dockerd|image/.test(title) ? longTest : guestTest;
    test(`the next hit works after: ${title} (${state})`, async (t, guest) => {
      const address = await guest.site(domain);
      if (state === 'awake') t.is((await guest.get(address)).status, 200);
      if (typeof fault === 'string') await guest.sh(`{ ${fault}; } >/dev/null 2>&1 || true`);
      else await fault(guest);
      const hit = await guest.get(address);
      t.is(hit.status, 200);
      t.log(`answered after ${hit.seconds} s`);
      // A container may outlive dockerd, until the new one finds it.
      if (title.includes('dockerd')) await guest.sh('until systemctl is-active --quiet docker; do sleep 0.1; done; sleep 2');
      t.is((await guest.get(address)).status, 200);
      await until('awake', async () => (await guest.status(domain)).state === 'awake');
    });
  }
}

guestTest('the visitor who waits is served though the shim is killed with -9', async (t, guest) => {
  const address = await guest.site(domain);
  const visit = guest.get(address);
  await guest.sh(`for i in $(seq 500); do [ "$(systemctl show -P ActiveState site-${domain})" = activating ] && break; sleep 0.005; done
    kill -9 "$(systemctl show -P MainPID site-${domain})"`);
  t.is((await visit).status, 200);
  const journal = await guest.sh(`journalctl --unit site-${domain} --output cat --no-pager --lines 30`);
  t.regex(journal, /status=9\/KILL/);
});

guestTest('after a reboot the sockets listen and the next hit works', async (t, guest) => {
  const address = await guest.site(domain);
  t.is((await guest.get(address)).status, 200);
  await guest.reboot();
  t.is((await guest.status(domain)).state, 'asleep');
  t.is((await guest.get(address)).status, 200);
});

guestTest('a shutdown waits for requests in flight', async (t, guest) => {
  await ensureServerImage(guest);
  // It ends at once when it is told to, so only being left alone lets it finish.
  const address = await guest.site(domain, '--image', serverImage, '--volume', 'data:/data', '--env', 'GRACEFUL=0');
  t.is((await guest.get(address, { path: '/?id=1' })).status, 200);
  await guest.sh(`setsid curl --silent --request POST 'http://${address}/?id=42&ms=3000' >/dev/null 2>&1 & sleep 0.3`);
  await guest.reboot();
  t.is(await guest.sh(`cat /var/lib/sitegen/sites/${domain}/data/data/applied`), '42');
});

for (const ms of [0, 10, 30, 100]) {
  (ms === 0 || ms === 100 ? guestTest : longTest)(`a container that ends ${ms} ms after it has become ready does not leave the site awake`, async (t, guest) => {
    await ensureServerImage(guest);
    const address = await guest.site(domain, '--image', serverImage, '--volume', 'data:/data', '--env', `EXIT_AFTER_MS=${ms}`);
    await guest.get(address, { timeoutS: 3 });
    await until('not active', async () => (await guest.run(['systemctl', 'is-active', '--quiet', `site-${domain}`])).code !== 0, 10_000);
    await guest.sh(`sed -i '/EXIT_AFTER/d' /etc/sitegen/sites/${domain}.yaml; sitegen apply --quiet`);
    t.is((await guest.get(address, { path: '/?id=1' })).status, 200);
  });
}

guestTest('a stranger\'s container of the same name is neither started nor removed', async (t, guest) => {
  const address = await guest.site(domain);
  await guest.sh(`sed -i '1i ready: {timeout: 2s}' /etc/sitegen/sites/${domain}.yaml; sitegen apply --quiet
    docker rm -f site-${domain} >/dev/null; docker create --name site-${domain} $(docker image ls -q sitegen/welcome | head -1) >/dev/null`);
  t.is((await guest.get(address)).status, 503);
  t.is(await guest.sh(`docker inspect --format '{{.State.Status}}' site-${domain}`), 'created');
  const removed = await guest.sitegen('remove', domain);
  t.is(removed.code, 1);
  t.regex(removed.stderr, /not sitegen's/);
  await guest.sh(`docker rm -f site-${domain}`);
});

guestTest('a full disk: sites still wake and serve, and what cannot be written says so', async (t, guest) => {
  const address = await guest.site(domain);
  // What sitegen writes to is put on a small disk of its own, which is then filled.
  await guest.sh(`mkdir -p /run/full/etc /run/full/lib && mount -t tmpfs -o size=1M none /run/full
    mkdir /run/full/sites && cp /etc/sitegen/sites/* /run/full/sites/ && mount --bind /run/full/sites /etc/sitegen/sites
    head -c 2M /dev/zero > /run/full/ballast || true`);
  try {
    t.is((await guest.get(address)).status, 200);
    const { code, stderr } = await guest.sitegen('add', 'full.example.com');
    t.is(code, 1);
    t.regex(stderr, /sitegen: error: cannot write \/etc\/sitegen\/sites\/full\.example\.com\.yaml: the disk is full/);
    t.regex(stderr, /sitegen: hint: make room/);
    t.is((await guest.run(['sh', '-c', 'ls -A /etc/sitegen/sites | grep -v fault; ls /etc/systemd/system | grep full; docker ps -a | grep full'])).stdout, '');
    t.is((await guest.sitegen('stop', domain)).code, 0);
    t.is((await guest.get(address)).status, 200);
  } finally {
    await guest.sh('umount /etc/sitegen/sites; umount /run/full');
  }
});
