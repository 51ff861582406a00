import { generateIdentity, identityToRecipient } from 'age-encryption';
import type { ExecutionContext } from 'ava';
import { addApp, page } from './_app.ts';
import { backupOf, endServers, prepare, servers, startServers } from './_backup.ts';
import { startDns } from './_dns.ts';
import { guestTest, longTest, until, type Guest } from './_guest.ts';
import { changes, inventory, write } from './_machine.ts';
import { point } from './_pebble.ts';

const domain = 'moved.example.com';
const here = '203.0.113.7';
const elsewhere = '203.0.113.99';
const data = `/var/lib/sitegen/sites/${domain}/data`;
const git = `git -c safe.directory='*'`;

/** A machine with backup servers that has lost a site: the site was backed up by another, whose key it knows or not. */
async function withLost(guest: Guest, settings: string, body: (first: { key: string; fingerprint: string }) => Promise<void>): Promise<void> {
  try {
    await startDns(guest);
    await startServers(guest, settings);
    await prepare(guest, domain);
    const address = await addApp(guest, domain, 'secrets: {TOKEN: "a secret"}\n');
    await guest.sh(`cd /tmp; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out fullchain.pem -subj /CN=${domain} -addext subjectAltName=DNS:${domain} -days 100 2>/dev/null
      mkdir -p /var/lib/sitegen/certs/${domain}; cp key.pem fullchain.pem /var/lib/sitegen/certs/${domain}/`);
    await until('the certificate is served', async () => (await fingerprintOf(guest)) === await ownFingerprint(guest), 30_000);
    await page(guest, address, '/log');
    await guest.sh(`echo post >> ${data}/db/store; echo upload > ${data}/files/upload; chown 33:44 ${data}/files/upload; sitegen stop ${domain}`);
    await until('both servers have it', async () => (await backupOf(guest, domain)).state === 'well', 60_000);
    const key = await guest.sh('sitegen backup key');
    await guest.sh(`sitegen remove --purge --backups --yes ${domain} 2>/dev/null
      rm -rf /etc/sitegen/keys; sitegen backup key > /root/.ssh/authorized_keys`);
    await body({ key, fingerprint: await ownFingerprint(guest) });
  } finally {
    await guest.run(['sitegen', 'remove', '--purge', '--backups', '--yes', domain]);
    await endServers(guest);
    await guest.sh('systemctl stop pebble-dns; systemctl reset-failed "sitegen-*" 2>/dev/null || true; sitegen apply --quiet');
  }
}

interface Settings {
  signers?: string;
  adopt?: boolean;
  recipient?: string;
  identity?: string;
}

/** Further lines of sitegen.yaml. */
const more = (settings: Settings) => [
  `  address: ${here}`,
  ...(settings.signers === undefined ? [] : [`  signers: ["${settings.signers}"]`]),
  ...(settings.recipient === undefined ? [] : [`  recipient: ${settings.recipient}`]),
  ...(settings.identity === undefined ? [] : [`  identity: ${settings.identity}`]),
  ...(settings.adopt === true ? ['adopt: {enabled: true, allow: ["*.example.com"]}'] : []),
].join('\n');

async function settings(guest: Guest, given: Settings): Promise<void> {
  await startServers(guest, more(given));
  await guest.sh('sitegen apply --quiet');
}

const ownFingerprint = (guest: Guest) => guest.sh('openssl x509 -in /tmp/fullchain.pem -noout -fingerprint -sha256');
const fingerprintOf = (guest: Guest, name = domain) => guest.sh(`openssl s_client -connect 127.0.0.1:443 -servername ${name} </dev/null 2>/dev/null | openssl x509 -noout -fingerprint -sha256 2>/dev/null || true`);

async function expectHere(t: ExecutionContext, guest: Guest): Promise<void> {
  const { address } = await guest.status(domain);
  t.is(await page(guest, address, '/db/store'), 'installed\npost');
  t.is(await page(guest, address, '/files/upload'), 'upload');
  t.is(await page(guest, address, '/log'), 'load hook\nload 2\nlaunch');
  t.is(await guest.sh(`stat -c %u:%g ${data}/files/upload`), '33:44');
  t.is(await guest.sh(`docker exec site-${domain} sh -c 'echo $TOKEN'`), 'a secret');
  t.is(await fingerprintOf(guest), await ownFingerprint(guest));
}

