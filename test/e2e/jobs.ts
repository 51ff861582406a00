import { guestTest, longTest, until, type Guest } from './_guest.ts';
import { buildImage } from './_images.ts';
import { write } from './_machine.ts';

const image = 'test/jobs:1';
const domain = 'jobs.example.com';
const service = `site-${domain}.service`;
const slice = 'site-jobs.example.com-app.slice';

/** A site whose jobs are those given, as YAML below "jobs:"; it has been visited once, and is asleep. Gives its address. */
async function addSite(guest: Guest, jobs: string, more = ''): Promise<string> {
  await buildImage(guest, image, {
    Dockerfile: 'FROM scratch\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox", "--install", "/bin"]\nRUN ["/bin/busybox", "mkdir", "/www", "/tmp"]\nCOPY serve /serve\nCMD ["/serve"]\n',
    serve: '#!/bin/busybox sh\necho hello > /www/index.html; trap "exit 0" TERM; httpd -f -p 80 -h /www & wait\n',
  });
  await guest.site(domain, '--image', image);
  await write(guest, `/etc/sitegen/sites/${domain}.yaml`, `domain: ${domain}\nimage: ${image}\nstop: {timeout: 1s}\nidle: {after: 20min}\n${more}jobs:\n${jobs}`);
  await guest.sh(`sitegen apply --quiet ${domain}`);
  const { address } = await guest.status(domain);
  await guest.get(address);
  return address;
}

/** Freezes it as the idle round does: the stop is asked to freeze that very run. */
async function freeze(guest: Guest): Promise<void> {
  await guest.sh(`
    # The shim tells systemd that it is awake in the background.
    for i in $(seq 100); do [[ $(systemctl is-active ${service}) == active ]] && break; sleep 0.1; done
    echo "$(systemctl show --value -P InvocationID ${service}) idle" > /run/sitegen/sites/${domain}.freeze
    systemctl stop ${service}`);
  if (await state(guest) !== 'frozen') throw new Error('it is not frozen');
}

async function state(guest: Guest): Promise<string> {
  return guest.sh(`cd /sys/fs/cgroup/site.slice/site-jobs.example.com.slice/${slice} 2>/dev/null && grep -q '^populated 1' cgroup.events || { echo stopped; exit; }
    grep -q '^frozen 1' cgroup.events && echo frozen || echo running`);
}

/** Looks, as often as it can, whether the service moves or visitors are led to the container, until the file is gone. */
const watcher = (address: string) => `
  touch /tmp/watching; rm -f /tmp/seen
  while [[ -e /tmp/watching ]]; do
    systemctl is-active ${service} >> /tmp/seen || true
    nft list map inet sitegen awake | grep -o '${address} ' >> /tmp/seen || true
  done`;

const journal = (guest: Guest, since: string) => guest.sh(`journalctl -u ${service} -o cat --no-pager --since @${since}`);
const now = (guest: Guest) => guest.sh('date +%s.%N');
const starts = (guest: Guest, since: string) => guest.sh(`docker events --since ${since} --until "$(date +%s.%N)" --filter container=site-${domain} --filter event=start --filter event=die --format '{{.Action}}' | tr '\\n' ' '`);

guestTest('a job thaws a frozen site unseen by visitors, and it is frozen again', async (t, guest) => {
  const address = await addSite(guest, '  hello: {calendar: yearly, command: [sh, -c, "echo one; echo two >&2; sleep 1; cat /proc/loadavg >/dev/null"]}\n');
  await freeze(guest);
  const since = await now(guest);
  const watching = guest.sh(watcher(address));
  const run = await guest.sitegen('jobs', 'run', domain, 'hello');
  await guest.sh('rm /tmp/watching');
  await watching;
  t.deepEqual([run.code, run.stdout, run.stderr], [0, `${domain}: hello is done\n`, '']);
  t.is(await guest.sh('sort -u /tmp/seen'), 'inactive');
  t.is(await state(guest), 'frozen');
  t.is(await starts(guest, since), '');
  const lines = await journal(guest, since);
  t.regex(lines, /^hello: one$/m);
  t.regex(lines, /^hello: two$/m);
  t.regex(lines, /^hello: done: frozen; wait \d+ ms, wake \d+ ms, run 1\.\d s$/m);
  t.is((await guest.get(address)).status, 200, 'a visitor wakes it as always');
});

