import { webcrypto } from 'node:crypto';
import { reasonOf, SitegenError } from '../pure/errors.ts';

/** Files that only the owner of a key can read, in the format of age (age-encryption.org/v1), as its own program reads and writes it. */

/**
 * Encrypts something small to a key.
 * @param recipient public key, `age1…`
 * @throws SitegenError when it is none
 */
export async function encrypt(content: Buffer, recipient: string): Promise<Buffer> {
  const { Encrypter } = await load();
  const encrypter = new Encrypter();
  try {
    encrypter.addRecipient(recipient);
  } catch (error) {
    throw new SitegenError(`${recipient} is not a public key of age: ${reasonOf(error)}`, { hint: 'backup.recipient of sitegen.yaml is what "age-keygen" prints as public key', cause: error });
  }
  return Buffer.from(await encrypter.encrypt(content));
}

/**
 * The content of an encrypted file.
 * @param identityText what `age-keygen` wrote: keys in lines of their own, and comments
 * @throws SitegenError when none of the keys opens it, or it is damaged
 */
export async function decrypt(content: Buffer, identityText: string): Promise<Buffer> {
  const { Decrypter } = await load();
  const decrypter = new Decrypter();
  const keys = identityText.split('\n').map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#'));
  try {
    for (const key of keys) decrypter.addIdentity(key);
  } catch (error) {
    // Whatever the reason, it could repeat the key.
    throw new SitegenError('the age identity has a line that is no key', { hint: 'backup.identity of sitegen.yaml names the file that "age-keygen" wrote', cause: error });
  }
  try {
    return Buffer.from(await decrypter.decrypt(content));
  } catch (error) {
    throw new SitegenError(`an encrypted file of the backup cannot be opened: ${reasonOf(error)}`, { hint: 'is backup.identity of sitegen.yaml the key that belongs to backup.recipient?', cause: error });
  }
}

/**
 * Loaded at its first use: most runs do without. Node 18 has the web's cryptography under another
 * name, and up to 22 warns of a curve in it that OpenSSL has had for long.
 */
async function load(): Promise<typeof import('age-encryption')> {
  if (!('crypto' in globalThis)) Object.defineProperty(globalThis, 'crypto', { value: webcrypto, configurable: true });
  if (!quiet) {
    const warn = process.emitWarning.bind(process) as (...args: unknown[]) => void;
    process.emitWarning = (...args: unknown[]) => { if (!String(args[0]).includes('X25519')) warn(...args); };
    quiet = true;
  }
  return import('age-encryption');
}

let quiet = false;
