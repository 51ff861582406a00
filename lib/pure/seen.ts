/**
 * The last look at a site's files: which need not be read again, as the kernel says that they have
 * not changed. Losing it costs time alone.
 */

/** A file as it was when it was read. */
export interface Seen {
  size: number;
  mtimeNs: bigint;
  ctimeNs: bigint;
  ino: bigint;
  /** git's id of the content. */
  blob: string;
}

const version = 'sitegen seen 1';

/**
 * How long ago a file must have changed last, ns: an older change shows in its times for sure.
 * Times move with the kernel's tick alone, and what is written through a mapping shows only after
 * the page was written back (vm.dirty_expire_centisecs, 30 s).
 */
export const settledNs = 60_000_000_000n;

/** @param files by their paths, one character a byte @returns UTF-8 text */
export function formatSeen(files: Iterable<readonly [string, Seen]>): string {
  let text = `${version}\n`;
  for (const [path, { size, mtimeNs, ctimeNs, ino, blob }] of files) text += `${size} ${mtimeNs} ${ctimeNs} ${ino} ${blob} ${JSON.stringify(path)}\n`;
  return `${text}end\n`;
}

/** Reads it; empty when it is missing, of another version or damaged. */
export function parseSeen(text: string | undefined): Map<string, Seen> {
  const files = new Map<string, Seen>();
  const lines = text?.split('\n') ?? [];
  if (lines[0] !== version || lines.at(-2) !== 'end') return files;
  for (const line of lines.slice(1, -2)) {
    const match = /^(\d+) (-?\d+) (-?\d+) (\d+) ([0-9a-f]{40}) (".*")$/.exec(line);
    if (!match) return new Map();
    const [, size, mtimeNs = '', ctimeNs = '', ino = '', blob = '', name = ''] = match;
    try {
      files.set(JSON.parse(name) as string, { size: Number(size), mtimeNs: BigInt(mtimeNs), ctimeNs: BigInt(ctimeNs), ino: BigInt(ino), blob });
    } catch {
      return new Map();
    }
  }
  return files;
}

/** True when a file is still the one that was seen. */
export function isSeen(seen: Seen | undefined, now: Omit<Seen, 'blob'> | undefined): seen is Seen {
  return now !== undefined && seen?.size === now.size && seen.mtimeNs === now.mtimeNs && seen.ctimeNs === now.ctimeNs && seen.ino === now.ino;
}
