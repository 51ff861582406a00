import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { execFile } from 'node:child_process';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import type { Desired } from '../../lib/pure/desired.ts';
import { SitegenError } from '../../lib/pure/errors.ts';
import { parseUsers, routerDropIns } from '../../lib/pure/haproxy.ts';
import { listenSocket, parseListenSocket, paths } from '../../lib/pure/names.ts';
import { mapNames } from '../../lib/pure/routes.ts';
import { isRefusal, parseCase, readCases, type Case } from './_cases.ts';
import { routedOf, type Routed } from './_router.ts';
import { desiredOf, unitText } from './_site.ts';
import { environmentOf, readUnit, valuesOf } from './_systemd.ts';

/*
 * A case file has settings, a line "----------", and what is asserted of them, one a line:
 *
 *   # defaults:                             sitegen.yaml, if the case begins with this line
 *   # app:                                  app.yaml of the app that the site uses, if given
 *   # site:                                 the site's settings; needed only after one of the above
 *
 *   service ExecStart /usr/lib/sitegen/wake one of the values of a setting in a unit:
 *                                           socket, service, slice, app-slice, entry-slice,
 *                                           process or process-socket
 *   slice !MemoryHigh                       the unit does not have the setting
 *   units slice service socket              the units that the site has, and no others; "none" for none
 *   listens 25 143                          the public ports that systemd holds; "none" for none
 *   port 25 ListenStream 25                 one of the values of a setting in the socket of such a port
 *   environment SITEGEN_PORT 80             a variable of the service, as programs see it
 *   variable PORT="8080"                    a line of the environment of a program without a container
 *   container HostConfig.CgroupParent "x"   a value in the container's specification, as JSON
 *   container !HostConfig.Privileged        the specification does not have the key
 *   container !                             there is no container
 *   member db HostConfig.CgroupParent "x"   the same of a service of a Compose project
 *   directory uploads                       made below the site's data ("." is the data itself)
 *
 *   map names www.example.com example.com|redirect
 *                                           an entry of one of the router's maps
 *   map names !www.example.com              the map does not have the key
 *   map !nets                               the map has no entry
 *   users example.com/alice $6$…            a user whom the router knows, with the hash
 *   users none                              there is no user
 *   config http-request …                   a line of the router's configuration
 *   config !log global                      no line of it is this one
 *   probes /.env                            a path that the router answers itself
 *   listen ListenStream=127.0.0.1:9475      a line of the drop-ins for the router's sockets
 *   entry certificate "manual"              a value of what was decided about the site's entry, as JSON
 *   site exclude ["cache"]                  the same of the whole site; "site !workload.dump" for none
 *   defaults acme.email "a@example.com"     a value of sitegen.yaml as it was read, as JSON
 *
 *   error: fragment                         the settings are refused, and the message has this in it
 */

const kinds = ['slice', 'app-slice', 'entry-slice', 'service', 'socket', 'process', 'process-socket'] as const;

function check(t: ExecutionContext, want: Desired, routed: Routed, line: string): void {
  const [subject = '', key = '', ...rest] = line.split(' ');
  const expected = rest.join(' ');
  const kind = kinds.find((each) => each === subject);
  const absent = key.startsWith('!');
  if (kind) {
    const values = valuesOf(readUnit(unitText(want, kind)), key.replace('!', ''));
    if (absent) t.deepEqual(values, [], line);
    else t.true(values.includes(expected), `${line}: has ${JSON.stringify(values)}`);
  } else if (subject === 'units') {
    const there = kinds.filter((each) => unitText(want, each) !== '');
    t.is(there.length, want.files.filter(({ path }) => path.startsWith(paths.unitsDir)).length, line);
    t.deepEqual(there.length === 0 ? ['none'] : [...there].sort(), [key, ...rest].sort(), line);
  } else if (subject === 'listens') {
    const there = want.listens.map((socket) => String(parseListenSocket(socket)?.port));
    t.deepEqual(there.length === 0 ? ['none'] : there, [key, ...rest], line);
    for (const socket of want.listens) t.true(want.files.some((file) => file.path === `${paths.unitsDir}/${socket}`), socket);
  } else if (subject === 'port') {
    const socket = `${paths.unitsDir}/${listenSocket(want.names, Number(key))}`;
    const [name = '', ...value] = rest;
    const values = valuesOf(readUnit(want.files.find((file) => file.path === socket)?.content ?? ''), name);
    t.true(values.includes(value.join(' ')), `${line}: has ${JSON.stringify(values)}`);
  } else if (subject === 'environment') {
    t.is(environmentOf(readUnit(unitText(want, 'service')))[key], expected, line);
  } else if (subject === 'variable') {
    t.true(want.files.find(({ path }) => path === want.names.environmentFile)?.content.split('\n').includes([key, ...rest].join(' ')) === true, line);
  } else if (subject === 'container') {
    const value = valueAt(want.container, key.replace('!', ''));
    if (absent) t.is(value, undefined, line);
    else t.deepEqual(value, JSON.parse(expected), line);
  } else if (subject === 'member') {
    const [path = '', ...value] = rest;
    const found = valueAt(want.project?.containers.find(({ service }) => service === key)?.spec, path.replace('!', ''));
    if (path.startsWith('!')) t.is(found, undefined, line);
    else t.deepEqual(found, JSON.parse(value.join(' ')), line);
  } else if (subject === 'directory') {
    t.true(want.dataDirs.includes(key === '.' ? want.names.dataDir : `${want.names.dataDir}/${key}`), `${line}: has ${want.dataDirs.join(' ')}`);
  } else {
    checkRouter(t, routed, line);
  }
}

