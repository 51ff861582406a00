import { AcmeError, openAcme, requestFor, type Acme, type ChallengeType, type Order } from '../effects/acme.ts';
import { addressesOf, ownAddresses } from '../effects/dns.ts';
import { exists, readIfThere, writeAtomic } from '../effects/files.ts';
import { withLock } from '../effects/lock.ts';
import { makeKey } from '../effects/x509.ts';
import { isPublic } from '../pure/addresses.ts';
import { checkPair, covers, leadsHere, readCertificate, renewalId, splitPair, type Certificate } from '../pure/certificate.ts';
import { reasonOf, SitegenError } from '../pure/errors.ts';
import { accountKeyFile, siteNames, type SiteNames } from '../pure/names.ts';
import { alarmDue, failed, isLater, leaveOut, succeeded, tasksOf, warningTime, type CertState, type LeftOut } from '../pure/renewal.ts';
import type { DefaultsFile, SiteFile } from '../pure/schema.ts';
import { accept, acceptedPem, installCertificate, namesOf, readState, writeState } from './certs.ts';
import { prove } from './challenges.ts';
import { sourceOf, takeDrop, writePair } from './drop.ts';

/** What a try came to: all is well; something is amiss that can wait; or somebody has to know now. */
export interface Outcome {
  kind: 'well' | 'waiting' | 'alarm';
  /** What was done, and at the end what is amiss. */
  lines: string[];
}

/** What a try may be told. */
export interface CertifyOptions {
  /** Renew it though it is not due, and do not wait for the next try after a failure. */
  force?: boolean;
  /** Not even for the time that the authority has asked for. */
  impatient?: boolean;
  report: (line: string) => void;
}

/** Let's Encrypt's. */
const builtInDirectory = 'https://acme-v02.api.letsencrypt.org/directory';

/** The directory that certificates are asked for at. */
export function directoryOf(defaults: DefaultsFile): string {
  return defaults.acme?.directory ?? builtInDirectory;
}

/** PEM of the private authority that the directory's server is checked with. @throws SitegenError when its file is missing */
export async function authorityOf({ acme }: DefaultsFile): Promise<string | undefined> {
  if (acme?.ca === undefined) return undefined;
  const ca = await readIfThere(acme.ca);
  if (ca === undefined) throw new SitegenError(`${acme.ca}, which acme.ca in sitegen.yaml names, is missing`);
  return ca;
}

/**
 * Does what a site's certificate needs now, if anything: takes one from its folder, gets or renews
 * one by ACME, or tells that one made by hand is about to end. Others who do the same wait.
 */
export async function certify(file: SiteFile, defaults: DefaultsFile, options: CertifyOptions, now = new Date()): Promise<Outcome> {
  const names = siteNames(file.domain);
  return withLock(names.certLock, {}, async () => {
    const way = wayOf(file, defaults);
    if (way === 'none') return { kind: 'well', lines: [] };
    const look = await takeDrop(file, now);
    const { source, certificate } = await sourceOf(names);
    if (look.kind === 'wrong') look.lines.push(`${file.domain}: the certificate in ${names.certDir} is refused: ${look.reason ?? ''}`);
    if (source === 'manual' || way === 'manual') return judge(names, look.lines, certificate, now);
    if (look.kind === 'empty' && certificate) await writePair(names, splitPair((await acceptedPem(names)) ?? ''));
    return obtain({ file, defaults, options, now, names, certificate, lines: look.lines, refused: look.kind === 'wrong' });
  });
}

/** Where a site's certificate is to come from. */
export function wayOf(file: SiteFile, defaults: DefaultsFile): 'acme' | 'manual' | 'none' {
  if (file.passthrough || file.enabled === false || file.certificate === 'none') return 'none';
  if (file.certificate === 'manual') return 'manual';
  return defaults.acme?.enabled === false ? 'manual' : 'acme';
}

/** Nobody but the admin can renew it. */
async function judge(names: SiteNames, lines: string[], certificate: Certificate | undefined, now: Date): Promise<Outcome> {
  if (!certificate) return { kind: 'well', lines: [...lines, `${names.domain}: waits for a certificate in ${names.certDir}`] };
  if (now < warningTime(certificate)) return { kind: 'well', lines };
  const ends = certificate.notAfter <= now ? 'has expired' : 'ends';
  return raiseOrWait(names, await readState(names), [...lines, `${names.domain}: its certificate, made by hand, ${ends} on ${certificate.notAfter.toISOString()}: put a new one into ${names.certDir}`], certificate, now);
}