guestTest('a job of a stopped site starts it, and stops it again', async (t, guest) => {
  const address = await addSite(guest, '  hello: {calendar: yearly, command: [wget, -q, -O, "-", "http://127.0.0.1/"]}\n');
  await guest.sitegen('stop', domain);
  t.is(await state(guest), 'stopped');
  const since = await now(guest);
  const watching = guest.sh(watcher(address));
  t.is((await guest.sitegen('jobs', 'run', domain, 'hello')).code, 0);
  await guest.sh('rm /tmp/watching');
  await watching;
  t.is(await guest.sh('sort -u /tmp/seen'), 'inactive');
  t.is(await state(guest), 'stopped');
  t.is(await starts(guest, since), 'start die');
  // It was ready before the job began.
  t.regex(await journal(guest, since), /^hello: hello$/m);
});

longTest('a visitor during a job is served, and the site stays awake', async (t, guest) => {
  const address = await addSite(guest, '  slow: {calendar: yearly, command: [sleep, "12"]}\n');
  for (const sleep of [() => freeze(guest), () => guest.sitegen('stop', domain)]) {
    await sleep();
    const since = await now(guest);
    const run = guest.sitegen('jobs', 'run', domain, 'slow');
    await until('it runs', async () => await state(guest) === 'running', 40_000);
    const visit = await guest.get(address);
    t.is(visit.status, 200);
    t.true(visit.seconds < 8, `${visit.seconds}`);
    t.is((await run).code, 0);
    t.is(await guest.sh(`systemctl is-active ${service}`), 'active');
    t.is(await state(guest), 'running');
    t.regex(await journal(guest, since), /^slow: done: /m);
  }
  // Of a site that is awake it changes nothing.
  const since = await now(guest);
  t.is((await guest.sitegen('jobs', 'run', domain, 'slow')).code, 0);
  t.is(await guest.sh(`systemctl is-active ${service}`), 'active');
  t.regex(await journal(guest, since), /^slow: done: awake; /m);
});

guestTest('a job that fails or takes too long is an alarm, its program is killed, and the site sleeps again', async (t, guest) => {
  await addSite(guest, '  bad: {calendar: yearly, command: [sh, -c, "echo it broke; exit 3"]}\n  endless: {calendar: yearly, command: [sleep, "4321"], timeout: 2s, user: "1234"}\n');
  await freeze(guest);
  const since = await now(guest);
  for (const [name, reason] of [['bad', /exit code 3: it broke/], ['endless', /it took longer than 2\.0 s and was killed/]] as const) {
    const run = await guest.sitegen('jobs', 'run', domain, name);
    t.is(run.code, 1);
    t.regex(run.stderr, reason);
    t.is(await state(guest), 'frozen', name);
    const unit = `sitegen-job@${domain}:${name}.service`;
    await until('the alarm is raised', async () => (await guest.sitegen('alarms', '--json')).stdout.includes(unit), 30_000);
    t.regex((await guest.sitegen('alarms')).stdout, reason);
  }
  t.is((await guest.run(['pgrep', '-f', '^sleep 4321'])).code, 1);
  t.regex(await journal(guest, since), /^bad: failed: exit code 3: it broke/m);
  const listed = JSON.parse((await guest.sitegen('jobs', domain, '--json')).stdout) as { name: string; result: string; next: string; last: string }[];
  t.deepEqual(listed.map(({ name, result }) => [name, result]), [['bad', 'failed'], ['endless', 'failed']]);
  t.true(listed.every(({ next, last }) => Date.parse(next) > Date.now() && Math.abs(Date.parse(last) - Date.now()) < 120_000));
});

longTest('jobs of one site run one after the other', async (t, guest) => {
  const job = (name: string) => `  ${name}: {calendar: yearly, command: [sh, -c, "echo begin; sleep 2; echo end"]}\n`;
  await addSite(guest, `${job('a')}${job('b')}`);
  await freeze(guest);
  const since = await now(guest);
  const runs = await Promise.all(['a', 'b'].map((name) => guest.sitegen('jobs', 'run', domain, name)));
  t.deepEqual(runs.map(({ code }) => code), [0, 0]);
  const said = (await journal(guest, since)).split('\n').filter((line) => /: (begin|end)$/.test(line));
  t.deepEqual(said.map((line) => line.slice(3)), ['begin', 'end', 'begin', 'end']);
  t.is(new Set(said.slice(0, 2).map((line) => line[0])).size, 1);
  t.is(await state(guest), 'frozen');
});

