import type { ExecutionContext } from 'ava';
import { buildImage } from './_images.ts';
import { guestTest, until, type Guest } from './_guest.ts';

/** A site that forks or grows without end when it is asked to. */
const greedy = {
  Dockerfile: [
    'FROM scratch', 'COPY busybox start /bin/', 'COPY index.html /www/', 'COPY grow fork /www/cgi-bin/', 'STOPSIGNAL SIGKILL', 'CMD ["/bin/start"]', '',
  ].join('\n'),
  'index.html': 'here\n',
  // Process 1 itself grows, so that the kernel ends the container and not a child of it.
  start: [
    '#!/bin/busybox sh', '/bin/busybox rm -f /grow', '/bin/busybox httpd -p 80 -h /www', 'until [ -e /grow ]; do /bin/busybox sleep 0.5; done', 'exec /bin/busybox tail /dev/zero', '',
  ].join('\n'),
  grow: ['#!/bin/busybox sh', String.raw`printf 'Content-Type: text/plain\r\n\r\nhungry\n'`, ': >/grow', ''].join('\n'),
  fork: ['#!/bin/busybox sh', 'i=0', 'while [ $((i = i + 1)) -lt 100 ]; do /bin/busybox sleep 2 & done', ''].join('\n'),
};

const domain = 'greedy.example.com';
const service = `site-${domain}.service`;
const slice = `/site.slice/site-${domain}.slice`;
const cgroup = `/sys/fs/cgroup${slice}`;
const MiB = 1024 * 1024;

guestTest('a greedy site meets its limits alone: changed while it runs, killed within its slice, woken again', async (t, guest) => {
  if (!(await guest.sh('cat /sys/fs/cgroup/cgroup.controllers')).split(' ').includes('memory')) {
    throw new Error(`${guest.name} cannot limit memory: this test needs a virtual machine, ./scripts/lab up --vm`);
  }
  await buildImage(guest, 'test/greedy:1', greedy);
  const [address, neighbour] = await Promise.all([
    guest.site(domain, '--image', 'test/greedy:1', '--memory', '64M'),
    guest.site('neighbour.example.com', '--image', 'test/greedy:1'),
  ]);
  await Promise.all([guest.get(address), guest.get(neighbour)]);
  t.teardown(() => guest.sh("systemctl stop 'test-*'"));
  const polite = await watch(guest, 'neighbour', neighbour);
  const docker = await guest.sh('systemctl show -P MainPID docker');

  t.log('the slice has the limits of the settings, and holds container and splice');
  const before = await running(guest);
  const held = (await guest.sh(`cat $(find ${cgroup} -name cgroup.procs)`)).split('\n');
  t.true(held.includes(before.container) && held.includes(before.splice));
  t.is(await guest.sh(`cat ${cgroup}/memory.max`), String(64 * MiB));
  t.is(await guest.sh(`cat ${cgroup}/pids.max`), '512');

  t.log('limits from settings and drop-ins change under a running site');
  const greedyVisits = await watch(guest, 'greedy', address);
  await dropIn(guest, `site-${domain}.slice`, '[Slice]\nTasksMax=40\n');
  await dropIn(guest, service, '[Service]\nLimitNOFILE=3000\n');
  await guest.sh(`sed -i 's/memoryMax: .*/memoryMax: 96M/' /etc/sitegen/sites/${domain}.yaml; sitegen apply ${domain}`);
  t.is(await guest.sh(`cat ${cgroup}/memory.max`), String(96 * MiB));
  t.is(await guest.sh(`cat ${cgroup}/pids.max`), '40', 'the drop-in wins over the settings');
  t.deepEqual(await running(guest), before, 'nothing was started anew');
  const { memory } = await guest.status(domain);
  t.is(memory.max, 96 * MiB);
  t.true((memory.current ?? 0) > 0 && (memory.current ?? 0) < 96 * MiB);
  assertAllAnswered(t, await greedyVisits());

  t.log('forks end at TasksMax');
  await guest.get(address, { path: '/cgi-bin/fork', timeoutS: 60 });
  t.true(await counter(guest, cgroup, 'pids.events', 'max') > 0);
  await until('the forks have ended', async () => Number(await guest.sh(`cat ${cgroup}/pids.current`)) < 20, 60_000);

  t.log('memory ends at MemoryMax, within the slice');
  const { began } = JSON.parse(await guest.sh(`jq -n '{ began: now }'`)) as { began: number };
  t.is((await guest.get(address, { path: '/cgi-bin/grow' })).body, 'hungry\n');
  await until('the service has failed', async () => await guest.sh(`systemctl show -P ActiveState ${service}`) === 'failed', 60_000, 500);
  const kernel = await guest.sh(`journalctl --sync; journalctl -k --since @${began} --no-pager -o cat | grep oom-kill:`);
  t.log(kernel);
  for (const line of kernel.split('\n')) t.true(line.includes(`oom_memcg=${slice},task_memcg=${slice}/`), line);
  t.true(await counter(guest, cgroup, 'memory.events', 'oom_kill') > 0);
  for (const other of ['site.slice/site-neighbour.example.com.slice', 'system.slice']) {
    t.is(await counter(guest, `/sys/fs/cgroup/${other}`, 'memory.events', 'oom_kill'), 0, other);
  }
  t.is(await guest.sh('systemctl list-units --state=failed --no-legend --plain | cut -d" " -f1'), service);
  t.is(await guest.sh('systemctl show -P MainPID docker'), docker);

  const said = /ended by itself with exit code 137, killed for using more memory than its limit/;
  t.regex(await guest.sh(`systemctl status --no-pager ${service} || true`), new RegExp(`Status: .*${said.source}`));
  await until('the alarm is out', async () => (await guest.run(['test', '-e', `/var/lib/sitegen/alarms/${service}.json`])).code === 0, 60_000, 500);
  const [alarms, status] = await Promise.all([guest.sitegen('alarms', '--json'), guest.status(domain)]);
  const [alarm] = JSON.parse(alarms.stdout) as { unit: string; reason: string }[];
  t.is(alarm?.unit, service);
  t.regex(alarm?.reason ?? '', said);
  t.regex(status.reason ?? '', said);

  t.is((await guest.get(address)).body, 'here\n');
  t.is(await guest.sh(`systemctl show -P ActiveState ${service}`), 'active');
  t.regex(await guest.sh(`cat /proc/${(await running(guest)).splice}/limits`), /^Max open files +3000 /m);
  assertAllAnswered(t, await polite());
});

