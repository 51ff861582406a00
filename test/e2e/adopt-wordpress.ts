import { randomBytes } from 'node:crypto';
import { generateIdentity, identityToRecipient } from 'age-encryption';
import { execa } from 'execa';
import { backUpTo, endServers, prepare, servers, startServers } from './_backup.ts';
import { startDns } from './_dns.ts';
import { guestName, lab, longTest, openGuest, until, type Guest } from './_guest.ts';
import { ensureWordpress } from './_images.ts';
import { write } from './_machine.ts';
import { point } from './_pebble.ts';

const domain = 'blog.example.com';
const oldName = `${guestName}-old`;
const here = '203.0.113.7';
const password = 'correct horse battery';
const picture = randomBytes(50_000).toString('base64');
const settings = (image: string) => `domain: ${domain}
image: ${image}
port: 80
volumes: ["database:/var/lib/mysql", "uploads:/var/lib/wordpress/wp-content/uploads"]
limits: {memoryMax: 1G}
ready: {path: /wp-login.php}
stop: {timeout: 30s}
exclude: [database]
dump: {way: mariadb, database: wordpress}
`;

longTest('a blog comes to another machine on its first hit over TLS, when its own has burnt down', async (t, guest) => {
  try {
    await execa(lab, ['up', oldName], { timeout: 300_000 });
    const old = openGuest(oldName);
    await startDns(guest);
    await startServers(guest, `  address: ${here}`);
    await prepare(guest, domain);
    const image = await ensureWordpress(guest);
    await ensureWordpress(old);

    const secret = await generateIdentity();
    await backUpTo(guest, old, `  recipient: ${await identityToRecipient(secret)}`);
    await write(old, `/etc/sitegen/sites/${domain}.yaml`, settings(image));
    await old.sh(`sitegen apply --quiet ${domain}
      cd /tmp; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -subj '/CN=An authority' -days 100 2>/dev/null
      openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out csr.pem -subj /CN=${domain} 2>/dev/null
      openssl x509 -req -in csr.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 90 -extfile <(echo subjectAltName=DNS:${domain}) -out fullchain.pem 2>/dev/null
      mkdir -p /var/lib/sitegen/certs/${domain}; cp key.pem fullchain.pem /var/lib/sitegen/certs/${domain}/`, { timeoutMs: 300_000 });
    const { address } = await old.status(domain);
    const upload = await fill(old, address);
    await until('the certificate is served', async () => await servedBy(old) === await fingerprint(old), 30_000);
    const wanted = await fingerprint(old);
    t.is((await old.sitegen('stop', domain)).code, 0);
    await until('both servers have it', async () => /well .* 2 of 2/.test((await old.sitegen('backup', 'list')).stdout), 120_000, 1000);
    const key = await old.sh('sitegen backup key');
    await write(guest, '/root/ca.pem', `${await old.sh('cat /tmp/ca.pem')}\n`);
    await write(guest, '/root/age.key', secret);
    await execa(lab, ['down', oldName], { timeout: 120_000 });

    await startServers(guest, `  address: ${here}\n  signers: ["${key}"]\n  identity: /root/age.key\nadopt: {enabled: true, allow: [${domain}]}`);
    await guest.sh('sitegen apply --quiet');
    await point(guest, here, domain);
    const { stdout: first, code } = await guest.run(['curl', '-s', '--cacert', '/root/ca.pem', '--max-time', '90', '--write-out', '\n%{http_code} %{time_appconnect} %{time_total}', '--resolve', `${domain}:443:127.0.0.1`, `https://${domain}/`], { timeoutMs: 120_000 });
    t.is(code, 0);
    const [status = '', handshake = '', total = ''] = first.split('\n').at(-1)?.split(' ') ?? [];
    t.log(`first hit: the handshake was held for ${handshake} s, and the page was there after ${total} s`);
    t.is(status, '200');
    t.regex(first, /Kept through the fire/);
    t.is(await servedBy(guest), wanted, 'the same certificate');
    t.is(await guest.sh(`curl -sf --cacert /root/ca.pem --resolve ${domain}:443:127.0.0.1 https://${domain}${upload} | base64 -w0`), picture, 'the same upload, byte for byte');
    // Both go on where they were.
    await guest.sh(`curl -sf --resolve ${domain}:443:127.0.0.1 -k https://${domain}/wp-login.php >/dev/null; sitegen stop ${domain}`);
    await until('the servers have it from here', async () => /well .* 2 of 2/.test((await guest.sitegen('backup', 'list')).stdout), 120_000, 1000);
    for (const { directory } of servers) t.regex(await guest.sh(`git -c safe.directory='*' -C ${directory}/${domain}.git show main:meta/epoch.json`), /"epoch": 2/);
  } finally {
    await execa(lab, ['down', oldName], { reject: false });
    await guest.run(['sitegen', 'remove', '--purge', '--backups', '--yes', domain]);
    await endServers(guest);
    await guest.sh('systemctl stop pebble-dns; sitegen apply --quiet');
  }
});

/** Installs the blog, writes a post and uploads a file, over HTTP. Gives the upload's path. */
async function fill(old: Guest, address: string): Promise<string> {
  await old.get(address, { host: domain, timeoutS: 90 });
  const fields = [['weblog_title', 'A blog'], ['user_name', 'editor'], ['admin_password', password], ['admin_password2', password], ['pw_weak', '1'], ['admin_email', 'editor@example.com'], ['blog_public', '0']];
  await old.sh(`curl --silent --max-time 60 --header 'Host: ${domain}' ${fields.map(([name, value]) => `--data-urlencode '${name ?? ''}=${value ?? ''}'`).join(' ')} 'http://${address}/wp-admin/install.php?step=2' | grep -q Success`);
  const call = (method: string, members: Readonly<Record<string, string>>) => {
    const struct = Object.entries(members).map(([name, value]) => `<member><name>${name}</name><value>${value}</value></member>`).join('');
    const params = ['<int>1</int>', '<string>editor</string>', `<string>${password}</string>`, `<struct>${struct}</struct>`].map((value) => `<param><value>${value}</value></param>`);
    return old.sh(`curl --silent --max-time 60 --header 'Host: ${domain}' --header 'Content-Type: text/xml' --data '<?xml version="1.0"?><methodCall><methodName>${method}</methodName><params>${params.join('')}</params></methodCall>' 'http://${address}/xmlrpc.php'`);
  };
  await call('wp.newPost', { post_title: '<string>Kept through the fire</string>', post_status: '<string>publish</string>' });
  const answer = await call('wp.uploadFile', { name: '<string>picture.png</string>', type: '<string>image/png</string>', bits: `<base64>${picture}</base64>` });
  return /<name>url<\/name><value><string>http:\/\/[^/]*(\/[^<]*picture[^<]*)</.exec(answer)?.[1] ?? '';
}

const fingerprint = (guest: Guest) => guest.sh('openssl x509 -in /tmp/fullchain.pem -noout -fingerprint -sha256');
const servedBy = (guest: Guest) => guest.sh(`openssl s_client -connect 127.0.0.1:443 -servername ${domain} </dev/null 2>/dev/null | openssl x509 -noout -fingerprint -sha256 2>/dev/null || true`);
