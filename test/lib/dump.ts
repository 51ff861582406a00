import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import test, { type ExecutionContext } from 'ava';
import type { Docker } from '../../lib/effects/docker.ts';
import { resolveDump, type Dump } from '../../lib/pure/dump.ts';
import { SitegenError } from '../../lib/pure/errors.ts';
import { siteNames } from '../../lib/pure/names.ts';
import { dumpDatabase, loadDatabase, runHook } from '../../lib/usecases/dump.ts';

const names = siteNames('example.com');
type Exec = Docker['exec'];
type Answer = Partial<Awaited<ReturnType<Exec>>> & { out?: readonly string[]; err?: string };

/** A container that answers each program as told; what was run is in `ran`. */
function fakeDocker(answer: (program: string, command: Parameters<Exec>[1], streams: Parameters<Exec>[2] & object) => Answer | Promise<Answer>, running = true) {
  const ran: { program: string; user: string | undefined }[] = [];
  const docker: Pick<Docker, 'find' | 'exec'> = {
    find: (name, domain) => Promise.resolve({ id: '1', name, domain, specHash: '', running, status: running ? 'running' : 'exited' }),
    async exec(_container, command, streams = {}) {
      const program = command.argv[0] ?? '';
      ran.push({ program, user: command.user });
      const { out = [], err, exitCode = 0, stderrTail = err ?? '' } = await answer(program, command, streams);
      for (const piece of out) await streams.stdout?.(Buffer.from(piece));
      if (err !== undefined) await streams.stderr?.(Buffer.from(err));
      return { exitCode, stderrTail };
    },
  };
  return { docker, ran };
}

/** A known way with programs that have short names. */
function known(changes: Partial<Dump> = {}): Dump {
  return { ...resolveDump({ way: 'mariadb', database: 'shop' }, 5000), argv: ['dump'], loadArgv: ['load'], readyArgv: ['ready'], tablesArgv: ['tables'], ...changes };
}

const hex = (name: string) => name.split('.').map((part) => Buffer.from(part).toString('hex')).join('.');
const whole = ['USE `shop`;\nCREATE TA', 'BLE `a` (\n', '-- Dump completed\n'];

async function folder(t: ExecutionContext): Promise<string> {
  const made = await mkdtemp(path.join(os.tmpdir(), 'sitegen-dump-'));
  t.teardown(() => rm(made, { recursive: true }));
  return made;
}

test('a dump is there for root alone, and what earlier runs left is gone', async (t) => {
  const dir = await folder(t);
  await writeFile(`${dir}/.sitegen-999999999-abcdef.tmp`, 'half');
  await writeFile(`${dir}/dump.sql`, 'old', { mode: 0o644 });
  const { docker, ran } = fakeDocker((program) => (program === 'dump' ? { out: whole } : program === 'tables' ? { out: [`${hex('shop.a')}\n`] } : {}));
  t.deepEqual(await dumpDatabase(docker, names, known(), null, `${dir}/dump.sql`), { bytes: whole.join('').length });
  t.is(await readFile(`${dir}/dump.sql`, 'utf8'), whole.join(''));
  t.is((await stat(`${dir}/dump.sql`)).mode & 0o777, 0o600);
  t.deepEqual(await readdir(dir), ['dump.sql']);
  t.deepEqual(ran, [{ program: 'id', user: undefined }, ...['ready', 'tables', 'dump'].map((program) => ({ program, user: 'root' }))]);
});

test('a container without the user runs programs as its own', async (t) => {
  const dir = await folder(t);
  const { docker, ran } = fakeDocker((program) => (program === 'dump' ? { out: whole } : { exitCode: program === 'id' ? 1 : 0 }));
  await dumpDatabase(docker, names, known(), null, `${dir}/dump.sql`);
  t.true(ran.every(({ user }) => user === undefined));
});

test('a table that is missing may have been dropped meanwhile, and one that is still there may not', async (t) => {
  const dir = await folder(t);
  for (const [after, error] of [[['shop.a'], undefined], [['shop.a', 'shop.b'], /a table is missing: shop\.b$/]] as const) {
    let asked = 0;
    const { docker } = fakeDocker((program) => {
      if (program === 'tables') return { out: (asked++ === 0 ? ['shop.a', 'shop.b'] : after).map((name) => `${hex(name)}\n`) };
      return program === 'dump' ? { out: whole } : {};
    });
    const attempt = dumpDatabase(docker, names, known(), null, `${dir}/dump.sql`);
    if (error) t.regex((await t.throwsAsync(attempt, { instanceOf: SitegenError })).message, error);
    else await t.notThrowsAsync(attempt);
    t.is(asked, 2);
  }
});

