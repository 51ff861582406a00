import { execFile } from 'node:child_process';
import { generateKeyPair } from 'node:crypto';
import tls from 'node:tls';
import { promisify } from 'node:util';
import { reasonOf, SitegenError } from '../pure/errors.ts';

const execute = promisify(execFile);
const makePair = promisify(generateKeyPair);

export type KeyType = 'ecdsa-p256' | 'ecdsa-p384' | 'rsa-2048' | 'rsa-4096';

/** A new private key, as PEM. */
export async function makeKey(type: KeyType = 'ecdsa-p256'): Promise<string> {
  const { privateKey } = type.startsWith('rsa')
    ? await makePair('rsa', { modulusLength: Number(type.slice(4)) })
    : await makePair('ec', { namedCurve: type === 'ecdsa-p384' ? 'P-384' : 'P-256' });
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/**
 * A certificate that nobody has signed, for ten years, with its key in one PEM.
 * @throws SitegenError when openssl is missing
 */
export async function selfSigned(name: string): Promise<string> {
  try {
    // Key and certificate both come on standard output: there is never a file of it.
    const { stdout } = await execute('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes',
      '-keyout', '-', '-subj', `/CN=${name}`, '-addext', 'basicConstraints=critical,CA:FALSE', '-days', '3650']);
    return stdout;
  } catch (error) {
    throw new SitegenError('openssl could not make a certificate', { hint: 'run install.sh again, which installs it', cause: (error as { stderr?: string }).stderr });
  }
}

/** Why OpenSSL, as the router uses it, would not take a pair that is right by itself; undefined when it does. */
export function tlsFault(pair: { chain: string; key: string }): string | undefined {
  try {
    tls.createSecureContext({ cert: pair.chain, key: pair.key, ciphers: 'DEFAULT:@SECLEVEL=2' });
    return undefined;
  } catch (error) {
    // Such as "ee key too small" and "ca md too weak".
    return `OpenSSL refuses it: ${reasonOf(error).replace(/^error:[^:]*:[^:]*:[^:]*:/, '')}`;
  }
}
