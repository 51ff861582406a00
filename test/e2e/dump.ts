import test, { type ExecutionContext } from 'ava';
import type { DumpSettings } from '../../lib/pure/schema-backup.ts';
import { dumper, installDumper } from './_dump.ts';
import { type Guest, guestName, guestTest, longTest, openGuest, until } from './_guest.ts';
import { ensureDatabases } from './_images.ts';

const domain = 'data.example.com';
const container = `site-${domain}`;
const folder = '/root/dumps';
const mib = 1024 ** 2;

/** The ways, how each database gets its first data, and changes that a load has to undo. */
const ways: readonly { settings: DumpSettings; fill: string; change: string }[] = [
  { settings: { way: 'mariadb', database: 'shop' }, fill: 'mariadb </usr/share/mariadb.sql', change: 'mariadb shop -e "DROP TABLE \\`odd \\`\\`name.x\\`; UPDATE orders SET who = 1; CREATE TABLE more (a INT)"' },
  {
    settings: { way: 'postgresql', database: 'shop' }, fill: 'setpriv --reuid=postgres --init-groups --regid=postgres psql -q -d template1 -f /usr/share/postgresql.sql',
    change: "setpriv --reuid=postgres --init-groups --regid=postgres psql -q -d shop -c 'DROP TABLE parts; DELETE FROM sales.orders; CREATE TABLE more (a int); CREATE SCHEMA more'",
  },
  {
    settings: { way: 'sqlite', database: '/data/sqlite/app.db' }, fill: 'rm -f /data/sqlite/*; sqlite3 /data/sqlite/app.db </usr/share/sqlite.sql; chown -R www-data: /data/sqlite; chmod 640 /data/sqlite/app.db',
    change: "sqlite3 /data/sqlite/app.db 'DROP TABLE words; DELETE FROM posts; CREATE TABLE more(a); PRAGMA user_version=1'",
  },
];

guestTest('what databases hold is the same in two dumps, and in one of what was loaded from a dump', async (t, guest) => {
  await awake(guest);
  for (const { settings, fill, change } of ways) {
    await guest.sh(`rm -f ${folder}/*`);
    await inside(guest, fill);
    const dump = (name: string) => dumped(t, guest, settings, name);
    const bytes = await dump('first');
    t.is(await dump('second'), bytes);
    await guest.sh(`cmp ${folder}/first ${folder}/second`);
    t.is(await guest.sh(`stat -c '%a %U' ${folder}/first`), '600 root');
    await inside(guest, change);
    await dump('changed');
    t.not((await guest.run(['cmp', `${folder}/first`, `${folder}/changed`])).code, 0, 'a change would be seen');
    // As if it was interrupted: half of it, and the whole over what that left.
    await guest.sh(`head -c ${Math.floor(bytes / 2)} ${folder}/first >${folder}/half`);
    await dumper(guest, { action: 'load', domain, settings, file: `${folder}/half` });
    for (const file of ['half', 'first', 'first']) await dumper(guest, { action: 'load', domain, settings, file: `${folder}/${file}` });
    const loaded = await dumper(guest, { action: 'load', domain, settings, file: `${folder}/first` });
    t.is(loaded.error, null);
    t.regex(loaded.lines[0] ?? '', /^loading the dump of its database, \d/);
    await dump('again');
    t.is((await guest.run(['diff', `${folder}/first`, `${folder}/again`])).stdout, '', settings.way);
  }
  t.is(await inside(guest, "sqlite3 /data/sqlite/app.db 'PRAGMA user_version; PRAGMA journal_mode; SELECT * FROM words'; stat -c '%a %U' /data/sqlite/app.db; ls /tmp"), '42\nwal\nhello world\n640 www-data');
});

