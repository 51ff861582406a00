import test from 'ava';
import { resolveEntry, wwwCounterpart, type Entry } from '../../../lib/pure/entry.ts';
import { parseDefaults, parseSite } from '../../../lib/pure/config.ts';

/** The entry of example.com with some settings, and a container that may take this long to wake. */
function entryOf(site: string, { defaults = '', readyMs = 0 } = {}): Entry {
  return resolveEntry(parseSite(`domain: example.com\n${site}`, 'example.com.yaml'), parseDefaults(defaults, 'sitegen.yaml'), readyMs);
}

function counterpart(domain: string, expected: string | undefined): void {
  test(`the other name that people try for ${domain.slice(0, 30)} is ${expected?.slice(0, 30) ?? 'none'}`, (t) => { t.is(wwwCounterpart(domain), expected); });
}

counterpart('example.com', 'www.example.com');
counterpart('www.example.com', 'example.com');
counterpart('www.www.example.com', 'www.example.com');
counterpart('wwwx.example.com', 'www.wwwx.example.com');
counterpart('shop.example.com', 'www.shop.example.com');
counterpart('www.com', undefined);
counterpart(`${'a.'.repeat(122)}a.com`, `www.${'a.'.repeat(122)}a.com`);
counterpart(`${'a.'.repeat(123)}a.com`, undefined);

function isServed(site: string, root: string): void {
  test(`with ${site.trim()} the directory ${root} is served`, (t) => {
    t.deepEqual(entryOf(site).targets.get(site.startsWith('paths') ? '/a' : ''), { kind: 'static', root, notFound: undefined });
  });
}

const data = '/var/lib/sitegen/sites/example.com/data';
isServed('static: .', data);
isServed('static: {}', data);
isServed('static: www', `${data}/www`);
isServed('static: ./www/a/', `${data}/www/a`);
isServed('static: /srv/www/', '/srv/www');
isServed('static: {git: https://git.example/x}', '/var/lib/sitegen/checkouts/example.com/current');
isServed('static: {git: https://git.example/x, directory: public}', '/var/lib/sitegen/checkouts/example.com/current/public');
isServed('paths: {/a: {static: .}}', data);
isServed('paths: {/a/: {static: docs/b}}', `${data}/docs/b`);
isServed('paths: {/a: {static: /srv/files/}}', '/srv/files');

test('the directory of a site with a stand-in for its name is its own', (t) => {
  const domain = `${'a-'.repeat(30)}a.${'b'.repeat(60)}.${'c'.repeat(60)}.${'d'.repeat(40)}.com`;
  const { targets } = resolveEntry({ domain, static: { directory: 'www', git: undefined, branch: undefined, notFound: undefined } }, {}, 0);
  const target = targets.get('');
  t.regex(target?.kind === 'static' ? target.root : '', /^\/var\/lib\/sitegen\/sites\/[a-]+_[0-9a-f]{16}\/data\/www$/);
});

function waits(site: string, readyMs: number, server: number, tunnel = 3_600_000): void {
  test(`with ${site === '' ? 'nothing' : site} and ${readyMs} ms for a wake the router waits ${server} ms for an answer and ${tunnel} ms in a tunnel`, (t) => {
    const { serverTimeoutMs, tunnelTimeoutMs } = entryOf(site, { readyMs });
    t.deepEqual([serverTimeoutMs, tunnelTimeoutMs], [server, tunnel]);
  });
}

waits('', 0, 60_000);
waits('', 60_000, 130_000);
waits('', 0.5, 70_001);
waits('timeouts: {response: 5s}', 0, 5000);
waits('timeouts: {response: 5s}', 90_000, 105_000);
waits('timeouts: {response: 0.0015s}', 0, 2);
waits('timeouts: {tunnel: 24d}', 0, 60_000, 2_073_600_000);

test('no time is longer than the router can count', (t) => {
  const { serverTimeoutMs, tunnelTimeoutMs } = entryOf('timeouts: {response: 1d, tunnel: 24d}', { readyMs: 86_400_000 });
  for (const time of [serverTimeoutMs, tunnelTimeoutMs]) t.true(Number.isInteger(time) && time < 2 ** 31, String(time));
});

