import type { ExecutionContext } from 'ava';
import { guestTest, type Guest } from './_guest.ts';
import { put } from './_server.ts';
import { api, appSettings, arrived, ensureRouter, sleeps, visit, visitOne, withApps, withSites, withVisitor, type Arrived, type Seen, type Step } from './_router.ts';

const site = 'app.example.com';
const other = 'other.example.com';

/** What a request of HTTP/2 came to; see router-frames.mjs. */
interface Answer { status?: number; error?: string; reset?: number; goaway?: number; body: string }

/** A request as bytes, with another one hidden in it that must not come to any site. */
const hidden = 'GET /hidden HTTP/1.1\r\nHost: app.example.com\r\n\r\n';
const post = (lines: string, body: string) => `POST /shown HTTP/1.1\r\nHost: ${site}\r\n${lines}\r\n\r\n${body}`;

guestTest('requests of HTTP/1.1 that servers read differently are refused, or read in one way only', (t, guest) => withScene(t, guest, async (log) => {
  const chunked = `5\r\nhello\r\n0\r\n\r\n`;
  /** Refused as a whole. */
  const refused: Record<string, string> = {
    'two lengths': post('Content-Length: 5\r\nContent-Length: 6', 'hello!'),
    'lengths in one line': post('Content-Length: 5, 6', 'hello!'),
    'a signed length': post('Content-Length: +5', 'hello'),
    'a hexadecimal length': post('Content-Length: 0x5', 'hello'),
    'a length with a space in front of the colon': post('Content-Length : 5', 'hello'),
    'an unknown coding': post('Transfer-Encoding: xchunked', chunked),
    'two codings': post('Transfer-Encoding: chunked\r\nTransfer-Encoding: identity', chunked),
    'a coding after chunked': post('Transfer-Encoding: chunked, identity', chunked),
    'a coding with a space in front of the colon': post('Transfer-Encoding : chunked', chunked),
    'a coding with a form feed': post('Transfer-Encoding: \x0cchunked', chunked),
    'a coding in quotes': post('Transfer-Encoding: "chunked"', chunked),
    'a vertical tab in a name': post('Transfer\x0b-Encoding: chunked', chunked),
    'a chunk of a wrong size': post('Transfer-Encoding: chunked', `-1\r\n\r\n0\r\n\r\n`),
    'a chunk with a huge size': post('Transfer-Encoding: chunked', `fffffffffffffffff\r\nhello\r\n0\r\n\r\n`),
    'chunks in HTTP/1.0': `POST /shown HTTP/1.0\r\nHost: ${site}\r\nTransfer-Encoding: xchunked\r\n\r\n${chunked}`,
    'two hosts': `GET /shown HTTP/1.1\r\nHost: ${site}\r\nHost: ${other}\r\n\r\n`,
    'an absolute form with another host': `GET https://${other}/shown HTTP/1.1\r\nHost: ${site}\r\n\r\n`,
    'an absolute form of another site': `GET https://${other}/shown HTTP/1.1\r\nHost: ${other}\r\n\r\n`,
    'a host with a user': `GET /shown HTTP/1.1\r\nHost: ${other}@${site}\r\n\r\n`,
    'a host with a path': `GET /shown HTTP/1.1\r\nHost: ${site}/x\r\n\r\n`,
    'hosts in one line': `GET /shown HTTP/1.1\r\nHost: ${site}, ${other}\r\n\r\n`,
    'a zero byte in the path': `GET /shown\0 HTTP/1.1\r\nHost: ${site}\r\n\r\n`,
    'a zero byte in a header': `GET /shown HTTP/1.1\r\nHost: ${site}\r\nX-A: a\0b\r\n\r\n`,
    'a zero byte in the host': `GET /shown HTTP/1.1\r\nHost: ${site}\0\r\n\r\n`,
    'a bare CR in a header': `GET /shown HTTP/1.1\r\nHost: ${site}\r\nX-A: a\rX-B: b\r\n\r\n`,
    'a space in a name': `GET /shown HTTP/1.1\r\nHost: ${site}\r\nX A: b\r\n\r\n`,
    'no name': `GET /shown HTTP/1.1\r\nHost: ${site}\r\n: b\r\n\r\n`,
    'a first header that goes on a line': `GET /shown HTTP/1.1\r\n Host: ${other}\r\nHost: ${site}\r\n\r\n`,
    'another protocol': `GET /shown XTTP/1.1\r\nHost: ${site}\r\n\r\n`,
    'HTTP/0.9': 'GET /shown\r\n\r\n',
    'CONNECT': `CONNECT ${other}:443 HTTP/1.1\r\nHost: ${site}\r\n\r\n`,
    '64 kB of headers': `GET /shown HTTP/1.1\r\nHost: ${site}\r\nX-A: ${'a'.repeat(65_536)}\r\n\r\n`,
    '64 kB of path': `GET /shown${'a'.repeat(65_536)} HTTP/1.1\r\nHost: ${site}\r\n\r\n`,
    '10,000 headers': `GET /shown HTTP/1.1\r\nHost: ${site}\r\n${'a:\r\n'.repeat(10_000)}\r\n`,
    '200 headers': `GET /shown HTTP/1.1\r\nHost: ${site}\r\n${Array.from({ length: 200 }, (_, n) => `x${n}: y\r\n`).join('')}\r\n`,
  };
  const seen = await visit(guest, Object.values(refused).map((piece): Step => ({ kind: 'raw', host: site, pieces: [piece], wait: 4000 })), { together: true });
  for (const [n, title] of Object.keys(refused).entries()) {
    const { text, error } = seen[n] ?? { text: '' };
    t.regex(text === '' ? (error ?? 'closed') : text, /^(HTTP\/1\.[01] (4\d\d|505) |read ECONNRESET|closed)/, title);
    t.notRegex(text, /HTTP\/1\.[01] 2/, title);
  }
  t.deepEqual(await log(), [], 'none of them came to a site');

  /** Of two readings only the standard's is taken: RFC 9112, 6.3. */
  const once: Record<string, [string, number]> = {
    'a length that hides a request from the coding': [post(`Content-Length: ${5 + hidden.length}\r\nTransfer-Encoding: chunked\r\nConnection: close`, `0\r\n\r\n${hidden}`), 0],
    'a coding that hides a request from the length': [post(`Transfer-Encoding: chunked\r\nContent-Length: 4\r\nConnection: close`, `${hidden.length.toString(16)}\r\n${hidden}\r\n0\r\n\r\n`), hidden.length],
    'a coding in other letters': [post('Transfer-Encoding: cHuNkEd\r\nConnection: close', `${hidden.length.toString(16)}\r\n${hidden}\r\n0\r\n\r\n`), hidden.length],
    'an extension of a chunk': [post('Transfer-Encoding: chunked\r\nConnection: close', `${hidden.length.toString(16)};a=b\r\n${hidden}\r\n0\r\n\r\n`), hidden.length],
    'a header that goes on a line': [post(`X-A: a\r\n Transfer-Encoding: chunked\r\nContent-Length: ${hidden.length}\r\nConnection: close`, hidden), hidden.length],
    'the same length twice': [post(`Content-Length: ${hidden.length}\r\nContent-Length: ${hidden.length}\r\nConnection: close`, hidden), hidden.length],
    'a version to come': [`GET /shown HTTP/3.7\r\nHost: ${site}\r\nConnection: close\r\n\r\n`, 0],
    'a header that is not to go on': [post(`Content-Length: ${hidden.length}\r\nConnection: close, Content-Length`, hidden), hidden.length],
  };
  const taken = await visit(guest, Object.values(once).map(([piece]): Step => ({ kind: 'raw', host: site, pieces: [piece], wait: 5000 })), { together: true });
  for (const [n, [title, [, size]]] of Object.entries(once).entries()) {
    const { text = '' } = taken[n] ?? {};
    t.true(text.split('HTTP/1.1 200').length <= 2, `${title}: one answer at most`);
    if (text.startsWith('HTTP/1.1 200')) t.is((JSON.parse(text.slice(text.indexOf('{'), text.lastIndexOf('}') + 1)) as { size: number }).size, size, title);
    else t.regex(text, /^HTTP\/1\.1 4/, title);
  }
  t.deepEqual((await log()).filter((line) => !line.includes('/shown')), [], 'nothing hidden came to a site');
}));

