import { createInterface } from 'node:readline';
import type { CommandModule } from 'yargs';
import { usageError } from '../lib/pure/errors.ts';
import { print } from './output.ts';

/** `sitegen password`: hashes a password for `auth:` of a site. */
export const passwordCommand: CommandModule = {
  command: 'password',
  describe: 'hash a password, read from the terminal or standard input, for auth: of a site',
  async handler() {
    const { hashPassword } = await import('../lib/effects/password.ts');
    const password = await readSecret('password: ');
    if (password === '') throw usageError('the password is empty');
    if (process.stdin.isTTY && await readSecret('again: ') !== password) throw usageError('the two differ');
    print(await hashPassword(password));
  },
};

/** A line from standard input, not shown on a terminal. */
async function readSecret(prompt: string): Promise<string> {
  const terminal = process.stdin.isTTY;
  if (terminal) process.stderr.write(prompt);
  const reader = createInterface({ input: process.stdin, terminal, ...(terminal ? { output: new (await import('node:stream')).Writable({ write: (_, __, done) => { done(); } }) } : {}) });
  try {
    return await new Promise<string>((resolve) => {
      reader.once('line', resolve);
      reader.once('close', () => { resolve(''); });
    });
  } finally {
    reader.close();
    if (terminal) process.stderr.write('\n');
  }
}