longTest('all databases of a server are dumped and loaded with their users', async (t, guest) => {
  await awake(guest);
  for (const { settings: { way }, fill } of ways.slice(0, 2)) {
    const settings: DumpSettings = { way };
    await guest.sh(`rm -f ${folder}/*`);
    await inside(guest, fill);
    await dumped(t, guest, settings, 'first');
    await inside(guest, way === 'mariadb' ? 'mariadb -e "DROP DATABASE shop; DROP DATABASE second; DROP USER web@localhost"'
      : `setpriv --reuid=postgres --init-groups --regid=postgres psql -q -d template1 -c 'DROP DATABASE shop' -c "DROP DATABASE \\"odd 'db\\"" -c 'DROP ROLE web'`);
    t.is((await dumper(guest, { action: 'load', domain, settings, file: `${folder}/first` })).error, null);
    await dumped(t, guest, settings, 'loaded');
    // Grants of MariaDB's own users come twice after the first load.
    const lines = `grep -v '^GRANT PROXY' ${folder}`;
    await guest.sh(`cmp <(${lines}/first) <(${lines}/loaded)`);
  }
  t.is(await inside(guest, 'MYSQL_PWD=secret mariadb -u web -BNe "SELECT COUNT(*) FROM shop.orders"'), '1602');
  t.is(await inside(guest, "PGPASSWORD=secret psql -h 127.0.0.1 -U web -d shop -Atc 'SELECT count(*) FROM sales.orders'"), '2000');
});

longTest('tables without transactions are dumped as they stood at one moment, while they are written to', async (t, guest) => {
  await awake(guest);
  await inside(guest, `mariadb -e "DROP DATABASE IF EXISTS pairs; CREATE DATABASE pairs; USE pairs;
    CREATE TABLE a (id INT, t CHAR(250)) ENGINE=MyISAM; CREATE TABLE z (id INT, t CHAR(250)) ENGINE=MyISAM; CREATE TABLE n (id INT) ENGINE=InnoDB;
    INSERT INTO a SELECT seq, REPEAT('x', 250) FROM seq_1_to_20000; INSERT INTO z SELECT seq, REPEAT('x', 250) FROM seq_1_to_20000"`);
  const writer = `docker exec ${container} sh -c 'i=20000; while :; do i=$((i+1)); echo "INSERT INTO a VALUES ($i, 1); INSERT INTO z VALUES ($i, 1);"; done | mariadb pairs'`;
  await guest.sh(`systemd-run --collect --unit test-writer bash -c ${quoted(writer)}`);
  try {
    for (const way of ['mariadb', 'mysql'] as const) {
      await dumped(t, guest, { way, database: 'pairs' }, 'pairs');
      const [a = 0, z = 0] = (await guest.sh(`grep -c 'INTO .a. VALUES' ${folder}/pairs; grep -c 'INTO .z. VALUES' ${folder}/pairs`)).split('\n').map(Number);
      t.true(a > 20_000 && (a === z || a === z + 1), `${a} rows of the table that is written to first, and ${z} of the other`);
    }
  } finally {
    await guest.sh(`systemctl stop test-writer; docker exec ${container} mariadb -e 'DROP DATABASE pairs'`);
  }
});

guestTest('a password comes from a variable of the container', async (t, guest) => {
  await awake(guest);
  for (const { settings, fill } of ways.slice(0, 2)) {
    await inside(guest, fill);
    await dumped(t, guest, { ...settings, user: 'web', passwordEnv: 'DB_PASSWORD' }, 'first');
    const without = await dumper(guest, { action: 'dump', domain, settings: { ...settings, passwordEnv: 'NO_PASSWORD' }, file: `${folder}/none` });
    t.is(without.error, `${domain}: the dump of its database failed: the database does not answer: error: the container has no variable NO_PASSWORD`);
  }
});

guestTest('a user of the container whom MariaDB knows by its socket can dump and load the database of its own', async (t, guest) => {
  await awake(guest);
  await inside(guest, `mariadb -e "CREATE OR REPLACE DATABASE blog; CREATE USER IF NOT EXISTS 'www-data'@localhost IDENTIFIED VIA unix_socket; GRANT ALL ON blog.* TO 'www-data'@localhost;
    USE blog; CREATE TABLE posts (id INT PRIMARY KEY, t TEXT); INSERT INTO posts VALUES (2, 'b'), (1, 'a'); CREATE TABLE old (id INT) ENGINE=MyISAM"`);
  const settings: DumpSettings = { way: 'mariadb', database: 'blog', user: 'www-data' };
  await dumped(t, guest, settings, 'first');
  await inside(guest, 'mariadb blog -e "CREATE TABLE more (a INT); DELETE FROM posts"');
  t.is((await dumper(guest, { action: 'load', domain, settings, file: `${folder}/first` })).error, null);
  await dumped(t, guest, settings, 'loaded');
  await guest.sh(`cmp ${folder}/first ${folder}/loaded`);
});

