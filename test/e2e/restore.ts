import { addApp, page } from './_app.ts';
import { backupOf, endServers, prepare, servers, startServers } from './_backup.ts';
import { guestTest, until, type Guest } from './_guest.ts';

const domain = 'back.example.com';
const data = `/var/lib/sitegen/sites/${domain}/data`;
const pending = `/var/lib/sitegen/sites/${domain}/meta/pending`;
const git = `git -c safe.directory='*'`;
const repository = `/var/lib/sitegen/git/${domain}.git`;

/** Adds the site, and removes it in the end, with all that there is of it. */
async function withSite(guest: Guest, body: (address: string) => Promise<void>, more = ''): Promise<void> {
  try {
    await startServers(guest);
    await prepare(guest, domain);
    await body(await addApp(guest, domain, more));
  } finally {
    await guest.sitegen('remove', '--purge', '--backups', '--yes', domain);
    await endServers(guest);
  }
}

/** Changes the site as its visitors would, and backs it up. Gives the commit. */
async function live(guest: Guest, address: string, text: string): Promise<string> {
  await page(guest, address, '/log');
  await guest.sh(`echo '${text}' >> ${data}/db/store; echo '${text}' > ${data}/files/page; sitegen backup now --wait ${domain}`);
  return (await backupOf(guest, domain)).commit ?? '';
}

guestTest('a new site is installed by its first visitor, and again from a clean slate when that is cut short', async (t, guest) => {
  await withSite(guest, async (address) => {
    t.is((await guest.status(domain)).state, 'created');
    t.regex((await guest.status(domain)).reason ?? '', /its first start has to install it/);
    const visit = guest.get(address, { path: '/log', timeoutS: 60 });
    await until('it is being installed', async () => (await guest.run(['test', '-e', `${data}/files/half`])).code === 0, 30_000);
    t.is((await guest.status(domain)).state, 'installing');
    t.is((await guest.run(['test', '-e', `/var/lib/sitegen/containers/${domain}`])).code, 1, 'nothing names it as the one to start');
    t.is(await guest.sh(`cat ${pending}`), 'install\nbegun');
    const first = await guest.sh(`docker inspect --format '{{.Id}}' site-${domain}`);
    await guest.sh(`systemctl kill --signal=KILL site-${domain}.service`);
    await visit;
    await until('the container is gone', async () => (await guest.run(['docker', 'inspect', first])).code !== 0, 20_000);
    t.is(await page(guest, address, '/log'), 'install\nlaunch');
    t.is(await page(guest, address, '/files/page'), 'welcome');
    t.is(await page(guest, address, '/files/half'), undefined, 'nothing of the first try is left');
    t.is((await guest.run(['test', '-e', pending])).code, 1);
    t.is((await guest.status(domain)).state, 'awake');

    // Neither the next wake nor the next container installs it again; each new container is launched.
    await guest.sitegen('stop', domain);
    t.is(await page(guest, address, '/log'), 'install\nlaunch');
    await guest.sh(`sitegen stop ${domain}; docker rm -f site-${domain}`);
    t.is(await page(guest, address, '/log'), 'launch');
    t.is(await page(guest, address, '/db/store'), 'installed');
  }, 'env: {INSTALL_S: 12}\n');
});

guestTest('a site whose launch fails is not visited, and tried again', async (t, guest) => {
  await withSite(guest, async (address) => {
    t.is((await guest.get(address, { timeoutS: 60 })).status, 503);
    t.regex(await guest.sh(`journalctl -u site-${domain}.service -n 50 -o cat`), /its first start failed: /);
    t.is((await guest.run(['docker', 'inspect', `site-${domain}`])).code, 1, 'nothing runs that is half made');
    await until('it has ended', async () => (await guest.status(domain)).state === 'broken');
    await guest.sh(`sed -i /LAUNCH_FAILS/d /etc/sitegen/sites/${domain}.yaml; sitegen apply --quiet ${domain}`);
    t.is(await page(guest, address, '/log'), 'install\nlaunch');
  }, 'env: {LAUNCH_FAILS: "1"}\n');
});

