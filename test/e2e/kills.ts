import { drift, sites, writeSites } from './_cycles.ts';
import { long, longTest, until } from './_guest.ts';
import { write } from './_machine.ts';
import { ensureServerImage } from './_server.ts';

const seconds = long ? 600 : 60;

/** Visits a site at its address and through the router, with rests in which it falls asleep, and notes the answers. */
const visitor = `#!/bin/bash
while [[ ! -e /tmp/kills/stop ]]; do
  for way in "http://$1/?id=7" "https://$2/?id=7"; do
    curl --silent --insecure --output /dev/null --write-out '%{http_code}\\n' --max-time 60 --connect-to "$2:443:127.0.0.1:443" "$way" >>/tmp/kills/answers
  done
  sleep $((RANDOM % 5)).$((RANDOM % 10))
done
`;

/** Kills somebody of those that have to do with sites, again and again, until the given second, and notes whom. */
const killer = `#!/bin/bash
shopt -s nullglob
docker_at=0
while (($(date +%s) < $1)); do
  sleep 0.$((RANDOM % 10))
  kind=$(shuf -n 1 -e service service service container container shim router idle docker)
  case $kind in
  service) files=(/sys/fs/cgroup/site.slice/site-*.slice/site-*.service/cgroup.procs) ;;
  container) files=(/sys/fs/cgroup/site.slice/site-*.slice/site-*-app.slice/docker-*.scope/cgroup.procs) ;;
  router) files=(/sys/fs/cgroup/system.slice/sitegen-router.service/cgroup.procs) ;;
  idle) files=(/sys/fs/cgroup/system.slice/sitegen-idle.service/cgroup.procs) ;;
  shim) files=() pids=$(pgrep -f '^/usr/bin/containerd-shim') ;;
  docker)
    # More often, and systemd itself would give docker.service up.
    (($(date +%s) > docker_at + 45)) || continue
    docker_at=$(date +%s) files=() pids=$(systemctl show -P MainPID "$(shuf -n 1 -e docker.service containerd.service)")
    ;;
  esac
  ((\${#files[@]} == 0)) || pids=$(cat "\${files[@]}" 2>/dev/null)
  pid=$(shuf -n 1 -e $pids)
  [[ $pid -gt 1 ]] || continue
  name=$(tr '\\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | cut -c1-60)
  kill -9 "$pid" 2>/dev/null && echo "$kind $name" >>/tmp/kills/killed
done
`;

longTest(`sites are as systemd, Docker and the kernel say, and answer, after ${seconds} s in which whoever serves them is killed with -9`, async (t, guest) => {
  await ensureServerImage(guest);
  try {
    const there = await writeSites(guest);
    await write(guest, '/tmp/kills/visitor', visitor);
    await write(guest, '/tmp/kills/killer', killer);
    await guest.sh('rm -f /tmp/kills/{stop,answers,killed}');
    await guest.sh("systemd-run --quiet --collect --unit test-rounds bash -c 'while :; do systemctl start sitegen-idle.service; sleep 0.5; done'");
    for (const [n, { host, address }] of there.entries()) await guest.sh(`systemd-run --quiet --collect --unit test-visitor-${n} bash /tmp/kills/visitor ${address} ${host}`);
    await guest.sh(`bash /tmp/kills/killer $(($(date +%s) + ${seconds}))`, { timeoutMs: (seconds + 300) * 1000 });

    await until('Docker is back', async () => (await guest.run(['docker', 'info'])).code === 0, 60_000, 1000);
    for (const { host, address } of there) {
      t.is(await guest.sh(`systemctl is-active site-${host}.socket`), 'active');
      await until(`${host} answers at its address`, async () => (await guest.get(address, { path: '/?id=8', timeoutS: 60 })).body === 'GET 8 0\n', 60_000, 1000);
      await until(`${host} answers through the router`, async () => await guest.sh(`curl --silent --insecure --max-time 60 --connect-to ${host}:443:127.0.0.1:443 'https://${host}/?id=9' || true`) === 'GET 9 0', 60_000, 1000);
    }
    await guest.sh('touch /tmp/kills/stop; systemctl stop test-rounds; while systemctl list-units --plain --no-legend test-visitor-* | grep -q .; do sleep 0.2; done', { timeoutMs: 120_000 });
    await guest.sh('systemctl stop sitegen-idle.timer; systemctl start sitegen-idle.service');
    await until('all are at rest', async () => (await guest.sh("systemctl list-units --plain --no-legend 'site-*.service' 'sitegen-idle.service' --state=activating,deactivating,reloading")) === '', 60_000);
    for (const site of there) t.is(await drift(guest, site), '');
    t.is(await guest.sh("systemctl list-units --failed --plain --no-legend 'site-*' sitegen-router.service sitegen-idle.service"), '');
    t.is(await guest.sh("docker ps --all --quiet --filter label=sitegen.domain | wc -l"), String(there.length), 'one container each');

    const count = async (file: string) => guest.sh(`sort /tmp/kills/${file} | cut -d' ' -f1 | uniq -c | sort -rn | awk '{ printf "%s%s %s", (NR > 1 ? ", " : ""), $2, $1 }'`);
    t.log(`killed: ${await count('killed')}; answers: ${await count('answers')}`);
    t.true(Number(await guest.sh('wc -l </tmp/kills/killed')) > seconds / 4);
    t.true(Number(await guest.sh('grep -c 200 /tmp/kills/answers')) > seconds / 10);
  } finally {
    await guest.sh('touch /tmp/kills/stop; systemctl stop test-rounds "test-visitor-*" 2>/dev/null || true; systemctl reset-failed docker containerd; systemctl start docker');
    for (const { host } of sites) await guest.sitegen('remove', '--purge', '--yes', host);
  }
});