function says(what: string, site: string, defaults: string, hsts: string): void {
  test(`browsers are told ${hsts === '' ? 'nothing' : hsts} ${what}`, (t) => { t.is(entryOf(site, { defaults }).hsts, hsts); });
}

says('without settings', '', '', 'max-age=15552000');
says('as the machine says', '', 'router: {hsts: 1h}', 'max-age=3600');
says('as the site says', 'hsts: 730d', 'router: {hsts: 1h}', 'max-age=63072000');
says('where the site says off', 'hsts: off', '', '');
says('where the machine says off', '', 'router: {hsts: off}', '');
says('where the site says something and the machine off', 'hsts: 1s', 'router: {hsts: off}', 'max-age=1');

test('sizes of requests are in bytes, and only an own limit is one of the site', (t) => {
  const sizes = (site: string, defaults = '') => {
    const { maxBody, ownMaxBody } = entryOf(site, { defaults });
    return [maxBody, ownMaxBody];
  };
  t.deepEqual(sizes(''), [2 ** 30, false]);
  t.deepEqual(sizes('', 'router: {maxBody: 1.5K}'), [1536, false]);
  t.deepEqual(sizes('maxBody: 10M', 'router: {maxBody: 1K}'), [10 * 2 ** 20, true]);
  t.deepEqual(sizes('maxBody: infinity'), [2 ** 52, false]);
  t.true(Number.isSafeInteger(2 ** 52));
});

test('maintenance has a time to come again and addresses that are let through', (t) => {
  t.is(entryOf('').maintenance, undefined);
  t.is(entryOf('maintenance: false').maintenance, undefined);
  t.deepEqual(entryOf('maintenance: true').maintenance, { retryAfterMs: 600_000, allow: [] });
  t.deepEqual(entryOf('maintenance: {}').maintenance, { retryAfterMs: 600_000, allow: [] });
  t.deepEqual(entryOf('maintenance: {retryAfter: 1h, allow: [192.0.2.7]}').maintenance, { retryAfterMs: 3_600_000, allow: ['192.0.2.7/32'] });
});

test('passthrough needs no certificate of ours, and serves port 80 where it has a server for it', (t) => {
  const plain = entryOf('passthrough: a:443');
  t.deepEqual([plain.certificate, plain.http, plain.targets.get('')], ['none', 'redirect', { kind: 'redirect', to: 'https://example.com', status: 308, keepPath: true }]);
  const served = entryOf('passthrough: {to: a:443, http: b:80, proxyProtocol: true}');
  t.deepEqual(served.passthrough, { to: { host: 'a', port: 443 }, proxyProtocol: true });
  t.deepEqual([served.http, served.targets.get('')], ['serve', { kind: 'upstream', to: { protocol: 'http', host: 'b', port: 80, base: undefined }, host: undefined }]);
});

test('a redirect that keeps the path has no slash at its end, which the path begins with', (t) => {
  const target = (redirect: string) => entryOf(`redirect: ${redirect}`).targets.get('');
  t.deepEqual(target('https://example.org/'), { kind: 'redirect', to: 'https://example.org', status: 308, keepPath: true });
  t.deepEqual(target('{to: "https://example.org/a/", status: 301, keepPath: true}'), { kind: 'redirect', to: 'https://example.org/a', status: 301, keepPath: true });
  t.deepEqual(target('{to: "https://example.org/a/", keepPath: false}'), { kind: 'redirect', to: 'https://example.org/a/', status: 308, keepPath: false });
});

test('the order of targets is the site\'s own and then its paths\', without slashes at their ends', (t) => {
  t.deepEqual([...entryOf('image: x\npaths: {/b/: http://b, /a/c: http://c, /a: http://a}').targets.keys()], ['', '/b', '/a/c', '/a']);
});

test('certificates come from the site\'s own setting, or from whether there is ACME', (t) => {
  t.is(entryOf('').certificate, 'acme');
  t.is(entryOf('', { defaults: 'acme: {enabled: false}' }).certificate, 'none');
  t.is(entryOf('certificate: manual', { defaults: 'acme: {enabled: false}' }).certificate, 'manual');
  t.is(entryOf('certificate: none').certificate, 'none');
});