guestTest('requests of HTTP/2 that say what HTTP/1 cannot are refused', (t, guest) => withScene(t, guest, async (log) => {
  await put(guest, 'router-frames.mjs', '/tmp/router-frames.mjs');
  const get = (more: [string, string][] = [], change: Record<string, string> = {}): [string, string][] => [
    ...Object.entries({ ':method': 'GET', ':scheme': 'https', ':path': '/shown', ':authority': site, ...change }).filter(([, value]) => value !== '-'), ...more,
  ];
  const send = async (requests: { headers: [string, string][]; body?: string }[]) => {
    const { stdout, stderr } = await guest.run(['node', '/tmp/router-frames.mjs'], { input: JSON.stringify(requests.map((each) => ({ sni: site, ...each }))) });
    if (stdout === '') throw new Error(stderr);
    return JSON.parse(stdout) as Answer[];
  };
  t.is((await send([{ headers: get() }]))[0]?.status, 200, 'a proper request is answered');
  await log(true);
  const refused: Record<string, { headers: [string, string][]; body?: string }> = {
    'a line break in a value': { headers: get([['x-a', `b\r\n\r\n${hidden}`]]) },
    'a line feed in a value': { headers: get([['x-a', 'b\nx-b: c']]) },
    'a zero byte in a value': { headers: get([['x-a', 'b\0c']]) },
    'a line break in a name': { headers: get([['x-a: b\r\nx-c', 'd']]) },
    'a colon in a name': { headers: get([['x-a:b', 'd']]) },
    'a space in a name': { headers: get([['x a', 'd']]) },
    'capitals in a name': { headers: get([['X-A', 'd']]) },
    'no name': { headers: get([['', 'd']]) },
    'a line break in the path': { headers: get([], { ':path': `/shown HTTP/1.1\r\nHost: ${other}\r\n\r\n${hidden}` }) },
    'a space in the path': { headers: get([], { ':path': '/shown HTTP/1.1' }) },
    'a path without a slash': { headers: get([], { ':path': 'shown' }) },
    'an empty path': { headers: get([], { ':path': '' }) },
    'a line break in the method': { headers: get([], { ':method': `GET /hidden HTTP/1.1\r\nHost: ${site}\r\n\r\nGET` }) },
    'a space in the method': { headers: get([], { ':method': 'GET /hidden' }) },
    'a line break in the authority': { headers: get([], { ':authority': `${site}\r\nX-A: b` }) },
    'a user in the authority': { headers: get([], { ':authority': `${other}@${site}` }) },
    'two authorities': { headers: [...get(), [':authority', other]] },
    'another host and no authority': { headers: get([['host', other]], { ':authority': '-' }) },
    'no host at all': { headers: get([], { ':authority': '-' }) },
    'two paths': { headers: [...get(), [':path', '/hidden']] },
    'an unknown pseudo header': { headers: [...get(), [':hidden', 'x']] },
    'a pseudo header after another': { headers: [['x-a', 'b'], ...get()] },
    'no path': { headers: get([], { ':path': '-' }) },
    'no method': { headers: get([], { ':method': '-' }) },
    'a coding': { headers: get([['transfer-encoding', 'chunked']], { ':method': 'POST' }), body: `0\r\n\r\n${hidden}` },
    'a connection header': { headers: get([['connection', 'close']]) },
    'an upgrade': { headers: get([['upgrade', 'h2c']]) },
    'a length that is too short': { headers: get([['content-length', '0']], { ':method': 'POST' }), body: hidden },
    'a length that is too long': { headers: get([['content-length', '999']], { ':method': 'POST' }), body: hidden },
    'two lengths': { headers: get([['content-length', String(hidden.length)], ['content-length', '3']], { ':method': 'POST' }), body: hidden },
    'a length with a sign': { headers: get([['content-length', `+${hidden.length}`]], { ':method': 'POST' }), body: hidden },
    '64 kB of headers': { headers: get([['x-a', 'a'.repeat(65_536)]]) },
    '10,000 headers': { headers: get(Array.from({ length: 10_000 }, () => ['a', ''] as [string, string])) },
  };
  const seen = await send(Object.values(refused));
  for (const [n, title] of Object.keys(refused).entries()) {
    const { status, reset, goaway, error } = seen[n] ?? {};
    const how = JSON.stringify(seen[n]).slice(0, 200);
    t.true((status !== undefined && status >= 400 && status < 500) || reset !== undefined || (goaway ?? 0) > 0 || (status === undefined && error !== undefined && error !== 'no answer in time'), `${title}: ${how}`);
    t.false(status === 200, `${title}: ${how}`);
  }
  // Of authority and host only the authority goes on (RFC 9113, 8.3.1), and of two hosts the one that was looked at.
  for (const { body } of await send([{ headers: get([['host', other]]) }, { headers: get([['host', site], ['host', other]], { ':authority': '-' }) }])) {
    const { names, headers } = JSON.parse(body) as Arrived;
    t.deepEqual([names.filter((name) => name === 'host'), headers['host']], [['host'], site]);
  }
  // A POST whose length is wrong may begin to arrive before that is seen, and never ends well.
  t.deepEqual((await log()).filter((line) => line !== 'POST /shown' && line !== 'GET /shown'), [], 'nothing of them came to a site');
}));

