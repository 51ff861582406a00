import { readFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import { parseDefaults, parseSite } from '../../../../lib/pure/config.ts';
import { checks } from '../../../../lib/pure/doctor/checks.ts';
import { atLeast, exitCodeOf, listed, unlessNone, withIgnored, type Finding } from '../../../../lib/pure/doctor/verdict.ts';
import { allChecks } from '../../../../lib/usecases/doctor/doctor.ts';

const swap: Finding = { id: 'swap', severity: 'warning', found: 'there is none', advice: 'make some' };
const dns: Finding = { id: 'dns', severity: 'error', domain: 'a.com', found: 'x', advice: 'y' };
const fine: Finding = { id: 'kernel', severity: 'ok', found: 'z' };

test('every check that settings may name is carried out, once', (t) => {
  t.deepEqual(allChecks.map(([id]) => id).sort(), Object.keys(checks).sort());
  for (const id of Object.keys(checks)) t.regex(id, /^[a-z][a-z0-9]*(-[a-z0-9]+)*$/);
});

test('the exit code is that of the worst that is not ignored', (t) => {
  t.is(exitCodeOf([]), 0);
  t.is(exitCodeOf([fine]), 0);
  t.is(exitCodeOf([fine, swap]), 1);
  t.is(exitCodeOf([swap, dns]), 2);
  t.is(exitCodeOf([swap, { ...dns, ignored: 'a cache' }]), 1);
  t.is(exitCodeOf([{ ...swap, ignored: 'x' }]), 0);
});

test('the machine\'s settings ignore what is about sites too; a site\'s own its own', (t) => {
  const other = { ...dns, domain: 'b.com' };
  const reasons = (machine: Record<string, string>, sites: [string, Record<string, string>][] = []) => withIgnored([swap, dns, other, fine], machine, new Map(sites)).map(({ ignored }) => ignored);
  t.deepEqual(reasons({ swap: 'enough memory', kernel: 'k' }), ['enough memory', undefined, undefined, undefined]);
  t.deepEqual(reasons({ dns: 'all' }, [['b.com', { dns: 'own', swap: 'no' }]]), [undefined, 'all', 'own', undefined]);
});

test('settings name checks that there are, with a reason', (t) => {
  t.deepEqual(parseDefaults('doctor: {ignore: {swap: enough memory}}\n', 'sitegen.yaml').doctor, { ignore: { swap: 'enough memory' } });
  t.deepEqual(parseSite('domain: a.com\ndoctor: {ignore: {dns: a cache}}\n', '/x/a.com.yaml').doctor, { ignore: { dns: 'a cache' } });
  t.throws(() => parseDefaults('doctor:\n  ignore: {bogus: x}\n', 'sitegen.yaml'), { message: 'sitegen.yaml:2: doctor.ignore.bogus: is no check: "sitegen doctor" prints their ids' });
  t.throws(() => parseDefaults('doctor:\n  ignore: {swap: ""}\n', 'sitegen.yaml'), { message: /doctor\.ignore\.swap: .*needs a reason/ });
});

test('versions are compared by their numbers', (t) => {
  for (const [version, wanted] of [['257.9-1', '252'], ['252', '252'], ['18.19.1', '18.19'], ['6.1.0-18-amd64', '5.19'], ['24.04', '24.04'], ['20.10.24+dfsg1', '20.10']] as const) t.true(atLeast(version, wanted), version);
  for (const [version, wanted] of [['18.9.1', '18.19'], ['5.9', '5.19'], ['', '1'], ['unknown', '0'], ['20', '20.10']] as const) t.false(atLeast(version, wanted), version);
});

test('long lists are cut, and no problem is one verdict', (t) => {
  t.is(listed(['a', 'b']), 'a, b');
  t.is(listed(['a', 'b', 'c', 'd'], 2), 'a, b and 2 more');
  t.deepEqual(unlessNone([], 'well'), [{ severity: 'ok', found: 'well' }]);
});

test('the documentation names every check, and says of each what it looks at', async (t) => {
  const text = await readFile(path.resolve(import.meta.dirname, '../../../../docs/doctor.md'), 'utf8');
  const [, section = ''] = text.split('## The checks\n');
  t.deepEqual([...section.matchAll(/^\| `([a-z0-9-]+)` \| (.+) \|$/gm)].map(([, id, what]) => [id, what]), Object.entries(checks));
});
