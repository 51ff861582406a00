import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { execa } from 'execa';

const repository = path.resolve(import.meta.dirname, '../..');
const bundle = await mkdtemp(path.join(os.tmpdir(), 'sitegen-bundle-'));

test.before('the bundle is built', async () => {
  await execa('node', ['scripts/build.mjs', bundle], { cwd: repository });
});
test.after.always(() => rm(bundle, { recursive: true, force: true }));

async function sitegen(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const { exitCode, stdout, stderr } = await execa('node', [`${bundle}/sitegen.mjs`, ...args], {
    reject: false, stdin: 'ignore', timeout: 180_000, env: { SITEGEN_TEMPLATES: `${repository}/templates`, DBUS_SYSTEM_BUS_ADDRESS: 'unix:path=/nonexistent' },
  });
  return { code: exitCode ?? -1, out: stdout, err: stderr };
}

/** Nothing but an error and a hint on standard error, and no stack. */
function refused(t: ExecutionContext, result: { code: number; out: string; err: string }, code: number, error: RegExp): void {
  t.is(result.code, code, result.err);
  t.is(result.out, '');
  const lines = result.err.split('\n');
  t.regex(lines[0] ?? '', error);
  for (const line of lines) t.regex(line, /^sitegen: (error|hint): \S/);
  t.notRegex(result.err, /fault of sitegen/);
}

function misused(args: string[], error: RegExp, hint = /./): void {
  test(`sitegen ${args.join(' ')} is wrong usage`, async (t) => {
    const result = await sitegen(...args);
    refused(t, result, 2, error);
    t.regex(/sitegen: hint: (.*)/.exec(result.err)?.[1] ?? (hint.source === '.' ? 'none' : ''), hint);
  });
}

