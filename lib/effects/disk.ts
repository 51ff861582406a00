import { execFile } from 'node:child_process';
import fs from 'node:fs/promises';
import { promisify } from 'node:util';
import { SitegenError } from '../pure/errors.ts';

/** Bytes that a tree takes on the disk, as du(1) counts them; 0 for what is not there. */
export async function usedBy(directory: string): Promise<number> {
  // It complains of files that vanish meanwhile, and counts the others.
  const { stdout } = await promisify(execFile)('du', ['-s', '-B1', '--', directory], { env: { PATH: process.env['PATH'] ?? '', LC_ALL: 'C' } })
    .catch((error: unknown) => ({ stdout: (error as { stdout?: string }).stdout ?? '' }));
  return Number(/^(\d+)\t/.exec(stdout)?.[1] ?? 0);
}

/** What a file system has and what of it is free for others than root, bytes. */
export async function diskOf(directory: string): Promise<{ free: number; size: number }> {
  try {
    const { bavail, blocks, bsize } = await fs.statfs(directory);
    return { free: bavail * bsize, size: blocks * bsize };
  } catch (error) {
    throw new SitegenError(`cannot look at ${directory}: ${(error as NodeJS.ErrnoException).code ?? String(error)}`, { hint: 'is it there, and mounted?', cause: error });
  }
}
