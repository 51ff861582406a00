import test, { type ExecutionContext } from 'ava';
import { configureOutput, print, printError, printFaults, printJson, report } from '../../cmd/output.ts';
import { tableLines } from '../../cmd/table.ts';
import { SitegenError, usageError } from '../../lib/pure/errors.ts';

/** What an action writes to the two streams. */
function written(t: ExecutionContext, action: () => void): { out: string; err: string } {
  const text = { out: '', err: '' };
  const { stdout, stderr } = process;
  const [realOut, realErr] = [stdout.write.bind(stdout), stderr.write.bind(stderr)];
  t.teardown(() => { configureOutput({}); });
  stdout.write = (chunk: unknown) => { text.out += String(chunk); return true; };
  stderr.write = (chunk: unknown) => { text.err += String(chunk); return true; };
  try {
    action();
  } finally {
    stdout.write = realOut;
    stderr.write = realErr;
  }
  return text;
}

test.serial('results go to standard output, what goes on to standard error', (t) => {
  t.deepEqual(written(t, () => { print('a'); report('b'); }), { out: 'a\n', err: 'b\n' });
});

test.serial('--quiet leaves results and errors', (t) => {
  configureOutput({ quiet: true });
  t.deepEqual(written(t, () => { print('a'); report('b'); printFaults([{ domain: 'd', reason: 'c' }]); }), { out: 'a\n', err: 'sitegen: error: d: c\n' });
});

test.serial('JSON is one value, with nothing around it', (t) => {
  const { out, err } = written(t, () => { printJson([{ a: null, b: 'é' }]); });
  t.deepEqual(JSON.parse(out), [{ a: null, b: 'é' }]);
  t.is(err, '');
});

test.serial('a table has columns without borders, and no spaces at its ends', (t) => {
  t.deepEqual(tableLines(['SITE', 'STATE'], [['example.com', 'asleep'], ['a.org', '']], String), ['SITE         STATE', 'example.com  asleep', 'a.org']);
  t.deepEqual(tableLines(['A', 'N'], [['a', '5'], ['b', '10']], String, [1]), ['A   N', 'a   5', 'b  10']);
});

test.serial('a known error has its message, line by line, its hint and its exit code', (t) => {
  let code = 0;
  const { out, err } = written(t, () => { code = printError(new SitegenError('one\ntwo', { hint: 'do this', cause: new Error('deep') })); });
  t.is(err, 'sitegen: error: one\nsitegen: error: two\nsitegen: hint: do this\n');
  t.is(out, '');
  t.is(code, 1);
  written(t, () => { code = printError(usageError('x')); });
  t.is(code, 2);
});

test.serial('any other error is called a fault of sitegen, and -v shows where it came from', (t) => {
  const quiet = written(t, () => { t.is(printError(new TypeError('x is not a function')), 1); });
  t.is(quiet.err, 'sitegen: error: x is not a function\nsitegen: hint: this looks like a fault of sitegen; -v shows where\n');
  configureOutput({ verbose: true });
  t.regex(written(t, () => { printError(new TypeError('x is not a function')); }).err, /\n {4}at .*output\.ts/);
  t.regex(written(t, () => { printError(new SitegenError('x', { cause: new Error('deep') })); }).err, /caused by: Error: deep/);
  t.regex(written(t, () => { printError('just text'); }).err, /^sitegen: error: just text\n/);
});

test.serial('each fault names its domain once, on each line', (t) => {
  let code = 0;
  const { err } = written(t, () => { code = printFaults([{ domain: 'a.com', reason: 'a.com: gone' }, { domain: 'b.com', reason: 'x\ny' }]); });
  t.is(err, 'sitegen: error: a.com: gone\nsitegen: error: b.com: x\nsitegen: error: b.com: y\n');
  t.is(code, 1);
  t.is(printFaults([]), 0);
});
