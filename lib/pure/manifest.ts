/**
 * The manifest: what git does not keep of a site's data. One line an entry, sorted by path, so
 * that an hour's changes are a few lines of difference.
 */

/** One entry of a site's data. */
export interface Item {
  /** Below the data, without a slash at either end; one character a byte (latin1), as names need not be UTF-8. */
  path: string;
  kind: 'file' | 'directory' | 'link';
  /** Permission bits, with set-user-ID and the like. */
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
