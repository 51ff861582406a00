import fs from 'node:fs';
import { SitegenError } from '../../pure/errors.ts';

/**
 * Steps from an open directory to a name in it: Node has no openat(2), and what is behind a name may be
 * swapped for a link at any time.
 */

/** Sorted by bytes. */
export function namesIn(fd: number): string[] {
  return fs.readdirSync(`/proc/self/fd/${fd}`, { encoding: 'latin1' as BufferEncoding }).sort();
}

/** Below an open directory; names are bytes. */
export const at = (fd: number, name: string) => Buffer.from(`/proc/self/fd/${fd}/${name}`, 'latin1');

export function lstat(fd: number, name: string): fs.BigIntStats | undefined {
  return unlessGone(() => fs.lstatSync(at(fd, name), { bigint: true }));
}

export function readLink(fd: number, name: string): string | undefined {
  return unlessGone(() => fs.readlinkSync(at(fd, name), { encoding: 'latin1' as BufferEncoding }));
}

export function tryOpen(fd: number, name: string, flags: number): number | undefined {
  return unlessGone(() => fs.openSync(at(fd, name), flags));
}

/** Undefined when the entry is gone, or something else has taken its place. */
export function unlessGone<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO', 'EINVAL', 'ESTALE'].includes(codeOf(error) ?? '')) return undefined;
    throw new SitegenError(`cannot read the site's data: ${codeOf(error) ?? String(error)}`, { hint: 'does "dmesg" tell of a fault of the disk?', cause: error });
  }
}

export function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | undefined)?.code;
}