function checkRouter(t: ExecutionContext, routed: Routed, line: string): void {
  const [subject = '', key = '', ...rest] = line.split(' ');
  const whole = line.slice(subject.length + 1);
  if (subject === 'map') {
    const name = mapNames.find((each) => each === key.replace('!', ''));
    if (name === undefined) {
      t.fail(`no such map: ${line}`);
      return;
    }
    const entries = routed.maps[name];
    const [entry = '', ...value] = rest;
    if (key.startsWith('!')) t.deepEqual([...entries], [], line);
    else if (entry.startsWith('!')) t.false(entries.has(entry.slice(1)), `${line}: has ${entries.get(entry.slice(1))}`);
    else t.is(entries.get(entry), value.join(' '), `${line}: has ${JSON.stringify([...entries])}`);
  } else if (subject === 'users') {
    const users = parseUsers(routed.users);
    if (whole === 'none') t.is(users.size, 0, line);
    else t.is(users.get(key), rest.join(' '), line);
  } else if (subject === 'config') {
    const lines = routed.config.split('\n').map((each) => each.trim());
    t.is(lines.includes(whole.replace(/^!/, '')), !whole.startsWith('!'), line);
  } else if (subject === 'probes') {
    t.true(routed.probes.includes(whole), line);
  } else if (subject === 'listen') {
    t.true(routerDropIns(routed.defaults.router, true).some(({ content }) => content?.split('\n').includes(whole)), line);
  } else if (subject === 'site' && key.startsWith('!')) {
    t.is(valueAt(routed.site, key.slice(1)), undefined, line);
  } else if (subject === 'site' || subject === 'entry' || subject === 'defaults') {
    t.deepEqual(valueAt({ site: routed.site, entry: routed.site.entry, defaults: routed.defaults }[subject], key), JSON.parse(rest.join(' ')), line);
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

function run(t: ExecutionContext, parsed: Case): void {
  const { written, asserts } = parsed;
  t.true(asserts.length > 0, 'the case asserts nothing');
  const fragments = asserts.filter((line) => line.startsWith('error: ')).map((line) => line.slice('error: '.length));
  if (!isRefusal(parsed)) {
    const want = desiredOf(written);
    const routed = routedOf(written);
    for (const line of asserts) check(t, want, routed, line);
    return;
  }
  t.is(fragments.length, asserts.length, 'a case that is refused has no other asserts');
  const error = t.throws(() => desiredOf(written), { instanceOf: SitegenError });
  for (const fragment of fragments) t.true(error.message.includes(fragment), `${fragment}: has ${error.message}`);
}

const verify = async (files: readonly string[]) => promisify(execFile)('systemd-analyze', ['verify', '--man=no', '--recursive-errors=no', ...files])
  .then(({ stderr }) => stderr, (error: unknown) => (error as { stderr?: string; code?: string | number }).stderr ?? '');
const hasSystemd = await promisify(execFile)('systemd-analyze', ['--version']).then(() => true, () => false);

const cases = await readCases();

test('there are cases', (t) => {
  t.true(cases.length > 0);
});

for (const each of cases) {
  test(each.name.replaceAll('-', ' '), (t) => { run(t, each); });
}

test('a case that asserts nothing, something unknown or something wrong fails', async (t) => {
  for (const assert of ['', 'unit Slice x', 'service Type simple', 'slice !MemoryMax', 'units none', 'units slice service socket', 'listens 25', 'port 25 ListenStream 25', 'environment SITEGEN_PORT 81',
    'container Image "other"', 'container !Image', 'container !', 'member db Image "x"', 'directory other',
    'map names example.com other|serve', 'map names other.com example.com|serve', 'map names !example.com', 'map !names', 'map other x y', 'users example.com/alice x', 'config bind fd@9',
    'config !mode http', 'probes /', 'listen ListenStream=127.0.0.1:9475', 'entry certificate "manual"', 'site backedUp false', 'site !backedUp', 'defaults acme.email "a@example.com"', 'error: anything']) {
    const attempt = await t.try((inner) => { run(inner, parseCase('x', `domain: example.com\nimage: x\n${assert === '' ? '' : `----------\n${assert}\n`}`)); });
    attempt.discard();
    t.false(attempt.passed, assert);
  }
  for (const settings of ['port: 0\n----------\nerror: another reason\n', 'auth: {alice: $6$abcdefgh$abcdefghijklmnopqrstuvwx}\n----------\nusers none\n']) {
    const wrong = await t.try((inner) => { run(inner, parseCase('x', `domain: example.com\n${settings}`)); });
    wrong.discard();
    t.false(wrong.passed, settings);
  }
});

(hasSystemd ? test : test.skip)('systemd takes every setting of all cases', async (t) => {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'sitegen-units-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const files: string[] = [];
  for (const { written } of cases.filter((each) => !isRefusal(each))) {
    for (const file of desiredOf(written).files) {
      // Of an instance it looks for the template.
      const target = path.join(directory, path.basename(file.path).replace(/@(.*)(?=\.)/, (instance) => instance.replaceAll(/[@:]/g, '_')));
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