longTest('a timer runs its job by itself; settings put it on, change it and take it off', async (t, guest) => {
  const file = `/etc/sitegen/sites/${domain}.yaml`;
  const timer = `sitegen-job@${domain}:tick.timer`;
  const files = () => guest.sh(`cd /etc/systemd/system; ls -d sitegen-job@*.timer timers.target.wants/sitegen-job@* /var/lib/systemd/timers/stamp-sitegen-job@* 2>/dev/null || true`);
  const isActive = async () => (await guest.run(['systemctl', 'is-active', timer])).stdout.trim();
  await addSite(guest, '  tick: {calendar: "*:*:0/5", command: [echo, tick], delay: 1s}\n');
  await freeze(guest);
  const since = await now(guest);
  await until('it ran twice', async () => ((await journal(guest, since)).match(/^tick: done: frozen/gm)?.length ?? 0) >= 2, 90_000, 500);
  await until('it is frozen again', async () => await state(guest) === 'frozen');

  await guest.sh(`sed -i 's|\\*:\\*:0/5|Mon *-*-* 04:00|' ${file}`);
  t.regex((await guest.sitegen('diff', domain)).stdout, /reload systemd, once for all/);
  t.is((await guest.sitegen('apply', domain)).code, 0);
  t.is((await guest.sitegen('diff', domain)).stdout, '');
  const next = await guest.sh(`LC_ALL=C systemctl show --value -P NextElapseUSecRealtime ${timer}`);
  t.regex(next, /^Mon .* 04:00:0[01] /);

  await guest.sitegen('disable', domain);
  t.is(await isActive(), 'inactive');
  t.notRegex(await files(), /wants/);
  t.regex((await guest.sitegen('jobs', 'run', domain, 'tick')).stderr, /tick was skipped: the site is disabled/);
  await guest.sitegen('enable', domain);
  t.is(await isActive(), 'active');
  t.regex(await files(), /wants/);

  await guest.sitegen('rename', domain, 'other.example.com');
  t.notRegex(await files(), /jobs\.example\.com/);
  t.regex(await files(), /other\.example\.com:tick\.timer/);
  await guest.sitegen('rename', 'other.example.com', domain);
  t.is(await isActive(), 'active');

  await guest.sh(`sed -i '/^jobs:/,$d' ${file}; sitegen apply --quiet`);
  t.is(await files(), '');
  t.is(await isActive(), 'inactive');
});

longTest('a time that systemd does not know is refused, and changes nothing', async (t, guest) => {
  await addSite(guest, '  hello: {calendar: daily, command: ["true"]}\n');
  await guest.sh(`sed -i 's/daily/"25:61"/' /etc/sitegen/sites/${domain}.yaml`);
  for (const command of ['validate', 'apply']) {
    const { code, stderr } = await guest.sitegen(command, domain);
    t.is(code, 1);
    t.regex(stderr, /jobs\.hello\.calendar: systemd does not know the time "25:61"/, command);
  }
  t.is(await guest.sh(`systemctl is-active 'sitegen-job@${domain}:hello.timer'`), 'active');
});

longTest('a job whose site does not become ready has failed, and leaves nothing running', async (t, guest) => {
  await addSite(guest, '  hello: {calendar: yearly, command: ["true"]}\n');
  await guest.sitegen('stop', domain);
  const since = await now(guest);
  await guest.sh(`sed -i '1a port: 81\\nready: {timeout: 2s}' /etc/sitegen/sites/${domain}.yaml`);
  const run = await guest.sitegen('jobs', 'run', domain, 'hello');
  t.is(run.code, 1);
  t.regex(run.stderr, /did not become ready within 2\.0 s/);
  t.is(await state(guest), 'stopped');
  t.regex(await starts(guest, since), /^start( kill)* die$/);
  t.notRegex(await guest.sh(`journalctl --no-pager --since @${since}`), /New main PID/);
});

