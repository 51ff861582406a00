import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { guestTest, longTest, until, type Guest } from './_guest.ts';
import { write } from './_machine.ts';

const client = '/tmp/hold-client.mjs';
const collect = '/usr/bin/env node /usr/lib/sitegen/collect.mjs';
const statsDir = '/var/lib/sitegen/stats';

/** Traffic is remembered by domain for a year, so each run has domains of its own. */
const ownDomain = (name: string) => `${name}-${Date.now().toString(36)}.example.com`;

/** A request through the router. Gives the status, and the body below it. */
const visit = (guest: Guest, domain: string, url = '/', options = '') =>
  guest.sh(`curl --max-time 30 -sk ${options} -w '\\n%{http_code}' --resolve ${domain}:443:127.0.0.1 https://${domain}${url}`);

const visits = async (guest: Guest, domain: string, count: number, url = '/') => {
  for (let done = 0; done < count; done += 1) await visit(guest, domain, url);
};

async function holdClient(guest: Guest, ...args: string[]): Promise<string> {
  await write(guest, client, await readFile(path.resolve(import.meta.dirname, 'fixtures/hold-client.mjs'), 'utf8'));
  return guest.sh(`node ${client} /run/sitegen/adopt.sock ${args.join(' ')}`);
}

interface Metrics {
  text: string;
  value(sample: string): number | undefined;
}

async function metrics(guest: Guest): Promise<Metrics> {
  const text = await guest.sh('curl --max-time 10 -sf --unix-socket /run/sitegen/metrics.sock http://localhost/metrics');
  return {
    text,
    value(sample) {
      const line = text.split('\n').find((each) => each.startsWith(`${sample} `));
      return line === undefined ? undefined : Number(line.slice(sample.length + 1));
    },
  };
}

interface StatsJson { site: string; requests: number; clientErrors: number; bytesIn: number; bytesOut: number; wakes: number; hours: { hour: string; requests: number; wakes: number }[] }

async function stats(guest: Guest, domain: string, ...args: string[]): Promise<StatsJson> {
  const [site] = JSON.parse((await guest.sitegen('stats', '--json', domain, ...args)).stdout) as StatsJson[];
  if (!site) throw new Error(`no stats of ${domain}`);
  return site;
}

const state = '/.well-known/sitegen/state';

guestTest('a monitor is told a site\'s state through the router, and wakes nobody', async (t, guest) => {
  await guest.site('state.example.com');
  await guest.site('other.example.com');
  t.is(await visit(guest, 'state.example.com', state), 'asleep\n\n200');
  t.is(await visit(guest, 'state.example.com', state, '-H "Accept: application/json"'), '{"state":"asleep"}\n\n200');
  t.regex(await visit(guest, 'state.example.com', state, '-i'), /cache-control: no-store/i);
  t.is((await guest.status('state.example.com')).state, 'asleep', 'after three questions');

  await visit(guest, 'other.example.com');
  t.is(await visit(guest, 'other.example.com', state), 'awake\n\n200');
  t.is(await visit(guest, 'state.example.com', state, '-H "X-Sitegen-Site: other.example.com"'), 'asleep\n\n200', 'what a visitor claims');
  await guest.sh('systemctl stop site-state.example.com.socket');
  t.is(await visit(guest, 'state.example.com', state), 'broken\n\n503');
  await guest.sh('systemctl start site-state.example.com.socket');
  t.is(await visit(guest, 'state.example.com', state), 'asleep\n\n200');
});

guestTest('who does not speak for the router gets no state, and nothing breaks', async (t, guest) => {
  const ask = (options: string) => guest.sh(`curl --max-time 10 -s -o /dev/null -w '%{http_code}' --unix-socket /run/sitegen/state.sock ${options} http://localhost/`);
  t.is(await ask(''), '400');
  t.is(await ask('-H "X-Sitegen-Site: ../../etc/passwd"'), '400');
  t.is(await ask('-H "X-Sitegen-Site: a.example.com" -X DELETE'), '405');
  t.not((await guest.run(['setpriv', '--reuid=nobody', '--clear-groups', 'curl', '-s', '--unix-socket', '/run/sitegen/state.sock', 'http://localhost/'])).code, 0);
  t.is(await guest.sh("stat -c '%U %a' /run/sitegen/state.sock /run/sitegen/adopt.sock | sort -u"), 'sitegen-router 600');
  t.regex(await guest.sh('systemd-analyze security --no-pager sitegen-responder.service | tail -1'), /service: [0-3]\.\d/);
});

