import { randomBytes } from 'node:crypto';
import net from 'node:net';
import tls from 'node:tls';
import test from 'ava';
import { helloMax, readClientHello, unrecognizedName } from '../../../lib/pure/client-hello.ts';
import { proxyHeaderMax, readProxyHeader } from '../../../lib/pure/proxy-header.ts';

const two = (value: number) => [value >> 8, value & 255];
const block = (size: 1 | 2, bytes: readonly number[]) => [...(size === 1 ? [bytes.length] : two(bytes.length)), ...bytes];
const text = (value: string) => [...Buffer.from(value, 'latin1')];
const extension = (type: number, content: readonly number[]) => [...two(type), ...block(2, content)];
const serverName = (name: string, type = 0) => extension(0, block(2, [type, ...block(2, text(name))]));
const body = (extensions: readonly number[] | undefined, session = 32) => [
  3, 3, ...Array<number>(32).fill(7), ...block(1, Array<number>(session).fill(1)), ...block(2, [0x13, 1, 0x13, 2]), ...block(1, [0]),
  ...(extensions ? block(2, extensions) : []),
];
const handshake = (content: readonly number[], type = 1) => [type, content.length >> 16, ...two(content.length & 65_535), ...content];
/** In records of at most `size` bytes. */
const records = (message: readonly number[], size = 16_384) => {
  const out: number[] = [];
  for (let at = 0; at < message.length; at += size) out.push(22, 3, 1, ...block(2, message.slice(at, at + size)));
  return Uint8Array.from(out);
};
const hello = (...extensions: number[][]) => records(handshake(body(extensions.flat())));
const nameOf = (bytes: Uint8Array) => {
  const result = readClientHello(bytes);
  return result.kind === 'hello' ? result.name : result.kind;
};

/** What Node's own TLS client sends first. */
async function realHello(servername: string): Promise<Buffer> {
  return new Promise((resolve) => {
    const server = net.createServer((socket) => {
      socket.once('data', (bytes: Buffer) => {
        resolve(bytes);
        socket.destroy();
        server.close();
      }).on('error', () => undefined);
    }).listen(0, '127.0.0.1', () => {
      tls.connect({ port: (server.address() as net.AddressInfo).port, host: '127.0.0.1', servername, ALPNProtocols: ['h2', 'http/1.1'] }).on('error', () => undefined);
    });
  });
}

test('the name is read out of a real client\'s hello, wherever that is cut', async (t) => {
  const bytes = await realHello('Blog.Example.com');
  t.is(nameOf(bytes), 'blog.example.com');
  for (let length = 0; length < bytes.length; length += 1) t.is(nameOf(bytes.subarray(0, length)), 'more', `${length} bytes`);
});

test('what follows the hello does not matter', (t) => {
  t.is(nameOf(Uint8Array.from([...hello(serverName('a.example.com')), 20, 3, 3, 0, 1, 1, 23])), 'a.example.com');
});

test('other extensions before and after the name are passed over', (t) => {
  t.is(nameOf(hello(extension(16, block(2, block(1, text('h2')))), serverName('a.example.com.'), extension(43, [2, 3, 4]))), 'a.example.com');
});

test('a hello over many small records is put together', (t) => {
  const message = handshake(body([...serverName('a.example.com'), ...extension(21, Array<number>(3000).fill(0))]));
  for (const size of [1, 3, 5, 100, 1400]) t.is(nameOf(records(message, size)), size === 1 ? 'bad' : 'a.example.com', `records of ${size} bytes`);
});

test('no extensions, or none with a name, ask for none', (t) => {
  t.is(nameOf(records(handshake(body(undefined)))), undefined);
  t.is(nameOf(hello(extension(43, [2, 3, 4]))), undefined);
  t.is(nameOf(hello()), undefined);
});

test('other protocols are refused at their first bytes', (t) => {
  for (const first of ['GET / HTTP/1.1\r\n', 'SSH-2.0-x', '\x80\x2e\x01\x03\x01', '\x17\x03\x03\x00\x05hello', '\x16\x02\x00', '\x15\x03\x03\x00\x02\x02\x70']) {
    t.is(nameOf(Uint8Array.from(text(first))), 'bad', first);
  }
  t.is(nameOf(Uint8Array.from([22, 3, 1, 0, 4, 2, 0, 0, 0])), 'bad', 'a ServerHello');
});

