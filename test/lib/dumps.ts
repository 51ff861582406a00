import { readdir, readFile } from 'node:fs/promises';
import test, { type ExecutionContext } from 'ava';
import { constantTokens, startCheck } from '../../lib/pure/dump-check.ts';
import { repository, resolveTexts, workloadOf } from './_site.ts';

/*
 * A case file has a dump as it comes, a line "----------", and what becomes of it:
 *
 *   # dump:                 the site's settings of that name
 *   # tables:               those that the database lists, one a line
 *   # dropped:              those of them that are gone after the dump
 *   # previous: 100000      bytes of the last dump; none unless given
 *   # exit: 2               the program's exit code; 0 unless given
 *   # stderr:               what it wrote to standard error
 *   # output:               and to standard output; "# cut off:" without the last line break
 *
 *   accepted                the dump is taken
 *   refused: fragment       it is not, and the reason has this in it
 *   line \restrict sitegen  a line of what is kept
 *   no line x               no line of it is this one
 */

interface Case {
  sections: Readonly<Record<string, string>>;
  asserts: string[];
}

function parseCase(text: string): Case {
  const [head = '', tail = ''] = text.split(/^-{10}\n/m);
  const sections: Record<string, string> = {};
  let section = '';
  for (const line of head.split('\n').slice(0, -1)) {
    const [, name, value] = /^# (dump|tables|dropped|previous|exit|stderr|output|cut off):(?: (.*))?$/.exec(line) ?? [];
    if (name === undefined) sections[section] = `${sections[section] ?? ''}${line}\n`;
    else sections[section = name] = value ?? '';
  }
  return { sections, asserts: tail.split('\n').filter((line) => line !== '') };
}

/** What becomes of a dump that comes in pieces of a size. */
function outcome({ sections }: Case, size: number): { fault: string | undefined; kept: Buffer } {
  const settings = (sections['dump'] ?? '').replaceAll(/^/gm, '  ');
  const { dump } = workloadOf(resolveTexts({ site: `domain: example.com\nimage: x\ndump:\n${settings}` }));
  if (!dump) throw new Error('no dump in it');
  const names = (key: string) => (sections[key] ?? '').split('\n').filter((line) => line !== '').map((name) => Buffer.from(name).toString('latin1'));
  const check = startCheck(dump, { tables: names('tables'), previousBytes: sections['previous'] === undefined ? null : Number(sections['previous']) });
  const tokens = dump.way === 'postgresql' ? constantTokens() : undefined;
  const kept: Buffer[] = [];
  const put = (data: Buffer) => {
    check.write(data);
    kept.push(data);
  };
  for (const piece of pieces(sections['cut off']?.trimEnd() ?? sections['output'] ?? '', size)) put(tokens?.write(piece) ?? piece);
  if (tokens) put(tokens.end());
  for (const piece of pieces(sections['stderr'] ?? '', size)) check.complain(piece);
  return { fault: check.fault(Number(sections['exit'] ?? 0), new Set(names('dropped'))), kept: Buffer.concat(kept) };
}

function pieces(text: string, size: number): Buffer[] {
  const all = Buffer.from(text);
  return Array.from({ length: Math.ceil(all.length / size) }, (_, index) => all.subarray(index * size, (index + 1) * size));
}

function run(t: ExecutionContext, parsed: Case): void {
  t.true(parsed.asserts.length > 0, 'the case asserts nothing');
  for (const size of [1, 7, 1000, 1e9]) {
    const { fault, kept } = outcome(parsed, size);
    const lines = kept.toString('utf8').split('\n');
    for (const assert of parsed.asserts) {
      const [, kind, value = ''] = /^(accepted$|refused: |line |no line )(.*)$/.exec(assert) ?? [];
      if (kind === 'accepted') t.is(fault, undefined, `in pieces of ${size}`);
      else if (kind === 'refused: ') t.true(fault?.includes(value), `${assert}, in pieces of ${size}: is ${fault ?? 'accepted'}`);
      else if (kind === undefined) t.fail(`no such assert: ${assert}`);
      else t.is(lines.includes(value), kind === 'line ', `${assert}, in pieces of ${size}`);
    }
  }
}

const folder = `${repository}/test/cases/dumps`;
const names = (await readdir(folder)).filter((name) => name.endsWith('.case')).sort();

test('there are cases', (t) => {
  t.true(names.length > 0);
});

for (const name of names) {
  test(name.replace('.case', '').replaceAll('-', ' '), async (t) => { run(t, parseCase(await readFile(`${folder}/${name}`, 'utf8'))); });
}

test('a case that asserts nothing, something unknown or something wrong fails', async (t) => {
  const whole = '# dump:\ncommand: [x]\n# output:\neverything\n----------\n';
  (await t.try((inner) => { run(inner, parseCase(`${whole}accepted\n`)); })).commit();
  for (const assert of ['', 'taken', 'refused: it is empty', 'line nothing', 'no line everything']) {
    const attempt = await t.try((inner) => { run(inner, parseCase(`${whole}${assert}\n`)); });
    attempt.discard();
    t.false(attempt.passed, assert);
  }
});
