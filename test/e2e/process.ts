import { endServers, prepare, startServers } from './_backup.ts';
import { type Guest, guestTest, longTest, until } from './_guest.ts';
import { changes, inventory, write } from './_machine.ts';
import { addProcess, ask, dataOf, withProcess } from './_process.ts';

const unitOf = (domain: string) => `sitegen-process@${domain}.service`;
const stateOf = async (guest: Guest, domain: string) => (await guest.status(domain)).state;
const sleeps = (guest: Guest, domain: string, state: string) => until(`${domain} is ${state}`, async () => await stateOf(guest, domain) === state, 60_000, 500);
const ends = (guest: Guest, domain: string) => guest.sh(`cat ${dataOf(domain)}/ends 2>/dev/null || true`);

guestTest('a program without a container is woken cold, serves kept connections past the splice, and ends as it wants on a stop', async (t, guest) => {
  const domain = 'program.example.com';
  await withProcess(guest, domain, '', async (address) => {
    t.is(await stateOf(guest, domain), 'asleep');
    t.is(await guest.sh(`systemctl is-active ${unitOf(domain)} || true`), 'inactive');
    const cold = await guest.get(address);
    t.is(cold.status, 200);
    const { state, container, containerAddress } = await guest.status(domain);
    t.deepEqual([state, container.name, container.status], ['awake', unitOf(domain), 'running']);
    t.regex(containerAddress, /^127\.214\./);
    t.is(await guest.sh(`systemctl show -P Slice ${unitOf(domain)}`), `site-${domain}-app.slice`);
    await until('new connections go past the splice', async () => (await guest.sh('nft list map inet sitegen awake')).includes(`${address} . 80 : ${containerAddress}`), 5000);
    // The second request of each finds its connection open.
    t.is(await guest.sh(`curl --silent --output /dev/null --output /dev/null --write-out '%{http_code} %{num_connects};' http://${address}/ http://${address}/store`), '200 1;200 0;');
    t.is(await guest.sh(`docker ps --all --quiet --filter name=site-${domain}`), '');
    t.is((await guest.sitegen('stop', domain)).code, 0);
    t.is(await stateOf(guest, domain), 'asleep');
    t.is(await ends(guest, domain), 'clean');
    t.not((await ask(guest, address, '/')).split(' ')[1], cold.body.split(' ')[1], 'another process');
    t.regex(await guest.sh(`journalctl --sync; sitegen logs ${domain} -n 200`), /awake: woken by a visitor, was asleep;[^]*asleep: program stopped/);
  });
});

longTest('a program that nobody visits is frozen, wakes by a hit as the same process, and is stopped after a while', async (t, guest) => {
  const domain = 'frozen-program.example.com';
  await withProcess(guest, domain, 'idle: {after: 3s, stopAfter: 30s}\n', async (address) => {
    const first = await ask(guest, address, '/');
    await sleeps(guest, domain, 'frozen');
    const { seconds, status } = await guest.get(address);
    t.is(status, 200);
    t.log(`hit while frozen: ${Math.round(seconds * 1000)} ms`);
    t.is(await ask(guest, address, '/'), first, 'it went on where it stood');
    t.is(await guest.sh(`journalctl --sync; journalctl -u site-${domain} SITEGEN_TO=awake -n 1 -o json`).then((text) => (JSON.parse(text) as Record<string, string>)['SITEGEN_FROM']), 'frozen');
    await sleeps(guest, domain, 'frozen');
    await sleeps(guest, domain, 'asleep');
    t.is(await ends(guest, domain), 'clean');
  });
});

guestTest('a program that takes its socket from systemd opens none, and is woken, frozen and stopped as any other', async (t, guest) => {
  const domain = 'fds.example.com';
  await withProcess(guest, domain, 'port: 3000\nidle: {after: 3s}\n', async (address) => {
    t.regex(await ask(guest, address, '/'), /^here /);
    t.is(await ask(guest, address, '/env?name=LISTEN_FDS'), '1');
    t.is(await guest.sh(`systemctl is-active sitegen-process@${domain}.socket`), 'active');
    await sleeps(guest, domain, 'frozen');
    t.regex(await ask(guest, address, '/'), /^here /);
    t.is((await guest.sitegen('stop', domain)).code, 0);
    t.is(await guest.sh(`systemctl is-active sitegen-process@${domain}.socket || true`), 'inactive', 'nobody can start it past its site');
    t.is(await ends(guest, domain), 'clean');
    // 50 come at once while it sleeps, and wait in systemd's socket.
    t.is(await guest.sh(`curl --silent --parallel --parallel-immediate --parallel-max 50 --max-time 60 --output /dev/null --write-out '%{http_code}\\n' 'http://${address}/?id=[1-50]' | sort | uniq -c | sed 's/^ *//'`), '50 200');
  }, '  listenFds: true\n');
});

