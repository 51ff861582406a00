import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { Guest } from '../../test/e2e/_lab.ts';
import { figures, ratio } from './figures.ts';

const domain = 'cold.example.com';

/**
 * A hit on a sleeping site beside Docker's own start, and beside what one would write by hand: the
 * same container settings, docker start, socket-proxyd.
 * @returns milliseconds of cold hits
 */
export async function benchCold(guest: Guest, rounds: number): Promise<number[]> {
  await guest.run(['sh', '-c', 'cat > /tmp/wake.mjs'], { input: await readFile(path.resolve(import.meta.dirname, 'wake.mjs'), 'utf8') });
  const address = await guest.site(domain);
  try {
    // Without a dump, which others do not make, before each stop.
    await guest.sh(`
      echo 'backup: false' >>/etc/sitegen/sites/${domain}.yaml; sitegen apply --quiet
      image=$(docker inspect --format '{{.Config.Image}}' site-${domain})
      for name in api hand; do docker create --name $name --network sitegen --ip 10.214.0.$([ $name = api ] && echo 10 || echo 11) --log-driver journald \\
        --cap-drop ALL --cap-add NET_BIND_SERVICE --security-opt no-new-privileges $image; done
      # ReusePort= as the router listens on all addresses.
      printf '[Socket]\\nListenStream=10.213.0.11:80\\nFreeBind=yes\\nReusePort=yes\\n' > /etc/systemd/system/hand.socket
      printf '[Unit]\\nAfter=docker.service\\n[Service]\\nExecStartPre=/usr/bin/docker start hand\\nExecStart=/usr/lib/systemd/systemd-socket-proxyd 10.214.0.11:80\\nExecStopPost=/usr/bin/docker stop -t 1 hand\\n' > /etc/systemd/system/hand.service
      systemctl daemon-reload; systemctl start hand.socket`);
    console.log(`cold start, ${rounds} rounds, in turns:`);
    const out = await guest.sh(`node /tmp/wake.mjs ${rounds} api=api:api:10.214.0.10: sitegen=hit:site-${domain}:${address}:site-${domain}.service hand=hit:hand:10.213.0.11:hand.service`, { timeoutMs: 1_200_000 });
    const { api = [], sitegen = [], hand = [] } = JSON.parse(out) as Record<string, number[]>;
    figures('start over Docker\'s API + first answer', api, 'ms');
    figures('cold hit, sitegen', sitegen, 'ms');
    figures('cold hit, hand-written units', hand, 'ms');
    ratio('sitegen ÷ API start + first answer', sitegen, api);
    ratio('hand-written ÷ API start + first answer', hand, api);
    ratio('sitegen ÷ hand-written', sitegen, hand);
    return sitegen;
  } finally {
    await guest.sh(`systemctl stop hand.socket hand.service || true; rm -f /etc/systemd/system/hand.*; systemctl --quiet reset-failed "hand.*"; docker rm -f api hand >/dev/null; sitegen remove --purge -yq ${domain}; systemctl daemon-reload`);
  }
}
