import { addApp, page } from './_app.ts';
import { guestTest, until, type Guest } from './_guest.ts';
import { write } from './_machine.ts';

/** Where a disk has no quotas of projects, as in the guest, limits.disk is watched. */

const MiB = 1024 ** 2;

interface DiskJson {
  used: number | null;
  max: number;
  way: string;
}

async function disk(guest: Guest, domain: string): Promise<DiskJson> {
  const { stdout } = await guest.sitegen('status', '--json', domain);
  const [site] = JSON.parse(stdout) as { disk: DiskJson }[];
  if (!site) throw new Error(`no status of ${domain}`);
  return site.disk;
}

/** Has the site's own program write. */
const fill = (guest: Guest, domain: string, name: string, mib: number) => guest.sh(`docker exec site-${domain} /bin/busybox dd if=/dev/zero of=/files/${name} bs=1M count=${mib} 2>&1; sync`);

/** A look at once, instead of when it is due. */
const look = (guest: Guest, domain: string) => guest.run(['systemctl', 'start', `sitegen-disk@${domain}.service`]);

const alarmed = async (guest: Guest, domain: string) => (await guest.sitegen('alarms')).stdout.includes(`sitegen-disk@${domain}.service`);

guestTest('a site whose data reaches limits.disk is stopped by the rounds, answers 503 with the reason, and comes back when the limit is raised or files go', async (t, guest) => {
  const domain = 'full.example.com';
  const neighbour = await guest.site('roomy.example.com');
  t.teardown(() => guest.sitegen('remove', '--purge', '--backups', '--yes', domain));
  const address = await addApp(guest, domain, 'limits: {disk: 20M}\njobs: {tidy: {command: [/bin/busybox, "true"], calendar: yearly}}\n');
  t.like(await disk(guest, domain), { used: null, max: 20 * MiB, way: 'watched' });
  t.is(await page(guest, address, '/files/page'), 'welcome');

  await fill(guest, domain, 'big', 19);
  await until('the rounds have seen it', async () => ((await disk(guest, domain)).used ?? 0) > 19 * MiB, 60_000, 2000);
  await until('an alarm says that there is little room', () => alarmed(guest, domain), 10_000, 1000);
  t.is((await guest.status(domain)).state, 'awake');
  t.is(await page(guest, address, '/files/page'), 'welcome', 'nine tenths stop nobody');
  // Said within the hour, so it is no failure once more, and the alarm stays open.
  t.is((await look(guest, domain)).code, 0);
  t.true(await alarmed(guest, domain));

  await fill(guest, domain, 'more', 2);
  await until('the rounds have stopped it', async () => (await guest.status(domain)).state === 'broken' && (await guest.sh(`docker inspect -f '{{.State.Running}}' site-${domain}; systemctl show -P ActiveState site-${domain}.service`)) === 'false\ninactive', 60_000, 2000);
  t.regex((await guest.status(domain)).reason ?? '', /data has reached limits\.disk/);
  const refused = await guest.get(address);
  t.is(refused.status, 503);
  t.regex(refused.body, /has used up its room on this server/);
  t.regex(refused.headers, /Retry-After/i);
  t.is(await guest.sh(`docker inspect -f '{{.State.Running}}' site-${domain}`), 'false', 'the visit has not started it');
  t.is((await guest.get(neighbour)).status, 200);
  t.regex((await guest.sitegen('doctor', domain)).stdout, /error +disk-quota.*its data takes 21\.\d+M of 20\.0M/);
  t.regex(await guest.sh(`journalctl --no-pager -o cat -u sitegen-disk@${domain}.service`), /its data takes 21\.\d+M of 20\.0M \(limits\.disk\): it is stopped, and visitors get 503; raise limits\.disk/);
  t.is((await guest.run(['systemctl', 'start', `sitegen-job@${domain}:tidy.service`])).code, 0);
  t.regex(await guest.sh(`journalctl --no-pager -o cat | grep 'full.example.com.*skipped\\|skipped: the site is kept stopped'`), /limits\.disk/);

  t.log('what it has is in its backup, and can still be backed up');
  const { code, stderr } = await guest.sitegen('backup', domain);
  t.is(code, 0, stderr);
  t.regex(await guest.sh(`git --git-dir=/var/lib/sitegen/git/${domain}.git ls-tree -r --name-only HEAD`), /data\/files\/more/);

  t.log('a higher limit');
  await guest.sh(`sed -i 's/disk: 20M/disk: 40M/' /etc/sitegen/sites/${domain}.yaml; sitegen apply --quiet ${domain}`);
  t.is(await page(guest, address, '/files/page'), 'welcome');
  t.is((await look(guest, domain)).code, 0);
  t.false(await alarmed(guest, domain), 'closed, as there is room');

  t.log('or fewer files');
  await fill(guest, domain, 'again', 25);
  t.is((await look(guest, domain)).code, 1);
  t.is((await guest.get(address)).status, 503);
  await until('the refusal is over', async () => (await guest.sh(`systemctl show -P ActiveState site-${domain}.service`)) === 'failed', 40_000, 1000);
  await guest.sh(`rm /var/lib/sitegen/sites/${domain}/data/files/again; sitegen start ${domain}`);
  t.is(await page(guest, address, '/files/page'), 'welcome');

  t.log('without a limit nobody looks');
  await write(guest, `/etc/sitegen/sites/${domain}.yaml`, (await guest.sh(`sed '/disk/d' /etc/sitegen/sites/${domain}.yaml`)) + '\n');
  await guest.sh(`sitegen apply --quiet ${domain}; systemctl start sitegen-disk@${domain}.service`);
  t.is((await guest.run(['test', '-e', `/run/sitegen/sites/${domain}.disk`])).code, 1);
});
