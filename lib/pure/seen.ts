import { escapeName, unescapeName } from './manifest.ts';

/**
 * The last look at a site's files: what its last commit has at each path, and which files need not
 * be read again, as the kernel says that they have not changed. Losing it costs time alone.
 */

/** What the kernel says about a file. */
export interface Stat {
  size: number;
  mtimeNs: bigint;
  ctimeNs: bigint;
  ino: bigint;
}

/**
 * How long ago a file must have changed last, ns: an older change shows in its times for sure.
 * Times move with the kernel's tick alone, and what is written through a mapping shows only after
 * the page was written back (vm.dirty_expire_centisecs, 30 s).
 */
export const settledNs = 60_000_000_000n;

/** An entry of a commit: mode and id, and of a file that was settled what the kernel said. One text, as there may be a million. */
export function entryOf(mode: string, id: string, stat?: Stat): string {
  return stat === undefined ? `${mode} ${id}` : `${mode} ${id} ${stat.size} ${stat.mtimeNs} ${stat.ctimeNs} ${stat.ino}`;
}

/** Mode and id of an entry. */
export function partsOf(entry: string): { mode: string; id: string } {
  return { mode: entry.slice(0, 6), id: entry.slice(7, 47) };
}

/** True when a file is still the one that was seen. */
export function isSeen(entry: string | undefined, stat: Stat | undefined): entry is string {
  return entry !== undefined && stat !== undefined && entry.slice(48) === `${stat.size} ${stat.mtimeNs} ${stat.ctimeNs} ${stat.ino}`;
}

const version = '1';

/** The line of an entry; one character a byte. */
export function formatSeen(path: string, entry: string): string {
  return `${version} ${escapeName(path)} ${entry}`;
}

/** Reads such a line; undefined when it is none. */
export function parseSeen(line: string): [path: string, entry: string] | undefined {
  const match = /^1 ([^ ]+) (1[02]0\d{3} [0-9a-f]{40}(?: \d+ -?\d+ -?\d+ \d+)?)$/.exec(line);
  const path = unescapeName(match?.[1] ?? '');
  return match?.[2] === undefined || path === undefined ? undefined : [path, match[2]];
}
