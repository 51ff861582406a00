import { readIfThere } from '../effects/files.ts';
import { withLock } from '../effects/lock.ts';
import type { Systemd } from '../effects/systemd.ts';
import { tlsFault } from '../effects/x509.ts';
import { certificateNames, checkPair, claimedBy, covers, splitPair, withImplied } from '../pure/certificate.ts';
import { SitegenError } from '../pure/errors.ts';
import { siteNames } from '../pure/names.ts';
import { isLater, renewalTime } from '../pure/renewal.ts';
import { forgetCertificate, installCertificate, namesOf, readState } from './certs.ts';
import { wayOf } from './certify.ts';
import { adopt, clearFolder, sourceOf, writePair } from './drop.ts';
import { editSettings } from './edit.ts';
import { readableSites, siteFile } from './read-sites.ts';
import { loadDefaults } from './settings.ts';

/** A site's certificate, as `certs list --json` shows it; times are ISO 8601. */
export interface CertificateStatus {
  domain: string;
  /** Names of the site that it serves. */
  names: readonly string[];
  issuer: string | null;
  notAfter: string | null;
  daysLeft: number | null;
  /** none: the self-signed one serves. */
  source: 'acme' | 'manual' | 'none';
  /** Renewal, or the next try after a failure; null where nothing will be done. */
  nextTry: string | null;
  lastError: string | null;
  /** Why the certificate in the folder is not served. */
  refused: string | null;
  /** Names that it is without, and why. */
  leftOut: Record<string, string>;
}

const dayMs = 86_400_000;

/** Certificates of some sites, or of all, by name. */
export async function certificateStatus(now: Date, domains?: readonly string[]): Promise<CertificateStatus[]> {
  const defaults = await loadDefaults();
  const every = await readableSites();
  // With passthrough it is the other server's.
  const sites = every.filter(({ domain, passthrough }) => !passthrough && (domains?.includes(domain) ?? true));
  const claimed = claimedBy(every);
  return Promise.all(sites.map(async (file) => {
    const names = siteNames(file.domain);
    const state = await readState(names);
    const { source, certificate } = await sourceOf(names);
    const { named, implied } = certificateNames(file, (name) => claimed.has(name));
    const all = withImplied({ named, implied });
    const way = wayOf(file, defaults);
    const renewal = certificate ? renewalTime(certificate, file.domain, state.window).toISOString() : now.toISOString();
    const next = isLater(state.nextTry, now) ? (state.nextTry ?? null) : renewal;
    return {
      domain: file.domain,
      names: certificate ? all.filter((name) => covers(certificate, name)) : [],
      issuer: certificate?.issuer ?? null,
      notAfter: certificate?.notAfter.toISOString() ?? null,
      daysLeft: certificate ? Math.floor((certificate.notAfter.getTime() - now.getTime()) / dayMs) : null,
      source,
      nextTry: way === 'acme' && source !== 'manual' ? next : null,
      lastError: state.lastError ?? null,
      refused: state.refused ?? null,
      leftOut: Object.fromEntries(Object.entries(state.leftOut).filter(([name]) => name !== implied).map(([name, { reason }]) => [name, reason])),
    };
  }));
}

/**
 * Serves a certificate from files from now on, and asks ACME for none any more.
 * @param files paths of certificate, key and chain
 * @returns what was changed, a line each
 * @throws SitegenError that says what is wrong with it; then nothing is changed
 */
export async function importCertificate(systemd: Pick<Systemd, 'start'>, domain: string, files: { cert: string; key: string; chain?: string | undefined }, now: Date): Promise<string[]> {
  const names = siteNames(domain);
  const file = await siteFile(domain);
  if (file.passthrough) throw new SitegenError(`${domain}: passthrough leaves the certificate to the server behind it`);
  const read = async (path: string) => {
    const content = await readIfThere(path);
    if (content === undefined) throw new SitegenError(`${path} does not exist`);
    return content;
  };
  const given = { chain: [await read(files.cert), files.chain === undefined ? '' : await read(files.chain)].join('\n'), key: await read(files.key) };
  const fault = checkPair(given, domain, now);
  const pair = splitPair(`${given.chain}\n${given.key}`);
  const reason = typeof fault === 'string' ? fault : tlsFault(pair);
  if (reason !== undefined) throw new SitegenError(`${domain}: ${files.cert} is refused: ${reason}`, { hint: 'nothing was changed' });
  if (file.certificate !== 'manual') await editSettings(domain, { certificate: 'manual' });
  return withLock(names.certLock, {}, async () => {
    await clearFolder(domain);
    await adopt(names, pair);
    await writePair(names, pair);
    const lines = await installCertificate(domain, (await namesOf(file)).all);
    await systemd.start(names.watchUnit);
    return lines;
  });
}

/**
 * Forgets a site's certificate; one from ACME is asked for anew, unless the settings want none.
 * @returns what was changed, a line each
 */
export async function removeCertificate(systemd: Pick<Systemd, 'start' | 'stop' | 'enqueue'>, domain: string): Promise<string[]> {
  const names = siteNames(domain);
  const file = await siteFile(domain);
  await systemd.stop(names.watchUnit);
  const lines = await withLock(names.certLock, {}, () => forgetCertificate(domain));
  if (file.certificate === 'manual') {
    await editSettings(domain, { certificate: undefined });
    lines.push(`${domain}: took "certificate: manual" out of its settings`);
  }
  if (wayOf({ ...file, certificate: file.certificate === 'manual' ? undefined : file.certificate }, await loadDefaults()) === 'acme') await systemd.enqueue(names.certifyUnit);
  return lines;
}
