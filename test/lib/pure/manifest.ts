import test from 'ava';
import { SitegenError } from '../../../lib/pure/errors.ts';
import { compare, formatManifest, parseManifest, showPath, storedPath, type Item } from '../../../lib/pure/manifest.ts';
import { trickyNames } from '../_data.ts';

const blob = 'ce013625030ba8dba906f756967f9e9ca394464a';
const root: Item = { path: '', kind: 'directory', mode: 0o755, uid: 0, gid: 0 };
const file = (path: string): Item => ({ path, kind: 'file', mode: 0o4644, uid: 33, gid: 65_534, mtimeNs: '1795289579316584000', size: 6, blob });
const link = (path: string, target: string): Item => ({ path, kind: 'link', mode: 0o777, uid: 0, gid: 0, target });
const anyByte = Array.from({ length: 255 }, (_, index) => String.fromCharCode(index + 1)).filter((character) => character !== '/').join('');

test('a manifest says in a line each what is there, a directory right before what is in it', (t) => {
  t.is(formatManifest([file('b/a c'), root, link('b-', '/etc\n'), { ...root, path: 'b', mode: 0o1777 }]), `sitegen manifest 1
d 0755 0 0 .
d 1777 0 0 b
f 4644 33 65534 1795289579316584000 6 ${blob} b/a%20c
l 0777 0 0 b- /etc%0a
`);
});

test('every name comes back, whatever its bytes', (t) => {
  const items = [root, ...[...trickyNames, anyByte].sort().map((name) => file(name)), link('~~', anyByte)].sort((a, b) => (a.path < b.path ? -1 : 1));
  t.deepEqual(parseManifest(formatManifest(items)).map((item) => ({ ...item })), items);
});

const good = formatManifest([root, { ...root, path: 'd' }, file('d/f'), link('l', 'd')]);
const faults: [string, string][] = [
  ['of another version', good.replace('manifest 1', 'manifest 2')],
  ['nothing', ''],
  ['without entries', 'sitegen manifest 1\n'],
  ['cut in a line', good.slice(0, -3)],
  ['an absolute path', good.replace('d/f', '/f')],
  ['a way up', good.replace('d/f', 'd/../f')],
  ['a way up, escaped', good.replace('d/f', 'd/%2e%2e/f')],
  ['a slash, escaped', good.replace('d/f', 'd%2ff')],
  ['an empty part', good.replace('d/f', 'd//f')],
  ['a dot', good.replace('d/f', 'd/./f')],
  ['a zero byte', good.replace('d/f', 'd/%00')],
  ['an entry twice', good.replace(/^(l .*\n)/m, '$1$1')],
  ['entries out of order', good.replace('l 0777 0 0 l d', 'l 0777 0 0 a d')],
  ['a file below a file', formatManifest([root, file('f')]) + formatManifest([file('f/g')]).split('\n').slice(1).join('\n')],
  ['a file below a link', good + formatManifest([file('l/g')]).split('\n').slice(1).join('\n')],
  ['a file below nothing', formatManifest([root, file('x/y')])],
  ['no root', formatManifest([file('y')])],
  ['a root that is a file', formatManifest([file('')])],
  ['a content without an id', good.replace(blob, '')],
  ['a size that is none', good.replace(' 6 ', ' -6 ')],
  ['another kind', good.replace(/^l /m, 'p ')],
  ['a field too many', good.replace('d/f', 'd/f x')],
];
for (const [what, text] of faults) {
  test(`a manifest is refused with ${what}`, (t) => {
    t.throws(() => parseManifest(text), { instanceOf: SitegenError, message: /line \d+/ });
  });
}

test('names in a commit differ as those of the site do, and git has nothing against any', (t) => {
  const names = [...trickyNames, '%%2egit', '%2e', '%.git', 'café.git', 'x.github.io'];
  const stored = names.map((name) => storedPath(`a/${name}`));
  t.is(new Set(stored).size, new Set(names).size);
  for (const name of stored) t.notRegex(name.slice('data/a/'.length), /^\.git|git~1|\\\.git/i);
  t.is(storedPath('a/.git/config'), 'data/a/%%2egit/config');
  t.is(storedPath('x.github.io/caf\xc3\xa9'), 'data/x.github.io/caf\xc3\xa9');
});

test('differences are told one by one, and not without end', (t) => {
  t.deepEqual(compare([root, file('a')], [root, file('a')]), []);
  t.deepEqual(compare([root, file('a'), file('b'), file('c'), link('d', 'x')], [root, { ...file('a'), mode: 0o600 }, link('c', 'x'), link('d', 'y'), file('e')]), [
    'a has the mode 600, not 4644', 'b is missing', 'c is a link, not a file', 'd has the target "y", not "x"', 'e is there and should not be',
  ]);
  t.is(compare(Array.from({ length: 100 }, (_, n) => file(String(n))), []).length, 21);
});

test('paths are shown as text, in quotes when odd', (t) => {
  t.is(showPath('caf\xc3\xa9/a b.jpg'), 'café/a b.jpg');
  t.is(showPath('a\nb'), String.raw`"a\nb"`);
});
