import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { SitegenError } from '../pure/errors.ts';

/**
 * Makes a key pair without a passphrase, as programs that nobody watches need it: the key at
 * `file` with mode 0600, and `file.pub`.
 * @throws SitegenError when ssh-keygen is missing or cannot write there; a key that exists stays
 */
export async function makeKeyPair(file: string, comment: string): Promise<void> {
  try {
    await promisify(execFile)('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', comment, '-f', file], { env: { PATH: process.env['PATH'] ?? '' } });
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    throw new SitegenError(missing ? 'ssh-keygen is not installed' : `ssh-keygen cannot make ${file}: ${(error as { stderr?: string }).stderr?.trim() ?? String(error)}`, {
      hint: missing ? 'apt-get install openssh-client' : 'run it as root', cause: error,
    });
  }
}
