import type { ExecutionContext } from 'ava';
import { projectFor, projectRange } from '../../lib/pure/disk-quota.ts';
import { siteNames } from '../../lib/pure/names.ts';
import { addApp, page } from './_app.ts';
import { guestTest, type Guest } from './_guest.ts';

/** Where a disk has quotas of projects, the kernel holds limits.disk: only in a virtual machine, as the containers' kernel has none. */

const MiB = 1024 ** 2;
const sites = '/var/lib/sitegen/sites';
const data = (domain: string) => `${sites}/${domain}/data`;

async function disk(guest: Guest, domain: string): Promise<{ used: number; max: number; way: string } | null> {
  const { stdout } = await guest.sitegen('status', '--json', domain);
  return (JSON.parse(stdout) as { disk: { used: number; max: number; way: string } | null }[])[0]?.disk ?? null;
}

const project = async (guest: Guest, path: string) => Number((await guest.sh(`lsattr -p -d '${path}'`)).trim().split(' ')[0]);

/** Has the site's own program write; gives what it says. */
async function fill(guest: Guest, domain: string, name: string, mib: number): Promise<string> {
  const { stdout, stderr } = await guest.run(['docker', 'exec', `site-${domain}`, '/bin/busybox', 'dd', 'if=/dev/zero', `of=/files/${name}`, 'bs=1M', `count=${mib}`]);
  await guest.sh('sync');
  return stdout + stderr;
}

const sizeOf = async (guest: Guest, domain: string, name: string) => Number(await guest.sh(`stat -c %s ${data(domain)}/files/${name}`));

const edit = (guest: Guest, domain: string, script: string) => guest.sh(`sed -i '${script}' /etc/sitegen/sites/${domain}.yaml; sitegen apply --quiet ${domain}`);

/** A disk with such quotas in place of the sites' data. */
async function withDisk(t: ExecutionContext, guest: Guest, domains: readonly string[], body: () => Promise<void>): Promise<void> {
  await guest.sh(`
    truncate -s 400M /root/quota.img
    mkfs.ext4 -q -O quota,project -E quotatype=prjquota /root/quota.img
    mkdir -p ${sites}
    mount -o loop,prjquota /root/quota.img ${sites}`);
  try {
    await body();
  } finally {
    for (const domain of domains) await guest.sitegen('remove', '--purge', '--backups', '--yes', domain);
    await guest.sh(`sed -i '/^test:/d' /etc/projid || true; umount ${sites}; rm /root/quota.img`);
  }
  t.pass();
}

const [one, two, named, later, renamed, copy] = ['one.example.com', 'two.example.com', 'named.example.com', 'later.example.com', 'renamed.example.com', 'copy.example.com'] as const;

