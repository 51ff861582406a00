import { exists, namesIn, readIfThere, remove, writeAtomic } from '../effects/files.ts';
import { withLock } from '../effects/lock.ts';
import { connectRouter, routerRuns } from '../effects/router.ts';
import { selfSigned } from '../effects/x509.ts';
import { certificateNames, claimedBy, covers, readCertificate, withImplied, type Certificate } from '../pure/certificate.ts';
import { paths, router, siteNames, type SiteNames } from '../pure/names.ts';
import { noState, type CertState } from '../pure/renewal.ts';
import type { SiteFile } from '../pure/schema.ts';
import { worked } from './alarm.ts';
import { allDomains } from './domains.ts';
import { ownerOf } from './settings.ts';

/**
 * Certificates as the router serves them. What was accepted for a site is kept apart from its
 * folder, so nothing that is dropped there can destroy what is served. The router has it in three
 * places, written in this order: its file, the list of certificates, and its memory.
 */

const dayMs = 86_400_000;

/** The names of a site that a certificate is wanted for; the implied one only when no other site has it. */
export async function namesOf(file: SiteFile): Promise<{ named: string[]; implied: string | undefined; all: string[] }> {
  const { named, implied } = certificateNames(file, () => false);
  const free = implied !== undefined && await ownerOf([implied], file.domain) === undefined ? implied : undefined;
  return { named, implied: free, all: withImplied({ named, implied: free }) };
}

/** What is served for a site, with its key, as PEM; undefined before the first. */
export async function acceptedPem(names: SiteNames): Promise<string | undefined> {
  return readIfThere(names.acceptedCert);
}

/** Facts about what is served for a site; undefined before the first. */
export async function acceptedCertificate(names: SiteNames): Promise<Certificate | undefined> {
  const pem = await acceptedPem(names);
  return pem === undefined ? undefined : readCertificate(pem);
}

/** What is known of a site's certificate; a damaged file counts as nothing known. */
export async function readState(names: SiteNames): Promise<CertState> {
  try {
    return { ...noState, ...JSON.parse((await readIfThere(names.certState)) ?? '{}') as Partial<CertState> };
  } catch {
    return noState;
  }
}

/** Keeps what is known of a site's certificate; not of a site that was removed meanwhile. */
export async function writeState(names: SiteNames, state: CertState): Promise<void> {
  if (!await exists(names.settingsFile)) return;
  await writeAtomic({ path: names.certState, content: `${JSON.stringify(state, undefined, 2)}\n`, mode: 0o600 });
}

/** Makes a certificate that was checked the one that is served from now on; `installCertificate` carries it out. */
export async function accept(names: SiteNames, pair: { chain: string; key: string }): Promise<void> {
  await writeAtomic({ path: names.acceptedCert, content: `${pair.chain.trim()}\n${pair.key.trim()}\n`, mode: 0o600 });
}

/**
 * Puts what was accepted for a site into the router: files and, when it runs, its memory. Does
 * nothing where all is as it should be, or where there is no certificate yet.
 * @param names the site's; those that the certificate is not for keep the self-signed one
 * @returns what was changed, a line each
 * @throws SitegenError when the router refuses it; its files are then as before
 */
export async function installCertificate(domain: string, names: readonly string[]): Promise<string[]> {
  const site = siteNames(domain);
  const pem = await acceptedPem(site);
  return pem === undefined ? [] : withLock(paths.certsLock, {}, () => install(site, names, pem));
}

/** Takes a site's certificate out of the router; it stays where it is kept, for when the site comes back. */
export async function uninstallCertificate(domain: string): Promise<string[]> {
  const { routerCert, certifyUnit, dropUnit } = siteNames(domain);
  // Whatever was wrong with it is nobody's concern any more.
  for (const unit of [certifyUnit, dropUnit]) await worked(unit, new Date());
  return withLock(paths.certsLock, {}, () => uninstall(domain, routerCert));
}

/** Forgets a site's certificate, however it came, and all that is known of it. */
export async function forgetCertificate(domain: string): Promise<string[]> {
  const names = siteNames(domain);
  const lines = await uninstallCertificate(domain);
  for (const file of [names.certDir, names.acceptedCert, names.certState]) {
    if (!await exists(file)) continue;
    await remove(file);
    lines.push(`${domain}: removed ${file}`);
  }
  return lines;
}

/** Makes sure that there is a certificate for names without their own, as the router does not start without. */
export async function ensureSelfSigned(now = new Date()): Promise<string[]> {
  return withLock(paths.certsLock, {}, async () => {
    const lines: string[] = [];
    const ends = readCertificate((await readIfThere(router.selfSigned)) ?? '')?.notAfter;
    if (ends === undefined || ends.getTime() - now.getTime() < 30 * dayMs) {
      const pem = await selfSigned('no certificate yet');
      await writeAtomic({ path: router.selfSigned, content: pem, mode: 0o600, owner: await routerOwner() });
      if (await routerRuns()) await connectRouter().setCertificate(router.selfSigned, pem);
      lines.push(`router: made a self-signed certificate for names without their own`);
    }
    const list = await readList();
    if (list[0] !== router.selfSigned) {
      await writeList([router.selfSigned, ...list.filter((line) => line !== router.selfSigned)]);
      lines.push(`router: wrote ${router.certList}`);
    }
    return lines;
  });
}

/**
 * Makes what the router has equal to what was accepted: its files, its list and its memory.
 * @param files settings of some sites, or of all
 * @param all whether they are all that can be read; then what belongs to no site is taken out
 * @returns what was repaired, a line each
 */
