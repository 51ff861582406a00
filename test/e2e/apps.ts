import { type Guest, guestTest, longTest, until } from './_guest.ts';
import { buildImage } from './_images.ts';
import { write } from './_machine.ts';

const catalogue = ['cozy', 'ghost', 'known', 'lamp', 'nextcloud', 'owncloud', 'trovebox', 'welcome', 'wordpress'];

guestTest('each app of the catalogue says what a site of it will be, and makes nothing of it', async (t, guest) => {
  const { stdout } = await guest.sitegen('apps', '--json');
  const names = (JSON.parse(stdout) as { name: string; own: boolean }[]).filter(({ own }) => !own).map(({ name }) => name);
  t.deepEqual(names, catalogue);
  for (const name of catalogue) {
    const { code, stdout: plan, stderr } = await guest.sitegen('add', 'plan.example.com', '--app', name, '--dry-run');
    t.is(code, 0, stderr);
    t.regex(plan, /^limits: MemoryMax=/m, name);
    t.regex(plan, /^(build|pull) image |^image \S+ is there/m, name);
  }
  t.is((await guest.run(['test', '-e', '/var/lib/sitegen/sites/plan.example.com'])).code, 1);
});

guestTest('secrets of an app are made once, are in no arguments, and outlive the removal of the site', async (t, guest) => {
  await ensureShop(guest, 'exit 0');
  await guest.site('shop.example.com', '--app', 'shop');
  const first = JSON.parse((await guest.sitegen('secrets', 'shop.example.com', '--json')).stdout) as Record<string, string>;
  t.regex(first['PASSWORD'] ?? '', /^[A-Za-z0-9]{24}$/);
  t.is(await guest.sh('stat -c %a /etc/sitegen/sites/shop.example.com.yaml'), '600');
  const argv = await guest.sh("docker inspect --format '{{json .Args}} {{json .Config.Cmd}}' site-shop.example.com");
  t.regex(argv, /httpd/);
  t.false(argv.includes(first['PASSWORD'] ?? ''));
  t.is((await guest.sitegen('remove', '--yes', 'shop.example.com')).code, 0);
  await guest.site('shop.example.com', '--app', 'shop');
  t.deepEqual(JSON.parse((await guest.sitegen('secrets', 'shop.example.com', '--json')).stdout), first);
});

const failures = {
  'fails half-way': { hook: 'echo half > /files/half; echo no luck >&2; exit 3', reason: /exit code 3: no luck/ },
  'hangs': { hook: 'echo half > /files/half; sleep 1000', reason: /took longer than/ },
  'fills the disk': { hook: 'dd if=/dev/zero of=/files/half bs=1M', reason: /No space left|exit code 1/ },
};

for (const [what, { hook, reason }] of Object.entries(failures)) {
  guestTest(`an installation that ${what} is told, serves nothing and begins anew`, async (t, guest) => {
    const domain = 'failing.example.com';
    await ensureShop(guest, hook);
    const data = `/var/lib/sitegen/sites/${domain}/data`;
    // A disk of its own, so that the guest's stays usable.
    await guest.sh(`mkdir -p ${data}; mountpoint -q ${data} || mount -t tmpfs -o size=16M tmpfs ${data}`);
    try {
      const address = await guest.site(domain, '--app', 'shop');
      const answer = await guest.get(address, { timeoutS: 60 });
      t.is(answer.status, 503);
      t.regex(await guest.sh(`journalctl -u site-${domain} -o cat --no-pager`), reason);
      t.is(await guest.sh(`find ${data} -type f | wc -l`), '0');
      t.is((await guest.run(['docker', 'inspect', `site-${domain}`])).code, 1);
      await ensureShop(guest, '[ ! -e /files/half ] || exit 9; echo whole > /files/index.html');
      await guest.sitegen('apply', domain);
      await until('the next try has worked', async () => (await guest.get(address, { timeoutS: 60 })).body.trim() === 'whole');
    } finally {
      await guest.sh(`sitegen stop ${domain} || true; umount ${data} || true`);
    }
  });
}

guestTest('an image is built anew with its data brought up to date, and goes back when it does not wake', async (t, guest) => {
  const domain = 'newer.example.com';
  await ensureShop(guest, 'echo whole > /files/index.html', 'echo "$1 $2" > /files/upgraded');
  const address = await guest.site(domain, '--app', 'shop');
  t.is((await guest.get(address, { timeoutS: 60 })).body.trim(), 'whole');
  const before = await guest.sh(`docker inspect --format '{{.Config.Image}}' site-${domain}`);
  await ensureShop(guest, 'exit 1', 'echo "$1 $2" > /files/upgraded', 'shop:2');
  t.is((await guest.sitegen('apply', domain)).code, 0);
  t.is((await guest.get(address, { timeoutS: 60 })).body.trim(), 'whole');
  t.is((await guest.get(address, { path: '/upgraded' })).body.trim(), `${before} shop:2`);
});

longTest('pruning removes what sitegen has built and no site has, and nobody else\'s images', async (t, guest) => {
  await guest.sh('docker image inspect others:1 >/dev/null 2>&1 || echo FROM scratch | DOCKER_BUILDKIT=0 docker build --quiet --label a=b --tag others:1 - >/dev/null');
  await write(guest, '/etc/sitegen/apps/mine/app.yaml', 'schema: 1\ndescription: mine\nimage: {build: ., hostFiles: {busybox: /usr/bin/busybox}}\n');
  await write(guest, '/etc/sitegen/apps/mine/Dockerfile', 'FROM scratch\nCOPY busybox /bin/busybox\nCMD ["/bin/busybox", "httpd", "-f", "-p", "80"]\n');
  await guest.site('mine.example.com', '--app', 'mine');
  t.is((await guest.sitegen('image', 'prune', '--dry-run')).stdout.includes('sitegen/mine'), false);
  await guest.sitegen('remove', '--purge', '--yes', 'mine.example.com');
  t.regex((await guest.sitegen('image', 'prune')).stdout, /removed sitegen\/mine:/);
  t.is(await guest.sh('docker images --quiet sitegen/mine | wc -l; rm -r /etc/sitegen/apps/mine'), '0');
  t.is((await guest.run(['docker', 'image', 'inspect', 'others:1'])).code, 0);
});

/**
 * The admin's app "shop": it serves /files, which its installation makes.
 * @param install what its hook does
 */
async function ensureShop(guest: Guest, install: string, upgrade = 'exit 0', reference = 'shop:1'): Promise<void> {
  await buildImage(guest, reference, {
    Dockerfile: 'FROM scratch\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox", "--install", "/bin"]\nRUN ["/bin/busybox", "mkdir", "/files"]\nCOPY install upgrade /usr/bin/\nSTOPSIGNAL SIGKILL\nCMD ["/bin/busybox", "httpd", "-f", "-p", "80", "-h", "/files"]\n',
    install: `#!/bin/busybox sh\n${install}\n`,
    upgrade: `#!/bin/busybox sh\n${upgrade}\n`,
  });
  await write(guest, '/etc/sitegen/apps/shop/app.yaml', `schema: 1\ndescription: a shop\nimage: ${reference}\nvolumes: [files:/files]\nenv: {PASSWORD: {secret: 24}}\nhooks: {install: [/usr/bin/install], upgrade: [/usr/bin/upgrade], timeout: 15s}\n`);
}
