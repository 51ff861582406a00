import { remove, writeAtomic } from '../effects/files.ts';
import { makePrivate, readFolder, restrict } from '../effects/folder.ts';
import { tlsFault } from '../effects/x509.ts';
import { checkPair, readCertificate, splitPair, type Certificate } from '../pure/certificate.ts';
import { isPartial, pairOf, readDrop, type Drop } from '../pure/drop.ts';
import { paths, siteNames, type SiteNames } from '../pure/names.ts';
import { succeeded } from '../pure/renewal.ts';
import type { SiteFile } from '../pure/schema.ts';
import { accept, acceptedCertificate, acceptedPem, installCertificate, namesOf, readState, writeState } from './certs.ts';

/** What lies in a site's folder, compared with what is served. */
export type Folder =
  | { kind: 'empty' }
  /** What ACME gave, or an earlier one of it. */
  | { kind: 'acme' }
  /** Served already. */
  | { kind: 'served' }
  | { kind: 'new'; pair: { chain: string; key: string }; drop: Drop }
  | { kind: 'wrong'; reason: string };

/** What became of a look at the folder. */
export interface Look {
  kind: Folder['kind'];
  /** Why it was refused. */
  reason?: string;
  lines: string[];
}

const quietMs = 2000;
const patienceMs = 10_000;
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Looks at a site's folder, and changes nothing. */
export async function inspectFolder(domain: string, now: Date): Promise<Folder> {
  const names = siteNames(domain);
  const drop = readDrop(await readFolder(names.certDir), domain);
  if (!drop) return { kind: 'empty' };
  const pair = pairOf(drop);
  const found = readCertificate(pair.chain);
  const { issued } = await readState(names);
  if (found && issued.includes(found.fingerprint)) {
    const served = splitPair((await acceptedPem(names)) ?? '');
    // The same key as the one in force: a program that wrote both was killed in between.
    if (!isPartial(drop) || pair.key === served.key) return { kind: 'acme' };
  }
  const fault = checkPair({ chain: drop.chain, key: drop.key }, domain, now);
  if (typeof fault !== 'string' && `${pair.chain.trim()}\n${pair.key.trim()}\n` === await acceptedPem(names)) return { kind: 'served' };
  const reason = typeof fault === 'string' ? fault : tlsFault(pair);
  return reason === undefined ? { kind: 'new', pair, drop } : { kind: 'wrong', reason };
}

/**
 * Takes what somebody has put into a site's folder: checks it, and serves it when it is right. What
 * is wrong stays where it is, and what was served before goes on being served.
 */
export async function takeDrop(file: SiteFile, now: Date): Promise<Look> {
  const names = siteNames(file.domain);
  const folder = await inspectFolder(file.domain, now);
  const state = await readState(names);
  const files = readDrop(await readFolder(names.certDir), file.domain)?.files ?? [];
  await restrict(files.map((name) => `${names.certDir}/${name}`));
  if (folder.kind === 'wrong') {
    if (state.refused !== folder.reason) await writeState(names, { ...state, refused: folder.reason });
    return { kind: 'wrong', reason: folder.reason, lines: [] };
  }
  if (folder.kind === 'new') {
    await adopt(names, folder.pair);
    // Links of the admin's own stay, when they have the right names.
    if (files.length !== 2 || !files.includes('fullchain.pem') || !files.includes('key.pem')) await writePair(names, folder.pair);
  }
  else if (state.refused !== undefined) await writeState(names, { ...state, refused: undefined });
  const lines = folder.kind === 'new' ? [`${file.domain}: took the certificate from ${names.certDir}`] : [];
  if (folder.kind === 'empty') return { kind: 'empty', lines };
  return { kind: folder.kind, lines: [...lines, ...await installCertificate(file.domain, (await namesOf(file)).all)] };
}

/** The same, once whoever copies files into the folder has finished: a pair that does not fit yet may still become one. */
export async function takeDropWhenQuiet(file: SiteFile, clock: () => Date): Promise<Look> {
  const { certDir } = siteNames(file.domain);
  const latest = async () => {
    const files = await readFolder(certDir);
    return { files, changedMs: files[0]?.changedMs ?? 0 };
  };
  const began = clock().getTime();
  for (;;) {
    const { files, changedMs } = await latest();
    const drop = readDrop(files, file.domain);
    const age = clock().getTime() - changedMs;
    const enough = drop && isPartial(drop) ? patienceMs : quietMs;
    // A clock that was set back must not keep anybody waiting.
    if (files.length > 0 && age >= 0 && age < enough && clock().getTime() - began < 60_000) {
      await pause(Math.min(500, enough));
      continue;
    }
    const look = await takeDrop(file, clock());
    const after = await latest();
    // What came while it was looked at would otherwise wait for the next change.
    if (after.changedMs <= changedMs || ['served', 'acme'].includes((await inspectFolder(file.domain, clock())).kind)) return look;
  }
}

/** Makes a pair that was checked what is served for a site; it counts as made by hand. */
export async function adopt(names: SiteNames, pair: { chain: string; key: string }): Promise<void> {
  await accept(names, pair);
  await writeState(names, { ...succeeded(await readState(names), undefined, {}), refused: undefined, alarmed: undefined });
}

/** Writes certificate and key into a site's folder, under the names that other programs expect. */
export async function writePair(names: SiteNames, pair: { chain: string; key: string }): Promise<void> {
  await makePrivate(paths.certsDir);
  await makePrivate(names.certDir);
  // Key first: were this the last thing that happens, the old certificate beside the key in force tells so.
  await writeAtomic({ path: `${names.certDir}/key.pem`, content: pair.key, mode: 0o600 }, { path: `${names.certDir}/fullchain.pem`, content: pair.chain, mode: 0o600 });
}

/** Empties a site's folder of certificates and keys, before others come in by a command. */
export async function clearFolder(domain: string): Promise<void> {
  const { certDir } = siteNames(domain);
  for (const { name } of await readFolder(certDir)) if (/\.(pem|crt|cer|key)$/.test(name)) await remove(`${certDir}/${name}`);
}

/** Where what is served came from. */
export async function sourceOf(names: SiteNames): Promise<{ source: 'acme' | 'manual' | 'none'; certificate: Certificate | undefined }> {
  const certificate = await acceptedCertificate(names);
  if (!certificate) return { source: 'none', certificate };
  const { issued } = await readState(names);
  return { source: issued.includes(certificate.fingerprint) ? 'acme' : 'manual', certificate };
}
