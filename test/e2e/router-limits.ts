import { guestTest, type Guest } from './_guest.ts';
import { api, appSettings, arrived, ensureRouter, hostSettings, outside, setSites, sleeps, visit, visitOne, withDefaults, withSites, withVisitor, type Seen, type Step } from './_router.ts';

const site = 'app.example.com';
const statuses = (seen: readonly Seen[]) => seen.map(({ status, error }) => status ?? error);
const counted = (seen: readonly Seen[]) => {
  const counts: Record<string, number> = {};
  for (const status of statuses(seen)) counts[String(status)] = (counts[String(status)] ?? 0) + 1;
  return counts;
};

guestTest('only named addresses may visit, and only they pass a maintenance page', (t, guest) => withVisitor(guest, async () => {
  await ensureRouter(guest);
  const ways = [{}, { visitor: true }, { visitor: true, to: outside.machine6 }];
  const seen = async (domain: string) => {
    const answers: Seen[] = [];
    for (const { to, ...options } of ways) answers.push(await visitOne(guest, { host: `${domain}.example.com`, ...(to === undefined ? {} : { to }) }, options));
    return statuses(answers);
  };
  await withSites(guest, {
    'a.example.com': `${hostSettings}allow: [${outside.visitor}]`, 'b.example.com': `${hostSettings}allow: [192.0.2.0/25, 10.0.0.0/9]`, 'c.example.com': `${hostSettings}allow: ["2001:db8:70::/44"]`,
    'd.example.com': `${appSettings}allow: [192.0.2.3, 192.0.2.128/25, "2001:db8:78::/45", "${outside.machine6}"]`, 'e.example.com': `${hostSettings}allow: [0.0.0.0/0]`, 'f.example.com': hostSettings,
  }, async () => {
    t.deepEqual(await seen('d'), [403, 403, 403]);
    t.true(await sleeps(guest, 'd.example.com'), 'who may not enter wakes nobody');
    t.deepEqual([await seen('a'), await seen('b'), await seen('c'), await seen('e')], [[403, 200, 403], [403, 200, 403], [403, 403, 200], [200, 200, 403]]);

    t.is((await guest.sitegen('maintenance', 'on', 'f.example.com', '--retry-after', '7min', '--allow', '192.0.2.0/30')).code, 0);
    t.deepEqual(await seen('f'), [503, 200, 503]);
    const page = await visitOne(guest, { host: 'f.example.com' });
    t.like(page.headers, { 'retry-after': '420', 'cache-control': 'no-store' });
    t.is((await guest.sitegen('maintenance', 'off', 'f.example.com')).code, 0);
    t.deepEqual(await seen('f'), [200, 200, 200]);
  });
}));

