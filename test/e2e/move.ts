import { execa } from 'execa';
import type { ExecutionContext } from 'ava';
import { backUpTo, endServers, prepare, servers, startServers } from './_backup.ts';
import { guestName, guestTest, lab, openGuest, until, type Guest } from './_guest.ts';
import { addKeeper, domain, ensureKeeper, names } from './_keeper.ts';

const oldName = `${guestName}-old`;
/** A visitor's address, which neither server has as its own on the network. */
const visitor = '198.51.100.77';
/** Its path is one that only bots ask other sites for. */
const router = 'router: {probes: [/.env]}';
const git = 'git -c safe.directory=\'*\'';

/**
 * Writes one text after the other through the router, checking the certificate; what was answered
 * with "kept" is in `acked`, all else in `failed`. `where` has the addresses that "DNS" gives in turn.
 */
const writer = `#!/bin/bash
n=0
while [[ ! -e /tmp/writer/stop ]]; do
  mapfile -t where </tmp/writer/where
  n=$((n + 1))
  said=$(curl --silent --max-time 40 --cacert /tmp/writer/ca.pem --interface ${visitor} --resolve "${domain}:443:\${where[n % \${#where[@]}]}" --data "w$n." https://${domain}/cgi-bin/note)
  if [[ $said == kept ]]; then echo "w$n." >>/tmp/writer/acked; else echo "w$n. after $said" >>/tmp/writer/failed; fi
  sleep 0.05
done
`;

guestTest('a site moves while it is written to, and no acknowledged write is lost while DNS changes', async (t, guest) => {
  try {
    await execa(lab, ['up', oldName], { timeout: 300_000 });
    const old = openGuest(oldName);
    const { here, there } = await prepareBoth(guest, old);

    await guest.sh(`rm -rf /tmp/writer; mkdir /tmp/writer; echo ${there} >/tmp/writer/where; touch /tmp/writer/acked /tmp/writer/failed
      base64 -d >/tmp/writer/run <<<'${Buffer.from(writer).toString('base64')}'`);
    await guest.sh(`base64 -d >/tmp/writer/ca.pem <<<'${await old.sh('base64 -w0 /tmp/fullchain.pem')}'; systemd-run --quiet --collect --unit test-writer bash /tmp/writer/run`);
    const acked = async () => Number(await guest.sh('wc -l </tmp/writer/acked'));
    const more = async (what: string, count = 15) => {
      const before = await acked();
      await until(`writes are answered ${what}`, async () => await acked() >= before + count, 60_000, 300);
    };
    await more('by the old server');
    const refused = await old.run(['sitegen', 'move', domain, '--to', `root@${here}`]);
    t.is(refused.code, 1);
    t.regex(refused.stderr, /backups of the server with the key SHA256:.* are not allowed here/, 'nothing is stopped before the other server is ready');
    await allowSigner(guest, old, here);

    const began = Date.now();
    // The connection is cut in the middle: the other server is asked again.
    await old.sh(`systemd-run --quiet --collect --unit test-cut bash -c 'until pid=$(pgrep -f "^ssh .*adopt --force"); do sleep 0.05; done; sleep 1.5; kill -9 $pid'`);
    const moved = await old.run(['sitegen', 'move', domain, '--to', `root@${here}`, '--proxy-from', there], { timeoutMs: 300_000 });
    t.is(moved.code, 0, moved.stderr);
    t.regex(moved.stdout + moved.stderr, /failed.*; asking again/s);
    t.log(`moved after ${((Date.now() - began) / 1000).toFixed(1)} s; ${/forwarded to .* after [\d.]+ s/.exec(moved.stderr + moved.stdout)?.[0] ?? 'nobody says for how long visitors waited'}`);
    const since = await guest.sh('date +%s');
    await more('by the new server, by way of the old one');
    t.true((await guest.sh(`journalctl --sync; journalctl -t sitegen-access -o cat --since @${since} | grep '^${visitor} ' || true`)).includes('/cgi-bin/note'), 'the visitor\'s own address came along');
    await guest.sh(`printf '%s\\n' ${there} ${here} >/tmp/writer/where`);
    await more('by both');
    await guest.sh(`echo ${here} >/tmp/writer/where`);
    await more('by the new server');

    await rebootAndForward(t, guest, old, { there, more });

    await guest.sh('touch /tmp/writer/stop; while systemctl is-active --quiet test-writer; do sleep 0.2; done', { timeoutMs: 60_000 });
    await noneIsLost(t, guest, old);
  } finally {
    await guest.run(['systemctl', 'stop', 'test-writer']);
    await execa(lab, ['down', oldName], { reject: false });
    await guest.run(['sitegen', 'remove', '--purge', '--backups', '--yes', domain]);
    await endServers(guest);
    await guest.sh(`ip address del ${visitor}/32 dev lo 2>/dev/null || true; rm -rf /tmp/writer; sitegen apply --quiet`);
  }
});

