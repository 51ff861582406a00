import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { openGuest, type Guest } from '../test/e2e/_lab.ts';
import { execa } from 'execa';
import { benchBackup } from './bench/backup.ts';
import { figures, ratio } from './bench/figures.ts';
import { benchFrozen } from './bench/frozen.ts';
import { benchRouter } from './bench/router.ts';

/**
 * `npm run bench [-- wake|memory|router|backup]`: boots a guest of its own, but for backups, and prints ratios within one run,
 * with the raw figures. Absolute times differ from machine to machine and from minute to minute.
 */
const lab = path.resolve(import.meta.dirname, 'lab');
const name = 'bench';
const rounds = Number(process.env['ROUNDS'] ?? 30);
const wanted = process.argv.slice(2);
const runs = (topic: string) => wanted.length === 0 || wanted.includes(topic);

/** @returns milliseconds of cold hits */
async function wake(guest: Guest): Promise<number[]> {
  const script = await readFile(path.resolve(import.meta.dirname, 'bench/wake.mjs'), 'utf8');
  await guest.run(['sh', '-c', 'cat > /tmp/wake.mjs'], { input: script });
  const address = await guest.site('cold.example.com');
  // What one would write by hand: the same container settings, docker start, socket-proxyd.
  await guest.sh(`
    image=$(docker inspect --format '{{.Config.Image}}' site-cold.example.com)
    for name in api hand; do docker create --name $name --network sitegen --ip 10.214.0.$([ $name = api ] && echo 10 || echo 11) --log-driver journald \\
      --cap-drop ALL --cap-add NET_BIND_SERVICE --security-opt no-new-privileges $image; done
    printf '[Socket]\\nListenStream=10.213.0.11:80\\nFreeBind=yes\\n' > /etc/systemd/system/hand.socket
    printf '[Unit]\\nAfter=docker.service\\n[Service]\\nExecStartPre=/usr/bin/docker start hand\\nExecStart=/usr/lib/systemd/systemd-socket-proxyd 10.214.0.11:80\\nExecStopPost=/usr/bin/docker stop -t 1 hand\\n' > /etc/systemd/system/hand.service
    systemctl daemon-reload && systemctl start hand.socket`);
  console.log(`cold start, ${rounds} rounds, in turns:`);
  const out = await guest.sh(`node /tmp/wake.mjs ${rounds} api=api:api:10.214.0.10: sitegen=hit:site-cold.example.com:${address}:site-cold.example.com.service hand=hit:hand:10.213.0.11:hand.service`, { timeoutMs: 1_200_000 });
  const { api = [], sitegen = [], hand = [] } = JSON.parse(out) as Record<string, number[]>;
  figures('start over Docker\'s API + first answer', api, 'ms');
  figures('cold hit, sitegen', sitegen, 'ms');
  figures('cold hit, hand-written units', hand, 'ms');
  ratio('sitegen ÷ API start + first answer', sitegen, api);
  ratio('hand-written ÷ API start + first answer', hand, api);
  ratio('sitegen ÷ hand-written', sitegen, hand);
  await guest.sh('systemctl stop hand.socket hand.service; rm /etc/systemd/system/hand.*; docker rm -f api hand; sitegen remove --purge -yq cold.example.com; systemctl daemon-reload');
  return sitegen;
}

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
if (['wake', 'memory', 'router'].some(runs)) await inGuest();

async function inGuest(): Promise<void> {
  await execa(lab, ['up', name], { stdio: ['ignore', 'inherit', 'inherit'] });
  const guest = openGuest(name);
  try {
    console.log(await guest.sh(`echo "$(nproc) processors, kernel $(uname -r), $(. /etc/os-release; echo "$PRETTY_NAME"), systemd $(systemctl --version | sed -n '1s/systemd \\([0-9]*\\).*/\\1/p'), Docker $(docker version --format '{{.Server.Version}}'), Node $(node --version)"`));
    if (runs('wake')) await benchFrozen(guest, rounds, await wake(guest));
    if (runs('memory')) await memory(guest);
    if (runs('router')) await benchRouter(guest);
  } finally {
    if (process.env['KEEP'] !== '1') await execa(lab, ['down', name], { stdio: 'inherit' });
  }
}
