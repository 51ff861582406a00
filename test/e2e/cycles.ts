import { drift, sites, writeSites } from './_cycles.ts';
import { guestTest, long, until } from './_guest.ts';
import { ensureServerImage, put } from './_server.ts';

/** What cycles.mjs prints. */
interface Cycles {
  sent: number;
  answered: number;
  retried: number;
  websockets: number;
  bursts: number;
  lost: string[];
  posts: Record<string, number[]>;
  slowest: number;
}

const wakes = long ? 1000 : 15;

guestTest(`no request is lost while sites fall asleep and wake ${wakes} times, of any kind and on any way, and nothing drifts`, async (t, guest) => {
  await ensureServerImage(guest);
  for (const name of ['requests.mjs', 'cycles.mjs']) await put(guest, name, `/tmp/${name}`);
  try {
    const there = await writeSites(guest);
    await guest.sh('journalctl --sync');
    const since = await guest.sh('date +%s.%N');
    // A look at the sites all the time, not only when its timer is due.
    await guest.sh("systemd-run --quiet --collect --unit test-rounds bash -c 'while :; do systemctl start sitegen-idle.service; sleep 0.2; done'");
    const count = (to: string) => guest.sh(`journalctl --since @${since} SITEGEN_TO=${to} -o cat | wc -l`);
    await guest.sh('rm -f /tmp/cycles.stop');
    const running = guest.sh(`node /tmp/cycles.mjs '${JSON.stringify({ sites: there, pauseMs: 4000 })}'`, { timeoutMs: 10_800_000 });
    await Promise.race([running, until(`${wakes} wakes`, async () => Number(await count('awake')) >= wakes, wakes * 8000, 3000)])
      .finally(() => guest.sh('touch /tmp/cycles.stop'));
    const ran = await running;
    const { lost, sent, answered, retried, websockets, bursts, posts, slowest } = JSON.parse(ran) as Cycles;
    await guest.sh('journalctl --sync');
    const transitions = [`awake ${await count('awake')}`, `frozen ${await count('frozen')}`, `asleep ${await count('asleep')}`].join(', ');
    t.log(`${sent} requests in ${bursts} bursts, ${websockets} of them websockets, ${retried} sent again on a new connection, slowest ${slowest} ms; transitions: ${transitions}`);
    t.deepEqual(lost, []);
    t.is(answered, sent);
    for (const [host, ids] of Object.entries(posts)) {
      const applied = (await guest.sh(`cat /var/lib/sitegen/sites/${host}/data/data/applied`)).split('\n').map(Number).sort((a, b) => a - b);
      t.deepEqual(applied, ids.sort((a, b) => a - b), `${host}: every POST took effect exactly once`);
    }
    t.notRegex(transitions, /frozen 0|asleep 0/);
    await guest.sh('systemctl stop test-rounds');
    await until('all are at rest', async () => (await guest.sh("systemctl list-units --plain --no-legend 'site-*.service' 'sitegen-idle.service' --state=activating,deactivating,reloading")) === '', 30_000);
    for (const site of there) t.is(await drift(guest, site), '');
    t.is(await guest.sh("nft list set inet sitegen held | grep -o 'elements.*' || true; nft list set inet sitegen held_flows | grep -o 'elements.*' || true; systemctl list-units --failed --plain --no-legend 'site*'; ls /run/sitegen/sites | grep -E '\\.(freeze|failed)$' || true"), '');
  } finally {
    await guest.sh('systemctl stop test-rounds 2>/dev/null || true');
    for (const { host } of sites) await guest.sitegen('remove', '--purge', '--yes', host);
  }
});