test('without a size that is known, a dump is held against the one that it would replace', async (t) => {
  const dir = await folder(t);
  await writeFile(`${dir}/dump.sql`, 'x'.repeat(200_000));
  const { docker } = fakeDocker((program) => (program === 'dump' ? { out: whole } : {}));
  const error = await t.throwsAsync(dumpDatabase(docker, names, known(), null, `${dir}/dump.sql`), { instanceOf: SitegenError });
  t.regex(error.message, /^example\.com: the dump of its database failed: it shrank from 195\.3K to \d+B, by more than 50%$/);
  t.regex(error.hint ?? '', /dump\.check\.shrink/);
  t.is((await stat(`${dir}/dump.sql`)).size, 200_000);
  t.deepEqual(await readdir(dir), ['dump.sql']);
  await dumpDatabase(docker, names, known(), 100, `${dir}/dump.sql`);
});

test('room is asked for before anything is dumped', async (t) => {
  const dir = await folder(t);
  const { docker, ran } = fakeDocker(() => ({}));
  const error = await t.throwsAsync(dumpDatabase(docker, names, known(), 2 ** 50, `${dir}/dump.sql`), { instanceOf: SitegenError });
  t.regex(error.message, /the disk of .* has only \d+M free, and \d+M are needed/);
  t.false(ran.some(({ program }) => program === 'dump'));
});

test('a database that does not answer yet is asked again, and one without its programs is not', async (t) => {
  const dir = await folder(t);
  let tries = 0;
  const patient = fakeDocker((program) => (program === 'dump' ? { out: whole } : { exitCode: program === 'ready' && tries++ < 2 ? 1 : 0 }));
  await dumpDatabase(patient.docker, names, known(), null, `${dir}/dump.sql`);
  t.is(tries, 3);
  const bare = fakeDocker((program) => (program === 'ready' ? { exitCode: 127, err: 'error: the container has no program mariadb' } : {}));
  const error = await t.throwsAsync(dumpDatabase(bare.docker, names, known(), null, `${dir}/dump.sql`), { instanceOf: SitegenError });
  t.regex(error.message, /the database does not answer: error: the container has no program mariadb$/);
  const late = fakeDocker((program) => ({ exitCode: program === 'ready' ? 1 : 0 }));
  const tooLate = await t.throwsAsync(dumpDatabase(late.docker, names, known({ timeoutMs: 700 }), null, `${dir}/dump.sql`), { instanceOf: SitegenError });
  t.regex(tooLate.message, /it took longer than 700 ms$/);
});

test('a container that does not run is no place for any of it', async (t) => {
  const dir = await folder(t);
  await writeFile(`${dir}/dump.sql`, 'x');
  const { docker, ran } = fakeDocker(() => ({}), false);
  for (const attempt of [
    dumpDatabase(docker, names, known(), null, `${dir}/dump.sql`),
    loadDatabase(docker, names, known(), `${dir}/dump.sql`, () => undefined),
    runHook(docker, names, 'launch', { argv: ['x'], timeoutMs: 1000 }, [], () => undefined),
  ]) t.regex((await t.throwsAsync(attempt, { instanceOf: SitegenError })).message, /^example\.com: .* failed: its container site-example\.com does not run$/);
  t.deepEqual(ran, []);
});

test('a dump is loaded once the database has answered twice', async (t) => {
  const dir = await folder(t);
  await writeFile(`${dir}/dump.sql`, 'everything');
  const lines: string[] = [];
  let loaded = '';
  const { docker, ran } = fakeDocker(async (program, _command, { stdin }) => {
    if (program === 'load' && stdin) loaded = await text(stdin);
    return {};
  });
  await loadDatabase(docker, names, known(), `${dir}/dump.sql`, (line) => lines.push(line));
  t.is(loaded, 'everything');
  t.deepEqual(ran.map(({ program }) => program), ['id', 'ready', 'ready', 'load']);
  t.deepEqual(lines, ['loading the dump of its database, 10B']);
});

test('a bug is not taken for a failure of the database', async (t) => {
  const { docker } = fakeDocker(() => { throw new TypeError('undefined is not a function'); });
  await t.throwsAsync(runHook(docker, names, 'launch', { argv: ['x'], timeoutMs: 1000 }, [], () => undefined), { instanceOf: TypeError });
});

test('a failed hook is told with its last five lines', async (t) => {
  const { docker } = fakeDocker(() => ({ out: ['1\n2\n3\n4\n', '5\n6'], exitCode: 1 }));
  const error = await t.throwsAsync(runHook(docker, names, 'install', { argv: ['install', 'it'], timeoutMs: 1000 }, [], () => undefined), { instanceOf: SitegenError });
  t.is(error.message, 'example.com: install failed: exit code 1: 2; 3; 4; 5; 6');
  t.is(error.hint, 'try it by hand: sitegen exec example.com -- install');
});