guestTest('a program reaches neither settings nor other sites nor Docker, and has its own data to itself', async (t, guest) => {
  const [domain, other] = ['confined.example.com', 'other.example.com'] as const;
  await withProcess(guest, other, '', async (otherAddress) => {
    await withProcess(guest, domain, '', async (address) => {
      const own = dataOf(domain);
      t.is(await ask(guest, otherAddress, '/say?text=private'), 'said');
      const denied = /^(EACCES|ENOENT|EPERM|EROFS)$/;
      for (const file of ['/etc/sitegen/sitegen.yaml', `/etc/sitegen/sites/${domain}.yaml`, `${dataOf(other)}/store`, `/var/lib/sitegen/processes/${domain}`, '/etc/shadow', '/proc/1/environ']) t.regex(await ask(guest, address, `/read?path=${file}`), denied, file);
      for (const folder of ['/run/sitegen', '/root', '/var/lib/sitegen/git']) t.regex(await ask(guest, address, `/list?path=${folder}`), denied, folder);
      t.is(await ask(guest, address, '/list?path=/var/lib/sitegen/sites'), domain, 'of all sites it sees its own alone');
      for (const file of ['/usr/x', '/etc/x', '/var/lib/sitegen/x', `/var/lib/sitegen/sites/${domain}/meta`, '/srv/process-app/server.mjs']) t.regex(await ask(guest, address, `/write?path=${file}`), /^(EACCES|ENOENT|EPERM|EROFS|EISDIR)$/, file);
      t.is(await ask(guest, address, `/write?path=${own}/mine`), 'written');
      t.is(await guest.sh(`stat -c %U ${own}/mine`), await guest.sh(`systemctl show -P User ${unitOf(domain)}`));
      t.is(await ask(guest, address, '/write?path=/tmp/mine'), 'written');
      t.is((await guest.run(['test', '-e', '/tmp/mine'])).code, 1, 'its /tmp is its own');
      t.not(await ask(guest, otherAddress, '/').then((text) => text.split(' ')[2]), await ask(guest, address, '/').then((text) => text.split(' ')[2]), 'users of their own');
      t.is(await guest.sh(`systemctl show -P CapabilityBoundingSet ${unitOf(domain)}`), '');
      // Where the kernel filters addresses and ports for groups (BPF).
      const otherProgram = (await guest.status(other)).containerAddress;
      t.log(`the other program: ${await ask(guest, address, `/reach?host=${otherProgram}&port=8080`)}; another port: ${await ask(guest, address, '/open?port=9999')}`);
    });
  });
});

longTest('commands, jobs and dumps run beside a program as its user, and a restore gives its data back to it', async (t, guest) => {
  const domain = 'dumped.example.com';
  const settings = ['dump: {command: [cat, store], load: [sh, -c, "cat > store"], check: {shrink: 99%}}', 'exclude: [store]', 'secrets: {TOKEN: "a \\"b\\" $c"}',
    'hooks: {launch: [sh, -c, "echo launched >> hooks"]}', 'jobs: {mark: {calendar: yearly, command: [sh, -c, "echo job $TOKEN >> marks"]}}', ''].join('\n');
  try {
    await startServers(guest);
    await prepare(guest, domain);
    const address = await addProcess(guest, domain, settings);
    const user = await guest.sh(`systemctl show -P User ${unitOf(domain)}`);
    t.is(await ask(guest, address, '/say?text=one'), 'said');
    t.is(await guest.sh(`cat ${dataOf(domain)}/hooks`), 'launched');
    t.is(await ask(guest, address, '/env?name=TOKEN'), 'a "b" $c');
    t.is((await guest.sitegen('exec', domain, '--', 'id', '-un')).stdout.trim(), user);
    t.is((await guest.sitegen('exec', domain, '--', 'sh', '-c', 'echo $HOME')).stdout.trim(), dataOf(domain));
    t.is((await guest.sitegen('exec', domain, '--', 'sh', '-c', 'exit 3')).code, 3);
    await guest.sh(`sitegen backup now --wait ${domain}`);
    t.is(await guest.sh(`cat /var/lib/sitegen/sites/${domain}/meta/dump/dump.sql`), 'one');
    await guest.sitegen('stop', domain);
    await guest.sh(`sitegen jobs run ${domain} mark`);
    t.is(await guest.sh(`cat ${dataOf(domain)}/marks; stat -c %U ${dataOf(domain)}/marks`), `job a "b" $c\n${user}`);
    t.is(await stateOf(guest, domain), 'asleep');
    t.is(await ask(guest, address, '/say?text=two'), 'said');
    t.is((await guest.sitegen('restore', domain, '--force')).code, 0);
    // As on a machine on which the user has another number.
    await guest.sh(`chown -R 4242:4242 ${dataOf(domain)}`);
    t.is(await ask(guest, address, '/store'), 'one', 'as at the last dump');
    t.is(await ask(guest, address, '/say?text=three'), 'said');
    t.is(await guest.sh(`stat -c %U ${dataOf(domain)}/marks`), user);
  } finally {
    await guest.sitegen('remove', '--purge', '--backups', '--yes', domain);
    await endServers(guest);
  }
});

