import fs from 'node:fs/promises';
import path from 'node:path';
import { SitegenError } from '../pure/errors.ts';

/** A small file somebody has put into a folder. */
export interface Dropped {
  name: string;
  content: string;
  /** When it got its name or its content, ms; a copy that keeps the time of the original still has its own. */
  changedMs: number;
}

const sizeMax = 1_000_000;

/** The ordinary files of a folder, the latest first, links to such among them; none when there is no folder. */
export async function readFolder(folder: string): Promise<Dropped[]> {
  try {
    const files: Dropped[] = [];
    for (const name of await fs.readdir(folder)) {
      const handle = await fs.open(path.join(folder, name), fs.constants.O_RDONLY | fs.constants.O_NONBLOCK).catch(() => undefined);
      if (!handle) continue;
      try {
        const status = await handle.stat();
        if (status.isFile() && status.size <= sizeMax) files.push({ name, content: await handle.readFile('utf8'), changedMs: status.ctimeMs });
      } finally {
        await handle.close();
      }
    }
    return files.sort((a, b) => b.changedMs - a.changedMs);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw new SitegenError(`cannot read ${folder}: ${(error as NodeJS.ErrnoException).code ?? String(error)}`, { hint: 'run it as root', cause: error });
  }
}

/** Makes a folder that only root may look into, and leaves one that is there as it is but for that. */
export async function makePrivate(folder: string): Promise<void> {
  try {
    await fs.mkdir(folder, { recursive: true, mode: 0o700 });
    await fs.chmod(folder, 0o700);
  } catch (error) {
    throw new SitegenError(`cannot make ${folder}: ${(error as NodeJS.ErrnoException).code ?? String(error)}`, { hint: 'run it as root', cause: error });
  }
}

/** Takes the rights of others off files that are there; those that have none stay untouched. */
export async function restrict(files: readonly string[]): Promise<void> {
  for (const file of files) {
    const status = await fs.lstat(file).catch(() => undefined);
    if (status?.isFile() && (status.mode & 0o077) !== 0) await fs.chmod(file, 0o600);
  }
}
