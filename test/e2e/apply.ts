import { guestTest, longTest, until, type Guest } from './_guest.ts';
import { changes, inventory, write } from './_machine.ts';
import { ensureServerImage, serverImage } from './_server.ts';

const file = (domain: string) => `/etc/sitegen/sites/${domain}.yaml`;
const settings = (guest: Guest, domain: string, more = '') => write(guest, file(domain), `domain: ${domain}\n${more}`);

/** How often systemd was reloaded since a time. */
const reloads = async (guest: Guest, since: string) =>
  Number((await guest.run(['sh', '-c', `journalctl --sync; journalctl _PID=1 -o cat --no-pager --since @${since} | grep -cE '^Reloading\\.+$'`])).stdout);
const now = (guest: Guest) => guest.sh('sleep 0.01; date +%s.%N');

/** What would change if a running site was disturbed. */
const running = (guest: Guest, domain: string) => guest.sh(`docker inspect -f '{{.Id}} {{.State.StartedAt}} {{.State.Pid}}' site-${domain}; systemctl show -P MainPID -P ActiveEnterTimestampMonotonic site-${domain}`);

/** Times and identities of everything that apply could write anew. */
const stamps = (guest: Guest) => guest.sh(`stat -c '%n %Y.%y %i' /etc/systemd/system/site-* /etc/systemd/system/sockets.target.wants/* /etc/sitegen/sites/* /var/lib/sitegen/network.* /var/lib/sitegen/containers/*
  docker ps -a --format '{{.Names}} {{.ID}} {{.CreatedAt}}'; docker network inspect -f '{{.Id}}' sitegen; systemctl show -P ActiveEnterTimestampMonotonic sitegen-network.service 'site-*.socket'`);

async function cleanup(guest: Guest, ...domains: string[]): Promise<void> {
  for (const domain of domains) await guest.sitegen('remove', '--purge', '--backups', '--yes', domain);
}