guestTest('an unknown name is refused by an alert, and whatever is no TLS or too slow is dropped', async (t, guest) => {
  const shake = await guest.run(['sh', '-c', 'echo | timeout 10 openssl s_client -connect 127.0.0.1:443 -servername unknown.example.com']);
  t.regex(shake.stderr, /unrecognized name/);
  const results = JSON.parse(await holdClient(guest, 'bytes')) as Record<string, { answer: string; ms: number }>;
  const alert = '15030300020270';
  t.deepEqual(Object.fromEntries(Object.entries(results).map(([name, { answer }]) => [name, answer])), {
    whole: alert, pieces: alert, noHeader: '', http: '', endless: '', badName: '', drip: '', silent: '',
  });
  for (const [name, { ms }] of Object.entries(results)) t.true(ms < 15_000, `${name}: ${ms} ms`);
});

guestTest('a connection for a name that was added a moment ago goes on in the same handshake', async (t, guest) => {
  await guest.site('raced.example.com');
  const since = await guest.sh('date +%s');
  // In the file, and not in the router's memory yet: what a connection meets in the middle of an add.
  await guest.sh("echo 'www2.raced.example.com raced.example.com|serve' >> /var/lib/sitegen/router/maps/names.map");
  try {
    // The router does not know the name when it reads the request either, and says so; TLS has ended well.
    t.is((await visit(guest, 'www2.raced.example.com')).split('\n').at(-1), '421');
  } finally {
    await guest.sh("sed -i '/^www2.raced/d' /var/lib/sitegen/router/maps/names.map");
  }
  t.regex(await guest.sh(`journalctl -u sitegen-responder -o cat --since @${since}`), /passed on a connection for www2\.raced\.example\.com/);
});

guestTest('2,000 invented names cost neither memory nor journal, and others are answered meanwhile', async (t, guest) => {
  await guest.site('calm.example.com');
  const since = await guest.sh('date +%s');
  const [alerts] = await Promise.all([
    holdClient(guest, 'flood', '2000'),
    (async () => {
      for (let round = 0; round < 5; round += 1) t.is(await visit(guest, 'calm.example.com', state), 'asleep\n\n200');
    })(),
  ]);
  t.is(alerts, '2000');
  const pid = await guest.sh('systemctl show -p MainPID --value sitegen-responder');
  const peak = Number(await guest.sh(`sed -n 's/^VmHWM:\\s*\\([0-9]*\\) kB/\\1/p' /proc/${pid}/status`));
  t.log(`memory at most: ${Math.round(peak / 1024)} MB`);
  t.true(peak > 0 && peak < 200 * 1024);
  const lines = Number(await guest.sh(`journalctl -u sitegen-responder -o cat --since @${since} | grep -c refused`));
  t.true(lines >= 1 && lines <= 60, `${lines} lines`);
});

guestTest('nothing stays running: without questions the program ends, and the next one starts it', async (t, guest) => {
  await guest.site('idle.example.com');
  t.is(await visit(guest, 'idle.example.com', state), 'asleep\n\n200');
  const active = async () => (await guest.run(['systemctl', 'is-active', '--quiet', 'sitegen-responder'])).code === 0;
  t.true(await active());
  await until('the program ends', async () => !await active(), 60_000, 1000);
  t.is(await guest.sh('systemctl is-active sitegen-state.socket sitegen-adopt.socket sitegen-metrics.socket | sort -u'), 'active');
  t.is(await visit(guest, 'idle.example.com', state), 'asleep\n\n200');
});

