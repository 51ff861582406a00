import { guestTest, longTest, until } from './_guest.ts';
import { certOf, endPebble, point, servedFor, startPebble, untilCertified, useAcme } from './_pebble.ts';
import { write } from './_machine.ts';

const hook = '/usr/lib/sitegen/templates/dns/nsupdate';

guestTest('where http-01 does not get through, tls-alpn-01 does', async (t, guest) => {
  const [domain, alias] = ['alpn.example.com', 'b.alpn.example.com'];
  try {
    await startPebble(guest, { httpPort: 5999 });
    await point(guest, '127.0.0.1', domain, alias);
    await guest.site(domain, '--alias', alias);
    t.deepEqual((await untilCertified(guest, domain)).names, [domain, alias]);
    t.is((await servedFor(guest, domain)).names, [alias, domain].sort().join(' '));
    t.regex(await guest.sh(`journalctl -u pebble -o cat | grep 'set ' | tail -8`), /set INVALID by completed challenge[^]*set VALID by completed challenge/);
    t.is(await guest.sh('ls /run/sitegen-router/alpn.sock 2>/dev/null || true'), '');
  } finally {
    await guest.sitegen('remove', '--purge', '--backups', '--yes', domain);
    await endPebble(guest);
  }
});

guestTest('a wildcard comes by dns-01, with updates of a name server', async (t, guest) => {
  const domain = 'dns.example.com';
  try {
    await startPebble(guest);
    // A name server of our own in the place of the test's.
    await guest.sh(`systemctl stop pebble-dns; mkdir -p /run/zone; tsig-keygen -a hmac-sha256 sitegen > /run/zone/tsig.key; chown -R bind: /run/zone; chmod 640 /run/zone/tsig.key`);
    await write(guest, '/run/zone/named.conf', `include "/run/zone/tsig.key";
      options { directory "/run/zone"; listen-on port 53 { 127.0.0.1; }; listen-on-v6 { none; }; pid-file "/run/zone/named.pid"; session-keyfile "/run/zone/session.key"; recursion yes; allow-query { any; }; dnssec-validation no; };
      zone "example.com" { type primary; file "/run/zone/db"; update-policy { grant sitegen subdomain _acme-challenge.${domain}. TXT; }; };\n`);
    await write(guest, '/run/zone/db', `$TTL 60
@ IN SOA ns.example.com. admin.example.com. 1 3600 600 86400 60
@ IN NS ns.example.com.
ns IN A 127.0.0.1
dns IN A 127.0.0.1\n`);
    await guest.sh(`chown -R bind: /run/zone; systemd-run --quiet --collect --unit zone named -f -u bind -c /run/zone/named.conf
      for i in $(seq 100); do dig +short +time=1 @127.0.0.1 ${domain} | grep -q . && break; sleep 0.1; done`);
    await useAcme(guest, 'https://127.0.0.1:14000/dir', { dns: [hook, '-k', '/run/zone/tsig.key', '-s', '127.0.0.1'] });
    await guest.site(domain, '--alias', `*.${domain}`);
    t.deepEqual((await untilCertified(guest, domain)).names, [domain, `*.${domain}`, `www.${domain}`]);
    t.is((await servedFor(guest, `anything.${domain}`)).names, `*.${domain} ${domain}`);
    t.is(await guest.sh(`dig +short @127.0.0.1 TXT _acme-challenge.${domain}`), '', 'nothing is left in the zone');

    // What the program says is the reason that is shown.
    await useAcme(guest, 'https://127.0.0.1:14000/dir', { dns: [hook, '-k', '/run/zone/missing', '-s', '127.0.0.1'] });
    await guest.sh(`systemctl stop pebble; systemd-run --quiet --collect --unit pebble -E PEBBLE_VA_NOSLEEP=1 pebble -config /run/pebble/config.json -dnsserver 127.0.0.1:53; sleep 1`);
    t.is((await guest.sitegen('certs', 'renew', domain)).code, 0, 'the others go on');
    t.regex((await certOf(guest, domain)).leftOut[`*.${domain}`] ?? '', /^dns-01: .*nsupdate present _acme-challenge\.dns\.example\.com: exit code \d: update failed: REFUSED$/);
  } finally {
    await guest.sitegen('remove', '--purge', '--backups', '--yes', domain);
    await guest.sh('systemctl stop zone 2>/dev/null || true; rm -rf /run/zone');
    await endPebble(guest);
  }
});

longTest('without a program for it a wildcard is left out, and told', async (t, guest) => {
  const domain = 'wild.example.com';
  try {
    await startPebble(guest);
    await point(guest, '127.0.0.1', domain);
    await guest.site(domain, '--alias', `*.${domain}`);
    const cert = await untilCertified(guest, domain);
    t.deepEqual(cert.names, [domain]);
    t.is(cert.leftOut[`*.${domain}`], 'a wildcard needs acme.dns in sitegen.yaml');
  } finally {
    await guest.sitegen('remove', '--purge', '--backups', '--yes', domain);
    await endPebble(guest);
  }
});

longTest('an account can be bound to one elsewhere, is made once, and keys are of the kind that is asked for', async (t, guest) => {
  const domain = 'bound.example.com';
  const eab = { kid: 'kid-1', key: 'zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W' };
  const served = () => guest.sh(`openssl s_client -connect 127.0.0.1:443 -servername ${domain} </dev/null 2>/dev/null | openssl x509 -noout -text | grep -E 'Public-Key|ASN1 OID' | tr -s ' \\n' ' '`);
  try {
    await startPebble(guest, { accountKeys: { [eab.kid]: eab.key } });
    await point(guest, '127.0.0.1', domain);
    await guest.site(domain);
    await until('it is told', async () => (await certOf(guest, domain)).lastError !== null, 30_000, 300);
    t.regex((await certOf(guest, domain)).lastError ?? '', /answers 40\d: .*externalAccountBinding/);
    await useAcme(guest, 'https://127.0.0.1:14000/dir', { eab, keyType: 'rsa-2048' });
    t.is((await guest.sitegen('certs', 'renew', domain)).code, 0);
    t.regex(await served(), /2048 bit/);
    await useAcme(guest, 'https://127.0.0.1:14000/dir', { eab, keyType: 'ecdsa-p384' });
    t.is((await guest.sitegen('certs', 'renew', domain)).code, 0);
    t.regex(await served(), /secp384r1/);
    t.is(await guest.sh("journalctl -u pebble -o cat -n 500 | grep -o 'There are now . accounts' | tail -1"), 'There are now 1 accounts');
  } finally {
    await guest.sitegen('remove', '--purge', '--backups', '--yes', domain);
    await endPebble(guest);
  }
});