guestTest('files written by hand become sites; a bad one is reported and keeps nobody else', async (t, guest) => {
  const bad: Record<string, [text: string, reason: RegExp]> = {
    'unknown.example.com': ['domain: unknown.example.com\nmemory: 1G\n', /yaml:2: memory: unknown key; allowed: domain, aliases/],
    'type.example.com': ['domain: type.example.com\nport: eighty\n', /yaml:2: port: "eighty" is of the wrong type; allowed: a number/],
    'size.example.com': ['domain: size.example.com\nlimits:\n  memoryMax: lots\n', /yaml:3: limits\.memoryMax: "lots" is not a size/],
    'syntax.example.com': ['domain: syntax.example.com\nenv: {A: "\n', /yaml:\d+: is not valid YAML/],
    'empty.example.com': ['', /yaml:1: domain: is missing/],
    'other.example.com': ['domain: elsewhere.example.com\n', /"elsewhere\.example\.com" belongs into elsewhere\.example\.com\.yaml/],
    'app.example.com': ['domain: app.example.com\napp: nonexistent\n', /there is no app "nonexistent"/],
    'image.example.com': ['domain: image.example.com\nimage: registry.example/nothing:1\n', /would not pull image registry\.example\/nothing:1/],
    'alias.example.com': ['domain: alias.example.com\naliases: [good.example.com]\n', /aliases: good\.example\.com belongs to the site good\.example\.com/],
    'twin.example.com': ['domain: twin.example.com\naliases: [shared.example.com]\n', /aliases: shared\.example\.com belongs to the site good\.example\.com/],
    'unit.example.com': ['domain: unit.example.com\n', /site-unit\.example\.com\.service exists and is not sitegen's/],
  };
  const before = await inventory(guest);
  try {
    await settings(guest, 'good.example.com', 'aliases: [shared.example.com]\nlimits:\n  # memoryMax: 1G\n');
    t.is((await guest.sitegen('apply')).code, 0);
    for (const [domain, [text]] of Object.entries(bad)) await write(guest, file(domain), text);
    await settings(guest, 'late.example.com');
    await write(guest, '/etc/systemd/system/site-unit.example.com.service', '[Service]\nExecStart=/bin/sleep 1000\n');
    await guest.sh('systemctl start site-unit.example.com.service');

    const applied = await guest.sitegen('apply');
    t.is(applied.code, 1);
    t.is(applied.stdout, 'late.example.com: applied\n');
    const errors = applied.stderr.split('\n').filter((line) => line.startsWith('sitegen: error: '));
    for (const [domain, [, reason]] of Object.entries(bad)) {
      const lines = errors.filter((line) => line.startsWith(`sitegen: error: ${domain}: `));
      t.is(lines.length, 1, `${domain} in ${applied.stderr}`);
      t.regex(lines[0] ?? '', reason);
    }
    t.is(errors.length, Object.keys(bad).length);
    t.notRegex(applied.stderr, /\n\s+at /);
    t.is((await guest.get((await guest.status('late.example.com')).address)).status, 200);
    t.is(await guest.sh('systemctl is-active site-unit.example.com.service'), 'active', 'the admin\'s own unit runs on');

    const valid = await guest.sitegen('validate');
    t.is(valid.code, 1);
    t.regex(valid.stderr, /alias\.example\.com: aliases: good\.example\.com belongs to/);
    t.is((await guest.sitegen('validate', '-q', 'twin.example.com')).code, 1);
    t.deepEqual(await guest.sitegen('validate', 'late.example.com'), { code: 0, stdout: '', stderr: '1 site is valid\n' });

    await guest.sh(`rm -f ${Object.keys(bad).map(file).join(' ')}`);
    t.is((await guest.sitegen('apply')).code, 0);
    t.is(await guest.sh('systemctl is-active site-unit.example.com.service'), 'active');
  } finally {
    await guest.sh(`systemctl stop site-unit.example.com.service; rm -f /etc/systemd/system/site-unit.example.com.service ${Object.keys(bad).map(file).join(' ')}`);
    await cleanup(guest, 'good.example.com', 'late.example.com');
    await guest.sh('sitegen apply --quiet; rm -rf /var/lib/sitegen/sites/*.example.com');
  }
  t.deepEqual(changes(before, await inventory(guest)), []);
});

guestTest('diff says what apply then does, once; what is the admin\'s own is kept', async (t, guest) => {
  try {
    await settings(guest, 'diff.example.com');
    const first = await guest.sitegen('diff');
    t.deepEqual(first.stdout.trim().split('\n'), [
      'diff.example.com: make directory /var/lib/sitegen/sites/diff.example.com/data',
      ...['site-diff.example.com.slice', 'site-diff.example.com-app.slice', 'site-diff.example.com.service', 'site-diff.example.com.socket'].map((unit) => `diff.example.com: create /etc/systemd/system/${unit}`),
      'diff.example.com: create container site-diff.example.com',
      'diff.example.com: enable site-diff.example.com.socket',
      'diff.example.com: start site-diff.example.com.socket',
      'diff.example.com: router: + names: diff.example.com diff.example.com|serve',
      'diff.example.com: router: + names: www.diff.example.com diff.example.com|redirect',
      'diff.example.com: router: + options: diff.example.com diff.example.com||0|130000|3600000|1073741824|max-age=15552000',
      `diff.example.com: router: + routes: diff.example.com/ diff.example.com|be_site|${(await guest.status('diff.example.com')).address}|80`,
    ]);
    t.is((await guest.sitegen('status', 'diff.example.com')).code, 3, 'nothing has changed yet');
    t.is((await guest.sitegen('apply')).stdout, 'diff.example.com: applied\n');
    t.deepEqual(await guest.sitegen('diff'), { code: 0, stdout: '', stderr: 'nothing to do\n' });
    const { address } = await guest.status('diff.example.com');
    t.is((await guest.get(address)).status, 200);

    // A second time, nothing at all.
    const [state, stamp] = [await running(guest, 'diff.example.com'), await stamps(guest)];
    const since = await now(guest);
    t.deepEqual(await guest.sitegen('apply'), { code: 0, stdout: '', stderr: 'nothing to do\n' });
    t.is(await stamps(guest), stamp);
    t.is(await running(guest, 'diff.example.com'), state);
    t.is(await reloads(guest, since), 0);

    // Drop-ins are the admin's, and work; a unit that was edited by hand is put back, and said.
    await write(guest, '/etc/systemd/system/site-diff.example.com.service.d/override.conf', '[Service]\nNice=7\n');
    await write(guest, '/etc/systemd/system/site-diff.example.com.slice.d/override.conf', '[Slice]\nMemoryMax=77M\n');
    await guest.sh("systemctl daemon-reload; sed -i 's/^Backlog=.*/Backlog=1/' /etc/systemd/system/site-diff.example.com.socket");
    const edited = await guest.sitegen('diff');
    t.regex(edited.stdout, /^diff\.example\.com: change \/etc\/systemd\/system\/site-diff\.example\.com\.socket\n {4}- Backlog=1\n {4}\+ Backlog=4096$/m);
    t.is((await guest.sitegen('apply')).stdout, 'diff.example.com: applied\n');
    t.is(await guest.sh('grep Backlog /etc/systemd/system/site-diff.example.com.socket'), 'Backlog=4096');
    t.is((await guest.sitegen('diff')).stdout, '');
    t.is(await guest.sh('systemctl show -P MemoryMax site-diff.example.com.slice'), String(77 * 1024 * 1024));
    t.is((await guest.get(address)).status, 200);
    t.is(await guest.sh('ps -o ni= -p "$(systemctl show -P MainPID site-diff.example.com)"').then((text) => text.trim()), '7');

    // Others' units and containers are not ours, whatever they are called.
    await write(guest, '/etc/systemd/system/site-foo.service', '[Service]\nExecStart=/bin/sleep 1000\n');
    await write(guest, '/etc/systemd/system/site-foo.socket', '[Socket]\nListenStream=127.0.0.1:7777\n');
    await guest.sh('systemctl start site-foo.socket; docker create --name site-bar $(docker image ls -q sitegen/welcome | head -1) >/dev/null');
    const before = await inventory(guest);
    t.is((await guest.sitegen('apply')).stderr, 'nothing to do\n');
    t.deepEqual(changes(before, await inventory(guest)), []);

    // Settings that are gone take units and container along, not the data.
    await guest.sh('echo kept > /var/lib/sitegen/sites/diff.example.com/data/file; rm /etc/sitegen/sites/diff.example.com.yaml');
    t.regex((await guest.sitegen('diff')).stdout, /^diff\.example\.com: remove container site-diff\.example\.com$/m);
    t.is((await guest.sitegen('apply')).code, 0);
    t.is(await guest.sh("ls /etc/systemd/system | grep -F 'site-diff' | grep -v '\\.d$' || true; ls /var/lib/sitegen/containers | grep diff || true; docker ps -aq --filter name=site-diff; systemctl list-units --all --no-legend --state=active 'site-diff*'"), '');
    t.is(await guest.sh('cat /var/lib/sitegen/sites/diff.example.com/data/file'), 'kept');
    t.is((await guest.sitegen('diff')).stdout, '');
  } finally {
    await guest.sh('systemctl stop site-foo.socket site-foo.service; rm -rf /etc/systemd/system/site-foo.* /etc/systemd/system/site-diff.example.com.*.d; docker rm -f site-bar >/dev/null 2>&1 || true; systemctl daemon-reload');
    await cleanup(guest, 'diff.example.com');
    await guest.sh('rm -rf /var/lib/sitegen/sites/diff.example.com');
  }
});

guestTest('a running site is disturbed by nothing but a change of its own container', async (t, guest) => {
  await ensureServerImage(guest);
  const domain = 'busy.example.com';
  const address = await guest.site(domain, '--image', serverImage, '--volume', 'data:/data');
  await guest.site('calm.example.com');
  t.is((await guest.get(address, { path: '/?id=0' })).status, 200);
  const state = await running(guest, domain);
  const slow = guest.get(address, { path: '/?id=1&ms=9000', timeoutS: 40 });
  await until('the request is there', async () => (await guest.sh(`ss -Htn state established dst ${address}:80`)) !== '');

  try {
    // Others' changes, and new sites: these without a reload.
    let since = await now(guest);
    await settings(guest, 'new1.example.com');
    await settings(guest, 'new2.example.com');
    t.is((await guest.sitegen('apply')).stdout, 'new1.example.com: applied\nnew2.example.com: applied\n');
    t.is(await reloads(guest, since), 0);
    // Several that are loaded and changed: one reload for all. Limits and times reach the running site.
    since = await now(guest);
    await guest.sh(`for site in calm new1 new2; do echo 'ready: {timeout: 33s}' >> /etc/sitegen/sites/$site.example.com.yaml; done
      printf 'limits: {memoryMax: 333M, tasksMax: 77}\\nready: {timeout: 44s}\\n' >> ${file(domain)}`);
    t.is((await guest.sitegen('apply')).code, 0);
    t.is(await reloads(guest, since), 1);
    t.is(await guest.sh(`systemctl show -P MemoryMax site-${domain}.slice`), String(333 * 1024 * 1024));
    t.is(await guest.sh(`systemctl show -P TasksMax site-${domain}.slice`), '77');
    t.is(await guest.sh(`systemctl show -P TimeoutStartUSec site-${domain}.service`), '1min 14s');
    t.is(await running(guest, domain), state);
    t.is((await slow).status, 200);

    // Its own environment: the request in flight is finished first, and then the container is another one.
    const last = guest.get(address, { path: '/?id=2&ms=9000', timeoutS: 60 });
    await until('the request is there', async () => (await guest.sh(`ss -Htn state established dst ${address}:80`)) !== '');
    await guest.sh(`printf 'env: {NEW: value}\\n' >> ${file(domain)}`);
    t.is((await guest.sitegen('apply')).stdout, `${domain}: applied\n`);
    const finished = await last;
    t.is(finished.status, 200);
    t.is(finished.body, 'GET 2 0\n');
    t.not(await running(guest, domain), state);
    t.is((await guest.get(address)).status, 200);
    t.regex(await guest.sh(`docker inspect -f '{{.Config.Env}}' site-${domain}`), /NEW=value/);
  } finally {
    await cleanup(guest, 'new1.example.com', 'new2.example.com');
  }
});

/** 65,280 addresses: among 400 names two collide almost for certain. */
const collide = `
  import { createHash } from 'node:crypto';
  const seen = new Map();
  for (let n = 0; ; n++) {
    const domain = 'c' + n + '.example.com';
    const offset = createHash('sha256').update(domain).digest().readUInt32BE(0) % (65535 - 256);
    if (seen.has(offset)) { console.log(seen.get(offset), domain); break; }
    seen.set(offset, domain);
  }`;

guestTest('two domains with one address both answer, and nobody can take an address by writing it down', async (t, guest) => {
  const [first = '', second = ''] = (await guest.sh(`node --input-type=module -e "${collide.replaceAll('"', '\\"')}"`)).split(' ');
  const addresses: string[] = [];
  for (const domain of [first, second]) {
    addresses.push(await guest.site(domain, '--volume', 'www:/www'));
    await guest.sh(`echo ${domain} > /var/lib/sitegen/sites/${domain}/data/www/index.html`);
  }
  t.not(addresses[0], addresses[1]);
  t.is(await guest.sh(`grep -c address: ${file(first)} || true`), '0');
  t.is(await guest.sh(`grep address: ${file(second)}`), `address: ${addresses[1] ?? ''}`);
  for (const [index, domain] of [first, second].entries()) t.is((await guest.get(addresses[index] ?? '')).body, `${domain}\n`);
  t.is((await guest.sitegen('diff')).stdout, '');

  await settings(guest, 'aaa.example.com', `address: ${addresses[0] ?? ''}\n`);
  await guest.sh(`sed -i 's/^address:.*/address: ${addresses[0] ?? ''}/' ${file(second)}`);
  const before = await Promise.all([first, second].map((domain) => running(guest, domain)));
  const taken = await guest.sitegen('apply');
  t.is(taken.code, 1);
  for (const domain of ['aaa.example.com', second]) t.regex(taken.stderr, new RegExp(`error: ${domain}: address: ${addresses[0] ?? ''} belongs to ${first}`));
  t.deepEqual(await Promise.all([first, second].map((domain) => running(guest, domain))), before);
  t.is((await guest.status('aaa.example.com')).state, 'broken');
  await guest.sh(`rm ${file('aaa.example.com')}; sed -i 's/^address:.*/address: ${addresses[1] ?? ''}/' ${file(second)}`);
  t.is((await guest.sitegen('apply')).code, 0);
});

longTest('changed ranges of addresses: sites move to theirs; containers keep theirs, and it is said', async (t, guest) => {
  const domain = 'range.example.com';
  const old = await guest.site(domain);
  t.is((await guest.get(old)).status, 200);
  await guest.sh('cp /etc/sitegen/sitegen.yaml /root/before.yaml');
  try {
    await write(guest, '/etc/sitegen/sitegen.yaml', 'network: {sites: 10.215.0.0/16, containers: 10.216.0.0/16}\n');
    const before = await inventory(guest);
    const refused = await guest.sitegen('apply');
    t.is(refused.code, 1);
    t.regex(refused.stderr, /error: Docker's network "sitegen" has the range 10\.214\.0\.0\/16, not 10\.216\.0\.0\/16\nsitegen: hint: remove all sites/);
    t.deepEqual(changes(before, await inventory(guest)), []);
    t.is((await guest.get(old)).status, 200);

    await write(guest, '/etc/sitegen/sitegen.yaml', 'network: {sites: 10.215.0.0/16}\n');
    t.is((await guest.sitegen('apply')).code, 0);
    const moved = (await guest.status(domain)).address;
    t.regex(moved, /^10\.215\./);
    t.is((await guest.get(moved)).status, 200);
    t.is((await guest.get(old, { timeoutS: 2 })).status, 0);
    t.is(await guest.sh('ip route show table local type local | grep -c "10.213.0.0/16" || true'), '0');
    await write(guest, '/etc/sitegen/sitegen.yaml', 'network: {sites: 198.18.0.0/16}\n');
    t.is((await guest.sitegen('apply')).code, 1);
    t.is((await guest.get(moved)).status, 200);
  } finally {
    await guest.sh('mv /root/before.yaml /etc/sitegen/sitegen.yaml; sitegen apply --quiet');
  }
  t.is((await guest.get(old)).status, 200);
});

guestTest('kill -9 in the middle of apply and add: the next apply finds everything in order; two adds at once both work', async (t, guest) => {
  const domains = ['k1', 'k2', 'k3'].map((name) => `${name}.example.com`);
  const before = await inventory(guest);
  try {
    for (let round = 0; round < 10; round++) {
      const [domain = ''] = domains.slice(round % 3);
      const delay = (0.15 + Math.random() * 0.9).toFixed(3);
      const command = round % 2 === 0 ? `sitegen add ${domain}` : 'sitegen apply';
      if (round % 2 === 1) for (const each of domains) await settings(guest, each, `env: {ROUND: "${round}"}\nlimits: {tasksMax: ${100 + round}}\n`);
      await guest.sh(`timeout --signal KILL ${delay} ${command} >/dev/null 2>&1 || true`);
    }
    // What a kill in the middle of a write leaves: half a file of a process that is gone, beside one of a process that lives.
    await guest.sh('echo half > /etc/systemd/system/.sitegen-99999999-aa.tmp; echo half > /etc/sitegen/sites/.sitegen-99999999-bb.tmp; echo half > /etc/sitegen/sites/.sitegen-1-cc.tmp');
    await guest.sitegen('apply');
    t.is(await guest.sh('cd /etc; ls -A systemd/system/.sitegen-* sitegen/sites/.sitegen-* 2>/dev/null || true'), 'sitegen/sites/.sitegen-1-cc.tmp');
    await guest.sh('rm /etc/sitegen/sites/.sitegen-1-cc.tmp');
    t.deepEqual(await guest.sitegen('apply'), { code: 0, stdout: '', stderr: 'nothing to do\n' });
    for (const domain of domains) {
      t.is((await guest.get((await guest.status(domain)).address)).status, 200);
      t.is(await guest.sh(`systemctl show -P NeedDaemonReload site-${domain}.service`), 'no');
      t.is(await guest.sh(`systemctl show -P TasksMax site-${domain}.slice`), '109');
    }
  } finally {
    await cleanup(guest, ...domains);
  }
  t.deepEqual(changes(before, await inventory(guest)), [], 'no temporary files, either');

  const both = await Promise.all(['t1.example.com', 't2.example.com'].map((domain) => guest.site(domain)));
  for (const address of both) t.is((await guest.get(address)).status, 200);
});