guestTest('the kernel holds a site to limits.disk: it alone gets an error, wakes, is dumped, restored, renamed and copied with that', (t, guest) => withDisk(t, guest, [one, two, named, later, renamed, copy], async () => {
  await guest.sh(`echo test:${projectFor(siteNames(named).id, new Set())} >>/etc/projid`);
  const limit = 'limits: {disk: 20M}\n';
  const address = await addApp(guest, one, limit);
  const neighbour = await addApp(guest, two, limit);
  t.is(await page(guest, address, '/files/page'), 'welcome');
  t.is(await page(guest, neighbour, '/files/page'), 'welcome');
  t.like(await disk(guest, one), { max: 20 * MiB, way: 'quota' });
  const number = await project(guest, data(one));
  t.true(number >= projectRange.first && number < projectRange.first + projectRange.count);
  t.is(await project(guest, `${data(one)}/files/page`), number, 'what it makes is in its project');
  t.not(await project(guest, data(two)), number);

  t.log('it writes until its limit, and no further; its neighbour, and sitegen\'s own files about it, are not concerned');
  t.regex(await fill(guest, one, 'big', 30), /Disk quota exceeded/);
  const size = await sizeOf(guest, one, 'big');
  t.true(size > 18 * MiB && size <= 20 * MiB, String(size));
  t.notRegex(await fill(guest, two, 'big', 10), /exceeded/);
  t.true(((await disk(guest, one))?.used ?? 0) > 19 * MiB);
  t.is(await page(guest, address, '/files/page'), 'welcome', 'it is still there');
  t.is((await guest.run(['systemctl', 'start', `sitegen-disk@${one}.service`])).code, 1, 'an alarm');
  t.is((await guest.status(one)).state, 'awake', 'which stops nothing');
  t.regex((await guest.sitegen('doctor', one)).stdout, /disk-quota.*its data takes (19|20)\.\d+M of 20\.0M/);
  const backup = await guest.sitegen('backup', one);
  t.is(backup.code, 0, backup.stderr);
  await guest.sh(`sitegen stop ${one}`);
  t.is(await page(guest, address, '/files/page'), 'welcome', 'it wakes');

  t.log('restored, it is the same project');
  const restored = await guest.run(['sitegen', 'restore', '--force', one], { timeoutMs: 600_000 });
  t.is(restored.code, 0, restored.stderr);
  t.is(await project(guest, data(one)), number);
  t.is(await project(guest, `${data(one)}/files/big`), number);
  t.true(((await disk(guest, one))?.used ?? 0) > 17 * MiB);
  t.is(await page(guest, address, '/files/page'), 'welcome');
  t.regex(await fill(guest, one, 'more', 30), /Disk quota exceeded/);

  t.log('a higher limit, while it runs');
  await edit(guest, one, 's/disk: 20M/disk: 50M/');
  t.notRegex(await fill(guest, one, 'more', 10), /exceeded/);
  t.is((await guest.sitegen('diff', one)).stdout, '');

  t.log('a number that somebody has named is left to them');
  await addApp(guest, named, limit);
  t.is(await project(guest, data(named)), projectFor(siteNames(named).id, new Set()) + 1);

  t.log('a limit for a site that has files already, and that runs; then none');
  const third = await addApp(guest, later);
  t.is(await page(guest, third, '/files/page'), 'welcome');
  await fill(guest, later, 'old', 5);
  t.is(await disk(guest, later), null);
  t.is(await project(guest, data(later)), 0);
  await edit(guest, later, '$a limits: {disk: 8M}');
  t.true(((await disk(guest, later))?.used ?? 0) > 5 * MiB);
  t.is(await page(guest, third, '/files/page'), 'welcome');
  t.regex(await fill(guest, later, 'new', 8), /Disk quota exceeded/);
  await edit(guest, later, '/^limits/d');
  t.notRegex(await fill(guest, later, 'new', 20), /exceeded/);
  t.is((await guest.sitegen('diff', later)).stdout, '');

  t.log('what a program takes out of its project is counted all the same, and stops it');
  await fill(guest, two, 'out', 9);
  await guest.sh(`chattr -p 0 ${data(two)}/files/big`);
  await fill(guest, two, 'again', 9);
  await guest.sh(`rm -f /run/sitegen/sites/${two}.disk`);
  t.is((await guest.run(['systemctl', 'start', `sitegen-disk@${two}.service`])).code, 1);
  t.is((await guest.get(neighbour, { timeoutS: 90 })).status, 503);

  t.log('another name, and a copy');
  for (const [command, from, to] of [['rename', one, renamed], ['clone', renamed, copy]] as const) {
    const { code, stderr } = await guest.run(['sitegen', command, from, to], { timeoutMs: 600_000 });
    t.is(code, 0, stderr);
  }
  t.is(await project(guest, data(renamed)), number);
  t.like(await disk(guest, renamed), { max: 50 * MiB, way: 'quota' });
  t.not(await project(guest, data(copy)), number);
  t.like(await disk(guest, copy), { max: 50 * MiB, way: 'quota' });

  t.log('purged, nothing is left of it');
  t.regex(await guest.sh(`repquota -P -n ${sites}`), new RegExp(`#${number}\\b.* 51200 `));
  t.is((await guest.sitegen('remove', '--purge', '--backups', '--yes', renamed)).code, 0);
  t.notRegex(await guest.sh(`repquota -P -n ${sites}`), new RegExp(`#${number}\\b.* 51200 `));
}));
