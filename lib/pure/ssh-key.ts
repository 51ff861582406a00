import { createHash } from 'node:crypto';

/**
 * The fingerprint of a public key, as `ssh-keygen -l` prints it.
 * @param publicKey a line such as `ssh-ed25519 AAAA… comment`
 */
export function fingerprintOf(publicKey: string): string {
  const [, blob = ''] = publicKey.trim().split(/\s+/);
  return `SHA256:${createHash('sha256').update(Buffer.from(blob, 'base64')).digest('base64').replace(/=+$/, '')}`;
}
