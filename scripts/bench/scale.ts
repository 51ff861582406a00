import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { Guest } from '../../test/e2e/_lab.ts';
import { at, figures, ratio } from './figures.ts';

/** Numbers of sites, in ascending order. */
const counts = (process.env['SITES'] ?? '10,100,500').split(',').map(Number);
const wakes = Number(process.env['WAKES'] ?? 10);
/** So many are woken for the memory of an awake site. */
const awakeAtMost = Number(process.env['AWAKE'] ?? 20);

const probe = 'probe.example.com';

/** kB of the processes whose ids a command prints. */
async function pss(guest: Guest, pids: string): Promise<number> {
  return Number(await guest.sh(`for pid in $(${pids}); do cat /proc/$pid/smaps_rollup; done | awk '/^Pss:/ { sum += $2 } END { print sum + 0 }'`));
}

/** What a site costs in memory, asleep and awake, and how long one takes to wake, by the number of sites there. */
export async function benchScale(guest: Guest): Promise<void> {
  await guest.run(['sh', '-c', 'cat > /tmp/wake.mjs'], { input: await readFile(path.resolve(import.meta.dirname, 'wake.mjs'), 'utf8') });
  const address = await guest.site(probe);
  const woken: number[][] = [];
  try {
    // Without a dump before each stop.
    await guest.sh(`echo 'backup: false' >>/etc/sitegen/sites/${probe}.yaml; sitegen apply --quiet`);
    // What systemd has of earlier units, and has not given back, would count as nothing.
    await guest.sh('systemctl daemon-reexec; sleep 1');
    const empty = await pss(guest, 'echo 1');
    for (const [index, count] of counts.entries()) {
      const before = index === 0 ? 1 : (counts[index - 1] ?? 1);
      const took = Number(await guest.sh(`
        for n in $(seq ${before} $((${count} - 1))); do printf 'domain: m%s.example.com\\nbackup: false\\n' $n >/etc/sitegen/sites/m$n.example.com.yaml; done
        began=$(date +%s%3N); sitegen apply --quiet >&2; echo $(($(date +%s%3N) - began))`, { timeoutMs: 1_800_000 }));
      console.log(`${count} sites (apply of ${count - before} more: ${(took / 1000).toFixed(1)} s):`);
      const asleep = await pss(guest, 'echo 1');
      console.log(`  ${'a sleeping site, in systemd (PSS)'.padEnd(44)} ${((asleep - empty) / (count - 1)).toFixed(1)} kB`);
      await awakeMemory(guest, Math.min(count - 1, awakeAtMost), asleep);
      const out = await guest.sh(`node /tmp/wake.mjs ${wakes} api=api:site-${probe}:$(sitegen status --json ${probe} | grep -oP '"containerAddress": *"\\K[^"]+'): sitegen=hit:site-${probe}:${address}:site-${probe}.service`, { timeoutMs: 600_000 });
      const { api = [], sitegen = [] } = JSON.parse(out) as Record<string, number[]>;
      figures('cold hit', sitegen, 'ms');
      figures('start over Docker\'s API + first answer', api, 'ms');
      ratio('the first ÷ the second', sitegen, api);
      woken.push(sitegen);
    }
    for (const [index, times] of woken.entries()) {
      if (index > 0) console.log(`median of a cold hit, ${counts[index]} sites ÷ ${counts[0]}: ${(at(times, 0.5) / at(woken[0] ?? [], 0.5)).toFixed(2)}`);
    }
  } finally {
    await guest.sh(`rm -f /etc/sitegen/sites/m[0-9]*.yaml; sitegen apply --quiet; rm -rf /var/lib/sitegen/sites/m[0-9]*; sitegen remove --purge -yq ${probe}`, { timeoutMs: 1_800_000 });
  }
}

async function awakeMemory(guest: Guest, count: number, asleep: number): Promise<void> {
  const each = (script: string) => `for n in $(seq ${count}); do site=m$n.example.com; ${script}; done`;
  await guest.sh(each('sitegen start --quiet $site'), { timeoutMs: 600_000 });
  const systemd = await pss(guest, 'echo 1') - asleep;
  const splices = await pss(guest, each('systemctl show -P MainPID site-$site.service'));
  const shims = await pss(guest, each("pgrep -f \"containerd-shim.*$(docker inspect --format '{{.Id}}' site-$site)\""));
  console.log(`  ${'an awake site, splice and systemd (PSS)'.padEnd(44)} ${((splices + systemd) / count / 1024).toFixed(2)} MB   (${count} awake; splice alone ${(splices / count / 1024).toFixed(2)} MB; Docker's own shim ${(shims / count / 1024).toFixed(1)} MB)`);
  await guest.sh(each('systemctl stop site-$site.service'), { timeoutMs: 600_000 });
}
