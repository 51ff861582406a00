import test from 'ava';
import { judgeAcme, judgeDns, judgeFirewall, judgeForward, judgeIpv4, judgeIpv6, judgePorts, judgeResolver, judgeRouter, judgeRules, parseFirewalld, parseInputChains, parseUfw } from '../../../../lib/pure/doctor/network.ts';
import { judges } from './_verdicts.ts';

judges('rules in place', judgeRules(true), ['ok', /there/]);
judges('rules gone', judgeRules(false), ['error', /missing or differ/, 'apply']);
judges('forwarding on', judgeForward('1\n'), ['ok', /on/]);
judges('forwarding off', judgeForward('0\n'), ['error', /off/, 'forward']);
judges('forwarding unknown', judgeForward(undefined), ['error', /off/, 'forward']);

judges('ports held', judgePorts({ enabled: true, listening: true, others: [] }), ['ok', /systemd holds/]);
judges('ports shared', judgePorts({ enabled: true, listening: true, others: ['nginx'] }), ['warning', /nginx listens/]);
judges('ports taken', judgePorts({ enabled: true, listening: false, others: ['apache2', 'nginx'] }), ['error', /apache2, nginx has port/]);
judges('ports of nobody', judgePorts({ enabled: true, listening: false, others: [] }), ['error', /nobody/, 'apply']);
judges('ports of another by choice', judgePorts({ enabled: false, listening: false, others: ['nginx'] }), ['ok', /nginx/]);

judges('a router that knows its files', judgeRouter({ enabled: true, runs: true, drift: [] }), ['ok', /runs/]);
judges('a router with other maps', judgeRouter({ enabled: true, runs: true, drift: ['2 entries differ'] }), ['warning', /2 entries/, 'apply']);
judges('a router that is down', judgeRouter({ enabled: true, runs: false, drift: ['x'] }), ['error', /does not answer/, 'apply']);
judges('no router by choice', judgeRouter({ enabled: false, runs: false, drift: [] }), ['ok', /switched off/]);

judges('a public address', judgeIpv4({ addresses: ['8.8.8.8', '10.0.0.1'], route: true }), ['ok', /^8\.8\.8\.8$/]);
judges('behind another router', judgeIpv4({ addresses: ['192.168.1.5'], route: true }), ['ok', /in front/]);
judges('no default route', judgeIpv4({ addresses: ['8.8.8.8'], route: false }), ['warning', /no default route/]);
judges('no IPv6', judgeIpv6({ addresses: ['fe80::1', 'fd00::1'], route: false }), ['ok', /none/]);
judges('IPv6', judgeIpv6({ addresses: ['2a01:4f8::7'], route: true }), ['ok', /2a01/]);
judges('IPv6 without a way out', judgeIpv6({ addresses: ['2a01:4f8::7'], route: false }), ['warning', /no default route/]);
judges('name servers', judgeResolver('acme.example', ['8.8.8.8']), ['ok', /answer/]);
judges('no name servers', judgeResolver('acme.example', undefined), ['error', /no name server/]);
judges('name servers that know little', judgeResolver('acme.example', []), ['warning', /no address of acme\.example/]);
judges('an authority', judgeAcme({ enabled: true, email: 'a@example.com', reachable: true, host: 'acme.example' }), ['ok', /answers/]);
judges('an authority out of reach that nobody told', judgeAcme({ enabled: true, email: undefined, reachable: false, host: 'acme.example' }), ['error', /cannot be reached/], ['warning', /who you are/]);
judges('no authority by choice', judgeAcme({ enabled: false, email: undefined, reachable: false, host: 'acme.example' }), ['ok', /switched off/]);

const own = ['8.8.8.8', '2a01:4f8::7'];
judges('a name that leads here', judgeDns('a.com', 'a.com', own, ['8.8.8.8', '2a01:4f8::7']));
judges('a name nobody answers for', judgeDns('a.com', 'a.com', own, undefined), ['warning', /does not answer/]);
judges('a name without an address', judgeDns('a.com', 'www.a.com', own, []), ['warning', /www\.a\.com: has no address/]);
judges('a name that leads elsewhere', judgeDns('a.com', 'a.com', own, ['9.9.9.9']), ['warning', /leads to 9\.9\.9\.9, and not to this server/]);
judges('a name whose IPv6 leads elsewhere', judgeDns('a.com', 'a.com', own, ['8.8.8.8', '2a01:4f8::9']), ['warning', /some visitors go to 2a01:4f8::9/]);
judges('the same, where this server has no IPv6', judgeDns('a.com', 'a.com', ['8.8.8.8'], ['8.8.8.8', '2a01:4f8::9']), ['warning', /2a01:4f8::9/]);
judges('where a server behind another leads cannot be told', judgeDns('a.com', 'a.com', [], ['9.9.9.9']));