guestTest('data that is there already is never touched by an installation', async (t, guest) => {
  await withSite(guest, async (address) => {
    await guest.sh(`echo mine > ${data}/files/page; echo mine > ${data}/db/store`);
    t.is(await page(guest, address, '/log'), 'launch');
    t.is(await page(guest, address, '/files/page'), 'mine');
  });
});

guestTest('a site goes back to an earlier backup, its dump is loaded, and what it was stays in the history', async (t, guest) => {
  await withSite(guest, async (address) => {
    const first = await live(guest, address, 'first');
    const second = await live(guest, address, 'second');
    await page(guest, address, '/log');
    await guest.sh(`echo third >> ${data}/db/store`);

    const refused = await guest.sitegen('restore', domain, '--at', first.slice(0, 10));
    t.is(refused.code, 1);
    t.regex(refused.stderr, /the site has newer data than the backup/);
    t.is(await page(guest, address, '/db/store'), 'installed\nfirst\nsecond\nthird', 'it is as it was');
    t.is((await guest.status(domain)).state, 'awake', 'and was not stopped');
    const saved = (await backupOf(guest, domain)).commit ?? '';
    t.is(await guest.sh(`${git} -C ${repository} show ${saved}:meta/dump/dump.sql`), 'installed\nfirst\nsecond\nthird', 'the present state is committed all the same');

    const { code, stdout, stderr } = await guest.sitegen('restore', domain, '--at', first.slice(0, 10), '--force');
    t.is(code, 0, stderr);
    t.regex(stdout, new RegExp(`is as in ${first.slice(0, 7)}`));
    t.is(await guest.sh(`cat ${pending}`), 'load');
    t.is(await page(guest, address, '/log'), 'load hook\nload 2\nlaunch');
    t.is(await page(guest, address, '/db/store'), 'installed\nfirst');
    t.is(await page(guest, address, '/files/page'), 'first');
    t.is(await guest.sh(`ls /var/lib/sitegen/sites | grep _ || true`), '', 'nothing is left beside it');

    const third = await live(guest, address, 'other');
    await guest.sh(`${git} -C ${repository} merge-base --is-ancestor ${second} ${third}; ${git} -C ${repository} merge-base --is-ancestor ${saved} ${third}`);
    await until('both servers have it', async () => (await backupOf(guest, domain)).state === 'well', 60_000);
    t.is((await guest.sitegen('restore', domain, '--at', saved.slice(0, 10), '--force')).code, 0);
    t.is(await page(guest, address, '/db/store'), 'installed\nfirst\nsecond\nthird');
  });
});

guestTest('visitors wait while a site is restored, and a load that is cut short is started over', async (t, guest) => {
  await withSite(guest, async (address) => {
    const first = await live(guest, address, 'first');
    await live(guest, address, 'second');
    await guest.sh(`printf 'env: {LOAD_S: 4}\\n' >> /etc/sitegen/sites/${domain}.yaml; sitegen apply --quiet ${domain}`);
    await page(guest, address, '/log');
    const restored = guest.sitegen('restore', domain, '--at', first.slice(0, 10), '--force');
    const seen: string[] = [];
    let going = true;
    const visits = (async () => {
      while (going) {
        const { status, body } = await guest.get(address, { path: '/db/store', timeoutS: 60 });
        seen.push(`${status} ${body.trim().split('\n').at(-1) ?? ''}`);
      }
    })();
    t.is((await restored).code, 0);
    await until('the dump is being loaded', async () => (await guest.run(['test', '-e', `${data}/db/half`])).code === 0, 30_000);
    await guest.sh(`docker kill site-${domain}`);
    await until('it is back', () => Promise.resolve(seen.at(-1) === '200 first'), 60_000);
    going = false;
    await visits;
    t.deepEqual([...new Set(seen)].filter((each) => !each.startsWith('503')), ['200 second', '200 first']);
    t.is(await page(guest, address, '/log'), 'load hook\nload 2\nlaunch');
    t.is(await page(guest, address, '/db/half'), undefined);
  });
});

