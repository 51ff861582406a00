import { addressesOf, ownAddresses } from '../effects/dns.ts';
import { moveMain } from '../effects/git/lineage.ts';
import { headOf, isAncestor } from '../effects/git/objects.ts';
import { exists, remove, writeAtomic } from '../effects/files.ts';
import { makePrivate } from '../effects/folder.ts';
import { withLock } from '../effects/lock.ts';
import { hasOnlyDirectories, replaceTree } from '../effects/site-tree.ts';
import { isAddress, isPublic } from '../pure/addresses.ts';
import { leadsHere } from '../pure/certificate.ts';
import { reasonOf, SitegenError } from '../pure/errors.ts';
import { parseDomain, paths, siteNames, type SiteNames } from '../pure/names.ts';
import { noState } from '../pure/renewal.ts';
import type { DefaultsFile, SiteFile } from '../pure/schema.ts';
import { fingerprintOf } from '../pure/ssh-key.ts';
import { shortCommit } from '../pure/static.ts';
import { add } from './add.ts';
import { adoptingFile, isWhole } from './adopting.ts';
import { apply } from './apply.ts';
import { updateState } from './backup-state.ts';
import { accept, installCertificate, namesOf, uninstallCertificate } from './certs.ts';
import { chooseBackup, requireCommit, requireSigned, type Chosen } from './choose.ts';
import { writePair } from './drop.ts';
import { trustProxy } from './edit.ts';
import { wayOf } from './certify.ts';
import { epochOf, thisServer } from './epoch.ts';
import { readFence } from './fence.ts';
import { extractSite } from './extract.ts';
import { makeReady, restoreSite, type RestoreDeps } from './restore.ts';
import { describeSource, goOnFrom } from './restore-history.ts';
import { openServers } from './servers.ts';
import { loadDefaults, loadSite } from './settings.ts';
import { placesOf, settleSite } from './swap.ts';
import { certificateIn, settingsOf } from './unseal.ts';

/** Which site is to come here. */
export interface AdoptRequest {
  domain: string;
  /** The server that is asked; all when it is missing. */
  from?: string | undefined;
  /** App of a site that has no backup yet. */
  app?: string | undefined;
  /** Its DNS need not lead here. */
  force: boolean;
  /** Nobody watches: only what has a repository is installed. */
  automatic: boolean;
  /** Address of the former server, when that is to tell visitors' own addresses by PROXY protocol. */
  proxy?: string | undefined;
  /**
   * The former server's last commit, which what comes here must have in it. Whoever asks again, as
   * its connection was cut, is told of success when the site came with that meanwhile.
   */
  commit?: string | undefined;
}

/** What became of it. */
export interface Adopted {
  /** The backup that it came from; undefined for a first installation. */
  commit: string | undefined;
  from: string;
  files: number;
  bytes: number;
}

/** There is no such site to be had, or it is not to come here: no fault of anybody's. */
export class NotToAdopt extends SitegenError {}

/**
 * Brings a site to this machine: history, settings, data, certificate, units. Its first visitor has
 * the dump loaded. From its next commit on this server has the site, and the former one forwards
 * visitors here. When a step fails, those before it are undone.
 * @throws NotToAdopt when there is no backup, or its DNS leads elsewhere and `force` is not given: a
 *   name that somebody only claims to look for must move nothing
 */
export async function adoptSite(deps: RestoreDeps, request: AdoptRequest): Promise<Adopted> {
  const domain = parseDomain(request.domain);
  const names = siteNames(domain);
  const defaults = await loadDefaults();
  const fenced = await readFence(names);
  if (await exists(names.settingsFile) && !fenced) {
    await requireTaken(names, request.commit, defaults);
    return withLock(names.restoreLock, {}, () => finish(deps, names));
  }
  await requireDns(domain, defaults, request.force);
  if (fenced) return takeBack(deps, names, request, defaults);
  return withLock(names.restoreLock, { waiting: () => { deps.report(`${domain}: waiting for another restore of it`); } }, async () => {
    // What was waited for may have been an adoption of it.
    if (!await exists(names.settingsFile)) return adoptLocked(deps, names, request, defaults);
    await requireTaken(names, request.commit, defaults);
    return finish(deps, names);
  });
}

/**
 * Says whether `adoptSite` could begin; changes nothing.
 * @param signer the public key of the server that asks, which has to be allowed
 * @throws SitegenError with the reason when it could not
 */