const ufw = (rows: string, incoming = 'deny') => parseUfw(`Status: active\nLogging: on (low)\nDefault: ${incoming} (incoming), allow (outgoing), deny (routed)\nNew profiles: skip\n\nTo                         Action      From\n--                         ------      ----\n${rows}`);
test('ufw\'s rules are read', (t) => {
  t.deepEqual(ufw('80,443/tcp                 ALLOW IN    Anywhere                  \n22/tcp                     LIMIT IN    Anywhere\n53/udp                     ALLOW IN    Anywhere\n25/tcp                     ALLOW IN    10.0.0.0/8\n110                        DENY IN     Anywhere\n')?.allowed, ['80', '443', '22']);
  t.deepEqual(ufw('80,443/tcp (Nginx Full)    ALLOW IN    Anywhere\n203.0.113.5 8000:8010/tcp  ALLOW IN    Anywhere\n')?.allowed, ['80', '443', '8000:8010']);
  t.deepEqual(ufw('', 'allow')?.allowed, ['all']);
  t.is(parseUfw('Status: inactive\n'), undefined);
});
test('firewalld\'s zone is read', (t) => {
  t.deepEqual(parseFirewalld('public (active)\n  target: default\n  interfaces: eth0\n  services: dhcpv6-client http ssh\n  ports: 443/tcp 1000-1010/tcp 53/udp\n  forward-ports: \n').allowed, ['80', '443', '1000-1010']);
  t.deepEqual(parseFirewalld('trusted (active)\n  target: ACCEPT\n  services: \n').allowed, ['all']);
});
test('chains that drop what comes in are found', (t) => {
  const chain = (name: string, more: object) => ({ chain: { family: 'inet', table: 'filter', name, handle: 1, ...more } });
  const json = JSON.stringify({ nftables: [{ metainfo: {} }, chain('input', { type: 'filter', hook: 'input', prio: 0, policy: 'drop' }), chain('forward', { hook: 'forward', policy: 'drop' }), chain('open', { hook: 'input', policy: 'accept' }), chain('plain', {})] });
  t.deepEqual(parseInputChains(json), [{ family: 'inet', table: 'filter', name: 'input' }]);
});

const ports = [80, 443];
const chain = (rule: string) => [{ name: 'inet filter input', text: `table inet filter {\n\tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n\t\t${rule}\n\t}\n}\n` }];
judges('no firewall', judgeFirewall(ports, [], []), ['ok', /none/]);
judges('a ufw that lets visitors in', judgeFirewall(ports, [{ name: 'ufw', allowed: ['22', '80', '443'] }], []), ['ok', /ufw lets/]);
judges('a ufw for ssh alone', judgeFirewall(ports, [{ name: 'ufw', allowed: ['22'] }], []), ['error', /ufw keeps visitors of port 80, 443 out/]);
judges('a ufw without the port of a mail site', judgeFirewall([...ports, 25], [{ name: 'ufw', allowed: ['79:90', '443'] }], []), ['error', /port 25 out/]);
judges('firewalld as it comes', judgeFirewall(ports, [{ name: 'firewalld', allowed: [] }], []), ['error', /firewalld keeps/]);
judges('two firewalls', judgeFirewall(ports, [{ name: 'firewalld', allowed: ['all'] }, { name: 'ufw', allowed: ['80'] }], []), ['error', /ufw keeps visitors of port 443/]);
for (const rule of ['tcp dport { 22, 80, 443 } accept', 'tcp dport { ssh, http, https } accept', 'tcp dport 22-1000 accept', 'tcp dport 80 accept\n\t\ttcp dport https jump web']) judges(`nft: ${rule}`, judgeFirewall(ports, [], chain(rule)), ['ok', /none/]);
for (const rule of ['tcp dport 22 accept', 'tcp dport { 80, 443 } drop', '']) judges(`nft lets nobody in: ${rule}`, judgeFirewall(ports, [], chain(rule)), ['warning', /inet filter input drops/]);
