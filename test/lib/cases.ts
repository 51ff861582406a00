import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { execFile } from 'node:child_process';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import type { Desired } from '../../lib/pure/desired.ts';
import { SitegenError } from '../../lib/pure/errors.ts';
import { desiredOf, repository, unitText, type Written } from './_site.ts';
import { environmentOf, readUnit, valuesOf } from './_systemd.ts';

/*
 * A case file has settings, a line "----------", and what is asserted of them, one a line:
 *
 *   # defaults:                             sitegen.yaml, if the case begins with this line
 *   # app:                                  app.yaml of the app that the site uses, if given
 *   # site:                                 the site's settings; needed only after one of the above
 *
 *   service ExecStart /usr/lib/sitegen/wake one of the values of a setting in a unit:
 *                                           socket, service, slice or app-slice
 *   slice !MemoryHigh                       the unit does not have the setting
 *   environment SITEGEN_PORT 80             a variable of the service, as programs see it
 *   container HostConfig.CgroupParent "x"   a value in the container's specification, as JSON
 *   container !HostConfig.Privileged        the specification does not have the key
 *   directory uploads                       made below the site's data ("." is the data itself)
 *   error: fragment                         the settings are refused, and the message has this in it
 */

const folder = `${repository}/test/cases`;
const kinds = ['socket', 'service', 'slice', 'app-slice'] as const;

interface Case {
  written: Written;
  asserts: string[];
}

function parseCase(text: string): Case {
  const [head = '', tail = ''] = text.split(/^-{10}\n/m);
  const written: Record<string, string> = {};
  let section = 'site';
  for (const line of head.split('\n')) {
    const mark = /^# (defaults|app|site):$/.exec(line)?.[1];
    if (mark !== undefined) section = mark;
    else written[section] = `${written[section] ?? ''}${line}\n`;
  }
  return { written: { site: '', ...written }, asserts: tail.split('\n').filter((line) => line.trim() !== '') };
}

function check(t: ExecutionContext, want: Desired, line: string): void {
  const [subject = '', key = '', ...rest] = line.split(' ');
  const expected = rest.join(' ');
  const kind = kinds.find((each) => each === subject);
  const absent = key.startsWith('!');
  if (kind) {
    const values = valuesOf(readUnit(unitText(want, kind)), key.replace('!', ''));
    if (absent) t.deepEqual(values, [], line);
    else t.true(values.includes(expected), `${line}: has ${JSON.stringify(values)}`);
  } else if (subject === 'environment') {
    t.is(environmentOf(readUnit(unitText(want, 'service')))[key], expected, line);
  } else if (subject === 'container') {
    const value = valueAt(want.container, key.replace('!', ''));
    if (absent) t.is(value, undefined, line);
    else t.deepEqual(value, JSON.parse(expected), line);
  } else if (subject === 'directory') {
    t.true(want.dataDirs.includes(key === '.' ? want.names.dataDir : `${want.names.dataDir}/${key}`), `${line}: has ${want.dataDirs.join(' ')}`);
  } else {
    t.fail(`no such assert: ${line}`);
  }
}

/** The value at a dotted path; keys may have dots themselves, as labels do. */
function valueAt(value: unknown, dotted: string): unknown {
  if (dotted === '') return value;
  if (typeof value !== 'object' || value === null) return undefined;
  for (const [key, inner] of Object.entries(value)) {
    if (dotted === key) return inner;
    const found = dotted.startsWith(`${key}.`) ? valueAt(inner, dotted.slice(key.length + 1)) : undefined;
    if (found !== undefined) return found;
  }
  return undefined;
}

function run(t: ExecutionContext, { written, asserts }: Case): void {
  t.true(asserts.length > 0, 'the case asserts nothing');
  const fragments = asserts.filter((line) => line.startsWith('error: ')).map((line) => line.slice('error: '.length));
  if (fragments.length === 0) {
    const want = desiredOf(written);
    for (const line of asserts) check(t, want, line);
    return;
  }
  t.is(fragments.length, asserts.length, 'a case that is refused has no other asserts');
  const error = t.throws(() => desiredOf(written), { instanceOf: SitegenError });
  for (const fragment of fragments) t.true(error.message.includes(fragment), `${fragment}: has ${error.message}`);
}

const verify = async (files: readonly string[]) => promisify(execFile)('systemd-analyze', ['verify', '--man=no', '--recursive-errors=no', ...files])
  .then(({ stderr }) => stderr, (error: unknown) => (error as { stderr?: string; code?: string | number }).stderr ?? '');
const hasSystemd = await promisify(execFile)('systemd-analyze', ['--version']).then(() => true, () => false);

const names = (await readdir(folder)).filter((name) => name.endsWith('.case')).sort();
const cases = await Promise.all(names.map(async (name) => ({ name, parsed: parseCase(await readFile(path.join(folder, name), 'utf8')) })));

test('there are cases', (t) => {
  t.true(cases.length > 0);
});

for (const { name, parsed } of cases) {
  test(name.replace('.case', '').replaceAll('-', ' '), (t) => { run(t, parsed); });
}

test('a case that asserts nothing, something unknown or something wrong fails', async (t) => {
  for (const tail of ['', '----------\n', '----------\nunit Slice x\n', '----------\nservice Type simple\n', '----------\nslice !MemoryMax\n', '----------\nenvironment SITEGEN_PORT 81\n',
    '----------\ncontainer Image "other"\n', '----------\ncontainer !Image\n', '----------\ndirectory other\n', '----------\nerror: anything\n']) {
    const attempt = await t.try((inner) => { run(inner, parseCase(`domain: example.com\nimage: x\n${tail}`)); });
    attempt.discard();
    t.false(attempt.passed, tail);
  }
  const refused = await t.try((inner) => { run(inner, parseCase('domain: example.com\nport: 0\n----------\nerror: another reason\n')); });
  refused.discard();
  t.false(refused.passed);
});

(hasSystemd ? test : test.skip)('systemd takes every setting of all cases', async (t) => {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'sitegen-units-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const files: string[] = [];
  for (const { parsed } of cases.filter(({ parsed: { asserts } }) => !asserts.some((line) => line.startsWith('error: ')))) {
    for (const file of desiredOf(parsed.written).files) {
      const target = path.join(directory, path.basename(file.path));
      await writeFile(target, file.content);
      files.push(target);
    }
  }
  t.true(files.length > 0);
  const complaints = async () => (await verify(files)).split('\n').filter((line) => line.startsWith(directory) || /ignoring|Unknown/i.test(line));
  t.deepEqual(await complaints(), []);
  await writeFile(files[0] ?? '', '[Slice]\nMemoryMax=20%%\n');
  t.is((await complaints()).length, 1, 'a fault would be seen');
});
