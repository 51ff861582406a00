import { long, longTest, type Guest } from './_guest.ts';
import { put } from './_server.ts';
import { ensureRouter, hostSettings, outside, underLoad, visitOne, withSites, withVisitor, workerPid } from './_router.ts';

const site = 'app.example.com';

for (const addresses of long ? [1, 200] : [200]) longTest(`a flood of 10,000 invented names from ${addresses} addresses slows a known site by less than a fifth, and costs little memory`, (t, guest) => withVisitor(guest, async () => {
  await ensureRouter(guest);
  await guest.sh('for n in $(seq 3 202); do echo "addr add 192.0.2.$n/24 dev eth0"; done | ip -n visitor -batch -');
  await put(guest, 'router-flood.mjs', '/tmp/router-flood.mjs');
  await withSites(guest, { [site]: hostSettings }, async () => {
    await visitOne(guest, { host: site });
    // People pause between requests; who does not would share the processor with the flood's own client.
    const rate = async (body: () => Promise<void>) => {
      const load = await underLoad(guest, { hosts: [site], h1: 6, h2: 2, fresh: 2, think: 40 }, body);
      t.deepEqual(load.reasons, []);
      return load.rate;
    };
    const quiet = () => rate(() => new Promise((resolve) => setTimeout(resolve, 4000)));
    // The flood's client is no part of what is measured: it takes what the others leave.
    const pid = await workerPid(guest);
    const before = await memory(guest);
    const ratios: number[] = [];
    // Somebody else on the machine can slow one round, and a fault slows all.
    for (let round = 0; round < 3 && (ratios.at(-1) ?? 0) < 0.8; round++) {
      const first = await quiet();
      let flood = '';
      const flooded = await rate(async () => { flood = await guest.sh(`nice -n 19 ip netns exec visitor node /tmp/router-flood.mjs ${outside.machine} 443 10000 1250 ${addresses}`); });
      const last = await quiet();
      const { sent, closed, failed, seconds } = JSON.parse(flood) as { sent: number; closed: number; failed: number; seconds: number };
      // Those above the limit of one address are reset at once.
      t.is(closed + failed, 10_000, `${sent} were sent`);
      ratios.push(flooded / Math.min(first, last));
      t.log(`${first.toFixed(0)} requests a second before, ${flooded.toFixed(0)} while 10,000 names came in ${seconds.toFixed(1)} s, ${last.toFixed(0)} afterwards`);
    }
    t.true(Math.max(...ratios) > 0.8, ratios.map((ratio) => ratio.toFixed(2)).join(', '));
    // More names do not cost more memory.
    if (long) await guest.sh(`nice -n 19 ip netns exec visitor node /tmp/router-flood.mjs ${outside.machine} 443 50000 3000 ${addresses}`, { timeoutMs: 300_000 });
    const after = await memory(guest);
    t.log(`memory of the router: ${before} kB before, ${after} kB after`);
    t.true(after - before < 30_000);
    t.is(await workerPid(guest), pid);
  });
}));

/** What the router's worker has in memory, in kB. */
async function memory(guest: Guest): Promise<number> {
  return Number(await guest.sh(`sed -n 's/^VmRSS:\\s*\\([0-9]*\\) kB/\\1/p' /proc/${await workerPid(guest)}/status`));
}
