import fs from 'node:fs';
import path from 'node:path';

/**
 * Copies that share their blocks with the file (FICLONE), where the file system can: the file may
 * then be written to while it is read. They have no name for longer than a moment.
 * @param beside a directory on the same file system that no other user can write to
 */
export function openClones(beside: string) {
  const prefix = '.reading-';
  // What a killed reader left.
  for (const name of fs.readdirSync(beside)) if (name.startsWith(prefix)) fs.rmSync(path.join(beside, name), { recursive: true, force: true });
  let directory: string | undefined;
  let possible = true;
  const close = () => {
    if (directory !== undefined) fs.rmSync(directory, { recursive: true, force: true });
    directory = undefined;
  };
  return {
    /** @returns a descriptor of the copy, which the caller closes; undefined where there can be none */
    clone(fd: number): number | undefined {
      if (!possible) return undefined;
      try {
        directory ??= fs.mkdtempSync(path.join(beside, prefix));
        const copy = path.join(directory, 'file');
        fs.copyFileSync(`/proc/self/fd/${fd}`, copy, fs.constants.COPYFILE_FICLONE_FORCE);
        const opened = fs.openSync(copy, 'r');
        fs.unlinkSync(copy);
        return opened;
      } catch {
        possible = false;
        close();
        return undefined;
      }
    },
    close,
  };
}
