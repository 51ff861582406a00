import test from 'ava';
import { isGone, mergeFlows, parseSockets, parseWays } from '../../../lib/effects/network.ts';

test('sockets are read with their states, and lines without addresses of IPv4 are left out', (t) => {
  t.deepEqual(parseSockets([
    'ESTAB 5 7 10.213.1.2:80 10.213.9.9:40001 cubic rto:204 bytes_sent:321 bytes_acked:320 bytes_received:99 lastsnd:12 lastrcv:34 lastack:56',
    'CLOSE-WAIT 0      0      [::ffff:10.213.1.2]:80   [::ffff:10.213.9.9]:40002',
    'ESTAB 0 0 10.213.1.2%lo:80 192.0.2.7:1',
    'ESTAB 0 0 [2001:db8::1]:80 [2001:db8::2]:40003',
    '',
  ].join('\n')).map(({ local, peer, ...rest }) => ({ ...rest, ends: `${local.address}:${local.port} ${peer.address}:${peer.port}` })), [
    { state: 'ESTAB', ends: '10.213.1.2:80 10.213.9.9:40001', receiveQueue: 5, sendQueue: 7, received: 99, sent: 321, acknowledged: 319, lastReceived: 34, lastSent: 12, lastAcknowledged: 56 },
    { state: 'CLOSE-WAIT', ends: '10.213.1.2:80 10.213.9.9:40002', receiveQueue: 0, sendQueue: 0, received: 0, sent: 0, acknowledged: 0, lastReceived: 0, lastSent: 0, lastAcknowledged: 0 },
    { state: 'ESTAB', ends: '10.213.1.2:80 192.0.2.7:1', receiveQueue: 0, sendQueue: 0, received: 0, sent: 0, acknowledged: 0, lastReceived: 0, lastSent: 0, lastAcknowledged: 0 },
  ]);
});

test('a visitor\'s end past the splice is seen the other way round, and one through the splice once', (t) => {
  const [splice] = parseSockets('ESTAB 1 2 10.213.1.2:80 10.213.1.2:40001 bytes_sent:500 bytes_received:80 lastsnd:10 lastrcv:20');
  const [visitor, direct] = parseSockets([
    'ESTAB 0 3 10.213.1.2:40001 10.213.1.2:80 bytes_sent:80 bytes_acked:81 bytes_received:500 lastsnd:20 lastrcv:10 lastack:10',
    'ESTAB 0 0 10.213.1.2:40002 10.213.1.2:80 bytes_sent:81 bytes_acked:82 bytes_received:501 lastsnd:21 lastrcv:11 lastack:11',
  ].join('\n'));
  if (!splice || !visitor || !direct) throw new Error('three sockets were expected');
  t.deepEqual(mergeFlows([splice], [visitor, direct]), [
    { address: '10.213.1.2', port: 40001, received: 80, sent: 500, receiveQueue: 1, sendQueue: 2, lastReceived: 20, lastSent: 10, waiting: 3 },
    { address: '10.213.1.2', port: 40002, received: 81, sent: 501, receiveQueue: 0, sendQueue: 0, lastReceived: 21, lastSent: 11, waiting: 0 },
  ]);
});

test('what is held past the splice has not come, and owes nothing', (t) => {
  const held = parseSockets('ESTAB 0 90 10.213.1.2:40002 10.213.1.2:80 bytes_sent:171 bytes_acked:82 bytes_received:501 lastsnd:1 lastrcv:3000 lastack:3000');
  t.deepEqual(mergeFlows([], held), [{ address: '10.213.1.2', port: 40002, received: 81, sent: 501, receiveQueue: 0, sendQueue: 0, lastReceived: 3000, lastSent: 3000, waiting: 90 }]);
});

test('the rules tell who is led where and who was visited, and flushed ones nothing', (t) => {
  const ways = parseWays('map awake {\n elements = { 10.213.1.2 . 80 : 10.214.1.2 . 8080 }\n}\nset visits {\n elements = { 10.213.1.2 counter packets 7 bytes 420, 10.213.1.3 counter packets 0 bytes 0 }\n}\nchain x {\n dnat to ip daddr . tcp dport map @awake\n}\n');
  t.deepEqual([[...ways?.forwarded ?? []], [...ways?.visits ?? []]], [['10.213.1.2'], [['10.213.1.2', 7], ['10.213.1.3', 0]]]);
  t.is(parseWays('table inet sitegen {\n map awake {\n }\n}\n'), undefined);
});

test('only a table that is not there is gone', (t) => {
  t.true(isGone(new Error('nft failed: Error: No such file or directory\nlist table inet sitegen\n                ^^^^^^^')));
  for (const text of ['nft failed: it is not installed', 'nft failed: netlink: Error: cache initialization failed: Operation not permitted', 'nft failed: ', 'No such file or directory']) t.false(isGone(new Error(text)), text);
  t.false(isGone('nft failed: Error: No such file or directory'));
});

test('ways of sites and of their ports are told apart in the rules', (t) => {
  t.deepEqual(parseWays([
    'table inet sitegen {',
    '\tmap awake {',
    '\t\ttype ipv4_addr . inet_service : ipv4_addr . inet_service',
    '\t\telements = { 10.213.1.2 . 80 : 10.214.1.2 . 8080,',
    '\t\t\t     10.213.1.3 . 80 : 10.214.1.3 . 80 }',
    '\t}',
    '',
    '\tmap public {',
    '\t\ttype inet_service : ipv4_addr . inet_service',
    '\t\telements = { 25 : 10.214.1.2 . 2525, 143 : 10.214.1.2 . 143,',
    '\t\t\t     993 : 10.214.1.3 . 993 }',
    '\t}',
    '',
    '\tchain x {',
    '\t\tdnat ip to ip daddr . tcp dport map @awake',
    '\t}',
    '\tset visits {',
    '\t\telements = { 10.213.1.2 counter packets 7 bytes 420, 10.214.1.2 counter packets 3 bytes 180 }',
    '\t}',
    '\tset refused4_example.com {',
    '\t\telements = { 192.0.2.2 . tcp . 8081 counter packets 2 bytes 120 }',
    '\t}',
    '}',
  ].join('\n')), {
    forwarded: new Set(['10.213.1.2', '10.213.1.3']),
    ports: new Map([[25, '10.214.1.2:2525'], [143, '10.214.1.2:143'], [993, '10.214.1.3:993']]),
    visits: new Map([['10.213.1.2', 7], ['10.214.1.2', 3]]),
    egress: { inForce: new Set(), refused: new Map([['example.com', [{ place: '192.0.2.2:8081', packets: 2 }]]]) },
  });
  t.deepEqual(parseWays('table inet sitegen {\n\tmap public {\n\t\ttype inet_service : ipv4_addr . inet_service\n\t}\n\tchain x {\n\t\tdnat to tcp dport map @awake\n\t}\n}\n')?.ports, new Map());
});
