import { backupOf, endServers, prepare, servers, startServers } from './_backup.ts';
import { guestTest, newestTest, until, type Guest } from './_guest.ts';
import { addKeeper, domain, names } from './_keeper.ts';

const write = (guest: Guest, address: string, text: string) => guest.sh(`curl -sf --max-time 60 -d '${text}' http://${address}/cgi-bin/note`);
const committed = (guest: Guest, file: string) => guest.sh(`git -c safe.directory='*' -C ${names.git} show main:${file}`);

guestTest('what visitors wrote is in both servers when the site has stopped, and "not backed up" is said until then', async (t, guest) => {
  try {
    await startServers(guest);
    await prepare(guest, domain);
    const address = await addKeeper(guest);
    t.regex((await guest.sitegen('list')).stdout, new RegExp(`${domain}.*not backed up`));
    t.regex((await guest.sitegen('status', domain)).stdout, /backup: not backed up: there is no backup yet/);
    await write(guest, address, 'first');
    t.is((await guest.sitegen('stop', domain)).code, 0);
    await until('both servers have it', async () => (await backupOf(guest, domain)).state === 'well', 30_000);
    t.is(await committed(guest, 'meta/dump/dump.sql'), 'first\n-- complete');
    t.is(await committed(guest, 'data/files/notes'), 'first');
    const { commit, servers: known } = await backupOf(guest, domain, true);
    t.is(known.length, 2);
    for (const { directory } of servers) t.is(await guest.sh(`git -c safe.directory='*' -C ${directory}/${domain}.git rev-parse main`), commit ?? '');
    t.regex((await guest.sitegen('status', domain)).stdout, /backup: on all servers/);
    t.regex((await guest.sitegen('backup', 'list')).stdout, new RegExp(`${domain} +well .* 2 of 2`));
    t.is((await guest.sitegen('backup', 'list', domain)).code, 0);

    // Nothing has changed: no commit.
    t.is((await guest.sitegen('stop', domain)).code, 0);
    await guest.get(address);
    t.is((await guest.sitegen('stop', domain)).code, 0);
    t.is((await backupOf(guest, domain)).commit, commit);
    t.regex((await guest.sitegen('backup', 'log', domain)).stdout, new RegExp(`^${(commit ?? '').slice(0, 10)} .*${domain}: backup$`, 'm'));
    t.regex((await guest.sitegen('backup', 'verify', domain)).stdout, /is whole: \d+ files/);
    t.regex((await guest.sitegen('backup', 'verify', domain, '--server', '2202')).stdout, /is whole: \d+ files/);
  } finally {
    await endServers(guest);
  }
});

newestTest('an awake site is dumped by its timer, which sleeps with it, and by hand', async (t, guest) => {
  try {
    await startServers(guest);
    await prepare(guest, domain);
    const address = await addKeeper(guest);
    await guest.sh(`mkdir -p /run/systemd/system/sitegen-dump@.timer.d; printf '[Timer]\\nOnActiveSec=2s\\nRandomizedDelaySec=0\\nAccuracySec=100ms\\n' > /run/systemd/system/sitegen-dump@.timer.d/soon.conf; systemctl daemon-reload`);
    t.is(await guest.sh(`systemctl is-active sitegen-dump@${domain}.timer || true`), 'inactive');
    await write(guest, address, 'by the timer');
    await until('the timer has dumped it', async () => (await backupOf(guest, domain)).state === 'well', 30_000);
    t.is((await guest.status(domain)).state, 'awake');
    t.is(await guest.sh(`systemctl is-active sitegen-dump@${domain}.timer`), 'active');
    await write(guest, address, 'by hand');
    const by = await guest.sitegen('backup', domain, '--wait');
    t.is(by.code, 0);
    t.regex(by.stdout, new RegExp(`^${domain}: [0-9a-f]{10}, 2 of 2 servers have it$`, 'm'));
    t.is(await committed(guest, 'meta/dump/dump.sql'), 'by the timer\nby hand\n-- complete');
    await guest.sitegen('stop', domain);
    t.is(await guest.sh(`systemctl is-active sitegen-dump@${domain}.timer || true`), 'inactive');
  } finally {
    await guest.sh('rm -rf /run/systemd/system/sitegen-dump@.timer.d; systemctl daemon-reload');
    await endServers(guest);
  }
});

