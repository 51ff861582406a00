import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { Guest } from '../../test/e2e/_lab.ts';
import { at, figures } from './figures.ts';

const counts = (process.env['IDLE_SITES'] ?? '1,50').split(',').map(Number);
/** 0 leaves the comparison of watchers out. */
const watched = Number(process.env['WATCHED'] ?? 200);
const rounds = Number(process.env['ROUNDS'] ?? 20);

/** What a round of the idle timer costs, and how soon the end of a container is noticed, both with many sites awake. */
export async function benchIdle(guest: Guest): Promise<void> {
  const all = [...counts, ...(watched > 0 ? [watched] : [])];
  try {
    for (const [index, count] of all.entries()) {
      await wakeUpTo(guest, index === 0 ? 0 : (all[index - 1] ?? 0), count);
      await idleCost(guest, count);
    }
    if (watched > 0) await benchWatchers(guest);
  } finally {
    await guest.sh('systemctl stop "bench-watch*" || true; rm -f /run/systemd/system/bench-watch*; rm -f /etc/sitegen/sites/i[0-9]*.yaml; sitegen apply --quiet; rm -rf /var/lib/sitegen/sites/i[0-9]*; systemctl daemon-reload', { timeoutMs: 1_800_000 });
  }
}

async function wakeUpTo(guest: Guest, before: number, count: number): Promise<void> {
  await guest.sh(`
    for n in $(seq $((${before} + 1)) ${count}); do printf 'domain: i%s.example.com\\nbackup: false\\nidle: {never: true}\\n' $n >/etc/sitegen/sites/i$n.example.com.yaml; done
    sitegen apply --quiet; seq $((${before} + 1)) ${count} | xargs -P 4 -I{} systemctl start site-i{}.example.com.service`, { timeoutMs: 1_800_000 });
}

async function idleCost(guest: Guest, count: number): Promise<void> {
  const out = await guest.sh(`
    # While its timer is active systemd remembers what the last round took.
    systemctl start sitegen-idle.timer
    for round in $(seq 0 ${rounds}); do
      began=$(date +%s%3N); systemctl start sitegen-idle.service; ended=$(date +%s%3N)
      echo $(systemctl show -P CPUUsageNSec sitegen-idle.service) $((ended - began))
      sleep 0.5
    done`, { timeoutMs: 1_200_000 });
  // The first one reads the settings of sites that it does not know yet.
  const lines = out.split('\n').map((line) => line.split(' ').map(Number)).slice(1);
  console.log(`a round of the idle timer, ${count} awake:`);
  const cpu = lines.map(([ns = Number.NaN]) => ns / 1e6);
  figures('processor time', cpu, 'ms');
  figures('from start to end', lines.map(([, ms = Number.NaN]) => ms), 'ms');
  // Each begins 15 s after the one before has ended.
  console.log(`  ${'of one processor, a round each 15 s'.padEnd(44)} ${(at(cpu, 0.5) / 15_000 * 100).toFixed(2)} %`);
}

/**
 * The ways to notice that a container has ended: ours, by which its slice takes the service with it; a path
 * unit on `cgroup.events` for each site; and one process that watches all of them. All three see the same deaths.
 */
async function benchWatchers(guest: Guest): Promise<void> {
  await guest.run(['sh', '-c', 'cat > /tmp/deaths.mjs'], { input: await readFile(path.resolve(import.meta.dirname, 'deaths.mjs'), 'utf8') });
  const pss = async (pid: string) => Number(await guest.sh(`awk '/^Pss:/ { print $2 }' /proc/${pid}/smaps_rollup`));
  await guest.sh('systemctl daemon-reload; sleep 1');
  const before = await pss('1');
  await guest.sh(`
    printf '[Unit]\\nStartLimitIntervalSec=0\\n[Service]\\nType=oneshot\\nExecStart=/bin/touch /run/bench-watch-%%i\\n' >/run/systemd/system/bench-watch@.service
    for n in $(seq ${watched}); do
      printf '[Path]\\nTriggerLimitIntervalSec=0\\nPathModified=/sys/fs/cgroup/site.slice/site-i%s.example.com.slice/site-i%s.example.com-app.slice/cgroup.events\\nUnit=bench-watch@%s.service\\n' $n $n $n >/run/systemd/system/bench-watch$n.path
    done
    systemctl daemon-reload; systemctl start $(seq -f bench-watch%g.path ${watched})`, { timeoutMs: 600_000 });
  const paths = await pss('1');
  const { times, watcherKb } = JSON.parse(await guest.sh(`node /tmp/deaths.mjs ${Math.min(rounds, watched)} ${watched}`, { timeoutMs: 900_000 })) as { times: Record<string, number[]>; watcherKb: number };
  console.log(`a container is killed, ${watched} awake; until it is noticed:`);
  figures('its service takes the map entry out (ours)', times['entry'] ?? [], 'ms');
  figures('a path unit has started a service', times['path'] ?? [], 'ms');
  figures('one process that watches all', times['watcher'] ?? [], 'ms');
  console.log(`  memory: ours none; a path unit and its service ${((paths - before) / watched).toFixed(1)} kB a site in systemd; one watcher in Node ${(watcherKb / 1024).toFixed(1)} MB (PSS)`);
}
