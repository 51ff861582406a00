import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { askGit } from './process.ts';

/** Who has signed a commit. */
export interface Signature {
  state: 'good' | 'unknown key' | 'bad' | 'none';
  /** Fingerprint of the key, `SHA256:…`, where there is a signature that fits. */
  key: string | undefined;
}

/**
 * Checks the signature of a commit, and with it all that is in its tree and its history.
 * @param keys public keys of ssh, of those who may sign
 * @returns good: by one of them; unknown key: by somebody else; bad: the commit is not what was signed
 */
export async function signatureOf(repository: string, commit: string, keys: readonly string[]): Promise<Signature> {
  const directory = await fs.mkdtemp(path.join(os.tmpdir(), 'sitegen-signers-'));
  try {
    const file = path.join(directory, 'allowed');
    // As ssh-keygen(1) has it under ALLOWED SIGNERS; git signs in a namespace of its own.
    const lines = keys.map((key) => `sitegen namespaces="git" ${key.trim().split(/\s+/).slice(0, 2).join(' ')}\n`);
    await fs.writeFile(file, lines.join(''), { mode: 0o600 });
    const said = await askGit({ repository, what: `check the signature of ${commit}`, config: [`gpg.ssh.allowedSignersFile=${file}`], args: ['log', '--max-count=1', '--format=%G?%n%GF', '--end-of-options', commit] });
    const [letter = '', key = ''] = said.split('\n');
    return { state: letter === 'G' ? 'good' : letter === 'U' ? 'unknown key' : letter === 'N' ? 'none' : 'bad', key: key === '' ? undefined : key };
  } finally {
    await fs.rm(directory, { recursive: true, force: true });
  }
}
