import { readFile } from 'node:fs/promises';
import test from 'ava';
import { builtInRouter, nameserversIn, parseUsers, routerDropIns, usersConfig } from '../../../lib/pure/haproxy.ts';
import { repository } from '../_site.ts';
import { harmlessHash } from '../_hostile.ts';
import { configOf } from '../_router.ts';

const linesOf = (config: string) => config.split('\n').map((line) => line.trim());
const plain = linesOf(configOf(undefined));
const localUpstream = { host: '192.0.2.20', port: 8443 };

test('a configuration is whole: nothing is left of the template', (t) => {
  for (const config of [configOf(undefined), configOf({ unknown: { https: localUpstream, http: localUpstream }, log: 'off' }, ['x-a'], { ipv6: false })]) {
    t.notRegex(config, /\{\{|\}\}|undefined|NaN|\[object/);
    t.true(config.startsWith('# Made by sitegen; "sitegen apply" writes it again.'));
    t.true(config.endsWith('\n'));
  }
});

test('the descriptors are those of the socket unit, in its order', async (t) => {
  const unit = await readFile(`${repository}/units/sitegen-router.socket`, 'utf8');
  const streams = [...unit.matchAll(/^ListenStream=(.*)$/gm)].map(([, stream]) => stream);
  const used = (config: readonly string[]) => config.flatMap((line) => /^bind fd@(\d+)(?: name (\w+))?$/.exec(line)?.slice(1, 3).join(' ').trim() ?? []);
  t.deepEqual(streams, ['0.0.0.0:80', '0.0.0.0:443', '[::]:80', '[::]:443']);
  t.deepEqual(used(plain), ['4', '6', '3 plain4', '5 plain6']);
  t.deepEqual(used(linesOf(configOf(undefined, [], { ipv6: false }))), ['4', '3 plain4']);
});

test('without a log nothing of the sites\' requests is written down', (t) => {
  const silent = linesOf(configOf({ log: 'off' }));
  t.deepEqual(silent.filter((line) => line.startsWith('log')), []);
  t.deepEqual(plain.filter((line) => /^log (global|\/)/.test(line)).length, 2);
});

test('an anonymous log has no whole address, and is the same otherwise', (t) => {
  const format = (log: 'full' | 'anonymous') => linesOf(configOf({ log })).find((line) => line.startsWith('log-format ')) ?? '';
  t.true(format('full').includes('%[src]'));
  t.false(format('anonymous').includes('%[src]'));
  t.false(/%(ci|cp)\b/.test(format('full')), 'no address that would not be cut');
  t.is(format('anonymous').replaceAll('%[src,ipmask(24,48)]', '%[src]'), format('full'));
});

test('the name of each header stands in one line, common ones in their usual form', (t) => {
  const names = (headers: string[]) => linesOf(configOf(undefined, headers)).filter((line) => line.includes('field(2,|,0)]') && line.startsWith('http-response set-header')).map((line) => line.split(' ')[2] ?? '');
  const common = names([]);
  t.true(common.includes('Content-Security-Policy'));
  t.is(new Set(common.map((name) => name.toLowerCase())).size, common.length);
  t.deepEqual(names(['cache-control', 'CONTENT-SECURITY-POLICY']), common);
  t.deepEqual(names(['x-own', 'X-OWN', 'a']).filter((name) => !common.includes(name)), ['a', 'x-own']);
  t.is(configOf(undefined, ['a', 'b']), configOf(undefined, ['b', 'a']));
});

/** Lines that one configuration has and another has not. */
const added = (settings: Parameters<typeof configOf>[0]) => linesOf(configOf(settings)).filter((line) => !line.startsWith('#') && !plain.includes(line));

test('names that no site has are held unless they are to go elsewhere', (t) => {
  t.true(plain.includes('default_backend be_hold'));
  t.is(configOf({ unknown: 'reject' }), configOf(undefined));
  t.is(configOf({ unknown: {} }), configOf(undefined));
});

test('names that no site has can go to an address on both ports', (t) => {
  const lines = added({ unknown: { https: localUpstream, http: { host: '2001:db8::1', port: 80 } } });
  for (const line of ['default_backend be_unknown_tls', 'backend be_unknown_tls', 'server other 192.0.2.20:8443', 'backend be_unknown_http', 'server other [2001:db8::1]:80']) t.true(lines.includes(line), line);
  t.false(lines.some((line) => line.includes('do-resolve') || line.includes('set-dst')), lines.join('\n'));
});

test('names that no site has can go to a name, which is looked up for each connection', (t) => {
  const lines = added({ unknown: { https: { host: 'old.example', port: 8443 }, http: { host: 'old.example', port: 80 } } });
  t.is(lines.filter((line) => line.includes('do-resolve') && line.includes('str(old.example)')).length, 2);
  for (const line of ['server other 0.0.0.0:8443', 'server other 0.0.0.0:80']) t.true(lines.includes(line), line);
});

test('names that no site has can go elsewhere on one port alone', (t) => {
  const tls = linesOf(configOf({ unknown: { https: localUpstream } }));
  t.true(tls.includes('backend be_unknown_tls'));
  t.false(tls.includes('backend be_unknown_http'));
  t.false(tls.includes('backend be_hold'));
  const http = linesOf(configOf({ unknown: { http: localUpstream } }));
  t.true(http.includes('backend be_unknown_http'));
  t.true(http.includes('backend be_hold'));
  t.false(http.includes('backend be_unknown_tls'));
});

test('every backend and table that a rule names is there, whatever is switched on', (t) => {
  for (const settings of [undefined, { unknown: { https: localUpstream } }, { unknown: { http: localUpstream } }, { unknown: { https: localUpstream, http: localUpstream } }]) {
    const lines = linesOf(configOf(settings));
    const backends = lines.flatMap((line) => /^backend (\S+)/.exec(line)?.[1] ?? []);
    t.is(new Set(backends).size, backends.length);
    for (const name of lines.flatMap((line) => /^(?:default_backend|use_backend) ([\w-]+)/.exec(line)?.[1] ?? [])) t.true(backends.includes(name), name);
    for (const name of lines.flatMap((line) => / table (st_\w+)/.exec(line)?.[1] ?? [])) t.true(backends.includes(name), name);
    for (const kind of ['be_site', 'be_http', 'be_https', 'be_static', 'be_state', 'be_pass', 'be_pass_proxy']) t.true(backends.includes(kind), kind);
  }
});

test('visitors are counted twice, and limits are the settings\'', (t) => {
  t.true(plain.includes(`maxconn ${2 * builtInRouter.maxConnections}`));
  const own = linesOf(configOf({ maxConnections: 50, limits: { connections: 1, requests: 2, logins: 3 }, statePath: '/state' }));
  for (const line of ['maxconn 100', 'acl state path /state', 'tcp-request connection reject if { sc0_conn_cur gt 1 }']) t.true(own.includes(line), line);
  t.true(own.some((line) => line.endsWith('{ sc1_http_req_rate gt 2 }')));
  t.true(own.some((line) => line.endsWith('{ sc1_gpc0_rate gt 3 }')));
});

test('paths that only bots ask for are paths, each once', (t) => {
  for (const path of builtInRouter.probes) t.regex(path, /^\/[!-~]+$/);
  t.is(new Set(builtInRouter.probes).size, builtInRouter.probes.length);
});

const users = new Map([['example.com/bob', harmlessHash], ['example.com/alice@x', '$y$j9T$abcdefghijklmnop$abc./='], ['a.example/alice', '$2y$10$abcdefghijklmnopqrstuv']]);

test('users are read as they were written, whatever their order', (t) => {
  const config = usersConfig(users);
  t.is(config, `# Made by sitegen; "sitegen apply" writes it again.\nuserlist sites\n\tuser a.example/alice password $2y$10$abcdefghijklmnopqrstuv\n\tuser example.com/alice@x password $y$j9T$abcdefghijklmnop$abc./=\n\tuser example.com/bob password ${harmlessHash}\n`);
  t.deepEqual(new Map([...parseUsers(config)].sort()), new Map([...users].sort()));
  t.is(usersConfig(new Map([...users].reverse())), config);
});

test('a list without users is one', (t) => {
  t.true(usersConfig(new Map()).endsWith('userlist sites\n'));
  t.is(parseUsers(usersConfig(new Map())).size, 0);
  t.is(parseUsers('').size, 0);
});

for (const [name, hash] of [['a b', 'x'], ['a\tpassword', 'x'], ['a', 'x y'], ['a', 'x\n\tuser b password c'], ['', 'x'], ['a', ''], ['a#', 'x'], ['a', "x'"], ['a', 'x\\']] as const) {
  test(`${JSON.stringify([name, hash])} is no line of a list of users`, (t) => {
    // Without the value, as it may be a password.
    t.throws(() => usersConfig(new Map([[name, hash]])), { message: 'a value cannot be written into the configuration of the router' });
  });
}

const noIpv6 = '/etc/systemd/system/sitegen-router.socket.d/50-no-ipv6.conf';
const listen = '/etc/systemd/system/sitegen-metrics.socket.d/50-listen.conf';
const dropIns = (...args: Parameters<typeof routerDropIns>) => Object.fromEntries(routerDropIns(...args).map(({ path, content }) => [path, content]));

test('where there are no settings and is IPv6 no drop-in is wanted', (t) => {
  t.deepEqual(dropIns(undefined, true), { [noIpv6]: undefined, [listen]: undefined });
});

test('without IPv6 the first two sockets stay, in their order', (t) => {
  t.is(dropIns(undefined, false)[noIpv6], '# Made by sitegen; "sitegen apply" writes it again.\n[Socket]\nListenStream=\nListenStream=0.0.0.0:80\nListenStream=0.0.0.0:443\n');
});

test('metrics are offered at an address', (t) => {
  const at = (host: string) => dropIns({ metrics: { host, port: 9475 } }, true)[listen]?.split('\n')[2];
  t.is(at('127.0.0.1'), 'ListenStream=127.0.0.1:9475');
  t.is(at('::1'), 'ListenStream=[::1]:9475');
  t.throws(() => at('a\nListenStream=b'));
});

test('name servers are asked as resolv.conf has them, and none is no fault', (t) => {
  t.deepEqual(nameserversIn('# nameserver 192.0.2.1\nsearch x\nnameserver 192.0.2.2\n nameserver 2001:db8::53\nnameserver fe80::1%eth0\n'), ['192.0.2.2', '2001:db8::53']);
  const lines = (nameservers: string[]) => linesOf(configOf(undefined, [], { nameservers })).filter((line) => line.startsWith('nameserver'));
  t.deepEqual(lines(['192.0.2.2', '2001:db8::53']), ['nameserver dns0 192.0.2.2:53', 'nameserver dns1 [2001:db8::53]:53']);
  t.deepEqual(lines([]), []);
});
