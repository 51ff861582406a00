import { guestTest, long, longTest } from './_guest.ts';
import { certOf, copyFixture, endPebble, point, runCertify, servedFor, startPebble, stopPebble, untilCertified, useAcme } from './_pebble.ts';

const domain = 'cert.example.com';
const get = (...options: string[]) => `curl -s --cacert /run/pebble/root.pem --resolve ${domain}:443:127.0.0.1 -o /dev/null -w '%{http_version} %{http_code}' ${options.join(' ')} https://${domain}/`;
const alarmOf = (id: string) => `sitegen alarms --json | jq -r '.[].unit' | grep -xF sitegen-certify@${id}.service || true`;
const stateFile = `/var/lib/sitegen/acme/${domain}.json`;
/** Changes what is known of the certificate, as time would. */
const setState = (filter: string) => `jq '${filter}' ${stateFile} > /run/pebble/state && cat /run/pebble/state > ${stateFile}`;

guestTest('a site gets its certificate by itself, for h2 and h1, and renewal keeps open connections', async (t, guest) => {
  try {
    await startPebble(guest);
    await point(guest, '127.0.0.1', domain, `www.${domain}`);
    const since = await guest.sh('date +%s');
    await guest.site(domain);
    t.regex((await servedFor(guest, domain)).issuer, /no certificate yet|Pebble/, 'reachable at once');
    const cert = await untilCertified(guest, domain);
    t.deepEqual(cert.names, [domain, `www.${domain}`]);
    t.regex(cert.issuer ?? '', /^Pebble/);
    t.true((cert.daysLeft ?? 0) >= 88 && (cert.daysLeft ?? 0) <= 90);
    t.true(Date.parse(cert.nextTry ?? '') > Date.now());
    t.is(cert.lastError, null);
    t.is(await guest.sh(get('--http2')), '2 200');
    t.is(await guest.sh(get('--http1.1')), '1.1 200');
    t.is(await guest.sh(`stat -c '%a %U' /var/lib/sitegen/certs/${domain} /var/lib/sitegen/certs/${domain}/{key,fullchain}.pem /var/lib/sitegen/acme/${domain}.pem /var/lib/sitegen/acme/account/*.key /var/lib/sitegen/router/certs/${domain}.pem`),
      ['700 root', '600 root', '600 root', '600 root', '600 root', '600 sitegen-router'].join('\n'));
    t.is(await guest.sh(`[ -z "$(ls -A /var/lib/sitegen/acme/account | grep -v key)" ] && wc -l < /var/lib/sitegen/router/maps/acme.map`), '0', 'no answer of a challenge stays');

    const before = await servedFor(guest, domain);
    await copyFixture(guest, 'keep-alive.mjs', '/run/pebble/keep-alive.mjs');
    await guest.sh(`systemd-run --quiet --unit keep-alive -p RemainAfterExit=yes sh -c 'node /run/pebble/keep-alive.mjs ${domain} /run/pebble/stop > /run/pebble/said'; sleep 1`);
    const pid = await guest.sh("systemctl show -P MainPID sitegen-router");
    t.regex((await guest.sitegen('certs', 'renew', domain)).stdout, /got a certificate for cert\.example\.com, www\.cert\.example\.com/);
    const after = await servedFor(guest, domain);
    t.not(after.serial, before.serial);
    await guest.sh('sleep 1; touch /run/pebble/stop; for i in $(seq 50); do [ -s /run/pebble/said ] && break; sleep 0.1; done; systemctl stop keep-alive');
    const said = JSON.parse(await guest.sh('cat /run/pebble/said')) as { answered: number; failed: number; connections: number };
    t.is(said.failed, 0);
    t.is(said.connections, 1);
    t.true(said.answered > 20);
    t.is(await guest.sh('systemctl show -P MainPID sitegen-router'), pid);
    t.is(await guest.sh(`journalctl -u sitegen-router --since @${since} -o cat | grep -ci 'reload' || true`), '0');

    // Restarted, the router has the same from its files.
    await guest.sh('systemctl restart sitegen-router');
    t.is((await servedFor(guest, domain)).serial, after.serial);
    t.is(await guest.sh(`journalctl --since @${since} -o cat | grep -c 'PRIVATE KEY' || true`), '0');

    // What somebody has destroyed is repaired, and said.
    await guest.sh(`rm /var/lib/sitegen/router/certs/${domain}.pem; sed -i '/${domain}/d' /var/lib/sitegen/router/certs.list
      printf 'del ssl crt-list /var/lib/sitegen/router/certs.list /var/lib/sitegen/router/certs/${domain}.pem\\n' | socat -t5 - UNIX:/run/sitegen-router/admin.sock`);
    t.not((await servedFor(guest, domain)).serial, after.serial);
    t.regex((await guest.sitegen('apply')).stdout, /cert\.example\.com: the router serves it for cert\.example\.com, www\.cert\.example\.com/);
    t.is((await servedFor(guest, domain)).serial, after.serial);
  } finally {
    await guest.sitegen('remove', '--purge', '--backups', '--yes', domain);
    await endPebble(guest);
  }
});