export async function checkAdopt(domainInput: string, signer?: string): Promise<string> {
  const domain = parseDomain(domainInput);
  const names = siteNames(domain);
  if (await exists(names.settingsFile) && !await readFence(names)) throw new SitegenError(`${domain}: the site exists already`);
  const defaults = await loadDefaults();
  if (signer !== undefined && !(defaults.backup?.signers ?? []).some((key) => fingerprintOf(key) === fingerprintOf(signer))) {
    throw new SitegenError(`${domain}: backups of the server with the key ${fingerprintOf(signer)} are not allowed here`, { hint: `write it into backup.signers of sitegen.yaml: ${signer}` });
  }
  const found = await Promise.allSettled((await openServers(defaults)).map((store) => store.look(names.id)));
  const having = found.filter((each) => each.status === 'fulfilled' && each.value.state === 'commit').length;
  if (having > 0) return `${domain}: ${having} of ${found.length} backup servers ${having === 1 ? 'has' : 'have'} it`;
  const reasons = found.map((each) => (each.status === 'rejected' ? reasonOf(each.reason) : 'it has no backup of it'));
  throw new SitegenError(`${domain}: there is nothing to adopt: ${reasons.join('; ') || 'there are no backup servers'}`, { hint: 'set backup.servers in sitegen.yaml to those of the former server, and let them know this one: sitegen backup key' });
}

/** @throws NotToAdopt unless the public DNS of a domain has an address of this machine */
async function requireDns(domain: string, defaults: DefaultsFile, force: boolean): Promise<void> {
  if (force) return;
  const said = defaults.backup?.address?.replace(/^\[|\]$/g, '');
  // Behind address translation only the settings know it.
  const own = [...ownAddresses().filter((address) => isPublic(address)), ...(said === undefined ? [] : isAddress(said) === 0 ? (await addressesOf(said)) ?? [] : [said])];
  const found = await addressesOf(domain);
  if (leadsHere(found, own) === 'yes') return;
  const where = found === undefined ? 'DNS does not answer' : found.length === 0 ? 'it has no address in DNS' : `its DNS leads to ${found.join(', ')}`;
  throw new NotToAdopt(`${domain}: ${where}, and not to this machine${own.length === 0 ? ', whose public address nobody knows' : ''}`, {
    hint: own.length === 0 ? `set backup.address in sitegen.yaml; or, if you know what you do: sitegen adopt --force ${domain}` : `change its DNS; or, before that: sitegen adopt --force ${domain}`,
  });
}

/**
 * Lets a site pass that is half adopted, or that was taken over with all that its former server says it had.
 * @throws SitegenError when it is another one
 */
async function requireTaken(names: SiteNames, commit: string | undefined, defaults: DefaultsFile): Promise<void> {
  if (!await isWhole(names)) return;
  const tip = await headOf(names.repository);
  const isTaken = commit !== undefined && tip !== undefined && await isAncestor(names.repository, commit, tip);
  if (isTaken && (await epochOf(names.repository, tip))?.key === (await thisServer(defaults)).key) return;
  throw new SitegenError(`${names.domain}: the site exists already`, { hint: `bring it back to its last backup: sitegen restore ${names.domain}` });
}

/** A site that another server has had meanwhile. */
async function takeBack(deps: RestoreDeps, names: SiteNames, request: AdoptRequest, defaults: DefaultsFile): Promise<Adopted> {
  const { commit, from, files, bytes } = await restoreSite(deps, { domain: names.domain, from: request.from, paths: [], force: true, takeOver: true, has: request.commit, proxyProtocol: request.proxy !== undefined });
  if (request.proxy !== undefined) await trustProxy(request.proxy);
  await withLock(paths.machineLock, {}, async () => {
    await writeAtomic({ path: names.settingsFile, content: await settingsOf({ ...names, commit }, defaults), mode: 0o600 });
    const { faults: [fault] } = await apply(deps, [names.domain]);
    if (fault) throw new SitegenError(fault.reason);
  });
  await tellServers(deps, names);
  return { commit, from: describeSource(from), files, bytes };
}

