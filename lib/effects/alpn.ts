import fs from 'node:fs/promises';
import tls from 'node:tls';
import { reasonOf, SitegenError } from '../pure/errors.ts';

/**
 * Answers tls-alpn-01 (RFC 8737) on a unix socket: with one certificate, to those who ask for
 * nothing but the challenge.
 * @param owner who may connect besides root
 * @returns ends it
 */
export async function answerAlpn(socket: string, pair: { key: string; cert: string }, owner: { uid: number; gid: number } | undefined): Promise<() => Promise<void>> {
  const server = tls.createServer({ ...pair, ALPNProtocols: ['acme-tls/1'], handshakeTimeout: 10_000 }, (connection) => { connection.end(); });
  // Whoever hangs up in the middle is the other side's matter.
  server.on('tlsClientError', () => undefined);
  await fs.rm(socket, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => { reject(new SitegenError(`cannot listen at ${socket}: ${reasonOf(error)}`, { hint: 'the router makes its directory: systemctl status sitegen-router.socket', cause: error })); });
    server.listen(socket, resolve);
  });
  await fs.chmod(socket, 0o600);
  if (owner) await fs.chown(socket, owner.uid, owner.gid);
  return async () => {
    await new Promise<void>((resolve) => { server.close(() => { resolve(); }); });
    await fs.rm(socket, { force: true });
  };
}
