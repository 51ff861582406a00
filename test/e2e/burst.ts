import { guestTest, long } from './_guest.ts';

const count = long ? 50 : 20;

guestTest(`${count} cold sites hit at once are all answered, and never more start at once than may`, async (t, guest) => {
  const slots = Number(await guest.sh('nproc'));
  const names = Array.from({ length: count }, (_, index) => `b${index + 1}.example.org`);
  try {
    await guest.sh(`${names.map((name) => `echo 'domain: ${name}' >/etc/sitegen/sites/${name}.yaml`).join('\n')}\nsitegen apply --quiet`, { timeoutMs: 300_000 });
    const timed = async (script: string) => Number(await guest.sh(`began=$(date +%s%3N); { ${script}; } >&2; echo $(($(date +%s%3N) - began))`, { timeoutMs: 600_000 }));
    // What Docker makes of the same containers when as many start at once as may: the first round warms its caches.
    const containers = names.map((name) => `site-${name}`).join(' ');
    const bare: number[] = [];
    for (let time = 0; time < 2; time++) {
      bare.push(await timed(`printf '%s\\n' ${containers} | xargs -P ${slots} -n 1 docker start`));
      await guest.sh(`docker stop -t 1 ${containers} >/dev/null`, { timeoutMs: 300_000 });
    }
    await guest.sh('journalctl --sync');
    const since = await guest.sh('date +%s.%N');
    const hitMs = await timed(`for name in ${names.join(' ')}; do sed -n 's/^ListenStream=\\(.*\\):80/\\1/p' /etc/systemd/system/site-$name.socket; done |
      xargs -P ${count} -I{} curl --silent --max-time 120 --output /dev/null --write-out '%{http_code}\\n' http://{}/ | sort | uniq -c >/run/test-codes`);
    t.is((await guest.sh('cat /run/test-codes')).trim(), `${count} 200`);
    await guest.sh('journalctl --sync');
    const entries = (await guest.sh(`journalctl --since @${since} SITEGEN_TO=awake -o json --output-fields=SITEGEN_DOMAIN,SITEGEN_PHASES,SITEGEN_MS`))
      .split('\n').map((line) => JSON.parse(line) as Record<string, string>).filter((entry) => names.includes(entry['SITEGEN_DOMAIN'] ?? ''));
    t.is(entries.length, count, 'each has woken once');
    // A start ends when the site is ready; its time in line comes before.
    const edges = entries.flatMap((entry) => {
      const end = Number(entry['__REALTIME_TIMESTAMP']) / 1000;
      const waited = Number(/wait=(\d+)/.exec(entry['SITEGEN_PHASES'] ?? '')?.[1]);
      return [[end - Number(entry['SITEGEN_MS']) + waited, 1], [end, -1]] as const;
    }).sort(([a], [b]) => a - b);
    let now = 0;
    const most = Math.max(...edges.map(([, change]) => (now += change)));
    const waits = entries.map((entry) => Number(/wait=(\d+)/.exec(entry['SITEGEN_PHASES'] ?? '')?.[1]));
    t.log(`${count} sites in ${hitMs} ms; docker start alone, ${slots} at once: ${bare.join(', ')} ms; ratio ${(Math.min(...bare) / hitMs).toFixed(2)}; longest wait in line ${Math.max(...waits)} ms; ${most} at once by the journal`);
    // Its entry is written a few milliseconds after a start has ended, when the next one has begun.
    t.true(most <= slots + 2, `${most} at once`);
    t.true(Math.max(...waits) > 0, 'some lined up');
  } finally {
    await guest.sh(`rm -f ${names.map((name) => `/etc/sitegen/sites/${name}.yaml`).join(' ')}; sitegen apply --quiet; rm -rf ${names.map((name) => `/var/lib/sitegen/sites/${name}`).join(' ')}`, { timeoutMs: 300_000 });
  }
});
