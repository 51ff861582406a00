import { projectFor, projectRange } from '../../lib/pure/disk-quota.ts';
import { siteNames } from '../../lib/pure/names.ts';
import { addApp, page } from './_app.ts';
import { guestTest, type Guest, type Result } from './_guest.ts';

/** Where a disk has quotas of projects, the kernel holds limits.disk: only in a virtual machine, as the containers' kernel has none. */

const MiB = 1024 ** 2;
const sites = '/var/lib/sitegen/sites';
const data = (domain: string) => `${sites}/${domain}/data`;
const limit = 'limits: {disk: 20M}\n';

async function disk(guest: Guest, domain: string): Promise<{ used: number; max: number; way: string } | null> {
  const { stdout } = await guest.sitegen('status', '--json', domain);
  return (JSON.parse(stdout) as { disk: { used: number; max: number; way: string } | null }[])[0]?.disk ?? null;
}

const project = async (guest: Guest, path: string) => Number((await guest.sh(`lsattr -p -d '${path}'`)).trim().split(' ')[0]);

/** The limit that the kernel has for a project, bytes; 0 for none. */
async function held(guest: Guest, number: number): Promise<number> {
  const line = (await guest.sh(`repquota -P -n ${sites}`)).split('\n').find((each) => each.startsWith(`#${number} `));
  return Number(line?.split(/\s+/)[4] ?? 0) * 1024;
}

/** Has the site's own program write; gives what it says. */
async function fill(guest: Guest, domain: string, name: string, mib: number): Promise<string> {
  const { stdout, stderr } = await guest.run(['docker', 'exec', `site-${domain}`, '/bin/busybox', 'dd', 'if=/dev/zero', `of=/files/${name}`, 'bs=1M', `count=${mib}`]);
  await guest.sh('sync');
  return stdout + stderr;
}

/** Puts a file into a site's data that sleeps; not of zeros, which a restore leaves out. */
const put = (guest: Guest, domain: string, name: string, mib: number) => guest.sh(`dd if=/dev/urandom of=${data(domain)}/files/${name} bs=1M count=${mib} status=none; sync`);

const patient = (guest: Guest, ...args: string[]): Promise<Result> => guest.run(['sitegen', ...args], { timeoutMs: 400_000 });

async function edit(guest: Guest, domain: string, script: string): Promise<void> {
  await guest.sh(`sed -i '${script}' /etc/sitegen/sites/${domain}.yaml; sitegen apply --quiet ${domain}`, { timeoutMs: 400_000 });
}

/** How a disk with such quotas is made. QUOTA_FS=xfs tries the other one, in a guest to which somebody has brought xfsprogs. */
const makers: Readonly<Record<string, string>> = { ext4: 'mkfs.ext4 -q -O quota,project -E quotatype=prjquota', xfs: 'mkfs.xfs -q' };
const maker = makers[process.env['QUOTA_FS'] ?? 'ext4'] ?? '';

/** A test on a disk with such quotas in place of the sites' data. */
function quotaTest(title: string, domains: readonly string[], body: Parameters<typeof guestTest>[1]): void {
  guestTest(title, async (t, guest) => {
    await guest.sh(`
      truncate -s 400M /root/quota.img
      ${maker} /root/quota.img
      mkdir -p ${sites}
      mount -o loop,prjquota /root/quota.img ${sites}`);
    try {
      await body(t, guest);
    } finally {
      for (const domain of domains) await patient(guest, 'remove', '--purge', '--backups', '--yes', domain);
      await guest.sh(`sed -i '/^test:/d' /etc/projid || true; umount ${sites}; rm /root/quota.img`);
    }
  });
}

const [one, two, other] = ['one.example.com', 'two.example.com', 'other.example.com'] as const;

