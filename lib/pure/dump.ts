import { dumpPrograms, type DumpWay } from './dump-ways.ts';
import type { DumpSettings } from './schema-backup.ts';

/** How a site's database gets into a backup and back. All programs run in the site's container. */
export interface Dump {
  /** Undefined for programs of the admin's. */
  way: DumpWay | undefined;
  /** Of a Compose project; undefined for the container that visitors reach. */
  service?: string | undefined;
  /** Writes the dump to standard output. */
  argv: readonly string[];
  /** Reads it from standard input; undefined when nobody said how it is loaded. */
  loadArgv: readonly string[] | undefined;
  /** Ends with 0 as soon as the database takes connections. */
  readyArgv: readonly string[] | undefined;
  /** Prints the tables that a dump must have, one a line: `parseTables` reads it. */
  tablesArgv: readonly string[] | undefined;
  /** Runs as this user of the container where it has one of that name: databases know the user at the other end of their socket. */
  user: string | undefined;
  env: Readonly<Record<string, string>>;
  /** The dump's name in the backup. */
  file: string;
  check: {
    /** Text that one of the last lines must contain. */
    trailer: string | undefined;
    /** Texts that must be in it, besides the tables that the database lists. */
    texts: readonly string[];
    /** Part of the last one's size that may be gone, 0 to 1. */
    shrink: number;
  };
  /** For dumping, and again for loading. */
  timeoutMs: number;
}

/** Beginnings of one of the last lines of a whole dump. */
export const trailers: Readonly<Record<DumpWay, string>> = {
  mariadb: '-- Dump completed',
  mysql: '-- Dump completed',
  // pg_dump, with the other ending where it does all of a cluster.
  postgresql: '-- PostgreSQL database dump complete',
  // The shell ends with "ROLLBACK; -- due to errors" when it met any.
  sqlite: 'COMMIT;',
};

/** What settings mean; `schema-backup.ts` has checked them. */
export function resolveDump(settings: DumpSettings, timeoutMs: number): Dump {
  const { way, command, load, file = 'dump.sql', check = {} } = settings;
  const programs = way && dumpPrograms(way, settings);
  return {
    way,
    argv: programs?.dump ?? command ?? [],
    loadArgv: load ?? programs?.load,
    readyArgv: programs?.ready,
    tablesArgv: programs?.tables,
    user: programs?.user,
    // What programs complain about is looked at, so it must be in one language.
    env: way ? { LC_ALL: 'C' } : {},
    file,
    check: {
      trailer: check.trailer ?? (way && trailers[way]),
      texts: check.tables ?? [],
      shrink: Number((check.shrink ?? '50%').replace('%', '')) / 100,
    },
    timeoutMs,
  };
}