async function raiseOrWait(names: SiteNames, state: CertState, lines: string[], certificate: Certificate | undefined, now: Date): Promise<Outcome> {
  const alarm = alarmDue(state, certificate, now);
  await writeState(names, alarm ? { ...state, alarmed: now.toISOString() } : state);
  return { kind: alarm ? 'alarm' : 'waiting', lines };
}

interface Task {
  file: SiteFile;
  defaults: DefaultsFile;
  options: CertifyOptions;
  now: Date;
  names: SiteNames;
  certificate: Certificate | undefined;
  lines: string[];
  /** Somebody has put a certificate into the folder that is wrong. */
  refused: boolean;
}

async function obtain(task: Task): Promise<Outcome> {
  const { file, defaults, options, now, names, certificate, lines } = task;
  const state = await readState(names);
  const asked = await namesOf(file);
  const { due, open, waits } = tasksOf(options.force === true ? { ...state, leftOut: {} } : state, certificate, asked.all, file.domain, now);
  if (options.force !== true && (waits || (!due && open.length === 0))) return { kind: state.failures > 0 ? 'waiting' : 'well', lines };
  if (options.impatient !== true && isLater(state.limitedUntil, now)) {
    throw new SitegenError(`${file.domain}: the certificate authority has asked to wait until ${state.limitedUntil ?? ''}`, { hint: 'to try all the same: sitegen certs renew --force' });
  }
  const leftOut: Record<string, LeftOut> = {};
  const drop = (name: string, reason: string) => {
    // Without its main name there is no certificate.
    if (name === file.domain) throw new SitegenError(reason);
    leftOut[name] = leaveOut(state.leftOut[name], reason, file.domain, now);
    // The implied name was not asked for by anybody.
    if (name !== asked.implied && state.leftOut[name]?.reason !== reason) lines.push(`${file.domain}: the certificate is without ${name}: ${reason}`);
  };
  try {
    const wanted = new Map<string, ChallengeType[]>();
    for (const name of asked.all) {
      const fresh = open.includes(name) || (certificate !== undefined && covers(certificate, name));
      const ways = fresh ? await waysFor(name, defaults.acme?.dns !== undefined) : (state.leftOut[name]?.reason ?? 'left out');
      if (typeof ways !== 'string') wanted.set(name, ways);
      else if (fresh) drop(name, ways);
      else if (state.leftOut[name]) leftOut[name] = state.leftOut[name];
    }
    // Authorities refuse a name beside a wildcard that is for it already.
    for (const name of wanted.keys()) if (!name.startsWith('*.') && wanted.has(`*.${name.slice(name.indexOf('.') + 1)}`)) wanted.delete(name);
    const gain = [...wanted.keys()].some((name) => !(certificate && covers(certificate, name)));
    if (!due && options.force !== true && !gain) return await done(task, state, leftOut);
    const acme = await account(defaults);
    const replaces = certificate ? renewalId((await acceptedPem(names)) ?? '') : undefined;
    const { order, proven } = await proveAll(acme, options, { wanted, hook: defaults.acme?.dns, replaces, drop });
    if (!due && options.force !== true && proven.every((name) => certificate && covers(certificate, name))) return await done(task, state, leftOut);
    const key = await makeKey(defaults.acme?.keyType);
    const chain = await order.finish(await requestFor(proven, key));
    // Valid from this very moment by the authority's clock, which may be ahead of ours.
    const fresh = checkPair({ chain, key }, file.domain, new Date(Math.max(Date.now(), readCertificate(chain)?.notBefore.getTime() ?? 0)));
    if (typeof fresh === 'string') throw new SitegenError(`the authority's certificate cannot be used: ${fresh}`);
    if (!await exists(names.settingsFile)) throw new SitegenError(`${file.domain}: the site was removed meanwhile`);
    // First, as it tells what is ours from what somebody has made by hand.
    await writeState(names, succeeded(await readState(names), fresh.fingerprint, leftOut));
    await accept(names, { chain, key });
    // What somebody has put there stays, even if it was refused.
    if (!task.refused) await writePair(names, splitPair(`${chain}\n${key}`));
    lines.push(`${file.domain}: got a certificate for ${proven.join(', ')}, from ${fresh.issuer}, until ${fresh.notAfter.toISOString()}`);
    lines.push(...await installCertificate(file.domain, asked.all));
    return { kind: 'well', lines };
  } catch (error) {
    if (!(error instanceof SitegenError)) throw error;
    const reason = reasonOf(error);
    // As it is by now: the certificate may have come, and the router not have taken it.
    const latest = await readState(names);
    const after = failed({ ...latest, leftOut: { ...latest.leftOut, ...leftOut } }, { reason, retryAfterMs: error instanceof AcmeError ? error.retryAfterMs : undefined }, file.domain, now, certificate);
    const kept = certificate ? `; the one in force ends on ${certificate.notAfter.toISOString()}` : '; a self-signed one serves meanwhile';
    return raiseOrWait(names, after, [...lines, `${file.domain}: no certificate: ${reason}${kept}; next try: ${after.nextTry ?? ''}`], certificate, now);
  }
}