guestTest('whoever dawdles is sent away, and others are served meanwhile', (t, guest) => withScene(t, guest, (log) => withVisitor(guest, async () => {
  const many = (count: number, step: Step) => Array.from({ length: count }, () => step);
  const drops = (byte: string, count: number, ms: number) => Array.from({ length: count }, () => [ms, byte]).flat();
  const start = `GET /slow HTTP/1.1\r\nHost: ${site}\r\n`;
  const slow = [
    ...many(30, { kind: 'raw', host: site, pieces: [start, ...drops('a', 26, 700)], wait: 1 }),
    ...many(30, { kind: 'raw', host: site, tls: false, pieces: [start, ...drops('X-A: b\r\n', 26, 700)], wait: 1 }),
    ...many(30, { kind: 'raw', host: site, pieces: [`POST /slow HTTP/1.1\r\nHost: ${site}\r\nContent-Length: 1000\r\n\r\n`, ...drops('x', 26, 700)], wait: 1 }),
    // The beginning of a hello, and nothing.
    ...many(30, { kind: 'raw', tls: 'none', pieces: ['\x16\x03\x01\x02\x00\x01', ...drops('', 26, 700)], wait: 1 }),
    ...many(30, { kind: 'raw', tls: 'none', pieces: drops('', 26, 700), wait: 1 }),
  ] as const satisfies readonly Step[];
  const running = visit(guest, slow, { together: true, visitor: true });
  const waits: number[] = [];
  let done = false;
  const all = running.finally(() => { done = true; });
  while (!done) {
    const seen = await visit(guest, [{ host: site }, { kind: 'h2', host: site, requests: [{}] }]);
    t.deepEqual([seen[0]?.status, seen[1]?.answers[0]?.status], [200, 200]);
    waits.push(seen[0]?.ms ?? Infinity);
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  const seen = await all;
  const dawdlers = ['headers over TLS', 'headers in the clear', 'bodies', 'half a hello', 'nothing at all'];
  for (const [n, title] of dawdlers.entries()) {
    const part = seen.slice(n * 30, n * 30 + 30);
    // A body that still drips after its answer is thrown away.
    t.is(part.filter(({ closed, text }) => !closed && !(title === 'bodies' && text.startsWith('HTTP/1.1 408'))).length, 0, `${title}: all sent away`);
    t.log(`${title}: sent away after ${(Math.max(...part.map(({ first, ms }) => first ?? ms)) / 1000).toFixed(1)} s at most`);
    t.false(part.some(({ text }) => /HTTP\/1\.[01] 2/.test(text)), title);
  }
  t.deepEqual((await log()).filter((line) => line.includes('slow')), [], 'no site was bothered');
  t.log(`others waited ${Math.max(...waits).toFixed(0)} ms at most`);
  const open = Number(await guest.sh(`echo 'show info' | ${api} | sed -n 's/^CurrConns: //p'`));
  t.true(open < 20, `${open} connections are left`);
})));

/** Two sites, one asleep, and what arrived at them: `log` gives it, and with `true` forgets it. */
async function withScene(t: ExecutionContext, guest: Guest, body: (log: (forget?: boolean) => Promise<string[]>) => Promise<void>): Promise<void> {
  await ensureRouter(guest);
  const file = '/tmp/attacks.log';
  await withApps(guest, { app: { LISTEN: '127.0.0.1:9001', LOG: file } }, () => withSites(guest, { [site]: 'proxy: http://127.0.0.1:9001\nwww: none', [other]: appSettings }, async () => {
    const log = async (forget = false) => (await guest.sh(`cat ${file} 2>/dev/null || true; ${forget ? `rm -f ${file}` : ''}`)).split('\n').filter((line) => line !== '');
    t.is(arrived(await visitOne(guest, { host: site })).name, 'app');
    await log(true);
    await body(log);
    t.true(await sleeps(guest, other), 'nothing of it has come to the other site');
    const after: Seen = await visitOne(guest, { host: site });
    t.is(after.status, 200);
  }));
}
