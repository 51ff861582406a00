import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import test from 'ava';
import { SitegenError } from '../../../lib/pure/errors.ts';
import { siteNames } from '../../../lib/pure/names.ts';
import { loopbackOf, processFields, processService, processUnit, resolveProcess } from '../../../lib/pure/process.ts';
import { repository } from '../_site.ts';
import { environmentOf, readUnit, valuesOf } from '../_systemd.ts';

const template = readFileSync(`${repository}/templates/site/process.mustache`, 'utf8');
const names = siteNames('my-site.org');
const own = { address: '127.214.7.9', port: 8080 };
const others = new Map([['api.example.com', { address: '127.214.1.2', port: 3000 }]]);
const specOf = (settings: object) => resolveProcess(processFields.parse(settings), names, own, others);
const unitOf = (settings: object) => processUnit(template, names, specOf(settings), own, 1500);

test('a program is told where to listen, and where other sites\' programs do', (t) => {
  const spec = specOf({ command: ['/usr/bin/node', 'server.js', '--port=${port}'], args: ['${address}:${port}', '${api.example.com.port}', '${my-site.org.port}', 5], cwd: 'app', env: { API: 'http://${api.example.com.address}:${api.example.com.port}', HOST: '0.0.0.0' } });
  t.deepEqual(spec.argv, ['/usr/bin/node', 'server.js', '--port=8080', '127.214.7.9:8080', '3000', '8080', '5']);
  t.deepEqual(spec.env, { PORT: '8080', HOST: '0.0.0.0', API: 'http://127.214.1.2:3000' });
  t.is(spec.cwd, `${names.dataDir}/app`);
});

test('what a shell has of variables stays its own', (t) => {
  t.deepEqual(specOf({ script: 'echo "$HOME ${X:-y} ${port}" $1', args: ['a'] }).argv, ['/bin/sh', '-ec', 'echo "$HOME ${X:-y} 8080" $1', 'script', 'a']);
});

test('a place of a site that has no program is refused', (t) => {
  t.throws(() => specOf({ command: ['x', '${none.example.com.port}'] }), { instanceOf: SitegenError, message: /no site none\.example\.com/ });
});

test('settings of a program are refused that could be no program', (t) => {
  for (const settings of [{}, { command: ['x'], script: 'x' }, { command: [] }, { command: ['x'], cwd: '../up' }, { command: ['x'], cwd: '/a/../b' }, { command: ['x'], env: { 'A B': 1 } }, { command: ['x'], user: 'root' }, { script: 'a\0b' }]) {
    t.false(processFields.safeParse(settings).success, JSON.stringify(settings));
  }
  // systemd's own signs before a program, as one for root.
  for (const program of ['+/bin/sh', '!x', '-x', '@x', ':x', '|x']) t.throws(() => unitOf({ command: [program] }), { instanceOf: SitegenError }, program);
});

test('each site has an address of its own on the loopback', (t) => {
  t.is(loopbackOf('10.214.7.9'), '127.214.7.9');
});

test('the unit has the program as it is, in the slice that is frozen', (t) => {
  const arg = 'a "b" \\ %h $HOME ${X}\nc';
  const unit = readUnit(unitOf({ command: ['/usr/bin/x', arg], env: { ODD: 'a "b" %i $Y\\' } }));
  t.deepEqual(valuesOf(unit, 'ExecStart'), [':"/usr/bin/x" "a \\"b\\" \\\\ %%h $HOME ${X}\\x0ac"']);
  t.is(environmentOf(unit)['ODD'], 'a "b" %i $Y\\');
  t.deepEqual(valuesOf(unit, 'Slice'), [names.appSlice]);
  t.deepEqual([valuesOf(unit, 'DynamicUser'), valuesOf(unit, 'ProtectSystem'), valuesOf(unit, 'PrivateTmp')], [['yes'], ['strict'], ['yes']]);
  t.deepEqual(valuesOf(unit, 'SocketBindAllow'), ['ipv4:tcp:8080']);
  t.deepEqual(valuesOf(readUnit(unitOf({ command: ['/x'], listenFds: true })), 'SocketBindAllow'), []);
});

test('two sites whose names are cut alike have users of their own', (t) => {
  const userOf = (domain: string) => valuesOf(readUnit(processUnit(template, siteNames(domain), specOf({ command: ['/x'] }), own, 0)), 'User')[0] ?? '';
  const [one, two] = [userOf('a-long-name-of-a-site.example.com'), userOf('a-long-name-of-a-site.example.org')];
  t.not(one, two);
  for (const user of [one, two]) t.regex(user, /^[a-z][a-z0-9-]{0,30}$/);
});

(existsSync('/usr/bin/systemd-analyze') ? test : test.skip)('systemd takes every setting of the unit', async (t) => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'sitegen-process-'));
  t.teardown(() => { rmSync(folder, { recursive: true }); });
  const file = `${folder}/${processService(names).replace('@', '_')}`;
  const complaints = (content: string) => new Promise<string[]>((resolve) => {
    writeFileSync(file, content);
    execFile('systemd-analyze', ['verify', '--man=no', '--recursive-errors=no', file], (_error, stdout, stderr) => {
      resolve(`${stdout}\n${stderr}`.split('\n').filter((line) => /ignoring|Unknown|Failed to parse|not executable|Invalid/i.test(line)));
    });
  });
  t.deepEqual(await complaints(unitOf({ command: ['/bin/sh', 'a "b" %h $X'], env: { A: '"%i' } })), []);
  t.true((await complaints(unitOf({ command: ['/bin/sh'] }).replace('PrivateTmp=yes', 'PrivateTemp=yes'))).length > 0, 'a fault would be seen');
});
