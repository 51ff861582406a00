import { trailers, type Dump } from './dump.ts';
import type { DumpWay } from './dump-ways.ts';
import { startLines } from './lines.ts';
import { formatBytes } from './quantities.ts';

/** Below this a size says nothing: one table more or less may be half of it. */
const tinyBytes = 64 * 1024;

/** What of a dump is held in memory, besides the beginning of one line: its end. */
const tailBytes = 4096;
const tailLines = 5;

/** Looks at a dump as it goes by, in constant memory. */
export interface DumpCheck {
  /** Takes a piece of what the program wrote to standard output. */
  write(chunk: Buffer): void;
  /** Takes a piece of what it wrote to standard error. */
  complain(chunk: Buffer): void;
  /** Tables that were asked for and have not come. */
  missing(): readonly string[];
  /**
   * Says whether the dump is whole.
   * @param dropped tables that are gone from the database itself by now, and may be missing
   * @returns undefined when it is accepted, else the reason in one line
   */
  fault(exitCode: number, dropped?: ReadonlySet<string>): string | undefined;
}

/**
 * @param dump what is asked of it
 * @param expected tables, as `parseTables` gives them, and the bytes of the last dump that was accepted
 */
export function startCheck({ way, check }: Pick<Dump, 'way' | 'check'>, expected: { tables: Iterable<string>; previousBytes: number | null }): DumpCheck {
  const tables = new Set(expected.tables);
  const tableOf = way && tableFinder(way);
  const lines = tableOf && startLines((line) => {
    const table = tableOf(line);
    if (table !== undefined) tables.delete(table);
  });
  const texts = startTexts(check.texts);
  const errors: string[] = [];
  const said = startLines((line) => {
    const text = line.toString('utf8').trim();
    if (text === '') return;
    errors[1] = text;
    if (errorWords.test(text) && !noError.test(text)) errors[0] ??= text;
  });
  let bytes = 0;
  let tail = Buffer.alloc(0);

  const hasTrailer = (trailer: string) => {
    const last = tail.toString('utf8').split('\n').filter((line) => line.trim() !== '').slice(-tailLines);
    // In the middle of a line, what sitegen itself looks for would be somebody's text.
    return last.some((line) => (way && trailer === trailers[way] ? line.startsWith(trailer) : line.includes(trailer)));
  };
  return {
    write(chunk) {
      bytes += chunk.length;
      tail = Buffer.concat([tail, chunk.subarray(-tailBytes)]).subarray(-tailBytes);
      if (tables.size > 0) lines?.write(chunk);
      texts.write(chunk);
    },
    complain: (chunk) => { said.write(chunk); },
    missing: () => [...tables],
    fault(exitCode, dropped = new Set()) {
      said.end();
      lines?.end();
      const [error, last] = errors;
      const { trailer, shrink } = check;
      const lacking = [...tables].filter((table) => !dropped.has(table)).map((table) => shown(table));
      const { previousBytes } = expected;
      if (exitCode !== 0) return `it ended with exit code ${exitCode}${last === undefined ? '' : `: ${short(error ?? last)}`}`;
      if (bytes === 0) return `it is empty${last === undefined ? '' : `: ${short(last)}`}`;
      if (error !== undefined) return `an error was reported, though with exit code 0: ${short(error)}`;
      if (trailer !== undefined && !hasTrailer(trailer)) return `it is cut off: ${JSON.stringify(trailer)} is missing at its end`;
      if (lacking.length > 0) return `${lacking.length === 1 ? 'a table is' : `${lacking.length} tables are`} missing: ${short(lacking.join(', '))}`;
      if (texts.missing().length > 0) return `it lacks ${short(texts.missing().map((text) => JSON.stringify(text)).join(', '))}`;
      if (previousBytes !== null && previousBytes >= tinyBytes && bytes < previousBytes * (1 - shrink)) {
        return `it shrank from ${formatBytes(previousBytes)} to ${formatBytes(bytes)}, by more than ${Math.round(shrink * 100)}%`;
      }
      return undefined;
    },
  };
}

const errorWords = /\b(errors?|fatal|panic|fail(s|ed|ure)?|denied|corrupt(ed|ion)?|malformed|truncated|aborted|no space left|out of memory)\b/i;
const noError = /\b(no|0|without) (errors?|failures?)\b/i;

/** Finds texts, also those that two chunks share. */
function startTexts(wanted: readonly string[]): { write: (chunk: Buffer) => void; missing: () => string[] } {
  const open = new Map(wanted.map((text) => [text, Buffer.from(text)]));
  const overlap = Math.max(0, ...[...open.values()].map((text) => text.length - 1));
  let end = Buffer.alloc(0);
  return {
    write(chunk) {
      if (open.size === 0) return;
      const all = Buffer.concat([end, chunk]);
      for (const [text, bytes] of open) if (all.includes(bytes)) open.delete(text);
      end = overlap === 0 ? end : all.subarray(-overlap);
    },
    missing: () => [...open.keys()],
  };
}

