import { guestTest, long, until, type Guest } from './_guest.ts';
import { put } from './_server.ts';
import { appSettings, arrived, ensureRouter, hostSettings, outside, setSites, sleeps, visit, visitOne, withApps, withDefaults, withSites, withVisitor, workerPid, type Seen } from './_router.ts';

const site = 'app.example.com';

guestTest('a websocket wakes a site, outlives a reload, and may be silent', async (t, guest) => {
  await ensureRouter(guest);
  await withSites(guest, { [site]: `${appSettings}timeouts: {response: 2s}`, 'short.example.com': `${hostSettings}timeouts: {tunnel: 2s}` }, async () => {
    t.true(await sleeps(guest, site));
    const before = await workerPid(guest);
    const steps = [
      { kind: 'ws', host: site, pieces: ['one', '!systemctl reload sitegen-router', 'two', 4000, 'three'] },
      { kind: 'ws', host: 'short.example.com', pieces: ['one', 8000, 'two'] },
      // Longer than any other timeout of the router.
      ...(long ? [{ kind: 'ws', host: site, pieces: ['one', 90_000, 'two'] } as const] : []),
    ] as const;
    const [usual, short, silent] = await visit(guest, steps, { together: true }) as [Seen, Seen, Seen | undefined];
    t.deepEqual(usual.lines, ['HTTP/1.1 101 Switching Protocols', 'one', 'two', 'three'], usual.error ?? '');
    t.not(await workerPid(guest), before, 'there was a reload');
    t.regex(short.error ?? 'still there', /closed|ECONNRESET|EPIPE/, 'the site\'s own limit of silence counts');
    if (silent) t.deepEqual(silent.lines, ['HTTP/1.1 101 Switching Protocols', 'one', 'two']);

    await guest.sh(`sitegen stop --quiet ${site}`);
    t.deepEqual((await visitOne(guest, { kind: 'ws2', host: site })).lines, ['200', 'hi'], 'the same over HTTP/2');
  });
});

guestTest('paths lead to other upstreams: the longest prefix counts, in whole parts', async (t, guest) => {
  await ensureRouter(guest);
  const paths = `paths:
  /api: http://127.0.0.1:9001
  /api/v2: {proxy: {to: 'http://127.0.0.1:9002/base/', host: other.internal}}
  /cut: http://127.0.0.1:9001/
  /deep/er/path: http://127.0.0.1:9002/x/y
  /go: {redirect: {to: 'https://example.org/there', status: 302}}
  /exact: {redirect: {to: 'https://example.org/only?this=1', status: 307, keepPath: false}}`;
  await withApps(guest, { one: { LISTEN: '127.0.0.1:9001' }, two: { LISTEN: '127.0.0.1:9002' } }, () => withSites(guest, { [site]: `${hostSettings}${paths}` }, async () => {
    const expected: Record<string, string> = {
      '/': `app ${site} /`,
      '/api': `one ${site} /api`,
      '/api/?a=1': `one ${site} /api/?a=1`,
      '/api/v1/x%2Fy?a=/b': `one ${site} /api/v1/x%2Fy?a=/b`,
      '/apix': `app ${site} /apix`,
      '/api/v2': 'two other.internal /base/',
      '/api/v2/a/b?c=d': 'two other.internal /base/a/b?c=d',
      '/api/v22': `one ${site} /api/v22`,
      '/cut/a': `one ${site} /a`,
      '/cut': `one ${site} /`,
      '/deep/er/path/a/': `two ${site} /x/y/a/`,
      '/deep/er': `app ${site} /deep/er`,
      '/go/a?b=c': '302 https://example.org/there/a?b=c',
      '/exact/a?b=c': '307 https://example.org/only?this=1',
      // The path is taken as it is.
      '/a/../api/x': `app ${site} /a/../api/x`,
    };
    const seen = await visit(guest, Object.keys(expected).map((path) => ({ host: site, path })));
    const got = seen.map((each) => {
      if (each.status !== 200) return `${each.status} ${each.headers['location']}`;
      const { name, url, headers } = arrived(each);
      return `${name} ${headers['host']} ${url}`;
    });
    t.deepEqual(Object.fromEntries(Object.keys(expected).map((path, n) => [path, got[n]])), expected);
  }));
});

