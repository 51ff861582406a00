import { execFile } from 'node:child_process';
import fs from 'node:fs';
import { promisify } from 'node:util';
import { SitegenError } from '../../pure/errors.ts';
import { showPath, type Item } from '../../pure/manifest.ts';

/**
 * Writes a site's tree into a directory that nobody else can reach meanwhile. Links come last, so
 * nothing is ever written through one; rights of directories come after what is in them.
 */
export interface TreeWriter {
  /** Makes a directory; the one that it is in comes before it. */
  directory(item: Item): void;
  /** @param content exactly what the file has; zeros become holes */
  file(item: Item, content: AsyncIterable<Buffer>): Promise<void>;
  /** Makes the link at the end. */
  link(item: Item): void;
  /** Makes the links, sets owners and modes of directories, and brings all of it to the disk. */
  finish(): Promise<void>;
  /** Takes everything away again. */
  remove(): void;
}

/**
 * Begins a tree. Owners are kept when root writes it.
 * @param into a directory that does not exist; it is made, for root alone, until it is moved into its place
 * @throws SitegenError when it exists
 */
export function createTree(into: string): TreeWriter {
  const setsOwner = process.getuid?.() === 0;
  const directories: Item[] = [];
  const links: Item[] = [];
  // Names are bytes; the directory's own is UTF-8.
  const at = ({ path }: Item) => Buffer.concat([Buffer.from(`${into}/`), Buffer.from(path, 'latin1')]);
  attempt(`make ${into}`, () => { fs.mkdirSync(into, { mode: 0o700 }); });
  return {
    directory(item) {
      attempt(`make ${showPath(item.path)}`, () => { fs.mkdirSync(at(item), { mode: 0o700 }); });
      directories.push(item);
    },
    async file(item, content) {
      const fd = attempt(`make ${showPath(item.path)}`, () => fs.openSync(at(item), 'wx', 0o600));
      try {
        let size = 0;
        for await (const chunk of content) {
          if (!isZero(chunk)) await writeAll(fd, chunk, size).catch((error: unknown) => { throw failure(`write ${showPath(item.path)}`, error); });
          size += chunk.length;
        }
        attempt(`write ${showPath(item.path)}`, () => {
          fs.ftruncateSync(fd, size);
          // Changing the owner takes bits such as set-user-ID away.
          if (setsOwner) fs.fchownSync(fd, item.uid, item.gid);
          fs.fchmodSync(fd, item.mode);
          if (item.mtimeNs !== undefined) fs.futimesSync(fd, seconds(item.mtimeNs), seconds(item.mtimeNs));
        });
      } finally {
        fs.closeSync(fd);
      }
    },
    link(item) {
      links.push(item);
    },
    async finish() {
      for (const item of links) {
        attempt(`make the link ${showPath(item.path)}`, () => {
          fs.symlinkSync(Buffer.from(item.target ?? '', 'latin1'), at(item));
          if (setsOwner) fs.lchownSync(at(item), item.uid, item.gid);
        });
      }
      for (const item of directories.reverse()) {
        attempt(`set the rights of ${showPath(item.path)}`, () => {
          if (setsOwner) fs.chownSync(at(item), item.uid, item.gid);
          fs.chmodSync(at(item), item.mode);
        });
      }
      await promisify(execFile)('sync', ['--file-system', into]);
    },
    remove() {
      fs.rmSync(into, { recursive: true, force: true });
    },
  };
}

const zeros = Buffer.alloc(64 * 1024);

function isZero(chunk: Buffer): boolean {
  return chunk.length >= 4096 && chunk.length <= zeros.length && chunk.equals(zeros.subarray(0, chunk.length));
}

async function writeAll(fd: number, chunk: Buffer, position: number): Promise<void> {
  for (let done = 0; done < chunk.length;) {
    done += await new Promise<number>((resolve, reject) => {
      fs.write(fd, chunk, done, chunk.length - done, position + done, (error, count) => { if (error) reject(error); else resolve(count); });
    });
  }
}

/** Node takes seconds as a fraction, which has no room for nanoseconds: rounding must not reach the microsecond before. */
function seconds(mtimeNs: string): number {
  return (Number(BigInt(mtimeNs) / 1000n) + 0.4) / 1e6;
}

function attempt<T>(what: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw failure(what, error);
  }
}

function failure(what: string, error: unknown): SitegenError {
  const code = (error as NodeJS.ErrnoException).code ?? String(error);
  return new SitegenError(`cannot ${what}: ${code === 'ENOSPC' ? 'the disk is full' : code}`, {
    hint: code === 'ENOSPC' ? 'make room: df -h; then try again' : code === 'EEXIST' ? 'remove what is there' : undefined, cause: error,
  });
}
