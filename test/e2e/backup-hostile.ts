import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { makeHostile } from '../lib/_data.ts';
import { addApp, page } from './_app.ts';
import { backupOf, endServers, prepare, servers, startServers } from './_backup.ts';
import { lab, longTest, type Guest } from './_guest.ts';

const domain = 'hostile.example.com';
const files = `/var/lib/sitegen/sites/${domain}/data/files`;
const marker = '/tmp/was-run';
const git = `git -c safe.directory='*' --git-dir /var/lib/sitegen/git/${domain}.git`;

/** All that can be seen of the files, in the guest's own words. */
const listing = `{ cd ${files}; find . ! -type s ! -type p \\( -type d -printf '%p %y %m %U:%G\\0' -o -type l -printf '%p %y %U:%G %l\\0' -o -printf '%p %y %m %U:%G %s %TY-%Tm-%Td %TH:%TM\\0' \\) | sort -z; find . -type f -print0 | sort -z | xargs -0 sha256sum -z --; } | sha256sum`;

async function withSite(guest: Guest, body: (address: string) => Promise<void>): Promise<void> {
  try {
    await startServers(guest);
    await prepare(guest, domain);
    await body(await addApp(guest, domain));
  } finally {
    await guest.run(['systemctl', 'stop', 'test-socket.service']);
    await guest.sitegen('remove', '--purge', '--backups', '--yes', domain);
    await endServers(guest);
  }
}

longTest('a hostile site is on both servers and comes back byte for byte; nothing of it was run', async (t, guest) => {
  const local = await mkdtemp(path.join(os.tmpdir(), 'sitegen-hostile-'));
  t.teardown(() => rm(local, { recursive: true, force: true }));
  await makeHostile(t, `${local}/h`, marker);
  await withSite(guest, async (address) => {
    await page(guest, address, '/log');
    await execa('sh', ['-c', `tar -C ${local} --numeric-owner -cS h | ${lab} exec ${guest.name} -- tar -C ${files} --numeric-owner -xS`]);
    await guest.sh(`systemd-run --quiet --unit=test-socket --working-directory=${files}/h socat UNIX-LISTEN:kinds/socket,fork /dev/null; sleep 0.5; rm -f ${marker}; echo x > ${files}/../db/store; sitegen backup now --wait ${domain}`);
    const before = await guest.sh(listing);
    const { commit, servers: held, warnings } = await backupOf(guest, domain, true);
    t.deepEqual([...warnings].sort(), ['files/h/kinds/fifo was left out: it is a fifo', 'files/h/kinds/socket was left out: it is a socket']);
    t.deepEqual(held.map((server) => server.commit), [commit, commit]);

    await guest.sh(`sitegen stop ${domain}; rm -rf ${files}/h; sitegen restore --yes --force --at ${commit ?? ''} ${domain}`, { timeoutMs: 300_000 });
    t.is(await guest.sh(listing), before);
    t.is(await page(guest, address, '/files/h/names/-rf'), '-rf');
    t.is((await guest.run(['test', '-e', marker])).code, 1);
    // Plain git, with all its checks, takes what the servers have.
    for (const { directory } of servers) await guest.sh(`rm -rf /tmp/clone; git -c safe.directory='*' -c transfer.fsckObjects=true clone --quiet --no-local ${directory}/${domain}.git /tmp/clone; git -C /tmp/clone fsck --full --strict; rm -rf /tmp/clone`, { timeoutMs: 300_000 });
    t.is((await guest.run(['test', '-e', marker])).code, 1);
  });
});

longTest('a container that exchanges its files for links during backups gets nothing of the machine\'s into them', async (t, guest) => {
  await withSite(guest, async (address) => {
    await page(guest, address, '/log');
    const secret = await guest.sh('echo "a secret of the machine $RANDOM$RANDOM" | tee /etc/sitegen-secret');
    const swap = 'cd /files; mkdir -p d; for n in $(seq 30); do echo inside > d/f$n; done; echo inside > sitegen-secret; while :; do mv d d2; ln -s /etc d; rm d; mv d2 d; mv sitegen-secret s2; ln -s /etc/sitegen-secret sitegen-secret; rm sitegen-secret; mv s2 sitegen-secret; cp sitegen-secret d/sitegen-secret; done';
    await guest.sh(`docker exec -d site-${domain} sh -c '${swap}'`);
    for (let round = 0; round < 10; round += 1) await guest.sh(`sitegen backup now ${domain}`);
    await guest.sh(`docker exec site-${domain} sh -c 'kill -9 -1' || true; rm /etc/sitegen-secret`);
    const texts = await guest.sh(`${git} cat-file --batch-all-objects --batch-check='%(objecttype) %(objectname)' | sed -n 's/^blob //p' | ${git} cat-file --batch | tr -d '\\0'`);
    t.true(texts.includes('inside'));
    t.false(texts.includes(secret));
    t.true(Number(await guest.sh(`${git} rev-list --count main`)) > 1);
  });
});