function assertAllAnswered(t: ExecutionContext, visits: readonly string[]): void {
  t.true(visits.length > 5, `${visits.length} visits`);
  t.deepEqual(visits.filter((visit) => visit !== 'answered'), []);
}

/** Visits a site every second until the function that it gives is called; that one tells of all visits. */
async function watch(guest: Guest, name: string, address: string): Promise<() => Promise<string[]>> {
  // curl would take most of an emulated machine.
  await guest.sh(`rm -f /tmp/${name}.visits; systemd-run --quiet --collect --unit=test-${name} sh -c \
    'while sleep 1; do if busybox wget -q -T 10 -O /dev/null http://${address}/; then echo answered; else echo lost; fi >>/tmp/${name}.visits; done'`);
  return async () => (await guest.sh(`systemctl stop test-${name}; cat /tmp/${name}.visits`)).split('\n');
}

/** What `systemctl edit` makes; the reload that it ends with is left to apply. */
async function dropIn(guest: Guest, unit: string, text: string): Promise<void> {
  await guest.sh(`mkdir -p /etc/systemd/system/${unit}.d; cat >/etc/systemd/system/${unit}.d/override.conf <<'EOF'\n${text}EOF`);
}

async function running(guest: Guest): Promise<{ container: string; splice: string }> {
  return {
    container: await guest.sh(`docker inspect -f '{{.State.Pid}}' site-${domain}`),
    splice: await guest.sh(`systemctl show -P MainPID ${service}`),
  };
}

async function counter(guest: Guest, folder: string, file: string, name: string): Promise<number> {
  return Number(await guest.sh(`sed -n 's/^${name} //p' ${folder}/${file}`));
}