guestTest('passwords: each site has its own users, also of the same name, and guessing is slowed down', (t, guest) => withVisitor(guest, async () => {
  await ensureRouter(guest);
  const hash = (password: string) => guest.sh(`printf '%s\\n' '${password}' | sitegen password`);
  const [first, second] = [await hash('one:one'), await hash('two')];
  const other = 'other.example.com';
  const basic = (user: string, password: string) => ({ Authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` });
  await withSites(guest, { [site]: `${hostSettings}auth: {anna: '${first}', otto: '${second}'}`, [other]: `${hostSettings}auth: {anna: '${second}'}`, 'open.example.com': hostSettings, 'asleep.example.com': `${appSettings}auth: {anna: '${second}'}` }, async () => {
    const enter = async (host: string, headers: Step['headers'] = {}) => statuses(await visit(guest, [{ host, headers }, { host, headers }]));
    const refused = await visitOne(guest, { host: site });
    t.is(refused.status, 401);
    t.regex(refused.headers['www-authenticate'] ?? '', /^Basic realm="app\.example\.com"/);
    t.is((await visitOne(guest, { host: 'asleep.example.com', headers: basic('anna', 'wrong') })).status, 401);
    t.true(await sleeps(guest, 'asleep.example.com'));
    t.deepEqual(await enter(site, basic('anna', 'one:one')), [200, 200]);
    t.deepEqual(await enter(site, basic('otto', 'two')), [200, 200]);
    t.deepEqual(await enter(other, basic('anna', 'two')), [200, 200]);
    const wrongly = [['anna', 'two'], ['anna', 'one'], ['anna', ''], ['', 'one:one'], ['otto', 'one:one'], ['nobody', 'two'], [`${other}/anna`, 'two']] as const;
    const odd = ['Basic', 'Basic !!!', 'Bearer abc', `Basic ${Buffer.from('anna').toString('base64')}`, ''];
    const refusals = await visit(guest, [
      ...wrongly.map(([user, password]) => ({ host: site, headers: basic(user, password) })), ...odd.map((Authorization) => ({ host: site, headers: { Authorization } })),
      { host: other, headers: basic('anna', 'one:one') }, { host: other, headers: basic('otto', 'two') },
    ].flatMap((step) => [step, step]));
    t.deepEqual(counted(refusals), { 401: 28 });
    const passed = arrived(await visitOne(guest, { host: site, headers: basic('anna', 'one:one') }));
    t.is(passed.headers['authorization'], basic('anna', 'one:one').Authorization, 'the app gets what the visitor sent');
    t.is(arrived(await visitOne(guest, { host: 'open.example.com', headers: basic('x', 'y') })).headers['authorization'], basic('x', 'y').Authorization);

    const wrong = Array.from({ length: 40 }, (_, n) => ({ host: site, headers: basic('anna', `guess ${n}`) }));
    const [guesses, right, known] = [await visit(guest, wrong, { visitor: true }), await visitOne(guest, { host: site, headers: basic('otto', 'two') }, { visitor: true }), await visitOne(guest, { host: 'open.example.com' }, { visitor: true })];
    t.deepEqual(counted(guesses.slice(0, 15)), { 401: 15 });
    t.deepEqual(counted(guesses.slice(-15)), { 429: 15 });
    t.is(guesses.at(-1)?.headers['retry-after'], '60');
    // The password was right before, and so costs nothing to know.
    t.deepEqual([right.status, known.status], [200, 200]);
    t.is((await visitOne(guest, { host: site, headers: basic('anna', 'one:one') })).status, 200, 'others are not concerned');

    await setSites(guest, { [other]: `${hostSettings}auth: {anna: '${first}'}` });
    t.deepEqual([await enter(other, basic('anna', 'two')), await enter(other, basic('anna', 'one:one'))], [[401, 401], [200, 200]], 'a password that is no longer right is forgotten');
  });
}));

guestTest('requests may be so large, and answers take so long, as the site says', async (t, guest) => {
  await ensureRouter(guest);
  const own = 'own.example.com';
  await withSites(guest, { [site]: `${hostSettings}timeouts: {response: 1s}`, [own]: `${hostSettings}maxBody: 100K`, 'any.example.com': `${hostSettings}maxBody: infinity` }, async () => {
    const send = (host: string, bytes: number, more: Partial<Step> = {}): Step => ({ host, method: 'POST', body: 'x'.repeat(bytes), headers: { 'Content-Length': String(bytes) }, ...more });
    const chunked = { headers: { 'Transfer-Encoding': 'chunked' } };
    const seen = await visit(guest, [
      send(own, 102_400), send(own, 102_401), send(own, 102_401, { method: 'PUT' }), send(own, 10, { method: 'PUT' }), send(own, 10, { method: 'PATCH' }), send(own, 102_401, { method: 'DELETE' }),
      ...['POST', 'PUT', 'PATCH', 'DELETE', 'REPORT'].map((method) => send(own, 10, { method, ...chunked })),
      ...[site, 'any.example.com'].flatMap((host) => ['POST', 'PUT', 'PATCH'].flatMap((method) => [send(host, 10, { method }), send(host, 200_000, { method, ...chunked })])),
      { host: own }, { host: own, method: 'POST' }, { host: own, method: 'OPTIONS' },
      { host: site, method: 'POST', headers: { 'Content-Length': String(2 ** 31) }, path: '/?unread' },
    ]);
    t.deepEqual(statuses(seen), [200, 413, 413, 200, 200, 413, 411, 411, 411, 411, 411, ...Array.from({ length: 12 }, () => 200), 200, 200, 200, 413]);
    const two = await visitOne(guest, { kind: 'h2', host: own, requests: [{ method: 'POST', body: 'x', headers: { 'content-length': '1' } }, { method: 'POST', body: 'x' }, { method: 'POST', headers: { 'content-length': '200000' }, body: 'x'.repeat(200_000) }] });
    t.deepEqual(statuses(two.answers), [200, 411, 413]);

    // The others have a minute.
    const [late, patient, gap] = await visit(guest, [{ host: site, path: '/?ms=25000' }, { host: own, path: '/?ms=4000' }, { host: own, path: '/?gap=3000' }], { together: true }) as [Seen, Seen, Seen];
    t.deepEqual([late.status, patient.status, gap.status], [504, 200, 200]);
    t.true(late.ms > 1000 && late.ms < 24_000, `${late.ms}`);
    t.regex(late.body, /<h1>/);
    t.truthy(late.headers['retry-after']);
  });
});

guestTest('probes and floods of logins wake nobody', (t, guest) => withVisitor(guest, async () => {
  await ensureRouter(guest);
  await withSites(guest, { [site]: hostSettings, 'asleep.example.com': appSettings, 'wants.example.com': `${hostSettings}probes: true` }, async () => {
    const probes = ['/.env', '/.git/config', '/.ENV.local', '/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php', '/cgi-bin/luci', '/.aws/credentials'];
    t.deepEqual(counted(await visit(guest, probes.map((path) => ({ host: 'asleep.example.com', path })))), { 404: probes.length });
    t.is((await visitOne(guest, { host: 'wants.example.com', path: '/.env' })).status, 200);

    const logins = Array.from({ length: 40 }, (_, n) => ({ host: site, method: 'POST', path: n % 2 === 0 ? '/wp-login.php?a=b' : '/blog/xmlrpc.php', body: 'log=admin' }));
    const flood = await visit(guest, logins, { visitor: true });
    t.deepEqual(counted(flood.slice(0, 20)), { 200: 20 });
    t.deepEqual(counted(flood.slice(25)), { 429: 15 });
    const [page, other] = await visit(guest, [{ host: site, path: '/wp-login.php' }, { host: site, method: 'POST', path: '/contact' }], { visitor: true });
    t.deepEqual([page?.status, other?.status], [200, 200]);
    t.is((await visitOne(guest, logins[0] ?? {})).status, 200, 'others are not concerned');
    await visit(guest, logins.slice(0, 10).map((step) => ({ ...step, host: 'asleep.example.com' })), { visitor: true });
    t.true(await sleeps(guest, 'asleep.example.com'));
  });
}));

guestTest('one address may have so many requests and connections, and no more', (t, guest) => withVisitor(guest, async () => {
  await ensureRouter(guest);
  await withSites(guest, { [site]: hostSettings }, () => withDefaults(guest, ['router: {limits: {connections: 20, requests: 50}}\n', async () => {
    await visitOne(guest, { host: site });
    const one = await visitOne(guest, { kind: 'h2', host: site, requests: Array.from({ length: 80 }, () => ({})) }, { visitor: true });
    t.deepEqual(counted(one.answers.slice(0, 45)), { 200: 45 });
    t.deepEqual(counted(one.answers.slice(60)), { 429: 20 });
    t.deepEqual(counted((await visitOne(guest, { kind: 'h2', host: site, requests: Array.from({ length: 80 }, () => ({})) })).answers), { 200: 80 }, 'the machine itself is not limited');
    await clear(guest);

    // Half of them on each port.
    const idle = Array.from({ length: 40 }, (_, n): Step => ({ kind: 'raw', tls: n % 2 === 0 ? 'none' : false, pieces: [2000], wait: 1 }));
    const open = await visit(guest, [...idle, { host: site, after: 1000 }, { host: site, after: 1000, to: outside.machine6 }], { together: true, visitor: true });
    const refused = open.slice(0, 40).filter(({ closed }) => closed).length;
    t.true(refused >= 18 && refused <= 22, `${refused} of 40 were refused`);
    t.deepEqual([open[40]?.status, open[41]?.status], [undefined, 200]);
    t.is((await visitOne(guest, { host: site }, { visitor: true })).status, 200, 'once they are gone');
  }]));
}));

/** Forgets who has done how much. */
function clear(guest: Guest): Promise<string> {
  return guest.sh(`echo 'clear table st_sources; clear table st_holds; clear table st_unknown' | ${api}`);
}
