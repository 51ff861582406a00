import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import test from 'ava';
import { SitegenError } from '../../../lib/pure/errors.ts';
import { processId, siteNames } from '../../../lib/pure/names.ts';
import { addressFor, domainOfProcess, environmentText, loopbackOf, processHash, processSocketUnit, processUnit, resolveProcess, sandboxOf, siteIdOf, sitesNamed, suggestedUid, userOf } from '../../../lib/pure/process.ts';
import { besideProcess, processFields } from '../../../lib/pure/schema-process.ts';
import { builtIn } from '../../../lib/pure/site.ts';
import { templates } from '../_site.ts';
import { readUnit, valuesOf } from '../_systemd.ts';

const names = siteNames('my-site.org');
const own = { site: '10.213.7.9', address: '127.214.7.9', port: 8080 };
const others = new Map([['api.example.com', { address: '127.214.1.2', port: 3000 }]]);
const specOf = (settings: object, secrets = {}) => resolveProcess(processFields.parse(settings), names, own, others, secrets);
const sandbox = (settings: object) => sandboxOf(names, specOf(settings), own, builtIn.ranges, [...others.values()]);
const unitOf = (settings: object) => processUnit(templates.process, names, specOf(settings), sandbox(settings), 1500);

test('a program is told where to listen, and where other sites\' programs do', (t) => {
  const spec = specOf({ command: ['/usr/bin/node', 'server.js', '--port=${port}'], args: ['${address}:${port}', '${api.example.com.port}', '${my-site.org.port}', 5], cwd: 'app', env: { API: 'http://${api.example.com.address}:${api.example.com.port}', HOST: '0.0.0.0' } }, { TOKEN: '${port}' });
  t.deepEqual(spec.argv, ['/usr/bin/node', 'server.js', '--port=8080', '127.214.7.9:8080', '3000', '8080', '5']);
  t.deepEqual(spec.env, { PORT: '8080', HOST: '0.0.0.0', HOME: names.dataDir, API: 'http://127.214.1.2:3000', TOKEN: '${port}' });
  t.is(spec.cwd, `${names.dataDir}/app`);
});

test('sites are found that a program is to be told of', (t) => {
  t.deepEqual(sitesNamed(processFields.parse({ command: ['x', '${a.example.com.port}', '${port}'], args: ['${b.example.com.address}:${a.example.com.port}'], env: { C: '${c.example.com.port} ${HOME}' } })), ['a.example.com', 'b.example.com', 'c.example.com']);
  t.deepEqual(sitesNamed(processFields.parse({ script: 'x ${d.example.com.port}' })), ['d.example.com']);
});

test('what a shell has of variables stays its own', (t) => {
  t.deepEqual(specOf({ script: 'echo "$HOME ${X:-y} ${port}" $1', args: ['a'] }).argv, ['/bin/sh', '-ec', 'echo "$HOME ${X:-y} 8080" $1', 'script', 'a']);
});

test('a place of a site that has no program is refused', (t) => {
  t.throws(() => specOf({ command: ['x', '${none.example.com.port}'] }), { instanceOf: SitegenError, message: /no site none\.example\.com/ });
});

test('settings of a program are refused that could be no program', (t) => {
  for (const settings of [{}, { command: ['x'], script: 'x' }, { command: [] }, { command: ['x'], cwd: '../up' }, { command: ['x'], cwd: '/a/../b' }, { command: ['x'], env: { 'A B': 1 } }, { command: ['x\0'] }, { command: ['x'], user: 'root' }, { command: ['x'], cwd: './a' }, { command: ['x'], cwd: 'a ' }, { command: ['x'], cwd: 'a\tb' }, { command: ['bin/x'] }, { command: ['+/bin/sh'] }, { command: ['x'], env: { A: '\u0007' } }]) {
    t.false(processFields.safeParse(settings).success, JSON.stringify(settings));
  }
  // systemd's own signs before a program, as one for root.
  for (const program of ['+/bin/sh', '!x', '-x', '@x', ':x', '|x']) {
    t.false(processFields.safeParse({ command: [program] }).success, program);
    const spec = { argv: [program], cwd: '/', env: {}, listenFds: false };
    t.throws(() => processUnit(templates.process, names, spec, [], 0), { instanceOf: SitegenError }, program);
  }
});

test('what belongs to a container is refused beside a program, by its path', (t) => {
  const program = processFields.parse({ command: ['x'] });
  const found = besideProcess({ process: program, port: 80, env: {}, volumes: [], owners: {}, pin: '1', update: 'auto', listen: [25], hooks: { upgrade: ['x'] }, dump: { user: 'a' }, jobs: { a: { user: 'b' }, b: {}, c: false } });
  t.deepEqual(found.map(([at]) => at.join('.')).sort(), ['dump.user', 'env', 'hooks.upgrade', 'jobs.a.user', 'listen', 'owners', 'pin', 'port', 'update', 'volumes']);
  t.deepEqual(besideProcess({ process: program, port: 1024, jobs: { a: {} }, dump: {}, hooks: {} }), []);
  t.deepEqual(besideProcess({ process: processFields.parse({ command: ['x'], listenFds: true }), port: 80 }), [], 'systemd opens it');
});

test('each site has an address of its own on the loopback', (t) => {
  t.is(loopbackOf('10.214.7.9'), '127.214.7.9');
  const address = { site: '10.213.7.9', container: '10.214.7.9' };
  t.deepEqual([addressFor({ program: {} }, address), addressFor({ program: undefined }, address), addressFor(undefined, address)], [{ site: '10.213.7.9', container: '127.214.7.9' }, address, address]);
});