guestTest('redirects keep the path unless told otherwise', async (t, guest) => {
  await ensureRouter(guest);
  await withSites(guest, {
    'a.example.com': 'redirect: https://example.org', 'b.example.com': 'redirect: {to: "https://example.org/base/", status: 301}',
    'c.example.com': 'redirect: {to: "http://example.org/x?y=z", status: 302, keepPath: false}', 'd.example.com': 'redirect: {to: "https://example.org:8443", status: 307}',
  }, async () => {
    const seen = await visit(guest, ['a', 'b', 'c', 'd'].map((name) => ({ host: `${name}.example.com`, path: '/p%20q?r=1' })));
    t.deepEqual(seen.map(({ status, headers }) => `${status} ${headers['location']}`), [
      '308 https://example.org/p%20q?r=1', '301 https://example.org/base/p%20q?r=1', '302 http://example.org/x?y=z', '307 https://example.org:8443/p%20q?r=1',
    ]);
  });
});

guestTest('an upstream is reached by address, by a name that moves, and by a unix socket', async (t, guest) => {
  await ensureRouter(guest);
  const names = (address: string) => guest.sh(`echo '{"moves.internal": "${address}"}' > /tmp/router-dns.json`);
  await names('127.0.1.1');
  await withDns(guest, () => withApps(guest, { one: { LISTEN: '127.0.1.1:9001' }, two: { LISTEN: '127.0.1.2:9001' }, local: { LISTEN: '127.0.0.1:9003' }, unix: { LISTEN: '/run/test-app.sock' } }, () => withSites(guest, {
    'address.example.com': 'proxy: http://127.0.1.2:9001', 'name.example.com': 'proxy: http://moves.internal:9001', 'unix.example.com': 'proxy: unix:/run/test-app.sock',
    'localhost.example.com': 'proxy: http://localhost:9003', 'nowhere.example.com': 'proxy: http://nowhere.internal:9001', 'down.example.com': 'proxy: {to: "http://127.0.0.1:9009", host: x.internal}',
  }, async () => {
    const who = async (domain: string) => {
      const seen = await visitOne(guest, { host: `${domain}.example.com` });
      return seen.status === 200 ? arrived(seen).name : seen.status;
    };
    t.deepEqual([await who('address'), await who('name'), await who('unix')], ['two', 'one', 'unix']);
    t.is(await who('localhost'), 'local', 'which DNS does not know');
    const began = Date.now();
    t.deepEqual([await who('nowhere'), await who('down')], [502, 503]);
    t.true(Date.now() - began < 90_000);
    t.is(await who('name'), 'one');
    await names('127.0.1.2');
    const moved = Date.now();
    await until('the name is followed', async () => await who('name') === 'two', 40_000, 500);
    t.log(`a name was followed after ${((Date.now() - moved) / 1000).toFixed(1)} s`);
  })));
});