longTest('when a job is killed by force, the idle timer puts its site to sleep', async (t, guest) => {
  await addSite(guest, '  slow: {calendar: yearly, command: [sleep, "600"]}\n');
  await guest.sitegen('stop', domain);
  await guest.sh('systemctl stop sitegen-idle.timer');
  const run = guest.sitegen('jobs', 'run', domain, 'slow');
  const unit = `sitegen-job@${domain}:slow.service`;
  await until('it runs', async () => (await guest.run(['pgrep', '-f', '^sleep 600'])).code === 0, 40_000);
  await guest.sh(`systemctl kill --signal KILL ${unit}`);
  t.is((await run).code, 1);
  await until('it sleeps', async () => await state(guest) !== 'running', 120_000, 1000);
  // The next run finds a site that it can use, and leaves it as it was.
  await guest.sh(`sed -i 's/sleep, "600"/echo, well/' /etc/sitegen/sites/${domain}.yaml`);
  const before = await state(guest);
  t.is((await guest.sitegen('jobs', 'run', domain, 'slow')).code, 0);
  t.is(await state(guest), before);
  t.false((await guest.sitegen('alarms', '--json')).stdout.includes(unit));
});

longTest('a job waits for whoever replaces or restores its site', async (t, guest) => {
  await addSite(guest, '  hello: {calendar: yearly, command: [echo, hello]}\n');
  await freeze(guest);
  const since = await now(guest);
  await guest.sh(`systemd-run --quiet --unit hold-jobs flock /run/sitegen/sites/${domain}.lock sleep 8; sleep 1`);
  const run = guest.sitegen('jobs', 'run', domain, 'hello');
  await new Promise((resolve) => setTimeout(resolve, 3000));
  t.is(await state(guest), 'frozen');
  t.is((await run).code, 0);
  t.is(await state(guest), 'frozen');
  t.regex(await journal(guest, since), /^hello: done: frozen; wait [2-9]\d{3} ms/m);
});

longTest('a site is stopped, and removed, while a job of it runs', async (t, guest) => {
  await addSite(guest, '  slow: {calendar: yearly, command: [sleep, "600"]}\n');
  const unit = `sitegen-job@${domain}:slow.service`;
  await freeze(guest);
  const running = () => until('it runs', async () => (await guest.run(['pgrep', '-f', '^sleep 600'])).code === 0, 40_000);
  const stopped = guest.sitegen('jobs', 'run', domain, 'slow');
  await running();
  t.is((await guest.sitegen('stop', domain)).code, 0);
  t.regex((await stopped).stderr, /its job slow failed: the container site-jobs\.example\.com ended while sleep ran in it/);
  t.is(await state(guest), 'stopped');
  await until('the alarm is raised', async () => (await guest.sitegen('alarms', '--json')).stdout.includes(unit), 30_000);

  const removed = guest.sitegen('jobs', 'run', domain, 'slow');
  await running();
  t.is((await guest.sitegen('remove', '--purge', '--yes', domain)).code, 0);
  await removed;
  t.is((await guest.run(['pgrep', '-f', '^sleep 600'])).code, 1);
  t.is(await guest.sh('docker ps --all --quiet --filter name=site-jobs'), '');
  t.is(await guest.sh("systemctl list-units --failed --plain --no-legend 'sitegen-job@*'"), '');
  t.false((await guest.sitegen('alarms', '--json')).stdout.includes(unit));
});

longTest('the alarm of a job that is taken out of the settings is over', async (t, guest) => {
  await addSite(guest, '  bad: {calendar: yearly, command: ["false"]}\n');
  await guest.sitegen('jobs', 'run', domain, 'bad');
  const alarms = async () => (await guest.sitegen('alarms', '--json')).stdout;
  await until('the alarm is raised', async () => (await alarms()).includes(':bad.service'), 30_000);
  await guest.sh(`sed -i '/^jobs:/,$d' /etc/sitegen/sites/${domain}.yaml; sitegen apply --quiet`);
  t.false((await alarms()).includes(':bad.service'));
  t.is(await guest.sh("systemctl list-units --failed --plain --no-legend 'sitegen-job@*'"), '');
});