misused([], /^sitegen: error: no command given$/, /^see: sitegen --help$/);
misused(['bogus'], /^sitegen: error: unknown command: bogus$/, /--help$/);
misused(['lis'], /^sitegen: error: unknown command: lis$/, /^Did you mean list\? /);
misused(['list', '--bogus'], /^sitegen: error: Unknown argument: bogus$/, /^see: sitegen list --help$/);
misused(['list', 'example.com'], /^sitegen: error: Unknown argument: example\.com$/);
misused(['add'], /^sitegen: error: add: a name is missing$/, /^see: sitegen add --help$/);
misused(['add', '*.example.com', '--dry-run'], /^sitegen: error: "\*\.example\.com" is not a domain: wildcards cannot be a site$/, /^give a name such as example\.com$/);
misused(['add', '../../etc', '--dry-run'], /^sitegen: error: "\.\.\/\.\.\/etc" is not a domain: /);
misused(['add', 'a\nb.com', '--dry-run'], /^sitegen: error: "a\\nb\.com" is not a domain: /);
misused(['add', 'example.com', '--alias', 'example.com', '--dry-run'], /^sitegen: error: example\.com cannot be its own alias$/);
misused(['add', 'example.com', '--alias'], /^sitegen: error: Not enough arguments following: alias$/);
misused(['add', 'example.com', '--env', 'novalue', '--dry-run'], /^sitegen: error: --env novalue: is not NAME=VALUE$/);
for (const port of ['0', 'abc', '70000', '8e1', '']) misused(['add', 'example.com', '--port', port, '--dry-run'], /^sitegen: error: --port .*: is not a port: write a number from 1 to 65535$/);
misused(['add', 'example.com', '--image', 'x', '--app', 'y'], /^sitegen: error: Arguments image and app are mutually exclusive$/);
misused(['status', 'a..b'], /^sitegen: error: "a\.\.b" is not a domain: /);
misused(['timeline', 'example.com', '--since', 'soon'], /^sitegen: error: "soon" is not a time$/);
misused(['timeline', 'example.com', '--svg'], /^sitegen: error: Not enough arguments following: svg$/);
misused(['top', 'example.com'], /^sitegen: error: Unknown argument: example\.com$/);
misused(['start'], /^sitegen: error: no domain given$/, /--all/);
misused(['stop', '--all', 'example.com'], /^sitegen: error: give domains or --all, not both$/);
misused(['exec', 'example.com'], /^sitegen: error: no command given$/, /^sitegen exec DOMAIN -- CMD/);
misused(['exec', '--', 'true'], /^sitegen: error: no domain given$/);
misused(['compose', 'example.com'], /^sitegen: error: no command given$/, /there are: ps, /);
misused(['compose', 'example.com', '--', 'down'], /^sitegen: error: compose down would go past the site's own life$/, /^use: sitegen stop DOMAIN/);
misused(['import'], /^sitegen: error: say what: sitegen import compose DIR$/);
misused(['add', 'example.com', '--compose', 'x.yaml'], /^sitegen: error: --compose and --entrypoint belong together$/);

test('--help names every command, on standard output', async (t) => {
  const { code, out, err } = await sitegen('--help');
  t.is(code, 0);
  t.is(err, '');
  for (const command of ['add', 'remove', 'list', 'status', 'top', 'timeline', 'start', 'stop', 'restart', 'enable', 'disable', 'logs', 'exec', 'shell', 'compose', 'import', 'apply', 'diff', 'validate', 'alarms', 'doctor', 'init', 'completion']) {
    t.regex(out, new RegExp(`^  sitegen ${command}\\b`, 'm'), command);
  }
});

test('--help of a command tells its options', async (t) => {
  const { code, out } = await sitegen('add', '--help');
  t.is(code, 0);
  for (const option of ['app', 'image', 'alias', 'port', 'env', 'volume', 'memory', 'dry-run', 'quiet', 'yes', 'verbose', 'color']) t.regex(out, new RegExp(`--${option}\\b`), option);
});

test('--version is that of the package', async (t) => {
  const { default: { version } } = await import(`${repository}/package.json`, { with: { type: 'json' } }) as { default: { version: string } };
  const { code, out } = await sitegen('--version');
  t.is(code, 0);
  t.is(out, version);
});

test('completion prints a script for the shell', async (t) => {
  const { code, out } = await sitegen('completion');
  t.is(code, 0);
  t.regex(out, /complete .*sitegen/);
});

// What follows asks /etc/sitegen, which a test must not write.
const onMachineWithoutSites = existsSync('/etc/sitegen/sites') ? test.skip : test;

onMachineWithoutSites('validate has nothing to say against no settings', async (t) => {
  t.deepEqual(await sitegen('validate'), { code: 0, out: '', err: '0 sites are valid' });
  t.deepEqual(await sitegen('validate', '--quiet'), { code: 0, out: '', err: '' });
  const { code, out, err } = await sitegen('validate', '--json');
  t.deepEqual([code, JSON.parse(out), err], [0, { valid: [], faults: [] }, '']);
});

for (const args of [['validate'], ['status'], ['timeline'], ['start'], ['enable'], ['logs'], ['shell'], ['remove', '--purge'], ['diff']]) {
  onMachineWithoutSites(`sitegen ${args.join(' ')} names a site that does not exist`, async (t) => {
    const result = await sitegen(...args, 'Example.com');
    refused(t, result, 1, /^sitegen: error: example\.com: there is no such site$/);
    t.regex(result.err, /sitegen: hint: .*sitegen (list|add)/);
  });
}

onMachineWithoutSites('settings that are wrong are refused before anything is looked at', async (t) => {
  for (const [option, value, error] of [['memory', '0', /limits\.memoryMax: "0" is not a size/],
    ['volume', '/etc:/etc', /volumes\.0: "\/etc:\/etc" is not a volume/], ['env', 'A-B=1', /env\.A-B: is not a variable's name/], ['app', 'nonexistent', /there is no app "nonexistent"; there are: .*welcome/]] as const) {
    refused(t, await sitegen('add', 'example.com', `--${option}`, value, '--dry-run'), 1, error);
  }
});

test('without systemd a command says so', async (t) => {
  for (const command of ['list', 'alarms']) refused(t, await sitegen(command), 1, /^sitegen: error: systemd cannot be reached over D-Bus: /);
});
