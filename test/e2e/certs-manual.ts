import { guestTest, longTest, until, type Guest } from './_guest.ts';
import { certOf, copyFixture, endPebble, point, servedFor, startPebble, untilCertified } from './_pebble.ts';

const domain = 'hand.example.com';
const folder = `/var/lib/sitegen/certs/${domain}`;
const made = '/run/made';
const openUnits = (guest: Guest) => guest.sh(`sitegen alarms --json | jq -r '.[].unit' | grep '${domain}' || true`);
const serialOf = (guest: Guest, name: string) => guest.sh(`openssl x509 -noout -serial -in ${made}/${name}.pem | cut -d= -f2`);

/** A site without ACME, and certificates of all kinds beside it. */
async function prepare(guest: Guest): Promise<void> {
  await guest.sh(`rm -rf ${made} ${folder}; printf 'acme: {enabled: false}\\n' > /etc/sitegen/sitegen.yaml`);
  await copyFixture(guest, 'make-certs.sh', '/run/make-certs.sh');
  await guest.sh(`sh /run/make-certs.sh ${made} ${domain}`);
  await guest.site(domain);
}

async function restore(guest: Guest): Promise<void> {
  await guest.sitegen('remove', '--purge', '--backups', '--yes', domain);
  await guest.sh(`cp /usr/src/sitegen/templates/sitegen.yaml /etc/sitegen/sitegen.yaml; rm -rf ${made}; systemctl stop 'sitegen-certs@*.path'; systemctl reset-failed 'sitegen-cert*' 2>/dev/null || true`);
}

const untilServed = async (guest: Guest, name: string) => {
  const serial = await serialOf(guest, name);
  await until(`${name} is served`, async () => (await servedFor(guest, domain)).serial === serial, 20_000, 300);
};

guestTest('a certificate dropped into a new folder is served within seconds, and so is the next', async (t, guest) => {
  try {
    await prepare(guest);
    await guest.sh(`mkdir ${folder}; cp ${made}/good.fullchain.pem ${folder}/fullchain.pem; sleep 1; cp ${made}/good.key ${folder}/key.pem`);
    await untilServed(guest, 'good');
    t.is(await guest.sh(`curl -s --cacert ${made}/root.pem --resolve ${domain}:443:127.0.0.1 -o /dev/null -w '%{http_code}' https://${domain}/`), '200');
    t.is(await guest.sh(`stat -c %a ${folder} ${folder}/key.pem`), '700\n600');
    const cert = await certOf(guest, domain);
    t.like(cert, { source: 'manual', issuer: 'Test Test Middle', nextTry: null, refused: null });
    t.deepEqual(cert.names, [domain, `www.${domain}`]);

    // The triple, over it, and with the times of the originals.
    await guest.sh(`cp -p ${made}/second.key ${folder}/cert.key; cp -p ${made}/middle.pem ${folder}/ca.pem; cp -p ${made}/second.pem ${folder}/cert.pem`);
    await untilServed(guest, 'second');
    t.is(await guest.sh(`cmp ${folder}/fullchain.pem ${made}/second.fullchain.pem && stat -c %a ${folder}/cert.key`), '600');
    t.is(await openUnits(guest), '');

    // Settings with a fault cost nobody the certificate.
    await guest.sh(`cp -p /etc/sitegen/sites/${domain}.yaml ${made}/settings; echo 'nonsense: 1' >> /etc/sitegen/sites/${domain}.yaml`);
    t.is((await guest.sitegen('apply')).code, 1);
    t.is((await servedFor(guest, domain)).serial, await serialOf(guest, 'second'));
    await guest.sh(`cp -p ${made}/settings /etc/sitegen/sites/${domain}.yaml; sitegen apply --quiet`);

    // A wildcard serves the names it is for.
    await guest.sh(`cp ${made}/wild.fullchain.pem ${folder}/fullchain.pem; cp ${made}/wild.key ${folder}/key.pem`);
    await untilServed(guest, 'wild');
    t.is((await servedFor(guest, `www.${domain}`)).serial, await serialOf(guest, 'wild'));
    t.is(await guest.sh(`journalctl -u 'sitegen-cert*' -o cat | grep -c 'PRIVATE KEY' || true`), '0');
  } finally {
    await restore(guest);
  }
});

const wrong: [title: string, drop: string, reason: RegExp][] = [
  ['a key of another certificate', 'good.fullchain.pem second.key', /the key does not belong to the certificate/],
  ['another site\'s certificate', 'other.fullchain.pem other.key', /it is for other\.example\.org, and not for hand\.example\.com/],
  ['an expired certificate', 'expired.fullchain.pem expired.key', /it has expired on 2021-01-01/],
  ['one that is not valid yet', 'later.fullchain.pem later.key', /it is not valid before 2039-01-01/],
  ['a chain out of order', 'swapped.pem second.key', /the chain is out of order: certificate 2 \(Test Test Root\) has not signed certificate 1/],
  ['a damaged file', 'damaged.pem second.key', /certificate 1 cannot be read: it is damaged/],
];