guestTest('an https upstream has to show a certificate for its name before it gets a request', async (t, guest) => {
  await ensureRouter(guest);
  await guest.sh(`mkdir -p /tmp/up && cd /tmp/up
    make() { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $1.key -out $1.pem -days 30 -subj "/CN=$2" -addext "subjectAltName=DNS:$2" -addext basicConstraints=critical,CA:TRUE 2>/dev/null; }
    make good good.internal; make wrong else.internal; make strange strange.internal; cat good.pem wrong.pem > ca.pem
    echo '{"good.internal": "127.0.1.1", "wrong.internal": "127.0.1.2", "strange.internal": "127.0.1.3"}' > /tmp/router-dns.json; rm -f *.log`);
  const upstreams = ['good', 'wrong', 'strange'];
  const apps = Object.fromEntries(upstreams.map((name, n) => [name, { LISTEN: `127.0.1.${n + 1}:9443`, CERT: `/tmp/up/${name}.pem`, KEY: `/tmp/up/${name}.key`, LOG: `/tmp/up/${name}.log` }]));
  const sites = Object.fromEntries(upstreams.map((name) => [`${name}.example.com`, `proxy: https://${name}.internal:9443`]));
  await withDns(guest, () => withDefaults(guest, ['router: {upstreamCa: /tmp/up/ca.pem}\n', () => withApps(guest, apps, () => withSites(guest, sites, async () => {
    const seen = await visit(guest, upstreams.map((name) => ({ host: `${name}.example.com`, method: 'POST', body: 'secret' })));
    t.deepEqual(seen.map(({ status }) => status === 502 ? 503 : status), [200, 503, 503]);
    t.is(arrived(seen[0]!).headers['host'], 'good.example.com');
    t.is(await guest.sh('cat /tmp/up/wrong.log /tmp/up/strange.log 2>/dev/null | grep -v ^TLS || true'), '', 'no request came to them');
  }))]));
});

guestTest('passthrough: the client sees the server\'s certificate, and the server the client', (t, guest) => withVisitor(guest, async () => {
  await ensureRouter(guest);
  await guest.sh(`mkdir -p /tmp/up && cd /tmp/up
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout own.key -out own.pem -days 30 -subj /CN=its-own 2>/dev/null
    echo '{"pass.internal": "127.0.1.1"}' > /tmp/router-dns.json`);
  const tls = { CERT: '/tmp/up/own.pem', KEY: '/tmp/up/own.key' };
  const apps = { plain: { LISTEN: '127.0.1.1:9443', ...tls }, proxied: { LISTEN: '127.0.1.2:9443', PROXY: '2', ...tls }, http: { LISTEN: '127.0.1.1:9080' } };
  const sites = {
    'plain.example.com': 'passthrough: 127.0.1.1:9443\naliases: ["*.plain.example.com"]', 'name.example.com': 'passthrough: {to: "pass.internal:9443", http: "127.0.1.1:9080"}',
    'proxied.example.com': 'passthrough: {to: "127.0.1.2:9443", proxyProtocol: true}',
    // It must not be taken for the router itself.
    'nowhere.example.com': 'passthrough: nowhere.internal:443',
  };
  await withDns(guest, () => withApps(guest, apps, () => withSites(guest, sites, async () => {
    const seen = await visit(guest, ['plain', 'any.plain', 'name', 'proxied'].map((name) => ({ host: `${name}.example.com` })), { visitor: true });
    t.deepEqual(seen.map(({ subject, status, error }) => [subject, status, error]), Array.from({ length: 4 }, () => ['its-own', 200, undefined]));
    t.deepEqual(seen.map((each) => arrived(each).name), ['plain', 'plain', 'plain', 'proxied']);
    t.regex(arrived(seen[3]!).remote, new RegExp(`^${outside.visitor}:\\d+$`));
    const [redirected, served, nowhere] = await visit(guest, [
      { tls: false, host: 'plain.example.com', path: '/a?b' }, { tls: false, host: 'name.example.com', path: '/a?b' }, { host: 'nowhere.example.com', timeout: 15_000 },
    ], { visitor: true }) as [Seen, Seen, Seen];
    t.deepEqual([redirected.status, redirected.headers['location']], [308, 'https://plain.example.com/a?b']);
    t.is(arrived(served).name, 'http');
    t.not(nowhere.error, undefined);
    t.true(Number(await guest.sh("ss -Htn state established '( dport = :443 )' | wc -l")) < 10, 'the router does not visit itself');

    // A hello with post-quantum keys fills more than a packet; here it comes in many.
    const pieces = (name: string) => guest.sh(`node -e '
      const net = require("node:net"), tls = require("node:tls");
      const slow = net.createServer((client) => {
        const router = net.connect(443, "127.0.0.1");
        router.setNoDelay(true);
        let first = true;
        client.on("data", async (data) => {
          if (!first) return void router.write(data);
          first = false;
          client.pause();
          for (let at = 0; at < data.length; at += 97) { router.write(data.subarray(at, at + 97)); await new Promise((next) => setTimeout(next, 15)); }
          client.resume();
        });
        router.pipe(client);
      }).listen(0, "127.0.0.1", () => {
        const long = Array.from({ length: 150 }, (_, n) => "x-protocol-" + n);
        const socket = tls.connect({ port: slow.address().port, host: "127.0.0.1", servername: "${name}", rejectUnauthorized: false, ALPNProtocols: ["http/1.1", ...long] }, () => { console.log(socket.getPeerCertificate().subject.CN); process.exit(0); });
        socket.on("error", (error) => { console.log(error.message); process.exit(0); });
      });'`);
    t.is(await pieces('plain.example.com'), 'its-own');
    await setSites(guest, { 'app.example.com': hostSettings });
    t.not(await pieces('nobody.example.com'), 'its-own');
  })));
}));

