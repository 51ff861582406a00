import { randomBytes } from 'node:crypto';
import fs from 'node:fs/promises';
import path from 'node:path';
import { SitegenError } from '../pure/errors.ts';

/** A file that is being written beside the one that it is to replace. */
export interface Draft {
  /** Bytes of the old one; null when there is none. */
  replaces: number | null;
  /** Adds to it. @throws SitegenError when the disk is full */
  write(data: Buffer): Promise<void>;
  /** Puts it in the place of the old one, so that after a crash there is either of the two, whole. */
  keep(): Promise<void>;
  /** Takes it away; the old one stays. */
  discard(): Promise<void>;
}

/**
 * Begins a new version of a file: root's alone, in the file's directory, under a name by which
 * `removeTemporary` finds it when this process is killed.
 * @param room bytes that have to be free
 * @throws SitegenError when they are not
 */
export async function draftOf(target: string, room: number): Promise<Draft> {
  const directory = path.dirname(target);
  const temporary = path.join(directory, `.sitegen-${process.pid}-${randomBytes(6).toString('hex')}.tmp`);
  const { bavail, bsize } = await attempt(directory, () => fs.statfs(directory));
  if (bavail * bsize < room) {
    throw new SitegenError(`the disk of ${directory} has only ${mebibytes(bavail * bsize)} free, and ${mebibytes(room)} are needed`, { hint: 'make room: df -h; then try again' });
  }
  const old = await fs.stat(target).catch(() => undefined);
  const handle = await attempt(temporary, () => fs.open(temporary, 'wx', 0o600));
  return {
    replaces: old?.size ?? null,
    write: (data) => attempt(target, async () => {
      for (let at = 0; at < data.length;) at += (await handle.write(data, at)).bytesWritten;
    }),
    keep: () => attempt(target, async () => {
      await handle.sync();
      await handle.close();
      await fs.rename(temporary, target);
      const folder = await fs.open(directory, 'r');
      try {
        await folder.sync();
      } finally {
        await folder.close();
      }
    }),
    async discard() {
      await handle.close().catch(() => undefined);
      await fs.rm(temporary, { force: true });
    },
  };
}

async function attempt<T>(file: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const full = code === 'ENOSPC' || code === 'EDQUOT';
    throw new SitegenError(`cannot write ${file}: ${full ? 'the disk is full' : (code ?? String(error))}`, { cause: error, hint: full ? 'make room: df -h; then try again' : undefined });
  }
}

function mebibytes(bytes: number): string {
  return `${Math.ceil(bytes / 1024 ** 2)}M`;
}
