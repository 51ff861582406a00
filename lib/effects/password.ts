import { spawn } from 'node:child_process';
import { SitegenError } from '../pure/errors.ts';

/**
 * Hashes a password as crypt(3) does, with SHA-512 and a random salt.
 * The password goes in over a pipe: arguments can be read by everybody on the machine.
 * @throws SitegenError when openssl is missing
 */
export function hashPassword(password: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn('openssl', ['passwd', '-6', '-stdin'], { stdio: ['pipe', 'pipe', 'ignore'] });
    let hash = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => { hash += chunk; });
    child.once('error', (error) => { reject(new SitegenError('openssl cannot be run', { hint: 'install it: apt-get install openssl', cause: error })); });
    child.once('close', (code) => {
      if (code === 0) resolve(hash.trim());
      else reject(new SitegenError(`openssl passwd ended with exit code ${code ?? '?'}`));
    });
    child.stdin.end(`${password}\n`);
  });
}