async function done({ names, lines }: Task, state: CertState, leftOut: CertState['leftOut']): Promise<Outcome> {
  await writeState(names, succeeded(state, undefined, leftOut));
  return { kind: 'well', lines };
}

/** How a name can be proven, the first way first; or why it cannot. */
async function waysFor(name: string, hook: boolean): Promise<ChallengeType[] | string> {
  if (name.startsWith('*.')) return hook ? ['dns-01'] : 'a wildcard needs acme.dns in sitegen.yaml';
  const found = await addressesOf(name);
  if (found?.length === 0 && !hook) return 'has no address in DNS';
  const here = found?.length === 0 ? 'no' : leadsHere(found, ownAddresses().filter((address) => isPublic(address)));
  if (here === 'no') return hook ? ['dns-01'] : `leads to ${found?.join(', ') ?? ''}, and not to this machine`;
  return ['http-01', 'tls-alpn-01', ...(hook ? ['dns-01' as const] : [])];
}

async function account(defaults: DefaultsFile): Promise<Acme> {
  const { acme } = defaults;
  const directory = directoryOf(defaults);
  const file = accountKeyFile(directory);
  const accountKey = await withLock(`${file}.lock`, {}, async () => {
    const present = await readIfThere(file);
    if (present !== undefined) return present;
    const made = await makeKey();
    await writeAtomic({ path: file, content: made, mode: 0o600 });
    return made;
  });
  return openAcme({ directory, ca: await authorityOf(defaults), email: acme?.email, eab: acme?.eab, accountKey });
}

/** Names to prove, each with the ways that it has. */
interface Request {
  wanted: ReadonlyMap<string, readonly ChallengeType[]>;
  hook: readonly string[] | undefined;
  replaces: string | undefined;
  /** Called for a name that has no way left; may throw to end it all. */
  drop: (name: string, reason: string) => void;
}

/**
 * Proves all names that can be proven. A name that fails gets its next way in a new order, as one
 * failure spoils the whole order; one without a way left is dropped, and the others go on.
 */
async function proveAll(acme: Acme, { report }: CertifyOptions, request: Request): Promise<{ order: Order; proven: string[] }> {
  const { wanted, hook, replaces, drop } = request;
  const ways = new Map([...wanted].map(([name, types]) => [name, [...types]]));
  const said = new Map<string, string[]>();
  const fail = (name: string, reason: string) => said.set(name, [...(said.get(name) ?? []), reason]);
  const giveUp = (name: string) => {
    ways.delete(name);
    drop(name, (said.get(name) ?? ['the authority offers no way to prove it']).join('; '));
  };
  for (;;) {
    let order: Order;
    try {
      order = await acme.order([...ways.keys()], replaces);
    } catch (error) {
      const refused = error instanceof AcmeError ? [...error.names].filter(([name]) => ways.has(name)) : [];
      if (refused.length === 0) throw error;
      for (const [name, reason] of refused) {
        fail(name, reason);
        giveUp(name);
      }
      continue;
    }
    const tries = order.authorizations.filter(({ valid }) => !valid).map((authorization) => ({ authorization, type: (ways.get(authorization.name) ?? []).find((type) => authorization.offers.includes(type)) }));
    let again = tries.filter(({ type }) => type === undefined).map(({ authorization: { name } }) => name);
    for (const name of again) giveUp(name);
    // Those by the router at once; the others share a socket, or a record's name.
    const attempt = async ({ authorization, type }: typeof tries[number]) => {
      if (type === undefined) return;
      const reason = await prove(authorization, type, { hook, report });
      if (reason === undefined) return;
      const { name } = authorization;
      again = [...again, name];
      fail(name, `${type}: ${reason}`);
      const left = (ways.get(name) ?? []).filter((other) => other !== type);
      ways.set(name, left);
      if (left.length === 0) giveUp(name);
    };
    const byRouter = await Promise.allSettled(tries.filter(({ type }) => type === 'http-01').map((one) => attempt(one)));
    const thrown = byRouter.find((result) => result.status === 'rejected');
    if (thrown) throw thrown.reason;
    for (const one of tries) if (one.type !== 'http-01') await attempt(one);
    if (again.length === 0) return { order, proven: [...ways.keys()] };
  }
}
