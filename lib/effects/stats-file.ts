import fs from 'node:fs/promises';
import path from 'node:path';
import { SitegenError } from '../pure/errors.ts';

/**
 * Makes a file have a text from some byte on, and end there. Whatever stands before stays; the
 * file is made when it is missing. Repeating it changes nothing.
 * @param offset not beyond the file's end, unless the file is missing
 */
export async function writeAt(file: string, offset: number, text: string): Promise<void> {
  try {
    await fs.mkdir(path.dirname(file), { recursive: true });
    const handle = await fs.open(file, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o644);
    try {
      const bytes = Buffer.from(text);
      // A month's file that somebody took away begins anew.
      const at = Math.min(offset, (await handle.stat()).size);
      await handle.write(bytes, 0, bytes.length, at);
      await handle.truncate(at + bytes.length);
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw new SitegenError(`cannot write ${file}: ${error instanceof Error ? error.message : String(error)}`, { cause: error, hint: 'look at the disk: df -h' });
  }
}
