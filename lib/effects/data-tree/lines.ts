import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { SitegenError } from '../../pure/errors.ts';

/** Long lists of lines in a file, of which only a part is in memory at a time; latin1. */
export interface LineFile {
  add(line: string): void;
  /** Ends it with a word and a checksum over all of it, if there is a word, and gives it its name. */
  finish(word?: string): void;
  /** Takes away what was written so far. */
  abandon(): void;
}

const chunk = 64 * 1024;

/** Begins a list; until its end a former one of its name stays. Not synced: after a power cut its checksum says whether it is whole. */
export function createLines(file: string): LineFile {
  const temporary = `${file}.new`;
  const attempt = <T>(action: () => T): T => {
    try {
      return action();
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? String(error);
      throw new SitegenError(`cannot write ${file}: ${code === 'ENOSPC' ? 'the disk is full' : code}`, { hint: code === 'ENOSPC' ? 'make room: df -h' : 'run it as root', cause: error });
    }
  };
  const hash = createHash('sha256');
  let text = '';
  let fd: number | undefined = attempt(() => {
    fs.mkdirSync(path.dirname(file), { recursive: true });
    return fs.openSync(temporary, 'w', 0o600);
  });
  const flush = () => {
    const buffer = Buffer.from(text, 'latin1');
    text = '';
    hash.update(buffer);
    attempt(() => { for (let at = 0; at < buffer.length;) at += fs.writeSync(fd ?? -1, buffer, at); });
  };
  const close = () => {
    if (fd !== undefined) fs.closeSync(fd);
    fd = undefined;
  };
  return {
    add(line) {
      text += `${line}\n`;
      if (text.length > chunk) flush();
    },
    finish(word) {
      flush();
      if (word !== undefined) {
        text = `${word} ${hash.copy().digest('hex')}\n`;
        flush();
      }
      close();
      attempt(() => { fs.renameSync(temporary, file); });
    },
    abandon() {
      close();
      fs.rmSync(temporary, { force: true });
    },
  };
}

/**
 * Reads such a list.
 * @param each called for every line but the last
 * @returns the word that it ends with; undefined when it is missing, not whole or not as it was written
 */
export function readLines(file: string, each: (line: string) => void): string | undefined {
  let fd: number;
  try {
    fd = fs.openSync(file, 'r');
  } catch {
    return undefined;
  }
  try {
    const hash = createHash('sha256');
    const buffer = Buffer.allocUnsafe(chunk);
    let rest = '';
    for (let count = fs.readSync(fd, buffer); count > 0; count = fs.readSync(fd, buffer)) {
      const lines = (rest + buffer.toString('latin1', 0, count)).split('\n');
      // The last line is known only at the end.
      const kept = lines.splice(-2);
      for (const line of lines) {
        hash.update(`${line}\n`, 'latin1');
        each(line);
      }
      rest = kept.join('\n');
    }
    const [, word, sum] = /^(.*) ([0-9a-f]{64})\n$/.exec(rest) ?? [];
    return sum === hash.digest('hex') ? word : undefined;
  } catch {
    return undefined;
  } finally {
    fs.closeSync(fd);
  }
}
