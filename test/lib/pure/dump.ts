import test from 'ava';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { resolveDump, type Dump } from '../../../lib/pure/dump.ts';
import { constantTokens, parseTables } from '../../../lib/pure/dump-check.ts';
import { startLines } from '../../../lib/pure/lines.ts';
import { dumpWays } from '../../../lib/pure/schema-backup.ts';
import { hostile } from '../_hostile.ts';

const run = promisify(execFile);

/** Script and arguments of each program of a dump. */
function programs({ argv, loadArgv = [], readyArgv = [], tablesArgv = [] }: Dump): (readonly string[])[] {
  return [argv, loadArgv, readyArgv, tablesArgv];
}

test('every script is one that a shell understands', async (t) => {
  for (const way of dumpWays) {
    for (const settings of [{ way }, { way, database: '/x' }, { way, database: 'x', user: 'y', passwordEnv: 'Z' }]) {
      for (const [shell = '', option, script = ''] of programs(resolveDump(settings, 1))) {
        t.deepEqual([shell, option], ['sh', '-c']);
        await t.notThrowsAsync(run('sh', ['-n', '-c', script]), script);
      }
    }
  }
});

test('what settings name is an argument of a script, and never part of it', (t) => {
  for (const way of dumpWays) {
    const plain = programs(resolveDump({ way, database: 'x', user: 'y' }, 1)).map(([, , script]) => script?.replaceAll('0x78', ''));
    for (const [name, value] of Object.entries(hostile).filter(([, text]) => text !== '')) {
      for (const [index, argv] of programs(resolveDump({ way, database: value, user: value }, 1)).entries()) {
        const [, , script, , user, database] = argv;
        t.deepEqual([user, database], [value, value], name);
        t.is(script?.replaceAll(/0x[0-9a-f]*/g, ''), plain[index], name);
      }
    }
  }
});

test('a password is in no argument, and only a way that knows passwords asks for one', (t) => {
  for (const way of dumpWays) {
    const dump = resolveDump({ way, database: '/x', passwordEnv: 'SHOP_PASSWORD' }, 1);
    for (const [, , script = '', ...args] of programs(dump)) {
      t.is(script.includes('$SHOP_PASSWORD'), way !== 'sqlite', way);
      t.false(script.includes('--password='), way);
      t.deepEqual(args, ['sh', way === 'postgresql' ? 'postgres' : 'root', '/x']);
    }
    t.is(dump.user, undefined);
    t.is(resolveDump({ way, database: '/x' }, 1).user, way === 'sqlite' ? undefined : way === 'postgresql' ? 'postgres' : 'root');
  }
});

test('own programs for one direction go with a known way for the other', (t) => {
  const dump = resolveDump({ way: 'mariadb', load: ['load-it'] }, 1);
  t.deepEqual(dump.loadArgv, ['load-it']);
  t.is(dump.argv[0], 'sh');
  t.is(resolveDump({ command: ['x'] }, 1).loadArgv, undefined);
});

test('tables are read as databases print them', (t) => {
  const hex = (text: string) => Buffer.from(text).toString('hex').toUpperCase();
  t.deepEqual(parseTables('mariadb', Buffer.from(`${hex('shop')}.${hex('a.b')}\n${hex('shop')}.${hex('two\nlines')}\n`)), ['shop.a.b']);
  t.deepEqual(parseTables('postgresql', Buffer.from(`${hex('shop')}.${hex('public')}.${hex('größe')}\n`)), [`shop.public.${Buffer.from('größe').toString('latin1')}`]);
  t.deepEqual(parseTables('sqlite', Buffer.from('posts\nodd name\n')), ['posts', 'odd name']);
  t.deepEqual(parseTables('mysql', Buffer.from('')), []);
});

test('tokens are replaced in pairs, also in the last line and in long ones, and bytes stay bytes', (t) => {
  const replaced = (text: string | Buffer, size: number) => {
    const { write, end } = constantTokens();
    const all = Buffer.from(text);
    const pieces = Array.from({ length: Math.ceil(all.length / size) }, (_, index) => write(all.subarray(index * size, (index + 1) * size)));
    return Buffer.concat([...pieces, end()]);
  };
  const long = `\\restrict ${'a'.repeat(400)}`;
  const table: [string, string][] = [
    ['', ''],
    ['\\restrict abc', '\\restrict sitegen'],
    ['\\restrict abc\nx\n\\unrestrict abc', '\\restrict sitegen\nx\n\\unrestrict sitegen'],
    ['\\restrict abc\n\\restrict abc\n\\unrestrict ab\n\\unrestrict abc\n', '\\restrict sitegen\n\\restrict abc\n\\unrestrict ab\n\\unrestrict sitegen\n'],
    ['\\unrestrict abc\n', '\\unrestrict abc\n'],
    ['x\\restrict abc\n \\restrict abc\n', 'x\\restrict abc\n \\restrict abc\n'],
    ['\\restrict a b\n\\restrict \n\\restricted\n\\', '\\restrict a b\n\\restrict \n\\restricted\n\\'],
    [`${long}\n${long}`, `${long}\n${long}`],
  ];
  for (const [text, expected] of table) for (const size of [1, 2, 5, 1000]) t.is(replaced(text, size).toString(), expected, `${JSON.stringify(text.slice(0, 40))} in pieces of ${size}`);
  const bytes = Buffer.from(Array.from({ length: 4096 }, (_, index) => (index * 7) % 256));
  for (const size of [1, 100, 4096]) t.deepEqual(replaced(bytes, size), bytes);
});

test('lines come whole from pieces, of long ones the beginning, and the last without a break at the end', (t) => {
  const lines: string[] = [];
  const { write, end } = startLines((line) => lines.push(line.toString()));
  for (const piece of ['one\ntw', 'o', '\n\n', 'x'.repeat(5000), 'y\nlast']) write(Buffer.from(piece));
  t.deepEqual(lines, ['one', 'two', '', 'x'.repeat(2048)]);
  end();
  end();
  t.is(lines.at(-1), 'last');
  t.is(lines.length, 5);
});
