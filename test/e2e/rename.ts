import { addApp, page } from './_app.ts';
import { backupOf, endServers, prepare, servers, startServers } from './_backup.ts';
import { guestTest, longTest, until, type Guest } from './_guest.ts';

const [old, now] = ['old-name.example.com', 'new-name.example.com'];
const dataOf = (domain: string) => `/var/lib/sitegen/sites/${domain}/data`;
const git = `git -c safe.directory='*'`;

async function withSite(guest: Guest, body: (address: string) => Promise<void>): Promise<void> {
  try {
    await startServers(guest);
    for (const domain of [old, now]) await prepare(guest, domain);
    const address = await addApp(guest, old, 'aliases: [also.example.com]\nlimits: {memoryMax: 100M}\n');
    await page(guest, address, '/log');
    await guest.sh(`echo post >> ${dataOf(old)}/db/store; echo upload > ${dataOf(old)}/files/upload`);
    await body(address);
  } finally {
    for (const domain of [old, now]) await guest.sitegen('remove', '--purge', '--backups', '--yes', domain);
    await endServers(guest);
  }
}

const location = (guest: Guest, name: string) => guest.sh(`curl -sk -o /dev/null -w '%{http_code} %{redirect_url}' --resolve ${name}:443:127.0.0.1 https://${name}/page || true`);

guestTest('a site gets another domain, with data, history and settings, and the old one leads to it', async (t, guest) => {
  await withSite(guest, async () => {
    t.is((await guest.sitegen('backup', 'now', '--wait', old)).code, 0);
    const commit = (await backupOf(guest, old)).commit ?? '';
    const { code, stdout, stderr } = await guest.sitegen('rename', old, now);
    t.is(code, 0, stderr);
    t.regex(stdout, new RegExp(`${old} is ${now} now, and redirects to it`));
    t.regex(stderr, new RegExp(`127\\.0\\.0\\.1 keeps the history until now under ${old}; there: sitegen buddy erase NAME ${old}`));
    const { address } = await guest.status(now);
    t.is(await page(guest, address, '/db/store'), 'installed\npost');
    t.is(await page(guest, address, '/files/upload'), 'upload');
    t.is(await page(guest, address, '/log'), `rename ${old} ${now}\nlaunch`);
    t.is(await page(guest, address, '/files/hooks'), `rename ${old} ${now}`);
    t.is(await location(guest, old), `308 https://${now}/page`);
    t.regex(await guest.sh(`cat /etc/sitegen/sites/${now}.yaml`), /also\.example\.com[^]*memoryMax: 100M/);
    t.is(await guest.sh(`ls -d /var/lib/sitegen/*/${old}* /etc/sitegen/sites/${old}* /etc/systemd/system/site-${old}* 2>/dev/null || true`), '', 'nothing has the old name');
    await until('both servers have it under its new name', async () => (await backupOf(guest, now)).state === 'well', 60_000);
    for (const { directory } of servers) await guest.sh(`${git} -C ${directory}/${now}.git merge-base --is-ancestor ${commit} main`);
    await guest.sh(`sitegen stop ${now}; docker rm -f site-${now}`);
    t.is(await page(guest, address, '/log'), 'launch', 'it is told once');
    // And back again, as the old name is only a redirect by now.
    const back = await guest.sitegen('rename', '--no-redirect', now, old);
    t.is(back.code, 0, back.stderr);
    t.is(await page(guest, (await guest.status(old)).address, '/log'), `rename ${now} ${old}\nlaunch`);
    await until('both servers go on from what they had', async () => (await backupOf(guest, old)).state === 'well', 60_000);
    t.regex(await location(guest, now), /^(000|421)/, 'the other name is forgotten');
  });
});

longTest('a rename to a domain that is taken, or that cannot be carried out, leaves the site as it was', async (t, guest) => {
  await withSite(guest, async (address) => {
    await guest.site('taken.example.com');
    for (const other of ['taken.example.com', 'not a domain', 'also.example.com.']) {
      const { code } = await guest.sitegen('rename', old, other === 'also.example.com.' ? 'taken.example.com' : other);
      t.not(code, 0, other);
    }
    // A unit of somebody else's stands where the new one's would be.
    await guest.sh(`echo '# mine' > /etc/systemd/system/site-${now}.socket`);
    const { code, stderr } = await guest.sitegen('rename', old, now);
    await guest.sh(`rm /etc/systemd/system/site-${now}.socket`);
    t.is(code, 1);
    t.regex(stderr, /exists already/);
    t.is(await page(guest, address, '/db/store'), 'installed\npost');
    t.is(await page(guest, address, '/files/upload'), 'upload');
    t.is(await guest.sh(`ls -d /var/lib/sitegen/*/${now}* 2>/dev/null || true`), '');
    t.is((await guest.sitegen('backup', 'now', old)).code, 0);
  });
});

guestTest('a copy has the data and the dump of the site, and a history of its own', async (t, guest) => {
  await withSite(guest, async (address) => {
    const { code, stderr } = await guest.sitegen('clone', old, now);
    t.is(code, 0, stderr);
    const copy = (await guest.status(now)).address;
    t.not(copy, address);
    t.is(await page(guest, copy, '/log'), `load hook\nload 2\nrename ${old} ${now}\nlaunch`);
    t.is(await page(guest, copy, '/db/store'), 'installed\npost');
    t.notRegex(await guest.sh(`cat /etc/sitegen/sites/${now}.yaml`), /also\.example\.com/, 'names are not shared');
    await guest.sh(`echo changed >> ${dataOf(now)}/db/store`);
    t.is(await page(guest, address, '/db/store'), 'installed\npost', 'the site itself goes on as it was');
    t.is((await guest.sitegen('backup', 'now', now)).code, 0);
    t.is(await guest.sh(`${git} -C /var/lib/sitegen/git/${now}.git rev-list --count main`), '1');
    t.is((await guest.sitegen('clone', old, now)).code, 1, 'it is there already');
  });
});

guestTest('a removed site keeps its backups unless they are to end, and it is said who else has them', async (t, guest) => {
  await withSite(guest, async () => {
    t.is((await guest.sitegen('backup', 'now', '--wait', old)).code, 0);
    t.is((await guest.sitegen('remove', '--backups', '--yes', old)).code, 2, 'without --purge the next backup would bring it back');
    const kept = await guest.sitegen('remove', '--purge', '--yes', old);
    t.is(kept.code, 0, kept.stderr);
    t.regex(kept.stderr, /its backups stay: sitegen adopt/);
    t.is(await guest.sh(`ls -d ${dataOf(old)} 2>/dev/null || true; ls -d /var/lib/sitegen/git/${old}.git`), `/var/lib/sitegen/git/${old}.git`);
    t.is((await guest.sitegen('adopt', '--force', old)).code, 0);
    t.is(await page(guest, (await guest.status(old)).address, '/db/store'), 'installed\npost');
    const ended = await guest.sitegen('remove', '--purge', '--backups', '--yes', old);
    t.is(ended.code, 0, ended.stderr);
    t.regex(ended.stderr, new RegExp(`keeps its history until its admin ends that there: sitegen buddy erase NAME ${old}`));
    t.is(await guest.sh(`find /var/lib/sitegen /etc/sitegen /etc/systemd/system -name '*${old}*' ! -path '*/alarms/*' | sort`), '');
  });
});
