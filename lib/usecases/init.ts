import { readIfThere, writeAtomic } from '../effects/files.ts';
import { withLock } from '../effects/lock.ts';
import { keyscan } from '../effects/ssh-keyscan.ts';
import { changedLines } from '../pure/diff.ts';
import { SitegenError } from '../pure/errors.ts';
import { parseServer, scannedKey, withAnswers, type Answers, type BackupServer } from '../pure/init.ts';
import { paths } from '../pure/names.ts';
import { fingerprintOf } from '../pure/ssh-key.ts';
import { builtIn } from '../pure/site.ts';
import { loadDefaults } from './settings.ts';

/** What the settings say already, to be offered as it is. */
export async function presentAnswers(): Promise<{ email: string | undefined; servers: BackupServer[]; memory: string }> {
  const { acme, backup, machine } = await loadDefaults();
  return { email: acme?.email, servers: [...backup?.servers ?? []], memory: machine?.memory ?? builtIn.memory };
}

/**
 * A backup server with its host key, asked of the server itself where it is not given.
 * @param accept asked whether a key is the server's; false refuses it
 * @throws SitegenError when it does not answer, or the key is refused
 */
export async function resolveServer(text: string, accept: (host: string, fingerprint: string) => Promise<boolean>): Promise<BackupServer> {
  const { url, hostKey, host, port } = parseServer(text);
  if (hostKey !== undefined) return { url, hostKey };
  const scanned = scannedKey(await keyscan(host, port));
  if (scanned === undefined) throw new SitegenError(`${host}: no ed25519 host key, or no answer on port ${port}`, { hint: `write its host key behind the URL: "${url} ssh-ed25519 AAAA…"` });
  if (!await accept(host, fingerprintOf(scanned))) {
    throw new SitegenError(`${host}: nobody has confirmed its host key`, { hint: `if ${fingerprintOf(scanned)} is right (there: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), give it with the URL: "${url} ${scanned}"` });
  }
  return { url, hostKey: scanned };
}

/**
 * Writes the answers into the machine's settings; whatever else stands there stays.
 * @returns the lines that changed, with `-` and `+`
 * @throws SitegenError when an answer is not valid; then nothing is written
 */
export async function writeAnswers(answers: Answers): Promise<string[]> {
  return withLock(paths.machineLock, {}, async () => {
    const before = (await readIfThere(paths.defaultsFile)) ?? '';
    const after = withAnswers(before, answers);
    if (after === before) return [];
    await writeAtomic({ path: paths.defaultsFile, content: after, mode: 0o600 });
    return changedLines(before, after);
  });
}
