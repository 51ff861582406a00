import { alpnCertificate, type Authorization, type ChallengeType } from '../effects/acme.ts';
import { answerAlpn } from '../effects/alpn.ts';
import { hasTxt, HookError, runHook } from '../effects/dns.ts';
import { withLock } from '../effects/lock.ts';
import { connectRouter, routerRuns } from '../effects/router.ts';
import { makeKey } from '../effects/x509.ts';
import { reasonOf } from '../pure/errors.ts';
import { mapFile, paths } from '../pure/names.ts';
import { routerOwner } from './certs.ts';

/** How the program of `acme.dns` is waited for, and DNS after it. */
const hookMs = 120_000;
const spreadMs = 120_000;

/** What a proof needs to know. */
export interface ProofOptions {
  /** Program and arguments of `acme.dns`. */
  hook: readonly string[] | undefined;
  report: (line: string) => void;
}

/**
 * Proves that a name is ours: puts the answer in place, lets the server look, and takes it away.
 * @returns undefined, or why it did not work; AcmeErrors, which concern more than this name, are thrown
 */
export async function prove(authorization: Authorization, type: ChallengeType, options: ProofOptions): Promise<string | undefined> {
  const { token, answer } = await authorization.answerOf(type);
  switch (type) {
    case 'http-01': return proveByRouter(authorization, token, answer);
    case 'tls-alpn-01': return proveByAlpn(authorization, answer);
    case 'dns-01': return proveByHook(authorization, answer, options);
  }
}

async function proveByRouter(authorization: Authorization, token: string, answer: string): Promise<string | undefined> {
  if (!await routerRuns()) return 'the router does not run';
  const api = connectRouter();
  await api.setEntry(mapFile('acme'), token, answer);
  try {
    return await authorization.prove('http-01');
  } finally {
    await api.deleteEntry(mapFile('acme'), token).catch(() => undefined);
  }
}

/** There is one socket for it, so it is one name's at a time. */
async function proveByAlpn(authorization: Authorization, answer: string): Promise<string | undefined> {
  if (!await routerRuns()) return 'the router does not run';
  return withLock(paths.alpnLock, {}, async () => {
    const key = await makeKey();
    const end = await answerAlpn(paths.alpnSocket, { key, cert: await alpnCertificate(authorization.base, answer, key) }, await routerOwner());
    try {
      return await authorization.prove('tls-alpn-01');
    } finally {
      await end();
    }
  });
}

async function proveByHook(authorization: Authorization, answer: string, { hook, report }: ProofOptions): Promise<string | undefined> {
  if (!hook) return 'there is no acme.dns program';
  const name = `_acme-challenge.${authorization.base}`;
  try {
    await runHook(hook, 'present', name, answer, hookMs);
    const end = Date.now() + spreadMs;
    let there = await hasTxt(name, answer);
    while (!there && Date.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, 2000));
      there = await hasTxt(name, answer);
    }
    // The authority may see more than this machine does, so it decides.
    if (!there) report(`${name}: the record is not seen at all of its name servers after ${spreadMs / 1000} s; trying all the same`);
    return await authorization.prove('dns-01');
  } catch (error) {
    if (error instanceof HookError) return reasonOf(error);
    throw error;
  } finally {
    await runHook(hook, 'cleanup', name, answer, hookMs).catch((error: unknown) => { report(reasonOf(error)); });
  }
}