guestTest('single files come back while the site goes on, and a table of the dump is printed', async (t, guest) => {
  await withSite(guest, async (address) => {
    await page(guest, address, '/log');
    await guest.sh(`mkdir -p ${data}/files/album; echo one > ${data}/files/album/1; echo two > ${data}/files/album/2; chown 33:33 ${data}/files/album/1`);
    await guest.sh(`printf '%s\\n' 'CREATE TABLE t (a int);' 'INSERT INTO t VALUES(1);' 'CREATE TABLE u (a int);' > ${data}/db/store`);
    const first = await live(guest, address, '-- end');
    await guest.sh(`rm ${data}/files/album/1; echo changed > ${data}/files/album/2; echo new > ${data}/files/album/3`);
    const since = (await guest.status(domain)).since;
    const { code, stderr } = await guest.sitegen('restore', domain, '--at', first, '--path', 'files/album/1', '--path', 'files/page');
    t.is(code, 0, stderr);
    t.is(await guest.sh(`stat -c %u ${data}/files/album/1; cat ${data}/files/album/*`), '33\none\nchanged\nnew');
    t.is((await guest.sitegen('restore', domain, '--at', first, '--path', 'files/album')).code, 0);
    t.is(await guest.sh(`cat ${data}/files/album/*`), 'one\ntwo', 'a directory comes back as it was');
    t.is((await guest.status(domain)).since, since, 'nobody stopped it');
    const missing = await guest.sitegen('restore', domain, '--at', first, '--path', 'files/nothing');
    t.is(missing.code, 1);
    t.regex(missing.stderr, /nothing/);
    await guest.sh(`rm -rf ${data}/files/album; ln -s /etc ${data}/files/album`);
    t.is((await guest.sitegen('restore', domain, '--at', first, '--path', 'files/album/1')).code, 1, 'not through a link');
    t.is((await guest.run(['test', '-e', '/etc/1'])).code, 1);
    t.is((await guest.sitegen('restore', domain, '--at', first, '--table', 't')).stdout, 'CREATE TABLE t (a int);\nINSERT INTO t VALUES(1);\n');
    t.is((await guest.sitegen('restore', domain, '--table', 'v')).code, 1);
  });
});

guestTest('without any backup a restore is refused, be the repositories empty or missing', async (t, guest) => {
  await withSite(guest, async (address) => {
    await page(guest, address, '/log');
    await guest.sh(`mv ${repository} /tmp/away.git 2>/dev/null || true; printf 'backup: false\\n' >> /etc/sitegen/sites/${domain}.yaml`);
    for (const step of ['true', `rm -rf ${servers.map(({ directory }) => `${directory}/${domain}.git`).join(' ')}`]) {
      await guest.sh(step);
      const { code, stderr } = await guest.sitegen('restore', domain, '--force');
      t.is(code, 1);
      t.regex(stderr, /there is no backup of it/);
    }
    t.is(await page(guest, address, '/db/store'), 'installed');
    await guest.sh('rm -rf /tmp/away.git');
  });
});

guestTest('servers that have gone apart are shown, and the one that is chosen ends that', async (t, guest) => {
  await withSite(guest, async (address) => {
    await live(guest, address, 'first');
    const [one, two] = servers;
    // Each server goes on by itself, as when each was pushed to by another machine with the same key.
    await guest.sh(`
      key=/etc/sitegen/keys/server
      for server in ${one?.directory ?? ''} ${two?.directory ?? ''}; do
        cd $server/${domain}.git
        commit=$(${git} -c gpg.format=ssh -c user.signingKey=$key -c user.name=x -c user.email=x commit-tree -S -p main -m "only $server" main^{tree})
        ${git} update-ref refs/heads/main $commit
      done
      systemctl stop site-${domain}.service; rm -rf ${repository}`);
    const refused = await guest.sitegen('restore', domain);
    t.is(refused.code, 1);
    t.regex(refused.stderr, /have gone apart/);
    t.regex(refused.stderr, /2201.*with 1 commit of its own/);
    t.regex(refused.stderr, /2202.*with 1 commit of its own/);
    t.regex(refused.stderr, /--from/);
    const { code, stderr } = await guest.sitegen('restore', domain, '--from', two?.url ?? '', '--force');
    t.is(code, 0, stderr);
    t.is(await page(guest, address, '/files/page'), 'first');
    await live(guest, address, 'second');
    await until('both servers have it, and nothing was forced', async () => (await backupOf(guest, domain)).state === 'well', 60_000);
  });
});