async function adoptLocked(deps: RestoreDeps, names: SiteNames, request: AdoptRequest, defaults: DefaultsFile): Promise<Adopted> {
  const { report, progress } = deps;
  const { domain, repository } = names;
  const undo: (() => Promise<unknown>)[] = [];
  if (!await exists(repository)) undo.push(() => remove(repository));
  try {
    await settleSite(names);
    const chosen = await chooseBackup({ names, stores: await openServers(defaults), from: request.from, report, progress });
    if (chosen.kind === 'none') return await installAnew(deps, domain, request, chosen.prepared, defaults);
    await requireSigned(names, chosen, defaults);
    await requireCommit(names, chosen, request.commit);
    const backup = { ...names, commit: chosen.commit };
    report(`${domain}: taking ${shortCommit(chosen.commit)} from ${describeSource(chosen.from)}`);
    const text = await settingsOf(backup, defaults);
    const loaded = await loadSite(text, names.settingsFile, defaults);
    // What a try that was killed has left may go.
    if (!request.force && !await exists(adoptingFile(names.metaDir)) && !await hasOnlyDirectories(names.dataDir)) {
      throw new SitegenError(`${domain}: data of an earlier site of this name is in ${names.siteDir}`, { hint: `move it away; or, to have it deleted: sitegen adopt --force ${domain}` });
    }
    await remove(names.nextDir);
    undo.push(() => remove(names.nextDir));
    const done = await extractSite({ repository, commit: chosen.commit, into: names.nextDir, progress });
    await makeReady(names, loaded);
    await writeAtomic({ path: adoptingFile(`${names.nextDir}/meta`), content: '', mode: 0o600 });
    // Only from here on others can see anything of it.
    await withLock(paths.machineLock, { waiting: () => { report('waiting for another sitegen to finish'); } }, async () => {
      await replaceTree(placesOf(names));
      undo.push(() => putBack(names));
      undo.push(() => remove(names.epochFile));
      await goOnFrom({ names, chosen, defaults, proxyProtocol: request.proxy !== undefined }, chosen.local);
      const { local } = chosen;
      if (local !== undefined) undo.push(() => moveMain(repository, local, 'anywhere'));
      await bringCertificate(names, chosen, loaded.file, defaults, deps, undo);
      if (request.proxy !== undefined) undo.push(await trustProxy(request.proxy));
      await add(deps, { domain, text });
    });
    await remove(adoptingFile(names.metaDir));
    await remove(names.formerDir);
    // That it is here is committed already, and has to be known to everybody.
    await tellServers(deps, names);
    return { commit: chosen.commit, from: describeSource(chosen.from), ...done };
  } catch (error) {
    for (const back of undo.reverse()) await back().catch((undoing: unknown) => { report(`while undoing: ${reasonOf(undoing)}`); });
    throw error;
  }
}

/** Does what a killed adoption has left to do: units and router. */
async function finish(deps: RestoreDeps, names: SiteNames): Promise<Adopted> {
  deps.report(`${names.domain}: finishing an adoption that was cut short`);
  await withLock(paths.machineLock, {}, async () => {
    const { faults: [fault] } = await apply(deps, [names.domain]);
    if (fault) throw new SitegenError(fault.reason);
  });
  await remove(adoptingFile(names.metaDir));
  await remove(names.formerDir);
  await tellServers(deps, names);
  return { commit: await headOf(names.repository), from: 'an adoption that was cut short', files: 0, bytes: 0 };
}

async function tellServers({ systemd, now }: RestoreDeps, names: SiteNames): Promise<void> {
  const commit = await headOf(names.repository) ?? null;
  const at = now().toISOString();
  await updateState(names, (state) => ({ ...state, commit, committedAt: at, dumpedAt: at, error: null }));
  await systemd.enqueue(names.pushUnit);
}

/** What was there before the tree was replaced. */
async function putBack(names: SiteNames): Promise<void> {
  await remove(names.siteDir);
  const { former, current } = placesOf(names);
  if (await exists(former)) await replaceTree({ current, next: former, former: names.nextDir });
}

/** A certificate that came by ACME goes on being renewed that way. */
async function bringCertificate(names: SiteNames, { commit }: Chosen, file: SiteFile, defaults: DefaultsFile, { now, report }: RestoreDeps, undo: (() => Promise<unknown>)[]): Promise<void> {
  const found = await certificateIn({ ...names, commit }, defaults, now());
  if (typeof found === 'string') report(`${names.domain}: without its certificate: ${found}`);
  if (found === undefined || typeof found === 'string') return;
  undo.push(async () => {
    await uninstallCertificate(names.domain);
    for (const path of [names.acceptedCert, names.certState, names.certDir]) await remove(path);
  });
  const issued = wayOf(file, defaults) === 'acme' ? [found.facts.fingerprint] : [];
  await makePrivate(paths.acmeDir);
  // First, as it tells what is to be renewed from what somebody has made by hand.
  await writeAtomic({ path: names.certState, content: `${JSON.stringify({ ...noState, issued }, undefined, 2)}\n`, mode: 0o600 });
  await accept(names, found.pair);
  await writePair(names, found.pair);
  await installCertificate(names.domain, (await namesOf(file)).all);
}

async function installAnew(deps: RestoreDeps, domain: string, request: AdoptRequest, prepared: boolean, defaults: DefaultsFile): Promise<Adopted> {
  const app = request.app ?? defaults.adopt?.app;
  if (!prepared && (request.automatic || request.app === undefined)) {
    throw new NotToAdopt(`${domain}: there is no backup of it, on no server`, { hint: `to install it anew: sitegen add ${domain}` });
  }
  deps.report(`${domain}: no backup yet, so it is installed`);
  await withLock(paths.machineLock, {}, () => add(deps, { domain, app }));
  return { commit: undefined, from: 'nowhere: it is new', files: 0, bytes: 0 };
}
