import { readFileSync } from 'node:fs';
import test from 'ava';
import { siteNames } from '../../../lib/pure/names.ts';
import { checkedOut, remoteOf, shortCommit, staticRoot, withoutCredentials, type StaticSettings } from '../../../lib/pure/static.ts';

const names = siteNames('my-site.example.com');
const data = '/var/lib/sitegen/sites/my-site.example.com/data';
const current = '/var/lib/sitegen/checkouts/my-site.example.com/current';

const roots: [StaticSettings, string][] = [
  [{ directory: 'www' }, `${data}/www`],
  [{ directory: './www' }, `${data}/www`],
  [{ directory: 'a/./b//c/' }, `${data}/a/b/c`],
  [{ directory: '.' }, data],
  [{}, data],
  [{ directory: '/srv/www/x' }, '/srv/www/x'],
  [{ directory: '/srv//www/./x/' }, '/srv/www/x'],
  [{ git: 'https://example.org/x.git' }, current],
  [{ git: 'https://example.org/x.git', directory: '.' }, current],
  [{ git: 'https://example.org/x.git', directory: 'public/site' }, `${current}/public/site`],
];

for (const [settings, root] of roots) {
  test(`${JSON.stringify(settings)} is served from ${root}`, (t) => {
    t.is(staticRoot(settings, names), root);
  });
}

test('every directory that can be served is one that the static server takes, and links are followed down to what root alone can change', (t) => {
  const trusted = trustOf(readFileSync('templates/router/nginx.conf', 'utf8'));
  for (const [settings] of roots) {
    const root = staticRoot(settings, names);
    t.is(trusted(root), root.startsWith(data) ? data : root.startsWith(current) ? current : root, root);
  }
  const long = siteNames(`${'a'.repeat(60)}.${'b'.repeat(60)}.${'c'.repeat(60)}.${'d'.repeat(60)}.example`);
  t.is(trusted(staticRoot({ directory: 'x' }, long)), long.dataDir);
  t.is(trusted(staticRoot({ git: '/x', directory: 'x' }, long)), checkedOut(long));
  for (const root of ['', '.', 'srv', '/', '//srv', '/srv/', '/srv/../x', '/srv/.git', '/srv/a b', '/srv/%2e', '/a,/b', '/var/lib/sitegen', '/var/lib/sitegen/certs/x', '/var/lib/sitegen/sites/x', '/var/lib/sitegen/checkouts/x/trees', '/var/lib/sitegen/sites/x/database', '/var/lib/sitegen/checkouts/x/current2']) {
    t.is(trusted(root), '', root);
  }
  t.is(trusted('/var/lib/sitegen2/x'), '/var/lib/sitegen2/x');
});

test('a token leaves the address and becomes a header', (t) => {
  const header = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;
  t.deepEqual(remoteOf('https://user:to%2Fken@example.org:8443/x.git'), { url: 'https://example.org:8443/x.git', authorization: header('user:to/ken') });
  t.deepEqual(remoteOf('https://token@example.org/x.git'), { url: 'https://example.org/x.git', authorization: header('token:') });
  t.deepEqual(remoteOf('http://a:b:c@example.org/x'), { url: 'http://example.org/x', authorization: header('a:b:c') });
  t.deepEqual(remoteOf('https://ü:100%@example.org/x'), { url: 'https://example.org/x', authorization: header('ü:100%') });
  t.deepEqual(remoteOf('HTTPS://a:p@ss@example.org/x'), { url: 'HTTPS://example.org/x', authorization: header('a:p@ss') });
});

test('addresses without a token stay as they are', (t) => {
  for (const url of ['https://example.org/x.git', 'https://example.org/a@b', 'git@example.org:x/y.git', 'ssh://git@example.org:2222/x.git', '/srv/git/x.git']) {
    t.deepEqual(remoteOf(url), { url, authorization: undefined });
  }
  t.deepEqual(remoteOf('ssh://git:secret@example.org/x.git'), { url: 'ssh://git@example.org/x.git', authorization: undefined });
});

test('messages lose the credentials of all addresses in them', (t) => {
  t.is(withoutCredentials('fatal: https://a:b@x.org/y and ssh://c@z.org: see https://x.org/@me'), 'fatal: https://x.org/y and ssh://z.org: see https://x.org/@me');
  t.is(withoutCredentials("unable to access 'https://user:pa'ss@x.org/': no"), "unable to access 'https://user:pa'ss@x.org/': no");
});

test('commits are shown short', (t) => {
  t.is(shortCommit('0123456789abcdef0123456789abcdef01234567'), '0123456789');
});

test('the server knows the types that sites are made of', (t) => {
  const types = readFileSync('templates/router/mime.types', 'utf8');
  const all = [...types.matchAll(/^ {4}([a-z]\S+\/\S+|[a-z0-9.+-]+\/[A-Za-z0-9.+-]+) +([^;]+);$/gm)].flatMap(([, type = '', ends = '']) => ends.split(' ').map((end) => [end, type] as const));
  t.is(new Set(all.map(([end]) => end)).size, all.length, 'no ending is there twice');
  const known = new Map(all);
  for (const [end, type] of [['html', 'text/html'], ['js', 'text/javascript'], ['mjs', 'text/javascript'], ['css', 'text/css'], ['svg', 'image/svg+xml'], ['woff2', 'font/woff2'], ['wasm', 'application/wasm'], ['json', 'application/json'], ['avif', 'image/avif']]) {
    t.is(known.get(end ?? ''), type, end);
  }
});

/** The first of nginx's two maps, with its rules and their order, as a function. */
function trustOf(configuration: string): (root: string) => string {
  const map = /map \$http_x_sitegen_root \$trusted \{([^]*?)\n {4}\}/.exec(configuration)?.[1] ?? '';
  const rules = [...map.matchAll(/"~((?:[^"\\]|\\.)*)" (\S+);/g)].map(([, pattern = '', value = '']) => ({ pattern: new RegExp(pattern), value }));
  return (root) => {
    for (const { pattern, value } of rules) {
      const match = pattern.exec(root);
      if (match) return value === '""' ? '' : value === '$http_x_sitegen_root' ? root : (match.groups?.[value.slice(1)] ?? '');
    }
    return '';
  };
}