guestTest('names that cannot be had are left out and told, and come in once they can', async (t, guest) => {
  const [bad, none, good, refused] = [`bad.${domain}`, `none.${domain}`, `good.${domain}`, 'blocked.example.org'];
  try {
    await startPebble(guest);
    await point(guest, '127.0.0.1', domain, good, refused);
    await point(guest, '198.18.0.254', bad);
    await guest.site(domain, '--alias', bad, '--alias', none, '--alias', good);
    const cert = await untilCertified(guest, domain, 120_000);
    t.deepEqual(cert.names, [domain, good]);
    t.regex(cert.leftOut[bad] ?? '', /^http-01: .*; tls-alpn-01: /);
    t.is(cert.leftOut[none], 'has no address in DNS');
    t.deepEqual(Object.keys(cert.leftOut).sort(), [bad, none].sort(), 'the implied www is not missed');
    t.regex(await guest.sh(`journalctl -u sitegen-certify@${domain} -o cat`), /the certificate is without none\.cert\.example\.com: has no address in DNS/);

    // Not asked for again until their time has come.
    const { serial } = await servedFor(guest, domain);
    await runCertify(guest, domain);
    t.is((await servedFor(guest, domain)).serial, serial);
    await point(guest, '127.0.0.1', none);
    await guest.sh(setState('.leftOut |= map_values(.nextTry = "2020-01-01T00:00:00Z")'));
    await guest.sh('systemctl start sitegen-renew.service');
    t.deepEqual((await certOf(guest, domain)).names, [domain, none, good]);
    t.regex((await certOf(guest, domain)).leftOut[bad] ?? '', /^http-01: /);

    // A failing name does not cost a certificate each time.
    const second = await servedFor(guest, domain);
    await guest.sh(setState('.leftOut |= map_values(.nextTry = "2020-01-01T00:00:00Z")'));
    await guest.sh('systemctl start sitegen-renew.service');
    t.is((await servedFor(guest, domain)).serial, second.serial);
  } finally {
    await guest.sitegen('remove', '--purge', '--backups', '--yes', domain);
    await endPebble(guest);
  }
});

guestTest('a machine that knows its public address leaves out names that lead elsewhere, without asking', async (t, guest) => {
  const elsewhere = `elsewhere.${domain}`;
  try {
    await guest.sh('ip address add 9.9.9.77/32 dev lo');
    await startPebble(guest);
    await point(guest, '9.9.9.77', domain);
    await point(guest, '9.9.9.78', elsewhere);
    await guest.site(domain, '--alias', elsewhere);
    const cert = await untilCertified(guest, domain);
    t.deepEqual(cert.names, [domain]);
    t.is(cert.leftOut[elsewhere], 'leads to 9.9.9.78, and not to this machine');
    t.is(await guest.sh(`journalctl -u pebble -o cat | grep -c ${elsewhere} || true`), '0');
  } finally {
    await guest.sh('ip address del 9.9.9.77/32 dev lo || true');
    await guest.sitegen('remove', '--purge', '--backups', '--yes', domain);
    await endPebble(guest);
  }
});

guestTest('rejected nonces and slow authorisations delay it and no more', async (t, guest) => {
  try {
    await startPebble(guest, { env: { PEBBLE_WFE_NONCEREJECT: '30', PEBBLE_VA_NOSLEEP: '0', PEBBLE_VA_SLEEPTIME: '12' } });
    await point(guest, '127.0.0.1', domain);
    await guest.site(domain);
    t.deepEqual((await untilCertified(guest, domain, 180_000)).names, [domain]);
    t.regex(await guest.sh('journalctl -u pebble -o cat'), /badNonce|Sleeping for/);
  } finally {
    await guest.sitegen('remove', '--purge', '--backups', '--yes', domain);
    await endPebble(guest);
  }
});