quotaTest('the kernel holds a site to limits.disk: it alone gets an error, and wakes and is backed up all the same', [one, two], async (t, guest) => {
  const address = await addApp(guest, one, limit);
  const neighbour = await addApp(guest, two, limit);
  t.is(await page(guest, address, '/files/page'), 'welcome');
  t.is(await page(guest, neighbour, '/files/page'), 'welcome');
  const number = await project(guest, data(one));
  t.true(number >= projectRange.first && number < projectRange.first + projectRange.count);
  t.is(await project(guest, `${data(one)}/files/page`), number, 'what it makes is in its project');
  t.not(await project(guest, data(two)), number);

  t.regex(await fill(guest, one, 'big', 30), /Disk quota exceeded|No space left on device/);
  const size = Number(await guest.sh(`stat -c %s ${data(one)}/files/big`));
  t.true(size > 18 * MiB && size <= 20 * MiB, String(size));
  t.notRegex(await fill(guest, two, 'big', 10), /exceeded/);
  const now = await disk(guest, one);
  t.like(now, { max: 20 * MiB, way: 'quota' });
  t.true((now?.used ?? 0) > 19 * MiB);
  t.is((await guest.run(['systemctl', 'start', `sitegen-disk@${one}.service`])).code, 1, 'an alarm');
  t.is(await page(guest, address, '/files/page'), 'welcome', 'which stops nothing');
  const backup = await patient(guest, 'backup', one);
  t.is(backup.code, 0, backup.stderr);
  await guest.sh(`sitegen stop ${one}`, { timeoutMs: 400_000 });
  t.is(await page(guest, address, '/files/page'), 'welcome', 'it wakes');
});

quotaTest('data that is restored, in whole or in part, renamed or copied has its quota; that of a purged site is gone', [one, two, other], async (t, guest) => {
  // One that nobody has visited yet has nothing to be backed up.
  t.is(await page(guest, await addApp(guest, one, limit), '/files/page'), 'welcome');
  const number = await project(guest, data(one));
  await put(guest, one, 'big', 15);
  for (const args of [['backup', one], ['restore', '--force', one]]) {
    const { code, stderr } = await patient(guest, ...args);
    t.is(code, 0, stderr);
  }
  t.is(await project(guest, data(one)), number);
  t.is(await project(guest, `${data(one)}/files/big`), number);
  t.true(((await disk(guest, one))?.used ?? 0) > 15 * MiB);
  const part = await patient(guest, 'restore', '--force', '--path', 'files/big', one);
  t.is(part.code, 0, part.stderr);
  t.is(await project(guest, `${data(one)}/files/big`), number);

  for (const [command, from, to] of [['rename', one, two], ['clone', two, other]] as const) {
    const { code, stderr } = await patient(guest, command, from, to);
    t.is(code, 0, stderr);
  }
  t.is(await project(guest, data(two)), number);
  const copied = await project(guest, data(other));
  t.true(copied !== number && copied >= projectRange.first);
  t.deepEqual([await held(guest, number), await held(guest, copied)], [20 * MiB, 20 * MiB]);
  t.is((await patient(guest, 'remove', '--purge', '--backups', '--yes', two)).code, 0);
  t.deepEqual([await held(guest, number), await held(guest, copied)], [0, 20 * MiB]);
});

quotaTest('limits come, change and go with apply; a number that somebody has named is left to them; what leaves its project is counted', [one, two], async (t, guest) => {
  await guest.sh(`echo test:${projectFor(siteNames(two).id, new Set())} >>/etc/projid`);
  await addApp(guest, two, limit);
  const number = await project(guest, data(two));
  t.is(number, projectFor(siteNames(two).id, new Set()) + 1);

  await addApp(guest, one);
  await put(guest, one, 'old', 5);
  t.is(await project(guest, data(one)), 0);
  await edit(guest, one, '$a limits: {disk: 8M}');
  const late = await project(guest, `${data(one)}/files/old`);
  t.true(late >= projectRange.first, 'files that were there are in it');
  t.is(await held(guest, late), 8 * MiB);
  await edit(guest, one, 's/8M/30M/');
  t.is(await held(guest, late), 30 * MiB);
  await edit(guest, one, '/^limits/d');
  t.is(await held(guest, late), 0);
  t.is((await patient(guest, 'diff', one)).stdout, '');

  await put(guest, two, 'out', 15);
  await guest.sh(`chattr -p 0 ${data(two)}/files/out`);
  await put(guest, two, 'again', 15);
  t.is((await guest.run(['systemctl', 'start', `sitegen-disk@${two}.service`])).code, 1);
  t.is((await guest.run(['test', '-e', `/run/sitegen/sites/${two}.full`])).code, 0, 'it is kept stopped');
});