test('the unit has the program as it is, in the slice that is frozen, and nothing that is secret', (t) => {
  const arg = 'a "b" \\ %h $HOME ${X}\nc';
  const text = unitOf({ command: ['/usr/bin/x', arg], env: { ODD: 'secret' } });
  const unit = readUnit(text);
  t.deepEqual(valuesOf(unit, 'ExecStart'), [':"/usr/bin/x" "a \\"b\\" \\\\ %%h $HOME ${X}\\x0ac"']);
  t.false(text.includes('secret'));
  t.deepEqual(valuesOf(unit, 'EnvironmentFile'), [names.environmentFile]);
  t.deepEqual(valuesOf(unit, 'Slice'), [names.appSlice]);
  t.deepEqual([valuesOf(unit, 'ProtectSystem'), valuesOf(unit, 'PrivateTmp'), valuesOf(unit, 'User')], [['strict'], ['yes'], [userOf(names)]]);
  t.deepEqual([valuesOf(unit, 'TemporaryFileSystem'), valuesOf(unit, 'BindPaths')], [['/var/lib/sitegen:ro'], [names.dataDir]]);
  t.deepEqual(valuesOf(unit, 'SocketBindAllow'), ['ipv4:tcp:8080']);
  t.deepEqual(valuesOf(unit, 'IPAddressDeny'), ['10.213.0.0/16 10.214.0.0/16 127.214.0.0/16 169.254.0.0/16']);
  t.deepEqual(valuesOf(unit, 'IPAddressAllow'), ['10.213.7.9 127.214.7.9 127.214.1.2']);
});

test('a program that takes its socket from systemd opens no port', (t) => {
  const unit = readUnit(unitOf({ command: ['/x'], listenFds: true }));
  t.deepEqual([valuesOf(unit, 'SocketBindAllow'), valuesOf(unit, 'SocketBindDeny')], [[], ['any']]);
  t.deepEqual([valuesOf(unit, 'Requires'), valuesOf(unit, 'Sockets')], [[names.processSocket], [names.processSocket]]);
  const socket = readUnit(processSocketUnit(templates['process-socket'], names, own));
  t.deepEqual([valuesOf(socket, 'ListenStream'), valuesOf(socket, 'BindsTo'), valuesOf(socket, 'Service')], [['127.214.7.9:8080'], [names.processUnit], [names.processUnit]]);
});

test('variables are written as systemd reads them', (t) => {
  t.is(environmentText(names, { A: 'plain', B: 'a "b" \\ $c `d`', C: 'two\nlines' }), `# Made by sitegen from ${names.settingsFile}; "sitegen apply" writes it again.\nA="plain"\nB="a \\"b\\" \\\\ \\$c \\\`d\\\`"\nC="two\nlines"\n`);
});

test('a program is known again by its unit', (t) => {
  t.is(domainOfProcess(unitOf({ command: ['/x'] })), 'my-site.org');
  t.is(domainOfProcess('[Unit]\nDescription=my-site.org: its program\n'), undefined, 'a stranger\'s');
  t.deepEqual([siteIdOf('site-my-site.org'), siteIdOf(names.processUnit), siteIdOf('rehearsal-a.org'), siteIdOf('3f2a')], ['my-site.org', 'my-site.org', undefined, undefined]);
  t.deepEqual([processId(names.processUnit), processId(names.processSocket), processId('sitegen-dump@a.org.service')], ['my-site.org', undefined, undefined]);
  t.not(processHash(['a', 'b']), processHash(['ab', '']));
});

test('two sites whose names are cut alike have users of their own, whose numbers systemd hands out', (t) => {
  const [one, two] = ['a-long-name-of-a-site.example.com', 'a-long-name-of-a-site.example.org'].map((domain) => siteNames(domain));
  if (!one || !two) throw new Error('no names');
  t.not(userOf(one), userOf(two));
  for (const each of [one, two]) {
    t.regex(userOf(each), /^[a-z][a-z0-9-]{0,30}$/);
    t.true(suggestedUid(each) >= 61_184 && suggestedUid(each) <= 65_519);
  }
});

(existsSync('/usr/bin/systemd-analyze') ? test : test.skip)('systemd takes every setting of both units', async (t) => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'sitegen-process-'));
  t.teardown(() => { rmSync(folder, { recursive: true }); });
  const complaints = (file: string, content: string) => new Promise<string[]>((resolve) => {
    writeFileSync(`${folder}/${file}`, content);
    execFile('systemd-analyze', ['verify', '--man=no', '--recursive-errors=no', `${folder}/${file}`], (_error, stdout, stderr) => {
      resolve(`${stdout}\n${stderr}`.split('\n').filter((line) => /ignoring|Unknown|Failed to parse|not executable|Invalid/i.test(line)));
    });
  });
  const service = names.processUnit.replace('@', '_');
  t.deepEqual(await complaints(service, unitOf({ command: ['/bin/sh', 'a "b" %h $X'], env: { A: '"%i' } })), []);
  t.deepEqual(await complaints(names.processSocket.replace('@', '_'), processSocketUnit(templates['process-socket'], names, own)), []);
  t.true((await complaints(service, unitOf({ command: ['/bin/sh'] }).replace('PrivateTmp=yes', 'PrivateTemp=yes'))).length > 0, 'a fault would be seen');
});
