import type { DumpSettings, dumpWays } from './schema-backup.ts';

/** A database that sitegen knows how to dump, check and load. */
export type DumpWay = (typeof dumpWays)[number];

/** Programs of one way, as argv; see `Dump`. */
export interface Programs {
  dump: readonly string[];
  load: readonly string[];
  ready: readonly string[];
  tables: readonly string[];
  user: string | undefined;
}

/**
 * What is run in the container, as scripts of POSIX sh: which programs an image has, which tables
 * need locks, and the password are known only there. Values of the settings are arguments or
 * hexadecimal, never part of a script.
 */
export function dumpPrograms(way: DumpWay, settings: Pick<DumpSettings, 'database' | 'user' | 'passwordEnv'>): Programs {
  const { database = '' } = settings;
  const user = settings.user ?? (way === 'postgresql' ? 'postgres' : 'root');
  const scripts = way === 'sqlite' ? sqlite : way === 'postgresql' ? postgresql(settings) : mysql(way, settings);
  const argv = (script: string) => ['sh', '-c', `${common}\n${script}`.replaceAll(/^ +/gm, '').trim(), 'sh', user, database];
  // With a password the database is asked over TCP or its socket by anybody; a file needs no user.
  const asUser = way !== 'sqlite' && settings.passwordEnv === undefined;
  return { dump: argv(scripts.dump), load: argv(scripts.load), ready: argv(scripts.ready), tables: argv(scripts.tables), user: asUser ? user : undefined };
}

type Scripts = Readonly<Record<'dump' | 'load' | 'ready' | 'tables', string>>;

const common = `
  set -eu
  user=$1 database=$2
  tool() {
    for name in "$@"; do
      if command -v "$name"; then return; fi
    done
    echo "error: the container has no program $*" >&2
    exit 127
  }`;

/** Never an argument: everybody in the container can read those. */
const password = (name: string, from: string | undefined) => (from === undefined ? '' : `
  if [ -z "\${${from}+set}" ]; then
    echo 'error: the container has no variable ${from}' >&2
    exit 127
  fi
  ${name}=$${from}
  export ${name}`);

/** The flags of both dumps of one state being byte-identical; `--quick`, so that no table is held in memory. */
const mysqlFlags = '--quick --skip-extended-insert --order-by-primary --skip-dump-date --no-autocommit --hex-blob --routines --triggers --events '
  + '--no-tablespaces --default-character-set=utf8mb4 --add-drop-database';

const systemSchemas = "('mysql', 'information_schema', 'performance_schema', 'sys')";

function mysql(way: 'mariadb' | 'mysql', { database, passwordEnv }: Pick<DumpSettings, 'database' | 'passwordEnv'>): Scripts {
  // A hexadecimal literal is compared byte by byte, as file names are.
  const which = (column: string) => (database === undefined ? `${column} NOT IN ${systemSchemas}` : `${column} = 0x${Buffer.from(database).toString('hex')}`);
  const [client, dump] = way === 'mariadb' ? ['mariadb mysql', 'mariadb-dump mysqldump'] : ['mysql mariadb', 'mysqldump mariadb-dump'];
  const prelude = `${password('MYSQL_PWD', passwordEnv)}
    client=$(tool ${client})
    ask() { "$client" --user="$user" --batch --raw --skip-column-names --execute="$1" </dev/null; }`;
  // Unknown ones after --loose are a warning: MySQL 5.7 does not know the second, MariaDB neither.
  const own = way === 'mysql' ? ' --loose-set-gtid-purged=OFF --loose-column-statistics=0' : '';
  // Users and what they may are in no database of their own. MariaDB alone writes them as statements;
  // --insert-ignore makes those pass by whoever is there already.
  const users = way === 'mariadb' && database === undefined ? `
    case $("$dump" --help) in
      *--system=*) if ask 'SELECT 1 FROM mysql.global_priv LIMIT 1' >/dev/null 2>&1; then "$dump" --user="$user" --skip-dump-date --system=users --insert-ignore; fi ;;
    esac` : '';
  return {
    dump: `${prelude}
      dump=$(tool ${dump})${users}
      set -- --user="$user" ${mysqlFlags}${own}
      # A transaction is a picture of transactional tables alone; others stand still only under locks.
      others=$(ask "SELECT COUNT(*) FROM information_schema.tables t LEFT JOIN information_schema.engines e ON e.engine = t.engine WHERE ${which('t.table_schema')} AND t.table_type <> 'VIEW' AND t.engine IS NOT NULL AND IFNULL(e.transactions, 'NO') <> 'YES'")
      if [ "$others" = 0 ]; then set -- "$@" --single-transaction; else set -- "$@" ${database === undefined ? '--lock-all-tables' : '--lock-tables'}; fi
      names=$(ask "SELECT schema_name FROM information_schema.schemata WHERE ${which('schema_name')} ORDER BY schema_name")
      if [ -z "$names" ]; then
        echo "error: there is no database\${database:+ }$database" >&2
        exit 1
      fi
      set -- "$@" --databases
      while IFS= read -r name; do set -- "$@" "$name"; done <<END
      $names
      END
      exec "$dump" "$@"`,
    load: `${prelude}
      exec "$client" --user="$user" --batch --default-character-set=utf8mb4 >/dev/null`,
    ready: `${prelude}
      ask 'SELECT 1' >/dev/null`,
    tables: `${prelude}
      ask "SELECT CONCAT(HEX(table_schema), '.', HEX(table_name)) FROM information_schema.tables WHERE ${which('table_schema')} AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED')"`,
  };
}