longTest('while the authority is down the old certificate stays, and only near its end it is an alarm', async (t, guest) => {
  try {
    await startPebble(guest);
    await point(guest, '127.0.0.1', domain);
    await guest.site(domain);
    await untilCertified(guest, domain);
    const { serial } = await servedFor(guest, domain);
    await stopPebble(guest);

    // Early: a name more is wanted, and the end is far.
    await guest.sh(`echo 'aliases: [late.${domain}]' >> /etc/sitegen/sites/${domain}.yaml`);
    t.is(await runCertify(guest, domain), 'done');
    const cert = await certOf(guest, domain);
    t.regex(cert.lastError ?? '', /^127\.0\.0\.1:14000 cannot be reached: /);
    const wait = Date.parse(cert.nextTry ?? '') - Date.now();
    t.true(wait > 50 * 60_000 && wait < 61 * 60_000, String(wait));
    t.is((await servedFor(guest, domain)).serial, serial);
    t.is(await guest.sh(alarmOf(domain)), '');
    t.is(await runCertify(guest, domain), 'done', 'and waits');
    t.is((await guest.sitegen('certs', 'renew', domain)).code, 1, 'whoever asks hears it');
    t.regex((await guest.sitegen('certs')).stdout, /cert\.example\.com .* acme .* 127\.0\.0\.1:14000 cannot be reached/);

    // Near the end: certificates of a minute.
    await startPebble(guest, { validitySeconds: 60 });
    await point(guest, '127.0.0.1', domain);
    t.is((await guest.sitegen('certs', 'renew', domain)).code, 0);
    const short = await servedFor(guest, domain);
    t.not(short.serial, serial);
    await stopPebble(guest);
    await guest.sh('sleep 41');
    t.is(await runCertify(guest, domain), 'exit-code');
    t.is(await guest.sh(`sleep 2; ${alarmOf(domain)}`), `sitegen-certify@${domain}.service`);
    t.is((await servedFor(guest, domain)).serial, short.serial);
    await guest.sh(setState('.nextTry = "2020-01-01T00:00:00Z"'));
    t.is(await runCertify(guest, domain), 'done', 'not told again within a day');
    t.is(await guest.sh(alarmOf(domain)), `sitegen-certify@${domain}.service`, 'but it stands');

    await startPebble(guest);
    await point(guest, '127.0.0.1', domain);
    await guest.sh(setState('.nextTry = "2020-01-01T00:00:00Z"'));
    await guest.sh('systemctl start sitegen-renew.service');
    t.not((await servedFor(guest, domain)).serial, short.serial);
    t.is(await guest.sh(alarmOf(domain)), '');
    t.is((await certOf(guest, domain)).lastError, null);
  } finally {
    await guest.sitegen('remove', '--purge', '--backups', '--yes', domain);
    await endPebble(guest);
  }
});

guestTest('a first certificate that cannot be had is told at once, and an alarm after a day', async (t, guest) => {
  try {
    await startPebble(guest);
    await guest.site(domain);
    await guest.sh(`for i in $(seq 100); do [ -e ${stateFile} ] && break; sleep 0.1; done; systemctl show -P ActiveState sitegen-certify@${domain}`);
    const cert = await certOf(guest, domain);
    t.is(cert.source, 'none');
    t.is(cert.lastError, 'has no address in DNS');
    t.is(await guest.sh(`curl -sk -o /dev/null -w '%{http_code}' --resolve ${domain}:443:127.0.0.1 https://${domain}/`), '200');
    t.is(await guest.sh(alarmOf(domain)), '');
    await guest.sh(setState('.nextTry = "2020-01-01T00:00:00Z" | .failingSince = "2020-01-01T00:00:00Z"'));
    t.is(await runCertify(guest, domain), 'exit-code');
    t.is(await guest.sh(`sleep 2; ${alarmOf(domain)}`), `sitegen-certify@${domain}.service`);
    t.is((await guest.sitegen('remove', '--purge', '--backups', '--yes', domain)).code, 0);
    t.is(await guest.sh(alarmOf(domain)), '', 'nobody waits for it any more');
  } finally {
    await guest.sitegen('remove', '--purge', '--backups', '--yes', domain);
    await endPebble(guest);
  }
});