guestTest('names that no site has are refused, or led to another server', (t, guest) => withVisitor(guest, async () => {
  await ensureRouter(guest);
  await guest.sh(`mkdir -p /tmp/up && cd /tmp/up; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout own.key -out own.pem -days 30 -subj /CN=its-own 2>/dev/null
    echo '{"rest.internal": "127.0.1.1"}' > /tmp/router-dns.json`);
  const steps = [{ host: 'nobody.example.com' }, { tls: false, host: 'nobody.example.com' }, { host: site }] as const;
  const seen = () => visit(guest, steps, { together: true, visitor: true }) as Promise<[Seen, Seen, Seen]>;
  const apps = { rest: { LISTEN: '127.0.1.1:9443', CERT: '/tmp/up/own.pem', KEY: '/tmp/up/own.key' }, plain: { LISTEN: '127.0.1.1:9080' } };
  await withDns(guest, () => withApps(guest, apps, () => withSites(guest, { [site]: hostSettings }, async () => {
    const began = Date.now();
    const [secure, plain, own, none] = await visit(guest, [...steps, { kind: 'raw', tls: 'none', wait: 20_000, pieces: ['GET / HTTP/1.1\r\n\r\n'] }], { together: true, visitor: true }) as [Seen, Seen, Seen, Seen];
    t.not(secure.error, undefined);
    t.deepEqual([plain.status, own.status, none.text, none.closed], [421, 200, '', true]);
    t.true(Date.now() - began < 60_000);

    await withDefaults(guest, ['router: {unknown: {http: "127.0.1.1:9080", https: "127.0.1.1:9443"}}\n', async () => {
      const [led, ledPlain, still] = await seen();
      t.deepEqual([led.subject, arrived(led).name, arrived(ledPlain).name, arrived(ledPlain).headers['host'], still.status], ['its-own', 'rest', 'plain', 'nobody.example.com', 200]);
      t.is(arrived(ledPlain).headers['x-forwarded-for'], outside.visitor);
      t.is(ledPlain.headers['x-frame-options'], undefined, 'answers are left as they are');
    }], ['router: {unknown: {https: "rest.internal:9443"}}\n', async () => {
      const [led, , still] = await seen();
      t.deepEqual([led.subject, still.status], ['its-own', 200]);
    }], ['router: {unknown: {http: "gone.internal:80", https: "gone.internal:443"}}\n', async () => {
      const [led, ledPlain, still] = await seen();
      t.deepEqual([led.error === undefined, ledPlain.status, still.status], [false, 502, 200], 'the router does not visit itself');
    }]);
  })));
}));

/** Has names that router-dns.mjs serves from /tmp/router-dns.json while something is done. */
async function withDns(guest: Guest, body: () => Promise<void>): Promise<void> {
  await put(guest, 'router-dns.mjs', '/tmp/router-dns.mjs');
  try {
    await guest.sh('systemd-run --quiet --collect --unit=test-dns node /tmp/router-dns.mjs');
    await body();
  } finally {
    await guest.sh('systemctl --quiet stop test-dns');
  }
}