function postgresql({ database, passwordEnv }: Pick<DumpSettings, 'database' | 'passwordEnv'>): Scripts {
  // Without one the socket is used, whose other end is known to be this user.
  const host = passwordEnv === undefined ? '' : `
    PGHOST=\${PGHOST-127.0.0.1}
    export PGHOST`;
  const prelude = `${password('PGPASSWORD', passwordEnv)}${host}
    PGUSER=$user PGCONNECT_TIMEOUT=10
    export PGUSER PGCONNECT_TIMEOUT
    psql=$(tool psql)
    ask() { PGDATABASE=$1 "$psql" --no-psqlrc --no-password --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 --command="$2" </dev/null; }`;
  const each = (action: string) => (database === undefined ? `
    names=$(ask template1 'SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY datname')
    while IFS= read -r name; do ${action}; done <<END
    $names
    END` : `
    name=$database
    ${action}`);
  // A role that is there already, as the one who loads is, is no error.
  const roles = database === undefined ? `
    globals=$("$(tool pg_dumpall)" --no-password --globals-only)
    printf '%s\\n' "$globals" | sed -E 's/^CREATE ROLE (.*);$/DO $sitegen$ BEGIN CREATE ROLE \\1; EXCEPTION WHEN duplicate_object THEN NULL; END $sitegen$;/'` : '';
  return {
    dump: `${prelude}
      dump=$(tool pg_dump)${roles}
      ${each('PGDATABASE=$name "$dump" --no-password --create --clean --if-exists </dev/null')}`,
    // Whoever is connected would keep the database from being dropped; they come again when it is whole.
    load: `${prelude}
      PGDATABASE=template1 "$psql" --no-psqlrc --no-password --quiet --set=ON_ERROR_STOP=1 --set=database="$database" --file=- >/dev/null <<'END'
      SELECT format('ALTER DATABASE %I ALLOW_CONNECTIONS false', datname) FROM pg_database WHERE NOT datistemplate AND :'database' IN ('', datname) \\gexec
      SELECT pg_terminate_backend(pid) FROM pg_stat_activity JOIN pg_database USING (datname) WHERE NOT datistemplate AND :'database' IN ('', datname);
      END
      PGDATABASE=template1
      export PGDATABASE
      exec "$psql" --no-psqlrc --no-password --quiet --set=ON_ERROR_STOP=1 --file=- >/dev/null`,
    ready: `${prelude}
      ask template1 'SELECT 1' >/dev/null`,
    tables: `${prelude}
      ${each(`ask "$name" "
        SELECT concat_ws('.', encode(convert_to(current_database()::text, getdatabaseencoding()), 'hex'), encode(convert_to(n.nspname::text, getdatabaseencoding()), 'hex'), encode(convert_to(c.relname::text, getdatabaseencoding()), 'hex'))
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND c.relpersistence IN ('p', 'u') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
        AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')"`)}`,
  };
}

/** Settings of root's own would change what is printed. */
const sqlite3 = '"$sqlite" -batch -bail -init /dev/null';

const integrity = (file: string) => `
      found=$(${sqlite3} "${file}" 'PRAGMA integrity_check')
      if [ "$found" != ok ]; then
        printf 'error: integrity_check: %s\\n' "$found" >&2
        exit 1
      fi`;

const sqlite: Scripts = {
  // A file that is missing would be made, and dumped as an empty database.
  dump: `
      sqlite=$(tool sqlite3)
      if [ ! -f "$database" ]; then
        echo "error: there is no file $database" >&2
        exit 1
      fi
      umask 077
      rm -rf /tmp/sitegen-dump.??????
      folder=$(mktemp -d /tmp/sitegen-dump.XXXXXX)
      trap 'rm -rf "$folder"' EXIT
      ${sqlite3} "$database" '.timeout 30000' ".backup '$folder/copy'"${integrity('$folder/copy')}
      # What .dump leaves out, though applications go by it.
      for name in encoding application_id user_version journal_mode; do
        value=$(${sqlite3} "$folder/copy" "PRAGMA $name")
        printf "PRAGMA %s='%s';\\n" "$name" "$value"
      done
      ${sqlite3} "$folder/copy" .dump`,
  load: `
      sqlite=$(tool sqlite3)
      fresh=$database.sitegen-load
      rm -f "$fresh" "$fresh-journal" "$fresh-wal" "$fresh-shm"
      # The shell refuses to write the schema itself, as dumps of virtual tables do.
      ${sqlite3} -cmd '.dbconfig defensive off' "$fresh" >/dev/null${integrity('$fresh')}
      model=$database
      if [ -f "$model" ]; then chmod "$(stat -c %a "$model")" "$fresh"; else model=$(dirname "$database"); fi
      chown "$(stat -c %u:%g "$model")" "$fresh"
      # Before the rename: a log of the old file would be taken for one of the new.
      rm -f "$database-wal" "$database-shm" "$database-journal"
      mv -f "$fresh" "$database"`,
  ready: 'tool sqlite3 >/dev/null',
  tables: `
      sqlite=$(tool sqlite3)
      if [ ! -f "$database" ]; then exit 0; fi
      ${sqlite3} "$database" '.timeout 30000' "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!' AND sql NOT LIKE 'CREATE VIRTUAL%' AND instr(name, char(10)) = 0"`,
};