guestTest('changed settings replace a program, a broken one answers 503 with the reason, and a rename takes its data along', async (t, guest) => {
  const [domain, renamed] = ['changes.example.com', 'renamed.example.com'] as const;
  const file = `/etc/sitegen/sites/${domain}.yaml`;
  try {
    const address = await addProcess(guest, domain, '', '  env: {COLOUR: red}\n');
    t.is(await ask(guest, address, '/env?name=COLOUR'), 'red');
    t.is((await guest.sitegen('diff', domain)).stdout.trim(), '');
    await guest.sh(`sed -i 's/red/blue/' ${file}; sitegen apply --quiet ${domain}`);
    t.is(await ends(guest, domain), 'clean');
    t.is(await ask(guest, address, '/env?name=COLOUR'), 'blue');
    t.is(await guest.sh(`systemctl show ${unitOf(domain)} | grep -c blue || true`), '0', 'nobody is told its environment');
    t.is(await ask(guest, address, '/say?text=kept'), 'said');
    await guest.sh(`sed -i 's/\\[node/[no-such-program/' ${file}; sitegen apply --quiet ${domain}`);
    t.is((await guest.get(address)).status, 503);
    await until('its failure is over', async () => ((await guest.status(domain)).reason ?? '').includes('no such program'));
    await guest.sh(`sed -i 's/\\[no-such-program/[node/' ${file}; sitegen apply --quiet ${domain}`);
    t.is(await ask(guest, address, '/store'), 'kept');
    const fallen = await guest.get(address, { path: '/fall' });
    t.not(fallen.status, 200);
    await until('its end is seen', async () => ((await guest.status(domain)).reason ?? '').includes('ended by itself with exit code 7'), 15_000);
    t.is(await ask(guest, address, '/store'), 'kept');
    t.is((await guest.sitegen('rename', domain, renamed)).code, 0);
    const now = (await guest.status(renamed)).address;
    t.is(await ask(guest, now, '/store'), 'kept');
    t.is(await ask(guest, now, '/say?text=on'), 'said');
    t.is((await guest.run(['sh', '-c', `getent passwd | grep 'program of the site ${domain}'`])).code, 1);
  } finally {
    for (const each of [domain, renamed]) await guest.sitegen('remove', '--purge', '--backups', '--yes', each);
  }
});

guestTest('a program is told where that of another site listens, and a site with one that is removed leaves nothing', async (t, guest) => {
  const [api, front] = ['api-of.example.com', 'front.example.com'] as const;
  await guest.sitegen('apply', '--quiet');
  const before = await inventory(guest);
  await withProcess(guest, api, 'port: 3100\n', async (apiAddress) => {
    t.regex(await ask(guest, apiAddress, '/'), /^here/);
    await withProcess(guest, front, '', async (address) => {
      const place = await ask(guest, address, '/env?name=API');
      t.is(place, `${(await guest.status(api)).containerAddress}:3100`);
      t.is(await ask(guest, address, `/reach?host=${place.split(':')[0]}&port=3100`), 'connected');
    }, `  env: {API: "\${${api}.address}:\${${api}.port}"}\n  listenFds: true\n`);
  });
  await guest.sh('rm -rf /srv/process-app');
  t.deepEqual(changes(before, await inventory(guest)), []);
  await write(guest, '/etc/sitegen/sites/nobody.example.com.yaml', 'domain: nobody.example.com\nprocess: {command: [x, "${none.example.com.port}"]}\n');
  const refused = await guest.sitegen('apply', 'nobody.example.com');
  await guest.sh('rm /etc/sitegen/sites/nobody.example.com.yaml');
  t.is(refused.code, 1);
  t.regex(refused.stderr + refused.stdout, /there is no site none\.example\.com with a program/);
});