newestTest('writes in the very last moment before a stop are in the backup, and so are those before a reboot', async (t, guest) => {
  try {
    await startServers(guest);
    await prepare(guest, domain);
    const address = await addKeeper(guest);
    // While it is stopped again and again, somebody writes all the time; each write is answered.
    await guest.sh(`cat > /run/writer <<'E'
for i in $(seq 1 40); do curl -sf --max-time 90 --retry 3 --retry-connrefused -d "w$i" http://${address}/cgi-bin/note >/dev/null && echo "w$i" >> /run/acknowledged; sleep 0.2; done
E
rm -f /run/acknowledged; systemd-run --quiet --collect --unit writer bash /run/writer`);
    for (let round = 0; round < 4; round += 1) {
      await new Promise((resolve) => setTimeout(resolve, 2000));
      t.is((await guest.sitegen('stop', domain)).code, 0);
    }
    await until('the writer is done', async () => (await guest.sh('systemctl is-active writer.service || true')) !== 'active', 120_000, 500);
    await guest.sitegen('stop', domain);
    t.is(await guest.sh(`git -c safe.directory='*' -C ${names.git} show main:meta/dump/dump.sql | grep -v complete | sort`), await guest.sh('sort /run/acknowledged'));

    await write(guest, address, 'before the reboot');
    await guest.reboot();
    t.regex(await committed(guest, 'meta/dump/dump.sql'), /before the reboot\n-- complete$/);
    t.regex(await committed(guest, 'data/files/notes'), /before the reboot$/);
  } finally {
    await endServers(guest);
  }
});

newestTest('a dump that fails at the stop keeps the last good one, raises the alarm, and is tried again', async (t, guest) => {
  try {
    await startServers(guest);
    await prepare(guest, domain);
    const address = await addKeeper(guest);
    await write(guest, address, 'good');
    await guest.sitegen('stop', domain);
    await write(guest, address, 'later');
    await guest.sh(`touch ${names.data}/files/broken`);
    t.is((await guest.sitegen('stop', domain)).code, 0);
    t.is((await guest.status(domain)).state, 'asleep');
    t.is(await committed(guest, 'meta/dump/dump.sql'), 'good\n-- complete');
    t.is(await guest.sh(`cat /var/lib/sitegen/sites/${domain}/meta/dump/dump.sql`), 'good\n-- complete');
    await until('there is an alarm', async () => (await guest.sitegen('alarms')).stdout.includes(`sitegen-dump@${domain}.service`));
    t.regex((await guest.sitegen('status', domain)).stdout, /backup: not backed up: .*exit code 3/);
    t.is((await guest.sitegen('backup', 'list', domain)).code, 3);

    await guest.sh('systemctl start sitegen-watch.service');
    t.true((await guest.sitegen('alarms')).stdout.includes(`sitegen-watch@${domain}.service`), 'still broken');
    await guest.sh(`rm ${names.data}/files/broken; systemctl start sitegen-watch.service`);
    t.is(await committed(guest, 'meta/dump/dump.sql'), 'good\nlater\n-- complete');
    t.is((await guest.status(domain)).state, 'asleep');
    await guest.sh('systemctl start sitegen-watch.service');
    t.notRegex((await guest.sitegen('alarms')).stdout, new RegExp(domain));
  } finally {
    await endServers(guest);
  }
});

guestTest('keys and secrets are encrypted where there is a recipient, and stay the same bytes while they are the same', async (t, guest) => {
  try {
    const recipient = await guest.sh('rm -f /root/age; age-keygen -o /root/age 2>/dev/null; age-keygen -y /root/age');
    await startServers(guest, `  recipient: ${recipient}`);
    await prepare(guest, domain);
    const address = await addKeeper(guest, ['secrets: {DB_PASSWORD: "hunter two"}']);
    await write(guest, address, 'x');
    t.is(await guest.sh(`docker exec site-${domain} sh -c 'echo $DB_PASSWORD'`), 'hunter two');
    await guest.sitegen('stop', domain);
    t.is(await guest.sh(`git -c safe.directory='*' -C ${names.git} grep -c 'hunter two' main || true`), '');
    t.is(await guest.sh(`git -c safe.directory='*' -C ${names.git} show main:meta/secrets.json.age | age -d -i /root/age | jq -r .DB_PASSWORD`), 'hunter two');
    t.notRegex(await committed(guest, 'meta/site.yaml'), /hunter|address|secrets/);
    const before = await guest.sh(`git -c safe.directory='*' -C ${names.git} rev-parse main:meta/secrets.json.age`);
    await write(guest, address, 'y');
    await guest.sitegen('stop', domain);
    t.is(await guest.sh(`git -c safe.directory='*' -C ${names.git} rev-parse main:meta/secrets.json.age`), before);
  } finally {
    await guest.sh('rm -f /root/age');
    await endServers(guest);
  }
});

guestTest('a site that would not be backed up is refused where backups are required', async (t, guest) => {
  try {
    await guest.sh(`printf 'acme: {enabled: false}\\nbackup: {require: true}\\n' > /etc/sitegen/sitegen.yaml`);
    const refused = await guest.sitegen('add', domain);
    t.is(refused.code, 1);
    t.regex(refused.stderr, /it would not be backed up: no backup servers are set, and backup\.require wants two/);
    t.is(await guest.sh(`ls /etc/sitegen/sites /etc/systemd/system | grep -c ${domain} || true`), '0');
  } finally {
    await endServers(guest);
  }
});
