import { guestTest } from './_guest.ts';
import { appSettings, arrived, ensureRouter, hostSettings, outside, sleeps, visit, visitOne, withSites, withVisitor, type Seen } from './_router.ts';

const site = 'app.example.com';
const statuses = (seen: readonly Seen[]) => seen.map(({ status, error }) => status ?? error);

guestTest('a site is reached over HTTP/2, HTTP/1.1 and HTTP/1.0, with TLS 1.2 and 1.3 and nothing below', async (t, guest) => {
  await ensureRouter(guest);
  await withSites(guest, { [site]: appSettings }, async () => {
    const [one, two, old, secure12, secure13, secure11, secure10] = await visit(guest, [
      { host: site, path: '/a%20b?c=d%26' },
      { kind: 'h2', host: site, requests: [{ path: '/1' }, { path: '/2', method: 'POST', body: 'x'.repeat(300_000) }] },
      { kind: 'raw', host: site, pieces: [`GET /old HTTP/1.0\r\nHost: ${site}\r\n\r\n`] },
      { host: site, max: 'TLSv1.2' },
      { host: site, min: 'TLSv1.3' },
      { host: site, min: 'TLSv1', max: 'TLSv1.1' },
      { host: site, min: 'TLSv1', max: 'TLSv1' },
    ]) as [Seen, Seen, Seen, Seen, Seen, Seen, Seen];
    t.is(one.status, 200);
    t.is(arrived(one).url, '/a%20b?c=d%26');
    t.deepEqual(statuses(two.answers), [200, 200]);
    t.is(two.answers[1] && arrived(two.answers[1]).size, 300_000);
    t.regex(old.text, /^HTTP\/1\.[01] 200 /);
    t.true(old.closed);
    t.deepEqual([secure12.status, secure12.protocol], [200, 'TLSv1.2']);
    t.deepEqual([secure13.status, secure13.protocol], [200, 'TLSv1.3']);
    for (const below of [secure11, secure10]) t.regex(below.error ?? `status ${below.status}`, /alert protocol version/);
  });
});

guestTest('http leads to https, and other names to the main one, in one hop with path and query', async (t, guest) => {
  await ensureRouter(guest);
  const sites = {
    [site]: `${hostSettings}aliases: [alias.example.net, '*.wild.example.com']\nredirects: [old.example.net]`,
    'www.both.example.com': hostSettings,
    'open.example.com': `${hostSettings}http: serve\nwww: serve`,
    'alone.example.com': `${hostSettings}www: none`,
  };
  await withSites(guest, sites, async () => {
    const path = '/p/a%2Fth?q=1&r=%20';
    const main = `https://${site}${path}`;
    // What the name leads to over http, and over https.
    const expected: Record<string, [string | number | undefined, string | number | undefined]> = {
      [site]: [main, 200],
      'alias.example.net': [`https://alias.example.net${path}`, 200],
      'any.wild.example.com': [`https://any.wild.example.com${path}`, 200],
      'two.deep.wild.example.com': [421, undefined],
      'old.example.net': [main, main],
      [`www.${site}`]: [main, main],
      'both.example.com': [`https://www.both.example.com${path}`, `https://www.both.example.com${path}`],
      'open.example.com': [200, 200],
      'www.open.example.com': [200, 200],
      'www.alone.example.com': [421, undefined],
    };
    const leads = async (more: object) => (await visit(guest, Object.keys(expected).map((host) => ({ host, path, ...more })), { together: true }))
      .map(({ status, headers }) => (status === 308 ? headers['location'] : status));
    const [plain, secure] = [await leads({ tls: false }), await leads({})];
    t.deepEqual(Object.fromEntries(Object.keys(expected).map((host, n) => [host, [plain[n], secure[n]]])), expected);
    t.is((await visitOne(guest, { tls: false, host: site, method: 'POST', body: 'x' })).status, 308);
  });
});

guestTest('a request belongs to the site that its connection was made to, and to no other', async (t, guest) => {
  await ensureRouter(guest);
  const other = 'other.example.com';
  const own = `aliases: [alias.${site}]`;
  await withSites(guest, { [site]: `${hostSettings}${own}\nhttp: serve`, [other]: appSettings }, async () => {
    const path = '/host';
    const [upper, dot, port, both, alias] = await visit(guest, [
      { host: site.toUpperCase(), path }, { host: `${site}.`, path }, { host: `${site}:443`, path }, { host: `APP.example.COM.:8443`, sni: 'APP.Example.com', path },
      { host: `alias.${site}`, sni: site, path },
    ]);
    t.deepEqual([upper, dot, port, both, alias].map((seen) => seen?.status), [200, 200, 200, 200, 200]);
    t.is(both && arrived(both).headers['x-forwarded-host'], 'APP.example.COM.:8443');

    const steps = [
      { host: other, sni: site }, { host: site, sni: other }, { host: 'nobody.example.com', sni: site }, { host: '', sni: site },
      { kind: 'raw', sni: site, pieces: ['GET / HTTP/1.0\r\n\r\n'] }, { kind: 'raw', sni: site, pieces: ['GET / HTTP/1.1\r\n\r\n'] },
      { host: 'nobody.example.com', tls: false }, { kind: 'raw', tls: false, pieces: ['GET / HTTP/1.0\r\n\r\n'] },
      { host: '127.0.0.1', tls: false }, { host: '[::1]:80', tls: false },
    ] as const;
    const wrong = await visit(guest, steps, { together: true });
    t.deepEqual(wrong.map(({ status, text }) => status ?? Number(/^HTTP\/1\.[01] (\d+)/.exec(text)?.[1])), [421, 421, 421, 421, 421, 421, 421, 421, 421, 421]);
    for (const { body, text } of wrong) t.regex(body ?? text, /<h1>/);
    const two = await visitOne(guest, { kind: 'h2', host: site, requests: [{}, { host: other }, { host: 'nobody.example.com' }, { host: `alias.${site}` }, { host: site.toUpperCase() }] });
    t.deepEqual(statuses(two.answers), [200, 421, 421, 200, 200]);
    t.true(await sleeps(guest, other), 'nothing of it has come to the other site');
  });
});