/** Gives the table that a line of a dump begins to make, called as `parseTables` calls it. */
function tableFinder(way: DumpWay): (line: Buffer) => string | undefined {
  let database = '';
  return (line) => {
    // "C" of CREATE, "U" of USE, "\" of psql's \connect: rows are never looked at in full.
    if (line[0] !== 0x43 && line[0] !== 0x55 && line[0] !== 0x5c) return undefined;
    const text = line.toString('latin1');
    if (way === 'sqlite') {
      const match = /^CREATE TABLE (?:IF NOT EXISTS )?(?:"((?:[^"]|"")+)"|'((?:[^']|'')+)'|`((?:[^`]|``)+)`|\[([^\]]+)\]|([^\s("'`[]+))/.exec(text);
      const [, double, single, back, bracket, plain] = match ?? [];
      return double?.replaceAll('""', '"') ?? single?.replaceAll("''", "'") ?? back?.replaceAll('``', '`') ?? bracket ?? plain;
    }
    if (way === 'postgresql') {
      database = connected(text) ?? database;
      const match = /^CREATE (?:UNLOGGED )?TABLE (?:ONLY )?("(?:[^"]|"")+"|[^\s."]+)\.("(?:[^"]|"")+"|[^\s."(]+)/.exec(text);
      return match ? [database, unquoted(match[1] ?? ''), unquoted(match[2] ?? '')].join('.') : undefined;
    }
    const used = /^USE `((?:[^`]|``)+)`;/.exec(text)?.[1];
    if (used !== undefined) database = used.replaceAll('``', '`');
    const table = /^CREATE TABLE (?:IF NOT EXISTS )?`((?:[^`]|``)+)`/.exec(text)?.[1];
    return table === undefined ? undefined : `${database}.${table.replaceAll('``', '`')}`;
  };
}

/** The database of psql's \connect, which writes unusual names as part of a connection string (appendPsqlMetaConnect in PostgreSQL's string_utils.c). */
function connected(line: string): string | undefined {
  const match = /^\\connect (?:-reuse-previous=on "dbname='((?:[^'\\]|\\.)*)'"|(\S+))/.exec(line);
  return match?.[1]?.replaceAll('""', '"').replaceAll(/\\(.)/g, '$1') ?? (match?.[2] === undefined ? undefined : unquoted(match[2]));
}

function unquoted(name: string): string {
  return name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name;
}

/**
 * Reads what a way's `tablesArgv` prints.
 * @returns names as they are found in the dump, one character a byte; such with line breaks are left out
 */
export function parseTables(way: DumpWay, printed: Buffer): string[] {
  const names = printed.toString('latin1').split('\n').filter((line) => line !== '');
  if (way === 'sqlite') return names;
  return names.map((line) => line.split('.').map((part) => Buffer.from(part, 'hex').toString('latin1')).join('.')).filter((name) => !name.includes('\n'));
}

function shown(name: string): string {
  return Buffer.from(name, 'latin1').toString('utf8');
}

function short(text: string): string {
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}

/** In place of the token: the container that loads the dump is the one whose database wrote it. */
const constantToken = 'sitegen';
const tokenLine = /^\\(un)?restrict ([A-Za-z0-9]{1,256})$/;
const tokenLineMax = 300;

/**
 * Makes dumps of the same data equal: pg_dump (17.6, 16.10 … and later) puts each between
 * `\restrict` and `\unrestrict` with a random token. Only such pairs are changed, so that what
 * stands between them cannot pass for one.
 * @returns takes a piece of a dump and gives what can go on; `end` gives the rest
 */
export function constantTokens(): { write: (chunk: Buffer) => Buffer; end: () => Buffer } {
  let held = Buffer.alloc(0);
  let lineStart = true;
  let token: string | undefined;
  const replaced = (line: Buffer): Buffer => {
    const [, closing, found = ''] = tokenLine.exec(line.toString('latin1')) ?? [];
    if (found === '' || (closing === undefined ? token !== undefined : token !== found)) return line;
    token = closing === undefined ? found : undefined;
    return Buffer.from(`\\${closing ?? ''}restrict ${constantToken}`);
  };
  const write = (chunk: Buffer): Buffer => {
    const all = held.length > 0 ? Buffer.concat([held, chunk]) : chunk;
    held = Buffer.alloc(0);
    const pieces: Buffer[] = [];
    let done = 0;
    for (let at = 0; at < all.length;) {
      const stop = all.indexOf(10, at);
      const isCandidate = lineStart && all[at] === 0x5c;
      if (stop === -1) {
        if (isCandidate && all.length - at < tokenLineMax) {
          held = Buffer.from(all.subarray(at));
          pieces.push(all.subarray(done, at));
          return Buffer.concat(pieces);
        }
        lineStart = false;
        break;
      }
      if (isCandidate && stop - at < tokenLineMax) {
        pieces.push(all.subarray(done, at), replaced(all.subarray(at, stop)));
        done = stop;
      }
      at = stop + 1;
      lineStart = true;
    }
    return pieces.length === 0 ? all : Buffer.concat([...pieces, all.subarray(done)]);
  };
  return { write, end: () => replaced(held) };
}