guestTest('of a server whose repository is damaged the other is taken', async (t, guest) => {
  await withSite(guest, async (address) => {
    const commit = await live(guest, address, 'first');
    await until('both servers have it', async () => (await backupOf(guest, domain)).state === 'well', 60_000);
    await guest.sh(`
      sitegen stop ${domain}; rm -rf ${repository} ${data}
      file=$(find ${servers[0]?.directory ?? ''}/${domain}.git/objects -type f -printf '%s %p\\n' | sort -n | tail -1 | cut -d' ' -f2); chmod u+w "$file"; : > "$file"`);
    const { code, stderr } = await guest.sitegen('restore', domain);
    t.is(code, 0, stderr);
    t.regex(stderr, /taking .* from .*2202/);
    t.is(await page(guest, address, '/db/store'), 'installed\nfirst');
    t.is(await guest.sh(`${git} -C ${repository} merge-base --is-ancestor ${commit} main && echo yes`), 'yes');
  });
});

guestTest('a restore that is killed leaves what was there', async (t, guest) => {
  await withSite(guest, async (address) => {
    const first = await live(guest, address, 'first');
    await guest.sh(`head -c 30M /dev/urandom > ${data}/files/large`);
    await live(guest, address, 'second');
    const before = await guest.sh(`cd ${data}; find . -type f -exec sha256sum {} + | sort`);
    for (const ms of [100, 400, 700, 1000, 1300, 1600, 2000, 2500]) {
      await guest.run(['bash', '-c', `timeout --signal=KILL ${ms / 1000} sitegen restore ${domain} --from local`]);
      t.is(await page(guest, address, '/files/page'), 'second');
    }
    t.is(await guest.sh(`cd ${data}; find . -type f -exec sha256sum {} + | sort`), before);
    for (const ms of [800, 1200, 1600, 2000, 2400, 2800]) {
      await guest.run(['bash', '-c', `timeout --signal=KILL ${ms / 1000} sitegen restore ${domain} --at ${first} --force`]);
      const [files, store] = [await page(guest, address, '/files/page'), await page(guest, address, '/db/store')];
      t.true(['second installed\nfirst\nsecond', 'first installed\nfirst'].includes(`${files} ${store}`), `${ms} ms: ${files} ${store}`);
    }
    t.is((await guest.sitegen('restore', domain, '--at', first, '--force')).code, 0);
    t.is(await page(guest, address, '/db/store'), 'installed\nfirst');
    t.is(await guest.sh(`ls /var/lib/sitegen/sites | grep _ || true`), '');
  });
});

guestTest('a static site is served as it was restored, and so is its copy', async (t, guest) => {
  const [site, copy] = ['static.example.com', 'copy.example.com'];
  const served = (name: string) => guest.sh(`curl -sk --resolve ${name}:443:127.0.0.1 https://${name}/`);
  try {
    await guest.sitegen('add', site, '--static', 'www');
    const file = `/var/lib/sitegen/sites/${site}/data/www/index.html`;
    for (const text of ['one', 'two']) await guest.sh(`echo ${text} > ${file}; sitegen backup now ${site}`);
    t.is(await served(site), 'two');
    const first = await guest.sh(`${git} -C /var/lib/sitegen/git/${site}.git rev-parse main~1`);
    t.is((await guest.sitegen('restore', site, '--at', first, '--force')).code, 0);
    t.is(await served(site), 'one');
    t.is((await guest.sitegen('clone', site, copy)).code, 0);
    t.is(await served(copy), 'one');
  } finally {
    for (const name of [site, copy]) await guest.sitegen('remove', '--purge', '--backups', '--yes', name);
  }
});
