import path from 'node:path';
import { openGuest, type Guest } from '../test/e2e/_lab.ts';
import { execa } from 'execa';
import { benchApps } from './bench/apps.ts';
import { benchAwake } from './bench/awake.ts';
import { benchBackup } from './bench/backup.ts';
import { benchCold } from './bench/cold.ts';
import { benchFit } from './bench/fit.ts';
import { benchFrozen } from './bench/frozen.ts';
import { benchIdle } from './bench/idle.ts';
import { benchRouter } from './bench/router.ts';
import { benchScale } from './bench/scale.ts';
import { benchStart } from './bench/start.ts';

/**
 * `npm run bench [-- start|wake|apps|awake|scale|idle|router|backup|fit]`: boots a guest of its own, but for starts and backups, and
 * prints ratios within one run, with the raw figures. Absolute times differ from machine to machine and from minute to minute.
 * `fit` takes a virtual machine and an hour, and is done only when it is named.
 */
const lab = path.resolve(import.meta.dirname, 'lab');
const name = 'bench';
const rounds = Number(process.env['ROUNDS'] ?? 30);
const wanted = process.argv.slice(2);
const runs = (topic: string) => wanted.length === 0 || wanted.includes(topic);

if (runs('start')) await benchStart();
if (runs('backup')) await benchBackup();
if (wanted.includes('fit')) await inGuest(`${name}-vm`, ['--vm'], benchFit);
if (['wake', 'apps', 'awake', 'scale', 'idle', 'router'].some(runs)) {
  await inGuest(name, [], async (guest) => {
    if (runs('wake')) await benchFrozen(guest, rounds, await benchCold(guest, rounds));
    if (runs('apps')) await benchApps(guest);
    if (runs('awake')) await benchAwake(guest);
    if (runs('scale')) await benchScale(guest);
    if (runs('idle')) await benchIdle(guest);
    if (runs('router')) await benchRouter(guest);
  });
}

/** Boots a guest for something. */
async function inGuest(named: string, options: readonly string[], body: (guest: Guest) => Promise<void>): Promise<void> {
  await execa(lab, ['up', named, ...options], { stdio: ['ignore', 'inherit', 'inherit'] });
  const guest = openGuest(named);
  try {
    console.log(await guest.sh(`echo "$(nproc) processors, kernel $(uname -r), $(. /etc/os-release; echo "$PRETTY_NAME"), systemd $(systemctl --version | sed -n '1s/systemd \\([0-9]*\\).*/\\1/p'), Docker $(docker version --format '{{.Server.Version}}'), Node $(node --version)"`));
    await body(guest);
  } finally {
    if (process.env['KEEP'] !== '1') await execa(lab, ['down', named], { stdio: 'inherit' });
  }
}