guestTest('whatever goes wrong, the last good dump stays and nothing is left beside it', async (t, guest) => {
  await awake(guest);
  const file = `${folder}/kept`;
  await guest.sh(`echo good >${file}`);
  const refused = async (settings: DumpSettings, reason: RegExp, request: Partial<Parameters<typeof dumper>[1]> = {}) => {
    const { error, hint } = await dumper(guest, { action: 'dump', domain, settings, file, ...request });
    t.regex(error ?? 'accepted', reason);
    t.truthy(hint, error ?? '');
    t.is(await guest.sh(`cat ${file}; ls -A ${folder} | grep -v '^[a-z]' || true`), 'good');
  };
  const sh = (script: string, check: NonNullable<DumpSettings['check']> = {}): DumpSettings => ({ command: ['sh', '-c', script], check });
  await inside(guest, ways[0]?.fill ?? '');
  await inside(guest, ways[2]?.fill ?? '');

  await refused(sh('echo half', { trailer: 'end' }), /the dump of its database failed: it is cut off: "end" is missing/);
  await refused(sh('echo half; exit 3'), /it ended with exit code 3/);
  await refused(sh('echo all; echo "error: disk quota" >&2'), /an error was reported, though with exit code 0: error: disk quota/);
  await refused({ command: ['no-such-program'] }, /no-such-program/);
  await refused(sh('echo all; exec sleep 100'), /it took longer than 2\.0 s/, { timeoutMs: 2000 });
  await refused(sh('echo all; sleep 101 & exec yes'), /it took longer than 2\.0 s/, { timeoutMs: 2000 });
  t.notRegex(await guest.sh(`docker top ${container}`), /sleep 10[01]|yes/, 'the program and its children are ended');
  await refused({ way: 'mariadb', database: 'nothing' }, /there is no database nothing/);
  await refused({ way: 'postgresql', database: 'nothing' }, /database "nothing" does not exist/);
  await refused({ way: 'sqlite', database: '/data/sqlite/none.db' }, /there is no file \/data\/sqlite\/none\.db/);
  await refused({ way: 'mariadb', database: 'shop' }, /it shrank from 95\.4M to \d+\.\dK, by more than 50%/, { previousBytes: 1e8 });
  await refused({ way: 'mariadb', database: 'shop', user: 'nobody-knows' }, /the database does not answer: .*Access denied/);
  await inside(guest, 'cp /data/sqlite/app.db /data/sqlite/bad.db; dd if=/dev/urandom of=/data/sqlite/bad.db bs=4096 seek=3 count=20 conv=notrunc 2>/dev/null');
  await refused({ way: 'sqlite', database: '/data/sqlite/bad.db' }, /integrity_check|malformed/);
  await inside(guest, 'chmod -x /usr/bin/pg_dump /usr/bin/psql; mv /usr/bin/mariadb-dump /usr/bin/hidden; mv /usr/bin/mysqldump /usr/bin/hidden-too || true');
  await refused({ way: 'mariadb', database: 'shop' }, /the container has no program mariadb-dump mysqldump/);
  await refused({ way: 'postgresql', database: 'shop' }, /the container has no program psql/);
  await inside(guest, 'chmod +x /usr/bin/pg_dump /usr/bin/psql; mv /usr/bin/hidden /usr/bin/mariadb-dump; mv /usr/bin/hidden-too /usr/bin/mysqldump || true');

  await guest.sh(`systemctl freeze ${container}-app.slice`);
  try {
    await refused({ way: 'mariadb', database: 'shop' }, /cannot exec in a paused container/);
  } finally {
    await guest.sh(`systemctl thaw ${container}-app.slice`);
  }

  // Its tables are locked by somebody, so the dump is in the middle when the container dies.
  await inside(guest, 'mariadb shop -e "CREATE TABLE held (a INT) ENGINE=MyISAM"');
  await guest.sh(`systemd-run --collect --unit test-lock docker exec ${container} mariadb shop -e 'LOCK TABLES held WRITE; SELECT SLEEP(60)'; sleep 1`);
  const dying = refused({ way: 'mariadb', database: 'shop' }, /the container site-data\.example\.com ended while sh ran in it/);
  await until('the dump has begun', async () => (await guest.sh(`docker top ${container}`)).includes('mariadb-dump'));
  await guest.sh(`docker kill ${container}`);
  await dying;
  await refused(sh('echo x'), /its container site-data\.example\.com does not run/);
});