/** Backup servers here, which outlive the other one; there the site, with a certificate; and ssh from there to here. */
async function prepareBoth(guest: Guest, old: Guest): Promise<{ here: string; there: string }> {
  const [here, there] = await Promise.all([guest, old].map(async ({ name }) => (await execa(lab, ['addr', name])).stdout.trim())) as [string, string];
  await startServers(guest, `  address: ${here}\n${router}`);
  await prepare(guest, domain);
  await backUpTo(guest, old, `  address: ${there}\n${router}`);
  await guest.sh('sitegen apply --quiet');
  await ensureKeeper(guest);
  await addKeeper(old);
  await old.sh(`cd /tmp; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out fullchain.pem -subj /CN=${domain} -addext subjectAltName=DNS:${domain} -days 100 2>/dev/null
    mkdir -p /var/lib/sitegen/certs/${domain}; cp key.pem fullchain.pem /var/lib/sitegen/certs/${domain}/
    mkdir -p /root/.ssh; [[ -e /root/.ssh/id_ed25519 ]] || ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519`);
  await until('the certificate is served', async () => (await old.run(['curl', '-s', '--cacert', '/tmp/fullchain.pem', '--resolve', `${domain}:443:127.0.0.1`, `https://${domain}/`])).code === 0, 30_000);
  await guest.sh(`systemctl start ssh; echo '${await old.sh('cat /root/.ssh/id_ed25519.pub')}' >>/root/.ssh/authorized_keys; ip address add ${visitor}/32 dev lo 2>/dev/null || true`);
  await old.sh(`echo '${here} ${await guest.sh('cut -d" " -f1,2 /etc/ssh/ssh_host_ed25519_key.pub')}' >>/root/.ssh/known_hosts; ip route replace ${visitor}/32 via ${here}`);
  return { here, there };
}

/** Lets the new server take what the old one has signed. */
async function allowSigner(guest: Guest, old: Guest, here: string): Promise<void> {
  const keys = await guest.sh('cat /root/.ssh/authorized_keys');
  await startServers(guest, `  address: ${here}\n  signers: ["${await old.sh('sitegen backup key')}"]\n${router}`);
  await guest.sh(`printf '%s\\n' '${keys}' >/root/.ssh/authorized_keys`);
}

async function rebootAndForward(t: ExecutionContext, guest: Guest, old: Guest, { there, more }: { there: string; more: (what: string) => Promise<void> }): Promise<void> {
  const route = await old.sh(`ip route show ${visitor}`);
  await old.reboot();
  await old.sh(`ip route replace ${route}`);
  await guest.sh(`echo ${there} >/tmp/writer/where`);
  await more('by way of the old server after its reboot');
  await old.sitegen('backup', domain);
  await old.run(['systemctl', 'start', `sitegen-push@${domain}.service`]);
  t.regex((await old.sitegen('backup', 'list')).stdout, /has the site|forward|taken/i);
  t.is(await old.sh(`docker ps -q --filter name=site-${domain}`), '', 'it runs on one server');
}

async function noneIsLost(t: ExecutionContext, guest: Guest, old: Guest): Promise<void> {
  const lines = async (from: Guest, file: string) => (await from.sh(`cat ${file}`)).split('\n').filter((line) => line !== '');
  const [acked, failed, kept, left] = await Promise.all([lines(guest, '/tmp/writer/acked'), lines(guest, '/tmp/writer/failed'), lines(guest, `${names.data}/files/notes`), lines(old, `${names.data}/files/notes`)]);
  const all = new Set(kept);
  t.log(`${acked.length} writes were acknowledged, ${failed.length} were not (${failed.join(', ')}); ${kept.length - all.size} are there twice, and ${failed.filter((each) => all.has(each.split(' ')[0] ?? '')).length} of those that failed are there`);
  t.deepEqual(acked.filter((each) => !all.has(each)), [], 'all that was acknowledged is on the new server');
  t.is(kept.length, all.size, 'and once');
  t.deepEqual(left.filter((each) => !all.has(each)), [], 'the old one has nothing of its own');
  t.true(failed.length < 10, failed.join('\n'));
  t.is((await guest.sitegen('backup', 'now', '--wait', domain)).code, 0);
  for (const { directory } of servers) {
    t.regex(await guest.sh(`${git} -C ${directory}/${domain}.git show main:meta/epoch.json`), new RegExp(`"epoch": 2,\\n.*"server": "${guest.name}"`));
    const backedUp = new Set((await guest.sh(`${git} -C ${directory}/${domain}.git show main:data/files/notes`)).split('\n'));
    t.deepEqual(acked.filter((each) => !backedUp.has(each)), []);
  }
}
