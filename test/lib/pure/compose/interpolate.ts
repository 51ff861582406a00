import test from 'ava';
import { interpolate } from '../../../../lib/pure/compose/interpolate.ts';
import { splitWords } from '../../../../lib/pure/compose/words.ts';
import { SitegenError } from '../../../../lib/pure/errors.ts';

const variables = { NAME: 'blog', EMPTY: '' };

for (const [text, expected] of [
  ['$NAME', 'blog'], ['a${NAME}b', 'ablogb'], ['$$NAME', '$NAME'], ['$NAME.example', 'blog.example'], ['${NONE}', ''], ['$NONE!', '!'],
  ['${NONE:-x}', 'x'], ['${EMPTY:-x}', 'x'], ['${EMPTY-x}', ''], ['${NAME:-x}', 'blog'], ['${NONE:-${NAME}}', 'blog'], ['${NONE:-${EMPTY:-y}}z', 'yz'],
  ['${NAME:+x}', 'x'], ['${EMPTY:+x}', ''], ['${EMPTY+x}', 'x'], ['${NAME:?why}', 'blog'], ['${EMPTY?why}', ''], ['no variable', 'no variable'],
  ['${constructor}', ''], ['${NONE:-a:b}', 'a:b'],
] as const) {
  test(`${text} becomes ${JSON.stringify(expected)}`, (t) => { t.is(interpolate(text, variables), expected); });
}

for (const [text, why] of [['${NONE:?a password}', /NONE is required: a password/], ['${EMPTY:?}', /EMPTY is required/], ['5$', /begins a variable/], ['${NAME', /not closed/], ['${NAME|x}', /not a variable/], ['${}', /not a variable/]] as const) {
  test(`${text} is refused`, (t) => { t.throws(() => interpolate(text, variables), { instanceOf: SitegenError, message: why }); });
}

test('what is in lists and below keys is filled in, and keys and numbers stay', (t) => {
  t.deepEqual(interpolate({ $NAME: ['$NAME', 1, null, true] }, variables), { $NAME: ['blog', 1, null, true] });
});

test('a value is not filled in once more', (t) => {
  t.is(interpolate('$A', { A: '$B', B: 'x' }), '$B');
});

test('a command line is split as a shell does', (t) => {
  t.deepEqual(splitWords(`sh  -c 'a "b"' "c \\" \\d" e\\ f ''`), ['sh', '-c', 'a "b"', 'c " \\d', 'e f', '']);
  t.is(splitWords('a "b'), undefined);
  t.deepEqual(splitWords('  '), []);
});