guestTest('what a killed dump left is taken away by the next', async (t, guest) => {
  await awake(guest);
  const request = JSON.stringify({ action: 'dump', domain, settings: { command: ['sh', '-c', 'echo begun; exec sleep 20'] }, timeoutMs: 60_000, previousBytes: null, file: `${folder}/kept`, argv: [] });
  await guest.sh(`rm -f ${folder}/.s*; systemd-run --collect --unit test-dump bash -c ${quoted(`node /run/test-dump.mjs <<<'${request}'`)}`);
  await until('it has begun', async () => await guest.sh(`cat ${folder}/.s* || true`) === 'begun');
  await guest.sh('systemctl kill --signal=KILL test-dump; systemctl stop test-dump || true');
  t.is(await guest.sh(`ls -A ${folder} | grep -c '^\\.s'`), '1');
  await dumped(t, guest, { command: ['echo', 'whole'] }, 'kept');
  t.is(await guest.sh(`cat ${folder}/kept; ls -A ${folder} | grep '^\\.s' || true`), 'whole');
});

longTest('a full disk keeps the last good dump, and is seen beforehand where it can be', async (t, guest) => {
  await awake(guest);
  const disk = '/root/small-disk';
  await guest.sh(`mkdir -p ${disk}; mount -t tmpfs -o size=100M none ${disk}; echo good >${disk}/dump.sql`);
  try {
    const settings: DumpSettings = { command: ['head', '-c', String(200 * mib), '/dev/zero'] };
    const full = await dumper(guest, { action: 'dump', domain, settings, file: `${disk}/dump.sql` });
    t.is(full.error, `${domain}: the dump of its database failed: cannot write ${disk}/dump.sql: the disk is full`);
    t.is(full.hint, 'make room: df -h; then try again');
    const foreseen = await dumper(guest, { action: 'dump', domain, settings, file: `${disk}/dump.sql`, previousBytes: 100 * mib });
    t.regex(foreseen.error ?? '', /the disk of \/root\/small-disk has only \d+M free, and 184M are needed/);
    t.is(await guest.sh(`cat ${disk}/dump.sql; ls -A ${disk}`), 'good\ndump.sql');
    t.notRegex(await guest.sh(`docker top ${container}`), /head/);
  } finally {
    await guest.sh(`umount ${disk}; rm -r ${disk}`);
  }
});

longTest('300 MB are dumped and loaded in little memory', async (t, guest) => {
  await awake(guest);
  const bytes = 300_000_000;
  const settings: DumpSettings = {
    command: ['sh', '-c', `head -c ${bytes - 8} /dev/zero | tr '\\0' x; echo; echo the end`.replace(`${bytes - 8}`, `${bytes - 9}`)], load: ['sh', '-c', 'wc -c >/tmp/count'],
    check: { trailer: 'the end', tables: ['xxxxxxxx', 'the'] },
  };
  const file = `${folder}/large`;
  const dump = await dumper(guest, { action: 'dump', domain, settings, file });
  t.is(dump.error, null);
  t.is(dump.bytes, bytes);
  const load = await dumper(guest, { action: 'load', domain, settings, file });
  t.is(load.error, null);
  t.is(Number(await inside(guest, 'cat /tmp/count; rm /tmp/count')), bytes);
  t.log(`dumped in ${dump.seconds.toFixed(1)} s with ${dump.peakMb} MB at most, loaded in ${load.seconds.toFixed(1)} s with ${load.peakMb} MB`);
  t.true(dump.peakMb < 150 && load.peakMb < 150);
  await guest.sh(`rm ${file}`);
});