guestTest('what only the router may say of a visitor is true, and is never taken from outside', (t, guest) => withVisitor(guest, async () => {
  await ensureRouter(guest);
  await withSites(guest, { [site]: `${hostSettings}http: serve` }, async () => {
    const forged = {
      'X-Forwarded-For': ['9.9.9.9', '8.8.8.8'], 'X-Forwarded-Proto': 'gopher', 'X-Forwarded-Host': 'evil.example', 'X-Forwarded-Port': '1', 'X-Forwarded-Prefix': '/x', 'x-forwarded-user': 'root',
      'X-Real-IP': '9.9.9.9', 'X-Sitegen-Site': 'evil', 'x-sitegen-root': '/etc', 'Forwarded': 'for=9.9.9.9', 'Proxy': 'http://9.9.9.9',
      // Some languages tell neither of these from the ones with hyphens.
      'X_Forwarded_For': '9.9.9.9', 'X_Sitegen_Root': '/etc', 'X-Forwarded_Proto': 'gopher',
    };
    const mine = { 'X-Mine': 'kept', 'Accept-Language': 'eo' };
    const headers = { ...forged, ...mine };
    const [one, two, plain] = await visit(guest, [{ host: site, headers }, { kind: 'h2', host: site, requests: [{ headers }] }, { host: site, tls: false, headers }], { visitor: true }) as [Seen, Seen, Seen];
    const [six] = await visit(guest, [{ host: site, to: outside.machine6, headers }], { visitor: true }) as [Seen];
    const all = [one, two.answers[0]!, plain, six].map((seen) => arrived(seen));
    for (const [n, { headers: got, names }] of all.entries()) {
      const from = n === 3 ? outside.visitor6 : outside.visitor;
      t.like(got, { 'x-forwarded-for': from, 'x-real-ip': from, 'x-forwarded-proto': n === 2 ? 'http' : 'https', 'x-forwarded-host': site, 'x-mine': 'kept', 'accept-language': 'eo' });
      const said = names.map((name) => name.toLowerCase()).filter((name) => /^x[-_](forwarded|sitegen|real)|^forwarded$|^proxy$/.test(name)).sort();
      t.deepEqual(said, ['x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'x-real-ip']);
    }
  });
}));

guestTest('answers carry headers for safety that an app may override, and texts are compressed', async (t, guest) => {
  await ensureRouter(guest);
  const sites = { [site]: `${hostSettings}http: serve\nheaders: {X-Robots-Tag: noindex, X-Own: 'a; "b" % c'}`, 'off.example.com': `${hostSettings}hsts: off`, 'short.example.com': `${hostSettings}hsts: 1h` };
  await withSites(guest, sites, async () => {
    const own = ['X-Frame-Options:DENY', 'Referrer-Policy:no-referrer', 'X-Robots-Tag:all', 'Strict-Transport-Security:max-age=5', 'X-Content-Type-Options:other'].map((header) => `header=${encodeURIComponent(header)}`).join('&');
    const [usual, said, frames, plain, off, short] = (await visit(guest, [
      { host: site }, { host: site, path: `/?${own}` }, { host: site, path: `/?header=${encodeURIComponent("Content-Security-Policy:frame-ancestors 'none'")}` },
      { host: site, tls: false }, { host: 'off.example.com' }, { host: 'short.example.com' },
    ])).map(({ headers }) => headers);
    const ours = { 'x-content-type-options': 'nosniff', 'x-frame-options': 'SAMEORIGIN', 'referrer-policy': 'strict-origin-when-cross-origin' };
    t.like(usual, { ...ours, 'strict-transport-security': 'max-age=15552000', 'x-robots-tag': 'noindex', 'x-own': 'a; "b" % c' });
    t.like(said, { 'x-frame-options': 'DENY', 'referrer-policy': 'no-referrer', 'strict-transport-security': 'max-age=5', 'x-content-type-options': 'other', 'x-robots-tag': 'noindex' });
    t.is(frames?.['x-frame-options'], undefined, 'the app has said who may frame it');
    t.deepEqual([plain, off, short].map((headers) => headers?.['strict-transport-security']), [undefined, undefined, 'max-age=3600']);
    t.like(off, ours);

    const long = '/?bytes=50000&type=';
    const gzip = { headers: { 'Accept-Encoding': 'gzip, br' } };
    const [html, two, image, without] = await visit(guest, [
      { host: site, path: `${long}text/html`, ...gzip }, { kind: 'h2', host: site, requests: [{ path: `${long}text/css`, ...gzip }] },
      { host: site, path: `${long}image/png`, ...gzip }, { host: site, path: `${long}text/html` },
    ]) as [Seen, Seen, Seen, Seen];
    for (const seen of [html, two.answers[0]!]) {
      t.is(seen.headers['content-encoding'], 'gzip');
      t.true(seen.length < 1000, `${seen.length} bytes`);
      t.is(seen.body, 'x'.repeat(50_000));
    }
    t.deepEqual([image.headers['content-encoding'], without.headers['content-encoding']], [undefined, undefined]);
  });
});