longTest('traffic is counted by hour, over restarts of the router, half-written lines and killed collections', async (t, guest) => {
  const domain = ownDomain('counted');
  await guest.site(domain);
  await visits(guest, domain, 3);
  const live = await stats(guest, domain);
  t.deepEqual([live.requests, live.wakes, live.hours.length], [3, 1, 1], 'before anything was written down');
  t.true(live.bytesOut > 3 * 200 && live.bytesIn > 3 * 20);

  await guest.sh(`${collect} && touch ${statsDir}/2020-01.tsv`);
  t.is((await stats(guest, domain)).requests, 3);
  // As if the last collection had been two hours ago: what comes now belongs to the hour between.
  const hour = await guest.sh(`jq -c '.time -= 7200000' ${statsDir}/current.json > /tmp/current && cat /tmp/current > ${statsDir}/current.json && date -u -d '1 hour ago' +%Y-%m-%dT%H:00:00.000Z`);
  await visits(guest, domain, 2, '/missing');
  await guest.sh(collect);
  const later = await stats(guest, domain);
  t.deepEqual([later.requests, later.clientErrors, later.wakes], [5, 2, 1]);
  t.deepEqual(later.hours.map(({ requests }) => requests), [2, 3]);
  t.is(later.hours[0]?.hour, hour);
  t.is((await stats(guest, domain, '--since', '1min')).hours.length, 1);
  t.notRegex(await guest.sh(`ls ${statsDir}`), /2020-01/);

  const file = `${statsDir}/$(date -u +%Y-%m).tsv`;
  const whole = await guest.sh(`cat ${file}`);
  await guest.sh(`truncate -s -5 ${file}; ${collect}`);
  t.is(await guest.sh(`cat ${file}`), whole, 'a torn line is written again');

  await guest.sh('systemctl restart sitegen-router.service');
  await visits(guest, domain, 4);
  t.is((await stats(guest, domain)).requests, 9);
  await guest.sh(`${collect}; ${collect}`);
  t.is((await stats(guest, domain)).requests, 9);
  const table = (await guest.sitegen('stats')).stdout.split('\n').find((line) => line.startsWith(domain));
  t.regex(table?.slice(domain.length) ?? '', /^ +9 +2 +0 +\S+ +\S+ +1$/);
  t.is((await guest.sitegen('stats', '--since', 'soon')).code, 2);
});

guestTest('metrics go on over restarts of the router, and are there without it', async (t, guest) => {
  const domain = ownDomain('metrics');
  await guest.site(domain);
  const requests = `sitegen_site_requests_total{site="${domain}"}`;
  await visits(guest, domain, 2);
  const first = await metrics(guest);
  t.is(first.value(requests), 2);
  t.is(first.value('sitegen_router_up'), 1);
  t.is(first.value(`sitegen_site_state{site="${domain}",state="awake"}`), 1);
  t.is(first.value(`sitegen_site_wakes_total{site="${domain}"}`), 1);
  t.regex(first.text, /^haproxy_process_nbthread \d/m);
  t.deepEqual(first.text.split('\n').filter((line) => line !== '' && !/^(#|[a-z_]+(\{.*\})? -?[0-9.e+]+$|[a-z_]+(\{.*\})? NaN$)/i.test(line)), []);
  await guest.sh(`${collect}; systemctl stop sitegen-router.service`);
  try {
    const without = await metrics(guest);
    t.is(without.value('sitegen_router_up'), 0);
    t.is(without.value(requests), 2);
  } finally {
    await guest.sh('systemctl start sitegen-router.service');
  }
  await visits(guest, domain, 1);
  t.is((await metrics(guest)).value(requests), 3);
});

guestTest('the access log has a site\'s requests alone, and nobody can forge a line of it', async (t, guest) => {
  await guest.site('logged.example.com');
  const since = await guest.sh('date +%s');
  await visit(guest, 'logged.example.com', '/page?a=1', '-A "Mozilla/5.0"');
  const evil = 'SITEGEN_SITE=logged.example.com\\nMESSAGE=forged';
  for (const request of [`GET /\\n${evil} HTTP/1.1\\r\\nHost: logged.example.com`, `GET / HTTP/1.1\\r\\nHost: logged.example.com\\n${evil}`, `GET / HTTP/1.1\\r\\nHost: logged.example.com\\r\\nUser-Agent: x\\r${evil}`]) {
    await guest.run(['bash', '-c', `printf '${request}\\r\\n\\r\\n' | timeout 2 nc 127.0.0.1 80`]);
  }
  // Any program may write such fields, but not as the router.
  await guest.sh("printf 'MESSAGE=forged\\nSYSLOG_IDENTIFIER=sitegen-access\\nSITEGEN_SITE=logged.example.com\\n' | socat - UNIX-SENDTO:/run/systemd/journal/socket");
  await until('the line is in the journal', async () => (await guest.sitegen('logs', 'logged.example.com', '--access', '--grep', 'page')).stdout.includes('/page?a=1'));
  const { stdout } = await guest.sitegen('logs', 'logged.example.com', '--access', '--json', '--since', `@${since}`);
  const lines = stdout.trim().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>);
  t.false(lines.some(({ MESSAGE: message }) => message === 'forged'));
  const [line] = lines;
  t.is(line?.['SITEGEN_STATUS'], '404');
  t.is(line?.['SITEGEN_CLIENT'], '127.0.0.1');
  t.regex(String(line?.['SITEGEN_MS']), /^\d+$/);
  t.regex(String(line?.['SITEGEN_BYTES']), /^\d+$/);
});
