import os from 'node:os';
import { findAccount, giveFolder, makeAccount, runAs, type Account } from '../effects/account.ts';
import { exists, namesIn, readIfThere, writeAtomic } from '../effects/files.ts';
import { withLock } from '../effects/lock.ts';
import { defaultQuota, formatAllowed, isOwner, keyBody, parseAllowed, parseKey, type Allowed } from '../pure/buddy.ts';
import { SitegenError } from '../pure/errors.ts';
import { buddy, siteNames } from '../pure/names.ts';
import { parseSpan } from '../pure/quantities.ts';
import type { DefaultsFile } from '../pure/schema.ts';
import type { Held } from './buddy-held.ts';

/** What an owner's server has to know of this one. */
export interface Introduction {
  url: string;
  hostKey: string | undefined;
  quota: number;
  keys: number;
}

/**
 * Lets an owner's key in, beside those that the owner has already, and sets the quota of all of
 * them. The account, its home and the owner's folder are made when they are missing.
 * @param change key: none when only the quota changes; quota: bytes, what it was unless given
 * @throws SitegenError when the key is somebody else's already, or sshd is missing
 */
export async function allowOwner(owner: string, change: { key: string | undefined; quota: number | undefined }): Promise<Introduction> {
  if (!await exists('/usr/sbin/sshd')) throw new SitegenError('there is no ssh server on this machine', { hint: 'apt-get install openssh-server' });
  const key = change.key === undefined ? undefined : parseKey(change.key);
  const account = await makeAccount(buddy.user, buddy.dir);
  const own = await changeKeys((allowed) => {
    const other = key === undefined ? undefined : allowed.find((each) => each.owner !== owner && keyBody(each.key) === keyBody(key));
    if (other) throw new SitegenError(`this key is ${other.owner}'s already`, { hint: `give each server a key of its own, or take it back first: sitegen buddy revoke ${other.owner}` });
    const before = allowed.filter((each) => each.owner === owner);
    if (key === undefined && before.length === 0) throw new SitegenError(`${owner} has no key here`, { hint: `give one: sitegen buddy allow ${owner} --key FILE` });
    const quota = change.quota ?? before[0]?.quota ?? defaultQuota;
    const keys = [...before.map((each) => each.key).filter((each) => key === undefined || keyBody(each) !== keyBody(key)), ...(key === undefined ? [] : [key])];
    return [...allowed.filter((each) => each.owner !== owner), ...keys.map((each) => ({ owner, quota, key: each }))];
  });
  await giveFolder(`${buddy.dir}/${owner}`, account);
  const mine = own.filter((each) => each.owner === owner);
  const hostKey = (await readIfThere(buddy.hostKeyFile))?.trim().split(' ').slice(0, 2).join(' ');
  return { url: `ssh://${buddy.user}@${os.hostname()}`, hostKey, quota: mine[0]?.quota ?? defaultQuota, keys: mine.length };
}

/** Takes all keys of an owner back. What was kept stays. @throws SitegenError when there is none */
export async function revokeOwner(owner: string): Promise<void> {
  await changeKeys((allowed) => {
    if (!allowed.some((each) => each.owner === owner)) throw new SitegenError(`${owner} has no key here`, { hint: 'see who has: sitegen buddy list' });
    return allowed.filter((each) => each.owner !== owner);
  });
}

/** An owner, with what is kept. */
export interface OwnerEntry {
  owner: string;
  /** None: the keys were taken back. */
  keys: readonly string[];
  quota: number | undefined;
  bytes: number;
  sites: readonly Held[];
}

/** All owners, those whose keys were taken back too while something of theirs is kept. */
export async function listOwners(): Promise<OwnerEntry[]> {
  const account = await findAccount(buddy.user);
  if (!account) return [];
  const held = await askHeld(account);
  const allowed = parseAllowed((await readIfThere(buddy.keysFile)) ?? '');
  const owners = new Set([...allowed.map(({ owner }) => owner), ...(await namesIn(buddy.dir)).filter((name) => isOwner(name))]);
  return [...owners].sort().map((owner) => {
    const own = allowed.filter((each) => each.owner === owner);
    const sites = held.filter((each) => each.owner === owner);
    return { owner, keys: own.map(({ key }) => key), quota: own[0]?.quota, bytes: sites.reduce((sum, { bytes }) => sum + bytes, 0), sites };
  });
}

/** Removes what is kept of an owner's site. @throws SitegenError when there is nothing */
export async function eraseSite(owner: string, domain: string): Promise<void> {
  const { code } = await runAs(await requireAccount(), [buddy.program, '--erase', owner, siteNames(domain).id]);
  if (code === 3) throw new SitegenError(`nothing is kept of ${owner}'s ${domain}`, { hint: 'see what is: sitegen buddy list' });
  if (code !== 0) throw new SitegenError(`cannot erase ${owner}'s ${domain}`, { hint: 'it is said above; is somebody pushing? Try again' });
}

/**
 * Looks after everything that is kept; see `lookAfter`. What it finds is printed as it goes.
 * @returns false when something is damaged or could not be looked after
 */
export async function lookAfterAll(defaults: DefaultsFile, all: boolean): Promise<boolean> {
  const account = await findAccount(buddy.user);
  if (!account) return true;
  const keepMs = parseSpan(defaults.backup?.keep ?? '1y') ?? 0;
  const { code } = await runAs(account, [buddy.program, '--look-after', String(Math.floor(keepMs)), all ? 'all' : 'due'], { passOn: true });
  return code === 0;
}

async function askHeld(account: Account): Promise<Held[]> {
  const { code, stdout } = await runAs(account, [buddy.program, '--list']);
  if (code !== 0) throw new SitegenError(`cannot list what is kept in ${buddy.dir}`, { hint: 'it is said above' });
  return JSON.parse(stdout) as Held[];
}

async function requireAccount(): Promise<Account> {
  const account = await findAccount(buddy.user);
  if (account) return account;
  throw new SitegenError('nobody keeps backups here', { hint: 'let somebody in: sitegen buddy allow NAME --key FILE' });
}

/** Changes who is let in; lines that are not ours go. @returns who is */
async function changeKeys(change: (allowed: Allowed[]) => Allowed[]): Promise<Allowed[]> {
  return withLock(buddy.keysLock, { timeoutS: 60 }, async () => {
    const after = change(parseAllowed((await readIfThere(buddy.keysFile)) ?? ''));
    await writeAtomic({ path: buddy.keysFile, content: `# Written by "sitegen buddy".\n${after.map((each) => formatAllowed(each)).join('')}` });
    return after;
  });
}
