import test from 'ava';
import { choose, hostOf, parseMoment, serverNamed, thisMachine, type Choice, type Head } from '../../../lib/pure/choose.ts';
import { parseSpan } from '../../../lib/pure/quantities.ts';

// a - b - c - d
//      \- x - y
const parents: Record<string, string | undefined> = { b: 'a', c: 'b', d: 'c', x: 'b', y: 'x' };

function isAncestor(older: string, newer: string): boolean {
  return older === newer || (parents[newer] !== undefined && isAncestor(older, parents[newer]));
}

const heads = (text: string): Head[] => (text === '' ? [] : text.split(' ').map((pair) => {
  const [from = '', commit = ''] = pair.split('=');
  return { from, commit };
}));

const one = (commit: string, ...from: string[]): Choice => ({ kind: 'one', commit, from });

const rows: [title: string, given: string, expected: Choice][] = [
  ['nobody has one', '', { kind: 'none' }],
  ['one has it', 'A=c', one('c', 'A')],
  ['all have the same', 'A=c B=c here=c', one('c', 'A', 'B', 'here')],
  ['one is behind', 'A=b B=c', one('c', 'B')],
  ['the order does not matter', 'A=c B=b', one('c', 'A')],
  ['one is far behind', 'A=a B=d here=c', one('d', 'B')],
  ['two have the latest', 'A=d B=a here=d', one('d', 'A', 'here')],
  ['two have gone apart', 'A=c B=x', { kind: 'diverged', heads: heads('A=c B=x') }],
  ['of those that have gone apart the older ones do not count', 'A=d B=y here=c', { kind: 'diverged', heads: heads('A=d B=y') }],
  ['two against one', 'A=y B=c here=y', { kind: 'diverged', heads: heads('A=y B=c here=y') }],
];

for (const [title, given, expected] of rows) test(`the descendant is chosen: ${title}`, (t) => t.deepEqual(choose(heads(given), isAncestor), expected));

test('a server is meant by its URL, its host, or as the machine itself', (t) => {
  const servers = [{ url: 'ssh://sitegen-buddy@one.example.org/a' }, { url: 'ssh://x@two.example.org:2222/b/' }, { url: 'ssh://y@two.example.org/c' }, { url: 'ssh://[2001:db8::1]:22/d' }];
  t.is(serverNamed('local', servers), thisMachine);
  t.is(serverNamed('one.example.org', servers), servers[0]);
  t.is(serverNamed('ssh://x@two.example.org:2222/b', servers), servers[1]);
  t.is(serverNamed('[2001:db8::1]', servers), servers[3]);
  t.is(serverNamed('two.example.org', servers), undefined, 'two of them');
  t.is(serverNamed('three.example.org', servers), undefined);
  t.is(hostOf('ssh://One.Example.org'), 'one.example.org');
});

test('a moment is part of a commit, a time, or so long ago', (t) => {
  const now = Date.parse('2026-11-21T12:00:00Z');
  const moment = (text: string) => parseMoment(text, now, parseSpan);
  t.deepEqual(moment('4f2a91c'), { commit: '4f2a91c' });
  t.deepEqual(moment('3h ago'), { time: '2026-11-21T09:00:00.000Z' });
  t.deepEqual(moment('2 days ago'), { time: '2026-11-19T12:00:00.000Z' });
  t.deepEqual(moment('2026-11-20T14:00Z'), { time: '2026-11-20T14:00:00.000Z' });
  t.deepEqual(moment('2026-11-20 14:00:30+02:00'), { time: '2026-11-20T12:00:30.000Z' });
  t.deepEqual(moment('2026-11-20'), { time: new Date(2026, 10, 20, 23, 59, 59).toISOString() });
  for (const text of ['yesterday', '', 'ago', 'soon ago', '2026-13-40', '4f2', 'HEAD', '--all', '2026-11-20 9:00']) t.is(moment(text), undefined, text);
});
