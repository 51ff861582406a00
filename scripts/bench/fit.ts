import { ensureWordpress } from '../../test/e2e/_images.ts';
import type { Guest } from '../../test/e2e/_lab.ts';

const most = Number(process.env['SITES'] ?? 40);
/** Size of the swap, in memories of the machine. */
const zram = Number(process.env['ZRAM'] ?? 2);
const MB = 1_000_000;
const nameOf = (n: number) => `w${n}.example.com`;
const dataOf = (n: number) => `/var/lib/sitegen/sites/${nameOf(n)}/data`;
const slice = '/sys/fs/cgroup/site.slice';

/**
 * How many WordPress with MariaDB stand frozen on a machine of this size, with compressed swap:
 * each is visited until its first page and frozen by the round after that, until one is stopped for want of memory.
 * The guest is not of use for anything else afterwards.
 */
export async function benchFit(guest: Guest): Promise<void> {
  const image = await ensureWordpress(guest);
  await guest.sh(`modprobe zram; swapon --priority 100 "$(zramctl --find --algorithm zstd --size $(($(sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo) * ${Math.round(zram * 100)} / 100))K | tee /tmp/zram | xargs -I{} sh -c 'mkswap {} >/dev/null; echo {}')"
    mkdir -p /run/systemd/system/sitegen-idle.timer.d; printf '[Timer]\\nOnActiveSec=\\nOnUnitInactiveSec=\\nOnActiveSec=1d\\n' >/run/systemd/system/sitegen-idle.timer.d/rare.conf; systemctl daemon-reload`);
  console.log(await guest.sh("sed -n 's/^MemTotal: *//p' /proc/meminfo; zramctl --output NAME,ALGORITHM,DISKSIZE"));
  const visited: number[] = [];
  for (let n = 1; n <= most; n++) {
    await guest.sh(`printf '%s\\n' 'domain: ${nameOf(n)}' 'image: ${image}' 'volumes: ["uploads:/var/lib/wordpress/wp-content/uploads", "database:/var/lib/mysql"]' 'backup: false' 'certificate: none' 'ready: {path: /wp-login.php, timeout: 5min}' 'idle: {after: 1s, stopAfter: 24h}' >/etc/sitegen/sites/${nameOf(n)}.yaml
      ${n === 1 ? '' : `mkdir -p ${dataOf(n)}; cp -a ${dataOf(0)}/. ${dataOf(n)}/`}
      sitegen apply --quiet ${nameOf(n)}`, { timeoutMs: 600_000 });
    const { address } = await guest.status(nameOf(n));
    if (n === 1) await install(guest, address);
    const began = Date.now();
    const code = await guest.sh(`curl --silent --output /dev/null --write-out '%{http_code}' --max-time 600 --header 'Host: ${nameOf(1)}' http://${address}/`, { timeoutMs: 900_000 });
    if (code !== '200') throw new Error(`${nameOf(n)}: ${code}`);
    const answered = Date.now();
    visited.push(n);
    const { frozen, line } = await frozenSites(guest, nameOf(n));
    console.log(`  ${String(n).padStart(2)} visited (answer after ${((answered - began) / 1000).toFixed(0)} s): ${line}`);
    if (frozen < visited.length) break;
  }
  console.log(`frozen at the same time: ${(await frozenSites(guest)).frozen} of ${visited.length}`);
}

/** Installs WordPress in the first site, and keeps its data for the others. */
async function install(guest: Guest, address: string): Promise<void> {
  const fields = [['weblog_title', 'A blog'], ['user_name', 'editor'], ['admin_password', 'correct horse'], ['admin_password2', 'correct horse'], ['pw_weak', '1'], ['admin_email', 'editor@example.com']];
  const page = await guest.sh(`curl --silent --max-time 900 --header 'Host: ${nameOf(1)}' ${fields.map(([name, value]) => `--data-urlencode '${name}=${value}'`).join(' ')} 'http://${address}/wp-admin/install.php?step=2'`, { timeoutMs: 1_200_000 });
  if (!page.includes('Success!')) throw new Error(page);
  await guest.sh(`systemctl stop site-${nameOf(1)}.service; mkdir -p ${dataOf(0)}; cp -a ${dataOf(1)}/. ${dataOf(0)}/`, { timeoutMs: 600_000 });
}

/** Has rounds until a site stands still, and tells what all hold. */
async function frozenSites(guest: Guest, domain?: string): Promise<{ frozen: number; line: string }> {
  const [frozen = '', current = '', cached = '', swapped = '', zram = '', budget = ''] = (await guest.sh(`
    for try in $(seq 60); do [ -z '${domain ?? ''}' ] || grep -q '^frozen 1' ${slice}/site-${domain ?? ''}.slice/site-*-app.slice/cgroup.events 2>/dev/null && break; systemctl start sitegen-idle.service; sleep 1; done
    cat ${slice}/site-*.slice/site-*-app.slice/cgroup.events 2>/dev/null | grep -c '^frozen 1' || true
    cat ${slice}/memory.current; sed -n 's/^inactive_file //p' ${slice}/memory.stat; cat ${slice}/memory.swap.current
    zramctl --bytes --noheadings --raw --output TOTAL "$(cat /tmp/zram)"; cut -d' ' -f1 /run/sitegen/budget`, { timeoutMs: 1_200_000 })).split('\n');
  const held = Number(current) - Number(cached);
  return { frozen: Number(frozen), line: `${frozen} frozen; in memory ${Math.round(held / MB)} MB, in swap ${Math.round(Number(swapped) / MB)} MB, which take ${Math.round(Number(zram) / MB)} MB; all may hold ${Math.round(Number(budget) / MB)} MB` };
}