test('names that are none are refused', (t) => {
  for (const name of ['', '.', 'a..b', 'a b', 'a\nb', 'a\0.example.com', '../etc', 'a/b', 'ä.example.com', `${'a'.repeat(64)}.com`, `${'a.'.repeat(130)}com`, '[::1]', '*.example.com', 'a"b']) {
    t.is(nameOf(hello(serverName(name))), 'bad', JSON.stringify(name));
  }
  t.is(nameOf(hello(serverName('a.example.com', 1))), 'bad', 'another type of name');
  t.is(nameOf(hello(serverName('a.example.com'), serverName('b.example.com'))), 'bad', 'two extensions');
  const pair = [0, ...block(2, text('a.example.com')), 0, ...block(2, text('b.example.com'))];
  t.is(nameOf(hello(extension(0, block(2, pair)))), 'bad', 'two names');
});

test('lengths that do not fit their container are refused', (t) => {
  const name = text('a.example.com');
  t.is(nameOf(hello(extension(0, [...two(name.length + 4), 0, ...two(name.length), ...name]))), 'bad', 'a list longer than its extension');
  t.is(nameOf(hello(extension(0, [...two(name.length + 3), 0, ...two(name.length + 9), ...name]))), 'bad', 'a name longer than its list');
  t.is(nameOf(hello(extension(0, [...block(2, [0, ...block(2, name)]), 1]))), 'bad', 'bytes after the list');
  t.is(nameOf(hello([0, 0, 255, 255, 1])), 'bad', 'an extension longer than all');
  t.is(nameOf(hello([0])), 'bad', 'half an extension');
  t.is(nameOf(records(handshake([...body([]), 1]))), 'bad', 'bytes after the extensions');
  t.is(nameOf(records(handshake(body([]).slice(0, 20)))), 'bad', 'a hello that ends in its random bytes');
  t.is(nameOf(records(handshake([]))), 'bad', 'an empty hello');
  t.is(nameOf(Uint8Array.from([22, 3, 1, 0, 0])), 'bad', 'an empty record');
  t.is(nameOf(Uint8Array.from([22, 3, 1, 255, 255, 1])), 'bad', 'a record longer than records are');
});

test('a hello is never waited for beyond its limit', (t) => {
  t.is(nameOf(records([1, 1, 0, 0])), 'bad', 'one that announces 64 kB');
  const long = records(handshake(body(extension(21, Array<number>(15_000).fill(0)))));
  t.is(nameOf(long), undefined);
  t.is(nameOf(records(handshake(body(extension(21, Array<number>(17_000).fill(0)))))), 'bad');
  // Many records of one byte each would make five of one.
  t.is(nameOf(records(handshake(body(extension(21, Array<number>(8000).fill(0)))), 1)), 'bad');
  t.is(helloMax, 16_384);
});

test('random bytes, and a good hello with any byte changed, end in some result and quickly', (t) => {
  const good = hello(extension(16, block(2, block(1, text('h2')))), serverName('a.example.com'));
  for (let at = 0; at < good.length; at += 1) {
    for (const value of [0, 1, 127, 255, randomBytes(1)[0] ?? 0]) {
      const changed = good.slice();
      changed[at] = value;
      const result = readClientHello(changed);
      if (result.kind === 'hello' && result.name !== undefined) t.regex(result.name, /^[a-z0-9_.-]+$/);
    }
  }
  const began = performance.now();
  for (let round = 0; round < 300; round += 1) readClientHello(Uint8Array.from([22, 3, 1, 64, 0, 1, 0, 63, 0, ...randomBytes(16_000)]));
  t.true(performance.now() - began < 30_000);
});

test('the alert is fatal and says unrecognized_name', (t) => {
  t.deepEqual([...unrecognizedName], [21, 3, 3, 0, 2, 2, 112]);
});

const signature = text('\r\n\r\n\0\r\nQUIT\n');

test('a PROXY header is found, wherever it is cut', (t) => {
  const header = Uint8Array.from([...signature, 0x21, 0x11, 0, 12, 198, 18, 0, 1, 198, 18, 0, 2, 1, 2, 1, 187]);
  t.deepEqual(readProxyHeader(Uint8Array.from([...header, 22, 3])), { kind: 'header', length: 28 });
  for (let length = 0; length < header.length; length += 1) t.is(readProxyHeader(header.subarray(0, length)).kind, 'more');
  t.deepEqual(readProxyHeader(Uint8Array.from([...signature, 0x20, 0, 0, 0])), { kind: 'header', length: 16 }, 'a health check');
});

test('what is no PROXY header of version 2, or too long, is refused', (t) => {
  t.is(readProxyHeader(Uint8Array.from(text('PROXY TCP4 1.2.3.4 '))).kind, 'bad');
  t.is(readProxyHeader(Uint8Array.from([22, 3, 1])).kind, 'bad');
  t.is(readProxyHeader(Uint8Array.from([...signature, 0x31, 0x11, 0, 12])).kind, 'bad');
  t.is(readProxyHeader(Uint8Array.from([...signature, 0x21, 0x11, ...two(proxyHeaderMax)])).kind, 'bad');
});
