import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { Guest } from '../../test/e2e/_lab.ts';
import { at, figures, ratio } from './figures.ts';

const adds = Number(process.env['ADDS'] ?? 10);

interface Added {
  add: number[];
  request: number[];
}

/** What a number of sites costs: to add one more, and in the router's memory. */
export async function benchSites(guest: Guest): Promise<void> {
  await guest.run(['sh', '-c', 'cat > /tmp/add.mjs'], { input: await readFile(path.resolve(import.meta.dirname, 'add.mjs'), 'utf8') });
  // Builds the image, which a machine does once.
  await guest.site('first.example.com');
  try {
    await fill(guest, 10);
    const few = await timed(guest, 'with 10 sites');
    const before = await routerMemory(guest);
    await fill(guest, 2000);
    const after = await routerMemory(guest);
    const many = await timed(guest, 'with 2,000 sites, half redirects, half proxies');
    ratio('add to first answer, 2,000 sites ÷ 10', total(many), total(few));
    ratio('add alone, 2,000 sites ÷ 10', many.add, few.add);
    console.log(`the router: ${(before / 1024).toFixed(1)} MB with 10 sites, ${(after / 1024).toFixed(1)} MB with 2,000: ${((after - before) / 1990).toFixed(1)} kB a site (PSS)`);
    await fill(guest, 0);
    await guest.sh('for n in $(seq 200); do echo "domain: c$n.example.com" > /etc/sitegen/sites/c$n.example.com.yaml; done; sitegen apply --quiet', { timeoutMs: 900_000 });
    const real = await timed(guest, 'with 200 sites that are containers');
    ratio('add to first answer, 200 containers ÷ 10', total(real), total(few));
  } finally {
    await guest.sh('rm -f /etc/sitegen/sites/{c,s}[0-9]*.yaml; sitegen apply --quiet; rm -rf /var/lib/sitegen/sites/c[0-9]*; sitegen remove --purge -yq first.example.com', { timeoutMs: 900_000 });
  }
}

const total = ({ add, request }: Added) => add.map((ms, index) => ms + (request[index] ?? Number.NaN));

async function timed(guest: Guest, title: string): Promise<Added> {
  const added = JSON.parse(await guest.sh(`node /tmp/add.mjs ${adds}`, { timeoutMs: 600_000 })) as Added;
  console.log(`${title}, ${adds} added one after the other:`);
  figures('sitegen add to first 200 over TLS', total(added), 'ms');
  figures('of it sitegen add', added.add, 'ms');
  figures('of it the request, which wakes the container', added.request, 'ms');
  return added;
}

/** Makes so many sites besides the first, that need no container. */
async function fill(guest: Guest, count: number): Promise<void> {
  await guest.sh(`rm -f /etc/sitegen/sites/s[0-9]*.yaml
    for n in $(seq ${count}); do
      if [ $((n % 2)) = 0 ]; then what='redirect: https://example.org'; else what="proxy: http://127.0.0.1:$((10000 + n))"; fi
      printf 'domain: s%s.example.com\\n%s\\ncertificate: none\\n' $n "$what" > /etc/sitegen/sites/s$n.example.com.yaml
    done
    sitegen apply --quiet`, { timeoutMs: 900_000 });
}

/** kB of the router's processes, when they were just started: master and worker share much of what they have read. */
async function routerMemory(guest: Guest): Promise<number> {
  const sizes: number[] = [];
  for (let turn = 0; turn < 3; turn++) {
    sizes.push(Number(await guest.sh(`sitegen router reload --quiet >&2
      group=/sys/fs/cgroup/system.slice/sitegen-router.service/cgroup.procs
      for i in $(seq 100); do [ $(wc -l < $group) -gt 2 ] || break; sleep 0.1; done
      sleep 1
      for pid in $(cat $group); do cat /proc/$pid/smaps_rollup; done | awk '/^Pss:/ { sum += $2 } END { print sum }'`)));
  }
  return at(sizes, 0.5);
}
