import { SitegenError } from './errors.ts';

/**
 * The manifest: what git does not keep of a site's data. One line an entry, sorted by path, so
 * that an hour's changes are a few lines of difference.
 */

/** One entry of a site's data. */
export interface Item {
  /** Below the data, without a slash at either end, and empty for the data itself; one character a byte (latin1), as names need not be UTF-8. */
  path: string;
  kind: 'file' | 'directory' | 'link';
  /** Permission bits, with set-user-ID and the like; 0777 for links. */
  mode: number;
  uid: number;
  gid: number;
  /** Nanoseconds since 1970, in decimal; of files alone, as those of directories change with every file. */
  mtimeNs?: string | undefined;
  /** Bytes; of files alone. */
  size?: number | undefined;
  /** git's id of the content, which is its checksum; of files alone. */
  blob?: string | undefined;
  /** Where a link points to; one character a byte. */
  target?: string | undefined;
}

/** The first line of a manifest. */
export const manifestHead = 'sitegen manifest 1';
const kinds = { f: 'file', d: 'directory', l: 'link' } as const;

/** Where a site's data, and the manifest, are in a commit. */
export const dataPrefix = 'data/';
export const metaPrefix = 'meta/';
export const manifestName = 'manifest';

/**
 * The manifest of some entries, whatever their order; latin1 text. A line is
 * `f MODE UID GID MTIME SIZE BLOB PATH`, `d MODE UID GID PATH` or `l MODE UID GID PATH TARGET`;
 * in names, `%XX` is a byte that would break the line, and `.` alone is the data itself.
 */
export function formatManifest(items: readonly Item[]): string {
  const sorted = items.map((item) => ({ item, key: orderOf(item.path) })).sort((a, b) => (a.key < b.key ? -1 : Number(a.key > b.key)));
  return `${[manifestHead, ...sorted.map(({ item }) => formatItem(item))].join('\n')}\n`;
}

/** What paths are ordered by: a directory comes right before what is in it, and names in it by their bytes. */
function orderOf(path: string): string {
  return path.replaceAll('/', '\0');
}

/** The line of an entry. */
export function formatItem(item: Item): string {
  const path = item.path === '' ? '.' : escapeName(item.path);
  const rights = `${item.mode.toString(8).padStart(4, '0')} ${item.uid} ${item.gid}`;
  switch (item.kind) {
    case 'file': return `f ${rights} ${item.mtimeNs ?? 0} ${item.size ?? 0} ${item.blob ?? ''} ${path}`;
    case 'directory': return `d ${rights} ${path}`;
    case 'link': return `l ${rights} ${path} ${escapeName(item.target ?? '')}`;
  }
}

/**
 * Reads a manifest. Nothing in it is believed: what comes out names nothing outside of the data,
 * each name once, and each below a directory that is there too.
 * @param text latin1
 * @throws SitegenError that names the first line with a fault
 */
export function parseManifest(text: string): Item[] {
  const lines = text.split('\n');
  if (lines[0] !== manifestHead) throw fault(1, `it does not begin with "${manifestHead}"`);
  if (lines.pop() !== '') throw fault(lines.length + 1, 'it ends in the middle of a line');
  const items: Item[] = [];
  const directories = new Set<string>();
  let last: string | undefined;
  for (const [index, line] of lines.entries()) {
    if (index === 0) continue;
    const refuse = (why: string) => fault(index + 1, why);
    const item = parseLine(line, refuse);
    if (last !== undefined && orderOf(item.path) <= last) throw refuse('it is not in order, or twice');
    last = orderOf(item.path);
    const parent = item.path.slice(0, Math.max(item.path.lastIndexOf('/'), 0));
    if (item.path === '' ? item.kind !== 'directory' : !directories.has(parent)) throw refuse('it is not below a directory');
    if (item.kind === 'directory') directories.add(item.path);
    items.push(item);
  }
  if (items.length === 0) throw fault(2, 'it has no entries');
  return items;
}

const rightsPattern = '([0-7]{4}) (\\d{1,10}) (\\d{1,10})';
const patterns = {
  f: new RegExp(`^${rightsPattern} (-?\\d{1,20}) (\\d{1,16}) ([0-9a-f]{40}) ([^ ]+)$`),
  d: new RegExp(`^${rightsPattern} ([^ ]+)$`),
  l: new RegExp(`^${rightsPattern} ([^ ]+) ([^ ]+)$`),
};

