import type { ExecutionContext } from 'ava';
import { guestTest, long, longTest, until, type Guest } from './_guest.ts';
import { api, appSettings, ensureRouter, hostSettings, setSites, underLoad, visit, visitOne, withSites, workerPid, type Load } from './_router.ts';

const [container, upstream] = ['app.example.com', 'proxy.example.com'];
const visitors = { hosts: [container, upstream], h1: 8, h2: 4, fresh: 4, think: 30 };
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

guestTest('200 sites come and 100 go under load: no request fails, and the router is not reloaded', (t, guest) => withTwo(guest, async () => {
  const pid = await workerPid(guest);
  const name = (n: number) => `new-${n}.example.com`;
  const single = long ? 40 : 2;
  const files = (from: number, to: number) => Array.from({ length: to - from }, (_, n) => name(from + n));
  const settings = (domain: string, n: number) => (n % 4 === 0 ? 'proxy: http://127.0.0.1:9000' : n % 4 === 1 ? 'redirect: https://example.org' : n % 4 === 2 ? `proxy: http://127.0.0.1:9000\nallow: [127.0.0.0/8]\nheaders: {Link: "<${domain}>"}` : 'passthrough: 127.0.0.1:9002');
  try {
    const load = await underLoad(guest, visitors, async () => {
      for (const domain of files(0, single)) await guest.sh(`sitegen add ${domain} --quiet`, { timeoutMs: 60_000 });
      const texts = files(single, 200).map((domain, n) => `cat > /etc/sitegen/sites/${domain}.yaml <<'EOT'\ndomain: ${domain}\n${settings(domain, n)}\nEOT\n`);
      await guest.sh(`${texts.join('')}sitegen apply --quiet`, { timeoutMs: 300_000 });
      const seen = await visit(guest, [0, 100, 199].map((n) => ({ host: name(n), tls: false })));
      t.deepEqual(seen.map(({ status }) => status), [308, 308, 308]);
      t.is((await visitOne(guest, { host: name(0) })).status, 200, 'a new site answers');
      for (const domain of files(0, single)) await guest.sh(`sitegen remove --purge --backups --yes --quiet ${domain}`, { timeoutMs: 60_000 });
      await guest.sh(`rm ${files(single, 100).map((domain) => `/etc/sitegen/sites/${domain}.yaml`).join(' ')}; sitegen apply --quiet`, { timeoutMs: 300_000 });
      const left = await visit(guest, [0, 99, 100, 199].map((n) => ({ host: name(n), tls: false })));
      t.deepEqual(left.map(({ status }) => status), [421, 421, 308, 308]);
    });
    clean(t, load);
    t.is(await workerPid(guest), pid, 'the same process as before');
  } finally {
    await guest.sh('rm -f /etc/sitegen/sites/new-*; sitegen apply --quiet', { timeoutMs: 300_000 });
  }
}));

longTest('certificates are renewed under load: no request fails, and the router is not reloaded', (t, guest) => withTwo(guest, async () => {
  const renewals = long ? 50 : 6;
  const pid = await workerPid(guest);
  let serial = '';
  const load = await underLoad(guest, visitors, async () => {
    for (let n = 0; n < renewals; n++) {
      const domain = n % 2 === 0 ? container : upstream;
      serial = await guest.sh(`cd "$(mktemp -d)"
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out cert.pem -days 30 -subj /CN=${domain} -addext 'subjectAltName=DNS:${domain},DNS:www.${domain}' 2>/dev/null
        sitegen certs import ${domain} --cert cert.pem --key key.pem --quiet >/dev/null
        openssl x509 -noout -serial -in cert.pem; rm -r "$PWD"`, { timeoutMs: 60_000 });
    }
  });
  clean(t, load);
  t.is(await workerPid(guest), pid, 'the same process as before');
  const last = renewals % 2 === 1 ? container : upstream;
  t.is(await guest.sh(`echo | openssl s_client -connect 127.0.0.1:443 -servername ${last} 2>/dev/null | openssl x509 -noout -serial`), serial, 'the last certificate is served');
}));

guestTest('the router is reloaded, upgraded in place and restarted under load: no request fails', (t, guest) => withTwo(guest, async () => {
  const rounds = long ? 20 : 1;
  const acts: Record<string, string> = {
    reload: 'systemctl reload sitegen-router',
    // What a new package does to the file.
    upgrade: 'cp /usr/sbin/haproxy /usr/sbin/haproxy.new; mv /usr/sbin/haproxy.new /usr/sbin/haproxy; systemctl reload sitegen-router',
    restart: 'systemctl restart sitegen-router',
  };
  for (const [title, script] of Object.entries(acts)) {
    const load = await underLoad(guest, visitors, async () => {
      for (let round = 0; round < rounds; round++) {
        await sleep(500);
        const pid = await workerPid(guest);
        const began = Date.now();
        await guest.sh(script);
        await until('another process answers', async () => await workerPid(guest) !== pid, 30_000);
        t.log(`${title} took ${Date.now() - began} ms`);
      }
      await sleep(1000);
    });
    clean(t, load, title);
  }
}));