guestTest('a site is adopted by hand: only with its server\'s key allowed, and its DNS here or by force', async (t, guest) => {
  const secret = await generateIdentity();
  await withLost(guest, more({ recipient: await identityToRecipient(secret) }), async ({ key }) => {
    await point(guest, elsewhere, domain);
    const before = await inventory(guest);
    const refused = async (pattern: RegExp, ...args: string[]) => {
      const { code, stderr } = await guest.sitegen('adopt', domain, ...args);
      t.is(code, 1, stderr);
      t.regex(stderr, pattern);
      t.deepEqual(changes(before, await inventory(guest)).filter((line) => !line.endsWith('/sitegen.yaml')), []);
    };
    await refused(/leads to 203\.0\.113\.99, and not to this machine/);
    await point(guest, here, domain);
    await refused(/was signed with the key SHA256:.*, whose backups are not restored here/);
    await settings(guest, { signers: key });
    await refused(/secrets\.json of the backup is encrypted, and this machine has no identity/);
    await write(guest, '/root/age.key', secret);
    await settings(guest, { signers: key, identity: '/root/age.key' });
    const check = await guest.sitegen('adopt', '--check', domain);
    t.regex(check.stdout, /2 of 2 backup servers have it/);
    await point(guest, elsewhere, domain);
    const { code, stderr, stdout } = await guest.sitegen('adopt', '--force', domain);
    t.is(code, 0, stderr);
    t.regex(stdout, /is here, as in [0-9a-f]+: \d files/);
    await expectHere(t, guest);
    await until('the servers know who has it', async () => (await backupOf(guest, domain)).state === 'well', 60_000);
    for (const { directory } of servers) t.regex(await guest.sh(`${git} -C ${directory}/${domain}.git show main:meta/epoch.json`), /"epoch": 2/);
    t.is((await guest.sitegen('adopt', '--force', domain)).code, 1, 'it is here already');
  });
});

guestTest('the first visitor over TLS brings a site here, in the very same handshake, and many may ask at once', async (t, guest) => {
  await withLost(guest, more({}), async ({ key, fingerprint }) => {
    await settings(guest, { signers: key, adopt: true });
    await point(guest, here, domain);
    const since = await guest.sh('date +%s');
    const began = Date.now();
    const visits = await Promise.all([1, 2, 3].map(async () => guest.run(['curl', '-sk', '--max-time', '60', '--resolve', `${domain}:443:127.0.0.1`, `https://${domain}/db/store`])));
    t.log(`first visit: ${Date.now() - began} ms`);
    for (const { stdout, code } of visits) t.is(stdout, 'installed\npost\n', `curl: ${code}`);
    t.is(await fingerprintOf(guest), fingerprint);
    await expectHere(t, guest);
    t.is(await guest.sh(`journalctl --since @${since} -u sitegen-adopt@${domain}.service -o cat | grep -c taking || true`), '1', 'one clone for all');
  });
});

longTest('the first visitor over plain HTTP brings it here, too', async (t, guest) => {
  await withLost(guest, more({}), async ({ key }) => {
    await settings(guest, { signers: key, adopt: true });
    await point(guest, here, domain);
    const { stdout } = await guest.run(['curl', '-skL', '--max-time', '60', '--resolve', `${domain}:443:127.0.0.1`, '--resolve', `${domain}:80:127.0.0.1`, `http://${domain}/db/store`]);
    t.is(stdout, 'installed\npost\n');
    await expectHere(t, guest);
  });
});

guestTest('a forged name moves nothing, and costs next to nothing when it is asked for again', async (t, guest) => {
  await withLost(guest, more({}), async ({ key }) => {
    await settings(guest, { signers: key, adopt: true });
    await point(guest, elsewhere, domain);
    const before = await inventory(guest);
    const visit = (name: string) => guest.run(['curl', '-sk', '--max-time', '30', '--write-out', '%{time_total}', '--resolve', `${name}:443:127.0.0.1`, `https://${name}/`]);
    const looks = () => guest.sh(`journalctl --sync; journalctl -b -o cat -u sitegen-adopt@${domain}.service | wc -l`);
    t.not((await visit(domain)).code, 0, 'its DNS leads elsewhere');
    const looked = await looks();
    t.not(looked, '0');
    const again = await visit(domain);
    t.not(again.code, 0);
    t.true(Number(again.stdout) < 3, `refused at once, from memory: ${again.stdout}`);
    t.is(await looks(), looked, 'without another look for its backup');
    t.not((await visit('nobody.example.com')).code, 0, 'there is no such backup');
    const strange = await visit('nobody.example.net');
    t.not(strange.code, 0);
    t.is(await guest.sh(`journalctl -b -o cat -u sitegen-adopt@nobody.example.net.service | grep -c . || true`), '0', 'what the settings do not permit is not looked for');
    t.deepEqual(changes(before, await inventory(guest)), []);
    for (const { directory } of servers) t.regex(await guest.sh(`${git} -C ${directory}/${domain}.git show main:meta/epoch.json`), /"epoch": 1/);
    t.notRegex((await guest.sitegen('alarms')).stdout, /adopt/, 'and no alarm');
  });
});