export async function repairCertificates(files: readonly SiteFile[], all: boolean): Promise<string[]> {
  const lines = await ensureSelfSigned();
  const claimed = claimedBy(files);
  await withLock(paths.certsLock, {}, async () => {
    const known = await routerRuns() ? await connectRouter().certList() : undefined;
    for (const file of files) {
      const site = siteNames(file.domain);
      const pem = file.enabled === false || file.passthrough || file.certificate === 'none' ? undefined : await acceptedPem(site);
      if (pem === undefined) {
        if (await exists(site.routerCert)) lines.push(...await uninstall(file.domain, site.routerCert));
        continue;
      }
      const names = all ? withImplied(certificateNames(file, (name) => claimed.has(name))) : (await namesOf(file)).all;
      lines.push(...await install(site, names, pem, known));
    }
    if (!all) return;
    // A site whose settings have a fault is not among the files, and keeps what it has.
    const present = (await allDomains()).map((domain) => siteNames(domain));
    const wanted = new Set([router.selfSigned, ...present.map(({ routerCert }) => routerCert)]);
    const strays = new Set([...await readList(), ...(known ?? [])].map((line) => fileOf(line)));
    for (const name of await namesIn(router.certsDir)) if (name.endsWith('.pem')) strays.add(`${router.certsDir}/${name}`);
    for (const stray of strays) if (!wanted.has(stray)) lines.push(...await uninstall('router', stray));
    // What is known of tries for sites that are gone; one that got a certificate may come back to it.
    const kept = new Set(present.map(({ certState }) => certState));
    for (const name of (await namesIn(paths.acmeDir)).filter((each) => each.endsWith('.json'))) {
      const state = `${paths.acmeDir}/${name}`;
      if (!kept.has(state) && !await exists(state.replace(/\.json$/, '.pem'))) await remove(state);
    }
  });
  return lines;
}

async function install(site: SiteNames, names: readonly string[], pem: string, known?: readonly string[]): Promise<string[]> {
  const certificate = readCertificate(pem);
  if (!certificate) return [];
  const lines: string[] = [];
  const served = names.filter((name) => covers(certificate, name));
  // A line without names would serve whatever the certificate is for.
  if (served.length === 0) return await exists(site.routerCert) ? uninstall(site.domain, site.routerCert) : [];
  const line = [site.routerCert, ...served].join(' ');
  const before = { pem: await readIfThere(site.routerCert), list: await readList() };
  const others = before.list.filter((each) => fileOf(each) !== site.routerCert);
  const list = before.list.includes(line) && before.list.length === others.length + 1 ? before.list : [...others, line];
  if (before.pem !== pem) {
    await writeAtomic({ path: site.routerCert, content: pem, mode: 0o600, owner: await routerOwner() });
    lines.push(`${site.domain}: wrote ${site.routerCert}`);
  }
  if (list !== before.list) {
    await writeList(list);
    lines.push(`${site.domain}: wrote ${router.certList}`);
  }
  if (!await routerRuns()) return lines;
  const api = connectRouter();
  try {
    if (await api.fingerprint(site.routerCert) !== certificate.sha1) {
      await api.setCertificate(site.routerCert, pem);
      lines.push(`${site.domain}: the router has its certificate`);
    }
    const inMemory = (known ?? await api.certList()).filter((each) => fileOf(each) === site.routerCert);
    if (inMemory.length !== 1 || inMemory[0] !== line) {
      await api.addToList(site.routerCert, served);
      lines.push(`${site.domain}: the router serves it for ${served.join(', ')}`);
    }
  } catch (error) {
    // Refused: the next start of the router would stumble over its file.
    if (await routerRuns()) {
      await writeList(before.list);
      if (before.pem === undefined) await remove(site.routerCert);
      else await writeAtomic({ path: site.routerCert, content: before.pem, mode: 0o600, owner: await routerOwner() });
    }
    throw error;
  }
  return lines;
}

async function uninstall(domain: string, file: string): Promise<string[]> {
  const lines: string[] = [];
  const list = await readList();
  const rest = list.filter((line) => fileOf(line) !== file);
  if (rest.length < list.length) await writeList(rest);
  if (await routerRuns()) {
    const api = connectRouter();
    await api.deleteFromList(file);
    if (await api.fingerprint(file) !== undefined) await api.deleteCertificate(file);
  }
  if (rest.length < list.length || await exists(file)) lines.push(`${domain}: took ${file} out of the router`);
  await remove(file);
  return lines;
}

async function readList(): Promise<string[]> {
  return ((await readIfThere(router.certList)) ?? '').split('\n').filter((line) => line !== '');
}

async function writeList(lines: readonly string[]): Promise<void> {
  await writeAtomic({ path: router.certList, content: lines.map((line) => `${line}\n`).join('') });
}

function fileOf(line: string): string {
  return line.split(' ', 1)[0] ?? '';
}

/** Whom keys in the router's files belong to; undefined, hence root, where there is no router. */
export async function routerOwner(): Promise<{ uid: number; gid: number } | undefined> {
  const line = ((await readIfThere('/etc/passwd')) ?? '').split('\n').find((each) => each.startsWith(`${router.user}:`));
  const [, , uid, gid] = line?.split(':') ?? [];
  return uid === undefined || gid === undefined ? undefined : { uid: Number(uid), gid: Number(gid) };
}
