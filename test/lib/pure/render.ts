import test from 'ava';
import { SitegenError } from '../../../lib/pure/errors.ts';
import { escapeUnit, refuseSpecial, render } from '../../../lib/pure/render.ts';
import { environmentOf, readUnit } from '../_systemd.ts';

const upper = (value: string) => value.toUpperCase();

test('values are escaped by the given escaper alone, and raw ones not at all', (t) => {
  t.is(render('{{a}} {{&a}} {{{a}}} {{n}}', { a: '<b>"', n: 5 }, upper), '<B>" <b>" <b>" 5');
});

test('a section is repeated for each item, whose keys come before the outer ones', (t) => {
  t.is(render('{{#list}}\n{{name}}={{value}}\n{{/list}}\nend {{value}}\n', { list: [{ name: 'a', value: '1' }, { name: 'b', value: '2' }], value: 'outer' }, upper), 'A=1\nB=2\nend OUTER\n');
  t.is(render('{{#list}}x{{/list}}{{^list}}none{{/list}}', { list: [] }, upper), 'none');
});

for (const [template, missing] of [['{{a}} {{b}}', 'b'], ['{{&b}}', 'b'], ['{{{b}}}', 'b'], ['{{#b}}x{{/b}}', 'b'], ['{{^b}}x{{/b}}', 'b'], ['{{#list}}{{inner}}{{/list}}', 'inner'],
  ['{{#list}}{{#list}}{{deep}}{{/list}}{{/list}}', 'deep'], ['{{toString}}', 'toString'], ['{{a.length}}', 'a.length']] as const) {
  test(`a key without a value is an error in ${template}`, (t) => {
    const error = t.throws(() => render(template, { a: 'x', list: [{ name: 'x' }] }, upper), { instanceOf: SitegenError });
    t.is(error.message, `template: "${missing}" has no value`);
  });
}

test('an empty value is a value', (t) => {
  t.is(render('[{{a}}]', { a: '' }, upper), '[]');
});

test('a value is never a template itself', (t) => {
  t.is(render('{{&a}}', { a: '{{b}} {{#c}}' }, upper), '{{b}} {{#c}}');
});

const escapes: [value: string, escaped: string][] = [
  ['plain-1.2/x', 'plain-1.2/x'], ['', ''], ['100%', '100%%'], ['%n%%', '%%n%%%%'], ['"', String.raw`\"`], ['\\', String.raw`\\`], [String.raw`\x0a`, String.raw`\\x0a`],
  ['a\nb', String.raw`a\x0ab`], ['\r\t\0\u007f\u001b', String.raw`\x0d\x09\x00\x7f\x1b`], ["'", "'"], ['$HOME `x`', '$HOME `x`'], ['é漢🙂\u2028', 'é漢🙂\u2028'],
];

for (const [value, escaped] of escapes) test(`a unit has ${JSON.stringify(value)} as ${escaped}`, (t) => { t.is(escapeUnit(value), escaped); });

test('systemd reads back what was escaped', (t) => {
  const every = Array.from({ length: 0x180 }, (_, code) => String.fromCharCode(code)).join('');
  for (const value of [...escapes.map(([raw]) => raw), every, `${every}\\`, '\\\n', ' x ', '"SITEGEN_B=2" ']) {
    const unit = readUnit(`[Service]\nEnvironment="A=${escapeUnit(value)}" "B=x"\n`);
    t.is(unit.length, 1, JSON.stringify(value));
    t.deepEqual(environmentOf(unit), { A: value, B: 'x' });
  }
});

test('a rule has names, numbers and addresses only', (t) => {
  for (const value of ['', 'sitegen0', '10.213.0.0/16', 'a_b-c.d']) t.is(refuseSpecial(value), value);
  for (const value of ['a b', 'a;b', 'a\n', '"', '{', '$x', 'é', '#']) t.throws(() => refuseSpecial(value), { instanceOf: SitegenError, message: /cannot be written into a rule/ }, value);
});