longTest('an empty repository of a permitted domain means that it is installed', async (t, guest) => {
  const fresh = 'fresh.example.com';
  await withLost(guest, more({}), async ({ key }) => {
    await settings(guest, { signers: key, adopt: true });
    await point(guest, here, fresh);
    try {
      await prepare(guest, fresh);
      const { stdout } = await guest.run(['curl', '-sk', '--max-time', '60', '--resolve', `${fresh}:443:127.0.0.1`, `https://${fresh}/`]);
      t.regex(stdout, /<html/i);
      t.is((await guest.status(fresh)).state, 'awake');
    } finally {
      await guest.sitegen('remove', '--purge', '--backups', '--yes', fresh);
    }
  });
});

guestTest('an adoption that fails leaves nothing, and can be repeated', async (t, guest) => {
  await withLost(guest, more({}), async ({ key }) => {
    await settings(guest, { signers: key });
    await guest.sh('docker tag test/app:1 test/kept:1; docker rmi test/app:1');
    const before = await inventory(guest);
    const { code, stderr } = await guest.sitegen('adopt', '--force', domain);
    t.is(code, 1);
    t.regex(stderr, /test\/app:1/);
    t.deepEqual(changes(before, await inventory(guest)), []);
    await guest.sh('docker tag test/kept:1 test/app:1');
    for (const ms of [500, 1000, 1500, 2000, 2500]) await guest.run(['timeout', '--signal=KILL', `${ms / 1000}`, 'sitegen', 'adopt', '--force', domain]);
    const last = await guest.sitegen('adopt', '--force', domain);
    t.true(last.code === 0 || last.stderr.includes('exists already'), last.stderr);
    await expectHere(t, guest);
  });
});

longTest('a site that another server has taken over comes back by force, as it is there', async (t, guest) => {
  try {
    await startDns(guest);
    await startServers(guest, more({}));
    await prepare(guest, domain);
    const address = await addApp(guest, domain);
    await page(guest, address, '/log');
    t.is((await guest.sitegen('backup', 'now', '--wait', domain)).code, 0);
    // What the other server does: its claim, signed with its own key, and a change of its visitors'.
    await guest.sh(`
      rm -rf /tmp/other /tmp/other-key*; ssh-keygen -q -t ed25519 -N '' -f /tmp/other-key
      key=$(ssh-keygen -lf /tmp/other-key.pub | cut -d' ' -f2)
      ${git} clone --quiet ${servers[0]?.directory ?? ''}/${domain}.git /tmp/other; cd /tmp/other
      printf '{"epoch": 2, "server": "other", "key": "%s", "address": "203.0.113.99"}' "$key" > meta/epoch.json
      echo 'from there' >> meta/dump/dump.sql
      ${git} -c gpg.format=ssh -c user.signingKey=/tmp/other-key -c user.name=x -c user.email=x commit --quiet -S -am 'taken over'
      ${servers.map(({ directory }) => `${git} push --quiet ${directory}/${domain}.git main`).join('\n')}`);
    await settings(guest, { signers: await guest.sh('cut -d" " -f1,2 /tmp/other-key.pub') });
    await guest.sh(`echo late > ${data}/files/late`);
    await guest.sitegen('backup', 'now', '--wait', domain);
    await until('it is forwarded', async () => (await guest.sh(`cat /var/lib/sitegen/router/maps/passthrough.map`)).includes('203.0.113.99'), 60_000);
    t.is((await guest.sitegen('restore', domain)).code, 1);
    const elsewhereStill = await guest.sitegen('adopt', domain);
    t.regex(elsewhereStill.stderr, /has no address in DNS|leads to/);
    const { code, stderr } = await guest.sitegen('adopt', '--force', domain);
    t.is(code, 0, stderr);
    t.is(await page(guest, (await guest.status(domain)).address, '/db/store'), 'installed\nfrom there');
    await until('the servers know', async () => (await backupOf(guest, domain)).state === 'well', 60_000);
    for (const { directory } of servers) t.regex(await guest.sh(`${git} -C ${directory}/${domain}.git show main:meta/epoch.json`), /"epoch": 3/);
    t.regex(await guest.sh(`${git} -C ${servers[0]?.directory ?? ''}/${domain}.git for-each-ref`), /recover\//, 'what was late is kept aside');
  } finally {
    await guest.sitegen('remove', '--purge', '--backups', '--yes', domain);
    await endServers(guest);
    await guest.sh('systemctl stop pebble-dns; sitegen apply --quiet');
  }
});