longTest('an authority that asks to wait is left alone for as long, over restarts too', async (t, guest) => {
  try {
    await startPebble(guest);
    await point(guest, '127.0.0.1', domain);
    await copyFixture(guest, 'acme-limited.mjs', '/run/pebble/acme-limited.mjs');
    await guest.sh('systemd-run --quiet --collect --unit acme-limited node /run/pebble/acme-limited.mjs 14001 /run/pebble/cert.pem /run/pebble/key.pem /run/pebble/asked; sleep 1');
    await useAcme(guest, 'https://127.0.0.1:14001/dir');
    await guest.site(domain);
    await guest.sh(`for i in $(seq 100); do [ -e ${stateFile} ] && break; sleep 0.1; done`);
    const cert = await certOf(guest, domain);
    t.regex(cert.lastError ?? '', /^127\.0\.0\.1:14001 answers 429: too many certificates already issued$/);
    const wait = Date.parse(cert.nextTry ?? '') - Date.now();
    t.true(wait > 115 * 60_000 && wait <= 120 * 60_000, String(wait));
    const orders = () => guest.sh('grep -c order /run/pebble/asked');
    t.is(await orders(), '1', 'asked once, and not again and again');
    await guest.sh('systemctl start sitegen-renew.service');
    t.is(await runCertify(guest, domain), 'done');
    const asked = await guest.sitegen('certs', 'renew', domain);
    t.is(asked.code, 1);
    t.regex(asked.stderr, /has asked to wait until .* --force/);
    t.is(await orders(), '1');
    t.is((await guest.sitegen('certs', 'renew', '--force', domain)).code, 1);
    t.is(await orders(), '2');
  } finally {
    await guest.sitegen('remove', '--purge', '--backups', '--yes', domain);
    await endPebble(guest);
  }
});

// Their time takes two minutes to come.
if (long) guestTest('certificates of a few days are renewed when their time has come, and not before', async (t, guest) => {
  try {
    await startPebble(guest, { validitySeconds: 120 });
    await point(guest, '127.0.0.1', domain);
    await guest.site(domain);
    await untilCertified(guest, domain);
    const first = await servedFor(guest, domain);
    // The test's authority would rather have them renewed at once.
    await guest.sh(setState('.window = {start: "-", end: "-", askAgain: "2099-01-01T00:00:00Z"}'));
    await guest.sh('systemctl start sitegen-renew.service');
    t.is((await servedFor(guest, domain)).serial, first.serial);
    await guest.sh('sleep 82');
    await guest.sh('systemctl start sitegen-renew.service');
    t.not((await servedFor(guest, domain)).serial, first.serial);
  } finally {
    await guest.sitegen('remove', '--purge', '--backups', '--yes', domain);
    await endPebble(guest);
  }
});

longTest('when the authority says that it wants a certificate renewed, it is', async (t, guest) => {
  try {
    await startPebble(guest);
    if ((await guest.run(['sh', '-c', 'curl -s --cacert /run/pebble/ca.pem https://127.0.0.1:14000/dir | grep renewalInfo'])).code !== 0) {
      t.pass('this Pebble does not tell');
      return;
    }
    await point(guest, '127.0.0.1', domain);
    await guest.site(domain);
    await untilCertified(guest, domain);
    const first = await servedFor(guest, domain);
    await guest.sh('systemctl start sitegen-renew.service');
    const window = JSON.parse(await guest.sh(`jq .window ${stateFile}`)) as { start: string; end: string; askAgain: string };
    t.true(Date.parse(window.start) > Date.now() + 30 * 86_400_000);
    t.true(Date.parse(window.askAgain) > Date.now());
    const { nextTry } = await certOf(guest, domain);
    t.true((nextTry ?? '') >= new Date(window.start).toISOString() && (nextTry ?? '') <= new Date(window.end).toISOString());
    t.is((await servedFor(guest, domain)).serial, first.serial);

    // It wants those of two minutes renewed at once; the tenth part of their life has to be over.
    await startPebble(guest, { validitySeconds: 120 });
    await point(guest, '127.0.0.1', domain);
    t.is((await guest.sitegen('certs', 'renew', domain)).code, 0);
    const short = await servedFor(guest, domain);
    await guest.sh('sleep 13; systemctl start sitegen-renew.service');
    t.not((await servedFor(guest, domain)).serial, short.serial);
  } finally {
    await guest.sitegen('remove', '--purge', '--backups', '--yes', domain);
    await endPebble(guest);
  }
});