longTest('wrong certificates of six kinds are refused with the reason, and the old one is still served', async (t, guest) => {
  try {
    await prepare(guest);
    await guest.sh(`cat ${made}/second.pem ${made}/root.pem ${made}/middle.pem > ${made}/swapped.pem; sed '2s/^.\\{20\\}/AAAAAAAAAAAAAAAAAAAA/' ${made}/second.fullchain.pem > ${made}/damaged.pem`);
    await guest.sh(`mkdir ${folder}; cp ${made}/good.fullchain.pem ${folder}/fullchain.pem; cp ${made}/good.key ${folder}/key.pem`);
    await untilServed(guest, 'good');
    const serial = await serialOf(guest, 'good');
    for (const [title, drop, reason] of wrong) {
      const [chain = '', key = ''] = drop.split(' ');
      const since = await guest.sh('date +%s.%N');
      await guest.sh(`cp ${made}/${chain} ${folder}/fullchain.pem; cp ${made}/${key} ${folder}/key.pem`);
      await until(`${title} is refused`, async () => reason.test((await certOf(guest, domain)).refused ?? ''), 25_000, 500);
      t.is((await servedFor(guest, domain)).serial, serial, title);
      await until(`${title} is an alarm`, async () => await openUnits(guest) === `sitegen-certs@${domain}.service`);
      const journal = await guest.sh(`journalctl -u sitegen-certs@${domain} -o cat -p err --since @${since}`);
      t.regex(journal, reason, title);
      t.notRegex(journal, /PRIVATE/);
    }
    // Nothing of it reaches the router later, either.
    await guest.sitegen('apply');
    await guest.sh('systemctl restart sitegen-router');
    t.is((await servedFor(guest, domain)).serial, serial);
    t.regex((await guest.sitegen('certs')).stdout, /manual .* refused: certificate 1 cannot be read/);

    await guest.sh(`cp ${made}/second.fullchain.pem ${folder}/fullchain.pem; cp ${made}/second.key ${folder}/key.pem`);
    await untilServed(guest, 'second');
    await until('the alarm closes', async () => await openUnits(guest) === '');
    t.is((await certOf(guest, domain)).refused, null);
  } finally {
    await restore(guest);
  }
});

longTest('import checks the same, and remove gives the site back to the authority', async (t, guest) => {
  try {
    await prepare(guest);
    await startPebble(guest);
    await point(guest, '127.0.0.1', domain);
    await guest.sh(`systemctl start sitegen-renew.service`);
    await untilCertified(guest, domain);
    const acme = await servedFor(guest, domain);

    const refused = await guest.sitegen('certs', 'import', domain, '--cert', `${made}/good.pem`, '--key', `${made}/second.key`);
    t.is(refused.code, 1);
    t.regex(refused.stderr, /hand\.example\.com: \/run\/made\/good\.pem is refused: the key does not belong to the certificate/);
    t.is((await servedFor(guest, domain)).serial, acme.serial);
    t.is((await guest.sitegen('certs', 'import', domain, '--cert', `${made}/good.pem`, '--key', `${made}/good.key`, '--chain', `${made}/middle.pem`)).code, 0);
    t.is((await servedFor(guest, domain)).serial, await serialOf(guest, 'good'));
    t.regex(await guest.sh(`cat /etc/sitegen/sites/${domain}.yaml`), /^certificate: manual$/m);

    // ACME leaves it alone, and so does apply.
    await guest.sh('systemctl start sitegen-renew.service');
    t.is((await guest.sitegen('certs', 'renew', domain)).code, 0);
    await guest.sitegen('apply');
    t.is((await servedFor(guest, domain)).serial, await serialOf(guest, 'good'));
    t.is(await guest.sh(`systemctl is-active sitegen-certs@${domain}.path`), 'active');

    // The end is near: told by an alarm, once a day, until there is another.
    await guest.sh(`cp ${made}/ending.fullchain.pem ${folder}/fullchain.pem; cp ${made}/ending.key ${folder}/key.pem`);
    await untilServed(guest, 'ending');
    await guest.sh('systemctl start sitegen-renew.service');
    await until('there is an alarm', async () => await openUnits(guest) === `sitegen-certify@${domain}.service`);
    t.regex(await guest.sh(`journalctl -u sitegen-certify@${domain} -o cat -p err`), /its certificate, made by hand, ends on .*: put a new one into \/var\/lib\/sitegen\/certs\/hand\.example\.com/);
    await guest.sh(`cp ${made}/second.fullchain.pem ${folder}/fullchain.pem; cp ${made}/second.key ${folder}/key.pem`);
    await untilServed(guest, 'second');
    await until('the alarm closes', async () => await openUnits(guest) === '');

    t.is((await guest.sitegen('certs', 'remove', domain)).code, 2, 'asks first');
    t.is((await guest.sitegen('certs', 'remove', '--yes', domain)).code, 0);
    t.notRegex(await guest.sh(`cat /etc/sitegen/sites/${domain}.yaml`), /certificate:/);
    t.regex((await untilCertified(guest, domain)).issuer ?? '', /^Pebble/);
    t.is(await guest.sh(`systemctl is-active sitegen-certs@${domain}.path || true`), 'inactive');
  } finally {
    await restore(guest);
    await endPebble(guest);
  }
});
