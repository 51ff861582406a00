import path from 'node:path';
import { openGuest, type Guest } from '../test/e2e/_lab.ts';
import { execa } from 'execa';
import { benchAwake } from './bench/awake.ts';
import { benchBackup } from './bench/backup.ts';
import { benchCold } from './bench/cold.ts';
import { benchFrozen } from './bench/frozen.ts';
import { benchRouter } from './bench/router.ts';

/**
 * `npm run bench [-- wake|awake|memory|router|backup]`: boots a guest of its own, but for backups, and prints ratios within one run,
 * with the raw figures. Absolute times differ from machine to machine and from minute to minute.
 */
const lab = path.resolve(import.meta.dirname, 'lab');
const name = 'bench';
const rounds = Number(process.env['ROUNDS'] ?? 30);
const wanted = process.argv.slice(2);
const runs = (topic: string) => wanted.length === 0 || wanted.includes(topic);

async function memory(guest: Guest): Promise<void> {
  const count = 100;
  const awake = 20;
  const pss = async (pids: string) => Number(await guest.sh(`cat ${pids} | awk '/^Pss:/ { sum += $2 } END { print sum }'`));
  await guest.sh('systemctl daemon-reexec; sleep 1');
  const before = await pss('/proc/1/smaps_rollup');
  await guest.sh(`for n in $(seq ${count}); do echo "domain: m$n.example.com" > /etc/sitegen/sites/m$n.example.com.yaml; done; sitegen apply --quiet`, { timeoutMs: 600_000 });
  const sleeping = await pss('/proc/1/smaps_rollup');
  await guest.sh(`for n in $(seq ${awake}); do sitegen start --quiet m$n.example.com; done`, { timeoutMs: 600_000 });
  const awakePid1 = await pss('/proc/1/smaps_rollup');
  const splice = await pss('$(for n in $(seq ' + String(awake) + '); do echo /proc/$(systemctl show -P MainPID site-m$n.example.com)/smaps_rollup; done)');
  console.log('memory besides the container (PSS):');
  console.log(`  a sleeping site, in systemd                  ${((sleeping - before) / count).toFixed(1)} kB   (${count} sites)`);
  console.log(`  an awake site, in systemd and splice         ${((splice + awakePid1 - sleeping) / awake / 1024).toFixed(2)} MB   (${awake} sites; splice alone ${(splice / awake / 1024).toFixed(2)} MB)`);
  await guest.sh('rm /etc/sitegen/sites/m*.yaml; sitegen apply --quiet; rm -rf /var/lib/sitegen/sites/m*', { timeoutMs: 600_000 });
}

if (runs('backup')) await benchBackup();
if (['wake', 'awake', 'memory', 'router'].some(runs)) await inGuest();

async function inGuest(): Promise<void> {
  await execa(lab, ['up', name], { stdio: ['ignore', 'inherit', 'inherit'] });
  const guest = openGuest(name);
  try {
    console.log(await guest.sh(`echo "$(nproc) processors, kernel $(uname -r), $(. /etc/os-release; echo "$PRETTY_NAME"), systemd $(systemctl --version | sed -n '1s/systemd \\([0-9]*\\).*/\\1/p'), Docker $(docker version --format '{{.Server.Version}}'), Node $(node --version)"`));
    if (runs('wake')) await benchFrozen(guest, rounds, await benchCold(guest, rounds));
    if (runs('awake')) await benchAwake(guest);
    if (runs('memory')) await memory(guest);
    if (runs('router')) await benchRouter(guest);
  } finally {
    if (process.env['KEEP'] !== '1') await execa(lab, ['down', name], { stdio: 'inherit' });
  }
}
