import test from 'ava';
import type { z } from 'zod';
import { isHost } from '../../../lib/pure/hosts.ts';
import { alias, bytes, domain, hostPort, sourceRange, span, splitHostPort, text } from '../../../lib/pure/schema-values.ts';
import { parseUpstream, type Upstream } from '../../../lib/pure/schema-entry.ts';

function isHostPort(value: string, expected: [string, number] | undefined): void {
  test(`${JSON.stringify(value)} is ${expected ? `port ${expected[1]} of ${expected[0]}` : 'no host with a port'}`, (t) => {
    t.deepEqual(splitHostPort(value), expected && { host: expected[0], port: expected[1] });
  });
}

isHostPort('127.0.0.1:8443', ['127.0.0.1', 8443]);
isHostPort('example.org:443', ['example.org', 443]);
isHostPort('Example.ORG:443', ['example.org', 443]);
isHostPort('localhost:1', ['localhost', 1]);
isHostPort('my_app.internal:65535', ['my_app.internal', 65_535]);
isHostPort('[::1]:80', ['::1', 80]);
isHostPort('[2001:DB8::1]:80', ['2001:db8::1', 80]);
for (const value of ['', ':', ':80', 'a', 'a:', 'a:0', 'a:65536', 'a:-1', 'a:80x', 'a:8 0', 'a b:80', ' a:80', 'a:80\n', '::1:80', '[::1]', '[a]:80', '[127.0.0.1]:80', '[::1%eth0]:80', '[:::1]:80', '1.2.3:80', '1.2.3.256:80', '01.2.3.4:80', '1.2.3.4.5:80',
  'a..b:80', '-a:80', 'a-:80', '.a:80', 'a.:80', 'a/b:80', 'a@b:80', 'a|b:80', 'münchen.de:80', `${'a'.repeat(64)}:80`, `${'a.'.repeat(127)}a:80`, 'a\0:80']) {
  isHostPort(value, undefined);
}

test('a host is a name that DNS may know, or an IPv4 address', (t) => {
  for (const host of ['a', 'a.b', '_acme.example.org', '1.2.3.4', '1a', '1.example', 'a'.repeat(63)]) t.true(isHost(host), host);
  for (const host of ['', '.', 'A', 'a.1', '1', '::1', 'a b', '*.a', 'a%b']) t.false(isHost(host), host);
});

function isUpstream(value: string, expected: Upstream | undefined): void {
  test(`${JSON.stringify(value.slice(0, 60))} is ${expected ? `an upstream: ${JSON.stringify(expected)}` : 'no upstream'}`, (t) => { t.deepEqual(parseUpstream(value), expected); });
}

isUpstream('http://127.0.0.1', { protocol: 'http', host: '127.0.0.1', port: 80, base: undefined });
isUpstream('http://127.0.0.1:8080', { protocol: 'http', host: '127.0.0.1', port: 8080, base: undefined });
isUpstream('HTTP://App.Internal/', { protocol: 'http', host: 'app.internal', port: 80, base: '' });
isUpstream('http://app/base/', { protocol: 'http', host: 'app', port: 80, base: '/base' });
isUpstream('http://app/a/b', { protocol: 'http', host: 'app', port: 80, base: '/a/b' });
isUpstream('http://[2001:db8::1]:8080/a', { protocol: 'http', host: '2001:db8::1', port: 8080, base: '/a' });
isUpstream('http://[2001:db8::1]', { protocol: 'http', host: '2001:db8::1', port: 80, base: undefined });
isUpstream('https://example.org', { protocol: 'https', host: 'example.org', port: 443, base: undefined });
isUpstream('https://example.org:8443', { protocol: 'https', host: 'example.org', port: 8443, base: undefined });
isUpstream('unix:/run/app/http.sock', { protocol: 'unix', host: '/run/app/http.sock', port: 0, base: undefined });
for (const value of ['', 'http:', 'http://', 'https://', 'app:80', '//app', 'ftp://app', 'http://app?x', 'http://app#x', 'http://user@app', 'http://user:pw@app', 'http://app/a b', 'http://app/%2e', 'http://app/a|b', 'http://app:0', 'http://app:65536',
  'https://127.0.0.1', 'https://[::1]', 'https://127.0.0.1:443', 'http://1.2.3', 'unix:', 'unix:/', 'unix:run/x', 'unix:/run/../x', 'unix:/run/./x', 'unix:/run//x', 'unix:/run/x/', 'unix:/run/a b', `unix:/${'x'.repeat(100)}`, `http://app/${'x'.repeat(500)}`, 'http://app\n']) {
  isUpstream(value, undefined);
}

/** What a kind of value makes of texts; undefined for those that it refuses. */
function gives(what: string, schema: z.ZodType, values: readonly (readonly [unknown, unknown])[]): void {
  test(`values of the kind ${what} are taken as they are meant, or refused`, (t) => {
    for (const [value, expected] of values) t.deepEqual(schema.safeParse(value).data, expected, JSON.stringify(value));
  });
}

gives('source range', sourceRange(), [
  ['192.0.2.7', '192.0.2.7/32'], ['192.0.2.7/24', '192.0.2.0/24'], ['0.0.0.0/0', '0.0.0.0/0'], ['10.1.2.3/8', '10.0.0.0/8'],
  ['2001:DB8::1', '2001:db8::1/128'], ['2001:db8::1/32', '2001:db8::/32'], ['::/0', '::/0'], ['::ffff:192.0.2.7', '192.0.2.7/32'], ['::ffff:192.0.2.7/120', '192.0.2.0/24'],
  ...['', '/', '192.0.2.0/33', '192.0.2.0/-1', '192.0.2.0/', '192.0.2.0/024x', '192.0.2', '192.0.2.0/24/24', '010.0.0.1', '2001:db8::/129', '2001:db8', 'fe80::1%eth0', 'example.org', '*', ' 192.0.2.7', '192.0.2.7\n', 7].map((value) => [value, undefined] as const),
]);
gives('domain', domain(), [['EXAMPLE.com.', 'example.com'], ['münchen.de', 'xn--mnchen-3ya.de'], ['*.example.com', undefined], ['a', undefined], ['a b.com', undefined]]);
gives('alias', alias(), [['*.Example.com', '*.example.com'], ['example.com', 'example.com'], ['*', undefined], ['*.com', undefined], ['*.*.example.com', undefined], ['a.*.example.com', undefined]]);
gives('host and port', hostPort('an upstream'), [['a:1', { host: 'a', port: 1 }], ['a', undefined], [80, undefined]]);
gives('bytes', bytes(), [['10M', '10M'], [5, '5'], ['infinity', 'infinity'], ['1.5G', '1.5G'], ['20%', undefined], ['0', undefined], [-1, undefined], [0, undefined], ['lots', undefined]]);
gives('time span', span(), [['30s', '30s'], [5, '5'], ['1min 30s', '1min 30s'], ['1day', '1day'], ['25h', undefined], ['0s', undefined], ['soon', undefined], [-1, undefined]]);
gives('longer time span', span(24 * 86_400_000, '24days'), [['24d', '24d'], ['577h', undefined]]);
gives('text', text(), [['a b', 'a b'], ['a\nb', undefined], ['a\0', undefined], ['a\u007f', undefined], ['', '']]);
