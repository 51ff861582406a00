import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { reasonOf, SitegenError } from '../pure/errors.ts';

const run = promisify(execFile);

/**
 * Copies a file or a directory with all that is in it, with owners, modes, times and links as they
 * are; where the file system can, without using room twice.
 * @param to does not exist yet, or is a directory for the content of one
 * @throws SitegenError with cp's own words
 */
export async function copyAll(from: string, to: string): Promise<void> {
  try {
    await run('cp', ['--archive', '--reflink=auto', '--no-target-directory', '--', from, to]);
  } catch (error) {
    throw new SitegenError(`cannot copy ${from}: ${(error as { stderr?: string }).stderr?.trim() ?? reasonOf(error)}`, { cause: error });
  }
}
