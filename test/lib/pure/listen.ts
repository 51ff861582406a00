import test from 'ava';
import { formatListen, parseListen, portClashes, readListen } from '../../../lib/pure/listen.ts';
import { isListenSocket, listenSocket, parseListenSocket, siteNames } from '../../../lib/pure/names.ts';

const port = (number: number) => ({ public: number, container: number });
const claim = (domain: string, ports: readonly number[], held: readonly number[] = []) => ({ domain, ports: ports.map((each) => port(each)), held: new Set(held) });

test('a port is a number, or two with a colon', (t) => {
  t.deepEqual(parseListen(25), port(25));
  t.deepEqual(parseListen('25'), port(25));
  t.deepEqual(parseListen('25:2525'), { public: 25, container: 2525 });
  for (const other of ['', ':25', '25:', '25:x', '0', '65536', '1:65536', '25 ', '025:1:2', '-1', '1e3', 2.5, Number.NaN, '25\n']) t.is(parseListen(other), undefined, String(other));
});

test('programs read back what was written for them', (t) => {
  const ports = [{ public: 25, container: 2525 }, port(143)];
  t.is(formatListen(ports), '25:2525 143:143');
  t.deepEqual(readListen(formatListen(ports)), ports);
  t.deepEqual(readListen(''), []);
});

test('a port belongs to the site that has it already, or else to the first by name', (t) => {
  t.deepEqual(portClashes([claim('a.example', [25]), claim('b.example', [143])]), []);
  t.deepEqual(portClashes([claim('b.example', [25, 143]), claim('a.example', [25])]), [{ domain: 'b.example', port: 25, owner: 'a.example' }]);
  t.deepEqual(portClashes([claim('b.example', [25], [25]), claim('a.example', [25]), claim('c.example', [25])]), [
    { domain: 'a.example', port: 25, owner: 'b.example' },
    { domain: 'c.example', port: 25, owner: 'b.example' },
  ]);
});

test('sockets of ports are told from other units, and from those of other sites', (t) => {
  const names = siteNames('my-mail.example.com');
  const socket = listenSocket(names, 25);
  t.deepEqual(parseListenSocket(socket), { id: names.id, port: 25 });
  t.true(isListenSocket(socket, names));
  t.false(isListenSocket(socket, siteNames('mail.example.com')));
  for (const other of [names.socket, 'sitegen-listen@x.socket', 'sitegen-listen@x:25.service', 'sitegen-job@x:25.timer', 'sitegen-listen@x:y.socket']) t.false(isListenSocket(other), other);
});
