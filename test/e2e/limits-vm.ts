import { buildImage } from './_images.ts';
import { guestTest, until, type Guest, type SiteJson } from './_guest.ts';

/** A site that forks or grows without end when it is asked to. */
const greedy = {
  Dockerfile: [
    'FROM scratch', 'COPY busybox start /bin/', 'COPY grow fork /www/cgi-bin/', 'STOPSIGNAL SIGKILL', 'CMD ["/bin/start"]', '',
  ].join('\n'),
  // Process 1 itself grows, so that the kernel ends the container and not a child of it.
  start: [
    '#!/bin/busybox sh', '/bin/busybox httpd -p 80 -h /www', 'until [ -e /grow ]; do /bin/busybox sleep 0.5; done', 'exec /bin/busybox tail /dev/zero', '',
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
  const address = await guest.site(domain, '--image', 'test/greedy:1', '--memory', '64M');
  const neighbour = await guest.site('neighbour.example.com', '--image', 'test/greedy:1');
  await Promise.all([guest.get(address), guest.get(neighbour)]);
  const polite = await watch(guest, 'neighbour', neighbour);
  const docker = await guest.sh('systemctl show -P MainPID docker');

  t.log('the slice has the limits of the settings, and holds container and splice');
  const { memory } = await guest.status(domain);
  t.is(memory.max, 64 * MiB);
  t.true((memory.current ?? 0) > 0 && (memory.current ?? 0) < 64 * MiB);
  const before = await running(guest);
  const held = (await guest.sh(`cat $(find ${cgroup} -name cgroup.procs)`)).split('\n');
  t.true(held.includes(before.container) && held.includes(before.splice));
  t.is(await guest.sh(`cat ${cgroup}/pids.max`), '512');

  t.log('limits from settings and drop-ins change under a running site');
  const greedyVisits = await watch(guest, 'greedy', address);
  await dropIn(guest, `site-${domain}.slice`, '[Slice]\nTasksMax=40\n');
  await dropIn(guest, service, '[Service]\nLimitNOFILE=3000\n');
  await guest.sh('systemctl daemon-reload');
  t.is(await guest.sh(`cat ${cgroup}/pids.max`), '40');
  await guest.sh(`sed -i 's/memoryMax: .*/memoryMax: 96M/' /etc/sitegen/sites/${domain}.yaml; sitegen apply ${domain}`);
  t.is(await guest.sh(`cat ${cgroup}/memory.max`), String(96 * MiB));
  t.is(await guest.sh(`cat ${cgroup}/pids.max`), '40', 'the drop-in outlives apply');
  t.deepEqual(await running(guest), before, 'nothing was started anew');
  assertAll200(t, await greedyVisits());

  t.log('forks end at TasksMax');
  await guest.get(address, { path: '/cgi-bin/fork', timeoutS: 60 });
  t.true(await counter(guest, cgroup, 'pids.events', 'max') > 0);
  t.true(Number(await guest.sh(`cat ${cgroup}/pids.peak 2>/dev/null || echo 40`)) <= 40);
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
  t.like(JSON.parse((await guest.sitegen('alarms', '--json')).stdout), [{ unit: service, count: 1 }]);
  t.regex((await guest.sitegen('alarms')).stdout, said);
  t.regex((await guest.status(domain) as SiteJson).reason ?? '', said);

  t.is((await guest.get(address, { path: '/cgi-bin/grow-not' })).status, 404);
  t.is(await guest.sh(`systemctl show -P ActiveState ${service}`), 'active');
  t.deepEqual(JSON.parse((await guest.sitegen('alarms', '--json')).stdout), []);
  t.regex(await guest.sh(`cat /proc/${(await running(guest)).splice}/limits`), /^Max open files +3000 /m);
  assertAll200(t, await polite());
});

function assertAll200(t: { deepEqual(actual: unknown, expected: unknown): boolean; true(actual: boolean, message?: string): boolean }, codes: readonly string[]): void {
  t.true(codes.length > 5, `${codes.length} visits`);
  t.deepEqual(codes.filter((code) => code !== '404'), []);
}

/** Visits a site twice a second until the function that it gives is called; that one gives all statuses. */
async function watch(guest: Guest, name: string, address: string): Promise<() => Promise<string[]>> {
  await guest.sh(`rm -f /tmp/${name}.visits; systemd-run --quiet --collect --unit=test-${name} sh -c \
    'while sleep 0.5; do curl --silent --max-time 10 --output /dev/null --write-out "%{http_code}\\n" http://${address}/ >>/tmp/${name}.visits; done'`);
  return async () => (await guest.sh(`systemctl stop test-${name}; cat /tmp/${name}.visits`)).split('\n');
}

/** What `systemctl edit` makes. */
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
