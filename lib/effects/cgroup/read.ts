import { readdirSync, readFileSync } from 'node:fs';

/**
 * Files and folders that may go while they are looked at, read at once: rounds read a dozen small ones a
 * site, for which promises would cost more than the reading.
 */

/** @returns its text; undefined for what is not there, or not to be read */
export function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

/** @returns what is in it; nothing for what is not there */
export function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}
