import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { Guest } from '../../test/e2e/_lab.ts';
import { at, figures, ratio } from './figures.ts';

/**
 * A hit on a frozen site beside what it is made of: a bare activation of systemd-socket-proxyd before
 * a container that runs, and Docker's own unpause with the first answer.
 * @param cold milliseconds of cold hits in the same guest
 */
export async function benchFrozen(guest: Guest, rounds: number, cold: readonly number[]): Promise<void> {
  await guest.run(['sh', '-c', 'cat > /tmp/frozen.mjs'], { input: await readFile(path.resolve(import.meta.dirname, 'frozen.mjs'), 'utf8') });
  const domain = 'frozen.example.com';
  const address = await guest.site(domain);
  try {
    await guest.sh(`
      printf 'idle: {after: 1s, stopAfter: 7d}\\nbackup: false\\n' >>/etc/sitegen/sites/${domain}.yaml; sitegen apply --quiet
      systemctl start site-${domain}; systemctl stop sitegen-idle.timer
      image=$(docker inspect --format '{{.Config.Image}}' site-${domain})
      for name in bare paused; do docker run --detach --name $name --network sitegen --ip 10.214.0.$([ $name = bare ] && echo 12 || echo 13) --cap-drop ALL --cap-add NET_BIND_SERVICE $image; done >/dev/null
      printf '[Socket]\\nListenStream=10.213.0.12:80\\nFreeBind=yes\\nReusePort=yes\\n' >/etc/systemd/system/bare.socket
      printf '[Service]\\nExecStart=/usr/lib/systemd/systemd-socket-proxyd 10.214.0.12:80\\n' >/etc/systemd/system/bare.service
      systemctl daemon-reload; systemctl start bare.socket`);
    console.log(`frozen site, ${rounds} rounds, in turns:`);
    const out = await guest.sh(`node /tmp/frozen.mjs ${rounds} ${address} ${domain} 10.213.0.12 bare.service paused 10.214.0.13`, { timeoutMs: 1_800_000 });
    const { frozen = [], bare = [], unpause = [] } = JSON.parse(out) as Record<string, number[]>;
    figures('hit on a frozen site', frozen, 'ms');
    figures('bare activation of socket-proxyd', bare, 'ms');
    figures('docker unpause + first answer', unpause, 'ms');
    console.log(`  p99: frozen ${at(frozen, 0.99).toFixed(1)} ms, bare ${at(bare, 0.99).toFixed(1)} ms, unpause ${at(unpause, 0.99).toFixed(1)} ms`);
    console.log(`  median of frozen − bare, round by round       ${at(frozen.map((value, index) => value - (bare[index] ?? Number.NaN)), 0.5).toFixed(1)} ms`);
    ratio('frozen ÷ bare activation', frozen, bare);
    ratio('frozen ÷ docker unpause + first answer', frozen, unpause);
    if (cold.length > 0) console.log(`  ${'median frozen ÷ median cold'.padEnd(44)} ${(at(frozen, 0.5) / at(cold, 0.5)).toFixed(2)}`);
  } finally {
    await guest.sh(`systemctl stop bare.socket bare.service || true; rm -f /etc/systemd/system/bare.*; systemctl --quiet reset-failed "bare.*"; docker rm -f bare paused >/dev/null; sitegen remove --purge -yq ${domain}; systemctl daemon-reload`);
  }
}