function parseLine(line: string, refuse: (why: string) => SitegenError): Item {
  const letter = line.slice(0, 1);
  if ((letter !== 'f' && letter !== 'd' && letter !== 'l') || line[1] !== ' ') throw refuse('it is no entry');
  const match = patterns[letter].exec(line.slice(2));
  if (!match) throw refuse('it is no entry');
  const [, mode = '', uid, gid, ...rest] = match;
  const common = { kind: kinds[letter], mode: Number.parseInt(mode, 8), uid: Number(uid), gid: Number(gid) };
  if (letter === 'f') {
    const [mtimeNs, size, blob, name = ''] = rest;
    return { path: readPath(name, refuse), ...common, mtimeNs, size: Number(size), blob };
  }
  const [name = '', target = ''] = rest;
  return { path: readPath(name, refuse), ...common, ...(letter === 'l' && { target: unescape(target, refuse) }) };
}

function readPath(name: string, refuse: (why: string) => SitegenError): string {
  if (name === '.') return '';
  const path = unescape(name, refuse);
  if (path.startsWith('/')) throw refuse('it has an absolute path');
  if (path.split('/').some((part) => part === '' || part === '.' || part === '..')) throw refuse('its path has an empty part, "." or ".."');
  return path;
}

/** What splits lines or fields (and `%`) as `%XX`; the rest as it is. */
export function escapeName(name: string): string {
  return name.replaceAll(/[\x00-\x20%\x7f]/g, percent);
}

/** The name that `escapeName` made a text of; undefined when it has made no such text. */
export function unescapeName(text: string): string | undefined {
  const plain = text.replaceAll(/%([0-9a-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return escapeName(plain) !== text || plain.includes('\0') ? undefined : plain;
}

function unescape(name: string, refuse: (why: string) => SitegenError): string {
  const plain = unescapeName(name);
  if (plain === undefined) throw refuse('a name in it is not as it is written');
  return plain;
}

const percent = (character: string) => `%${character.charCodeAt(0).toString(16).padStart(2, '0')}`;

/**
 * The name that an entry has in a commit. Parts that git or its fsck refuse or obey on any system
 * get a `%` in front and are escaped; so do those that begin with `%`, which makes it reversible.
 * Refused are `.git` and what a file system of Windows or macOS takes for it or for
 * `.gitmodules` and the like: short names such as `git~1`, and code points that HFS+ ignores
 * (is_ntfs_dotgit and is_hfs_dotgit in git's path.c and utf8.c).
 * @param path latin1, as in `Item`
 */
export function storedPath(path: string): string {
  return dataPrefix + path.split('/').map((part) => (refused.test(part) ? `%${part.replaceAll(/[^A-Za-z0-9_ -]/g, percent)}` : part)).join('/');
}

const refused = /^%|(^|\\)\.git|~\d|\xe2\x80[\x8c-\x8f\xaa-\xae]|\xe2\x81[\xaa-\xaf]|\xef\xbb\xbf/i;

/** What git calls the mode of an entry that it keeps; directories it has of themselves. */
export function storedMode({ kind, mode }: Pick<Item, 'kind' | 'mode'>): '100644' | '100755' | '120000' {
  if (kind === 'link') return '120000';
  return (mode & 0o100) === 0 ? '100644' : '100755';
}

/**
 * What differs between what should be there and what is, a line each, at most `limit` of them;
 * none when all is as it should be.
 */
export function compare(expected: readonly Item[], actual: readonly Item[], limit = 20): string[] {
  const rest = new Map(actual.map((item) => [item.path, item]));
  const lines: string[] = [];
  for (const item of expected) {
    const other = rest.get(item.path);
    rest.delete(item.path);
    const why = other === undefined ? 'is missing' : difference(item, other);
    if (why !== undefined) lines.push(`${showPath(item.path)} ${why}`);
  }
  for (const path of rest.keys()) lines.push(`${showPath(path)} is there and should not be`);
  return lines.length <= limit ? lines : [...lines.slice(0, limit), `and ${lines.length - limit} more`];
}

function difference(expected: Item, actual: Item): string | undefined {
  if (expected.kind !== actual.kind) return `is a ${actual.kind}, not a ${expected.kind}`;
  for (const key of ['size', 'blob', 'target', 'mode', 'uid', 'gid', 'mtimeNs'] as const) {
    if (expected[key] === actual[key]) continue;
    const show = (value: string | number | undefined) => (key === 'mode' && typeof value === 'number' ? value.toString(8) : JSON.stringify(value));
    return `has the ${key} ${show(actual[key])}, not ${show(expected[key])}`;
  }
  return undefined;
}

/** A path for people: UTF-8 where it is, in quotes where it has anything odd. */
export function showPath(path: string): string {
  const text = new TextDecoder().decode(Uint8Array.from(path, (character) => character.charCodeAt(0)));
  return /^[\p{L}\p{N}\p{M}./_@+,=~ -]+$/u.test(text) && text.trim() === text ? text : JSON.stringify(text);
}

function fault(line: number, why: string): SitegenError {
  return new SitegenError(`the manifest of the backup is damaged in line ${line}: ${why}`, { hint: 'take another commit or another server; "sitegen backup verify" checks them' });
}