guestTest('the router is killed: no new connection is refused, and only requests in flight may fail', (t, guest) => withTwo(guest, async () => {
  for (const who of ['worker', 'master'] as const) {
    const load = await underLoad(guest, visitors, async () => {
      await sleep(500);
      const pid = await workerPid(guest);
      const killed = who === 'worker' ? String(pid) : await guest.sh('systemctl show -P MainPID sitegen-router');
      const began = Date.now();
      await guest.sh(`kill -9 ${killed}`);
      await until('another process answers', async () => { const now = await workerPid(guest).catch(() => 0); return now !== 0 && now !== pid; }, 30_000);
      t.log(`the ${who} was killed: answers again after ${Date.now() - began} ms`);
      await sleep(1500);
    });
    t.log(`the ${who} was killed: ${load.failed} of ${load.sent} failed, slowest ${load.slowest} ms`);
    t.true(load.answered > 100);
    // One of each visitor at most was in flight, three of each with HTTP/2.
    t.true(load.failed <= visitors.h1 + 3 * visitors.h2 + visitors.fresh, load.reasons.join('\n'));
    t.is(load.again, 0, load.reasons.join('\n'));
    t.deepEqual(load.reasons.filter((reason) => reason.includes('ECONNREFUSED')), []);
  }
}));

longTest('what is changed behind sitegen\'s back is shown by diff and repaired by apply', (t, guest) => withTwo(guest, async () => {
  const maps = '/var/lib/sitegen/router/maps';
  const diff = async () => (await guest.sitegen('diff')).stdout.trim();
  t.is(await diff(), '');
  const before = await state(guest);
  await guest.sh(`printf 'del map ${maps}/names.map ${container}; set map ${maps}/routes.map ${upstream}/ wrong|be_site|1.2.3.4|80; add map ${maps}/names.map evil.example.com ${container}|serve\\n' | ${api}`);
  t.not((await visitOne(guest, { host: container })).status, 200);
  t.regex(await diff(), /^router: correct 3 entries of its maps/);
  t.deepEqual(await state(guest).then((now) => now.length), before.length, 'diff has changed nothing');
  const pid = await workerPid(guest);
  t.regex((await guest.sitegen('apply')).stdout, /router: corrected 3 entries of its maps/);
  t.deepEqual(await state(guest), before);
  t.is(await workerPid(guest), pid, 'without a reload');

  await guest.sh(`sed -i '/^${container} /d' ${maps}/names.map`);
  t.regex(await diff(), /names.*app\.example\.com/);
  await guest.sh('sitegen apply --quiet');
  t.deepEqual([await state(guest), await workerPid(guest), await diff()], [before, pid, '']);

  await guest.sh('sed -i "s/timeout connect 40s/timeout connect 1s/" /var/lib/sitegen/router/haproxy.cfg');
  t.regex(await diff(), /change .*haproxy\.cfg\nrouter: reload sitegen-router\.service, which loses no request/);
  t.regex((await guest.sitegen('apply')).stdout, /router: reloaded, as haproxy\.cfg changed/);
  t.deepEqual([await state(guest), await diff()], [before, '']);

  await guest.sh(`rm ${maps}/routes.map /var/lib/sitegen/router/haproxy.cfg; systemctl stop sitegen-router`);
  t.regex(await diff(), /start sitegen-router\.service/);
  await guest.sh('sitegen apply --quiet');
  t.deepEqual([await state(guest), await diff()], [before, '']);
  t.is((await visitOne(guest, { host: upstream })).status, 200);
}));

longTest('after a reboot the router has the same entries', (t, guest) => withTwo(guest, async () => {
  await setSites(guest, { 'pass.example.com': 'passthrough: 127.0.0.1:9443', 'nets.example.com': 'redirect: https://example.org\nallow: [10.0.0.0/9]\nheaders: {Link: "<a b>; c"}' });
  try {
    const before = await state(guest);
    t.true(before.length > 10);
    await guest.reboot();
    t.deepEqual(await state(guest), before);
    await ensureRouter(guest);
    t.is((await visitOne(guest, { host: container })).status, 200);
    t.is((await guest.sitegen('diff')).stdout, '');
  } finally {
    await guest.sh('rm -f /etc/sitegen/sites/{pass,nets}.example.com.yaml; sitegen apply --quiet');
  }
}));

function clean(t: ExecutionContext, load: Load, what = 'all of it'): void {
  t.log(`${what}: ${load.sent} requests over ${load.connections} connections, slowest ${load.slowest} ms, ${load.failed} failed`);
  t.deepEqual(load.reasons, []);
  t.is(load.answered, load.sent);
  t.true(load.sent > 100);
}

/** All entries of the running router's maps, but for what it fills itself. */
async function state(guest: Guest): Promise<string[]> {
  const text = await guest.sh(`for map in names passthrough options nets headers routes; do echo "show map /var/lib/sitegen/router/maps/$map.map" | ${api} | sed -n "s/^0x[0-9a-f]* /$map /p"; done`);
  return text.split('\n').sort();
}

/** Has a container and an upstream behind the router while something is done. */
async function withTwo(guest: Guest, body: () => Promise<void>): Promise<void> {
  await ensureRouter(guest);
  await withSites(guest, { [container]: appSettings, [upstream]: hostSettings }, async () => {
    await visit(guest, [{ host: container }, { host: upstream }]);
    await body();
  });
}