guestTest('a load tells what went wrong, also while most of the dump is still to come', async (t, guest) => {
  await awake(guest);
  await guest.sh(`(echo 'SELECT 1;'; echo 'INSERT INTO nowhere VALUES (1);'; for i in $(seq 200000); do echo 'SELECT 1, 2, 3, 4, 5, 6, 7, 8, 9;'; done) >${folder}/wrong; : >${folder}/empty`);
  for (const { settings } of ways) {
    const { error, hint } = await dumper(guest, { action: 'load', domain, settings: { ...settings, database: settings.way === 'sqlite' ? '/data/sqlite/wrong.db' : 'template1' }, file: `${folder}/wrong` });
    t.regex(error ?? '', /loading its dump failed: exit code \d+: .*(nowhere|No database selected)/);
    t.truthy(hint);
  }
  const load = (settings: DumpSettings, file: string) => dumper(guest, { action: 'load', domain, settings, file: `${folder}/${file}` });
  t.regex((await load({ way: 'mariadb' }, 'empty')).error ?? '', /empty/);
  t.regex((await load({ way: 'mariadb' }, 'missing')).error ?? '', /cannot read/);
  t.regex((await load({ command: ['x'] }, 'wrong')).error ?? '', /its settings do not say how its dump is loaded/);
  t.is((await load({ command: ['x'], load: ['true'] }, 'wrong')).error, null, 'a program may leave input unread');
});

guestTest('hooks tell what they do, line by line, and are ended when they take too long', async (t, guest) => {
  await awake(guest);
  const hook = (script: string, timeoutMs = 20_000) => dumper(guest, { action: 'hook', domain, argv: ['sh', '-c', script, 'hook'], timeoutMs });
  const good = await hook('echo one; printf "two\\nthree %s" "$1"');
  t.is(good.error, null);
  t.deepEqual(good.lines, ['one', 'two', 'three extra']);
  const bad = await hook('seq 10; echo broken >&2; exit 4');
  t.regex(bad.error ?? '', /^data\.example\.com: sh failed: exit code 4: (\d+; ){4}(broken|10)$/);
  t.regex((await hook('exec sleep 102', 1500)).error ?? '', /sh failed: it took longer than 1\.5 s/);
  t.notRegex(await guest.sh(`docker top ${container}`), /sleep 102/);
  t.regex((await dumper(guest, { action: 'hook', domain, argv: ['no-such-program'] })).error ?? '', /no-such-program/);
});

/** Has the container of databases up, one for all of these tests, as making them takes long. */
async function awake(guest: Guest): Promise<void> {
  await guest.sh(`rm -rf ${folder}; mkdir -p ${folder}`);
  if ((await guest.run(['test', '-e', `/etc/sitegen/sites/${domain}.yaml`])).code !== 0) {
    await installDumper(guest);
    await guest.sitegen('add', domain, '--image', await ensureDatabases(guest), '--memory', '1G', '--volume', '.:/data');
    await guest.sh(`
      printf '%s\\n' 'ready:' '  path: /' '  timeout: 90s' 'env:' '  DB_PASSWORD: secret' >>/etc/sitegen/sites/${domain}.yaml
      sitegen apply ${domain}`);
  }
  await guest.sh(`sitegen start ${domain}`);
}

test.after.always(async () => {
  await openGuest(guestName).sitegen('remove', '--purge', '--yes', domain);
});

/** Runs a script in the container as root; gives its output. */
function inside(guest: Guest, script: string): Promise<string> {
  return guest.sh(`docker exec ${container} sh -euc ${quoted(script)}`);
}

async function dumped(t: ExecutionContext, guest: Guest, settings: DumpSettings, name: string): Promise<number> {
  const { error, bytes } = await dumper(guest, { action: 'dump', domain, settings, file: `${folder}/${name}` });
  t.is(error, null, JSON.stringify(settings));
  return bytes ?? 0;
}

function quoted(script: string): string {
  return `'${script.replaceAll("'", String.raw`'\''`)}'`;
}
