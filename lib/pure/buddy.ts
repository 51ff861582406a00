import { usageError } from './errors.ts';
import { buddy, isSiteId } from './names.ts';
import { formatBytes } from './quantities.ts';

/** The receiving side: whose keys may put what where. */

/** Somebody with a key who keeps backups on this machine. */
export interface Allowed {
  owner: string;
  /** Bytes that all of the owner's repositories may have together. */
  quota: number;
  /** `ssh-ed25519 AAAA… comment`. */
  key: string;
}

/** What an owner may have unless the admin says otherwise. */
export const defaultQuota = 20 * 1024 ** 3;

/** True for the name of an owner: it becomes a folder's, beside others such as lost+found. */
export function isOwner(text: string): boolean {
  return /^[a-z0-9][a-z0-9_-]{0,40}$/.test(text);
}

/** Checks the name of an owner. @throws SitegenError (usage) */
export function parseOwner(text: string): string {
  if (isOwner(text)) return text;
  throw usageError(`${JSON.stringify(text)} is not a name of an owner`, 'use small letters, digits, "_" and "-"');
}

/**
 * Checks a public key, be it with a comment or not. Options in front are refused, as they could
 * take back what the line restricts.
 * @throws SitegenError (usage)
 */
export function parseKey(text: string): string {
  const lines = text.split('\n').map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#'));
  const [line = ''] = lines;
  const match = /^((?:ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)|sk-(?:ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com) [A-Za-z0-9+/]{20,}={0,3})(?: ([ -~]*))?$/.exec(line);
  if (lines.length === 1 && match) return `${match[1] ?? ''}${match[2] === undefined ? '' : ` ${match[2].trim()}`}`.trim();
  throw usageError('that is not one public key of ssh', 'give the line that "sitegen backup key" prints on the other server, or a file with it');
}

/**
 * A line of authorized_keys (sshd(8)): all that the key can do is to run this one program, which
 * is told whose key it is.
 */
export function formatAllowed({ owner, quota, key }: Allowed): string {
  return `restrict,command="${buddy.program} ${owner} ${quota}" ${key}\n`;
}

/** Reads the lines that `formatAllowed` writes; others are not ours. */
export function parseAllowed(text: string): Allowed[] {
  return text.split('\n').flatMap((line) => {
    const match = /^restrict,command="(\S+) ([a-z0-9][a-z0-9_-]*) (\d+)" (.+)$/.exec(line);
    return match?.[1] === buddy.program ? [{ owner: match[2] ?? '', quota: Number(match[3]), key: match[4] ?? '' }] : [];
  });
}

/** The part of a key that identifies it, without the comment. */
export function keyBody(key: string): string {
  return key.split(' ').slice(0, 2).join(' ');
}

/** What a client of git may ask for. */
export interface Request {
  service: 'receive-pack' | 'upload-pack';
  id: string;
}

/**
 * Reads the command that an ssh client asked for, in the one form in which git asks
 * (gitprotocol-pack(5)). The directory is nothing, or the owner's name: everything else is refused.
 */
export function parseRequest(command: string | undefined, owner: string): Request | undefined {
  const match = /^git-(receive-pack|upload-pack) '\/?(?:([a-z0-9_-]+)\/)?([a-z0-9_.-]+)\.git'$/.exec(command ?? '');
  if (!match || (match[2] !== undefined && match[2] !== owner) || !isSiteId(match[3] ?? '')) return undefined;
  return { service: match[1] as Request['service'], id: match[3] ?? '' };
}

/** How full an owner's part of the disk is; bytes. */
export interface Room {
  quota: number;
  used: number;
  /** Of the file system: what is free, and all it has. */
  free: number;
  size: number;
}

/** What stays free whatever comes: a full disk hurts all owners, and root. */
export function reserveOf(size: number): number {
  return Math.min(2 * 1024 ** 3, Math.floor(size / 20));
}

/**
 * How much a push may bring.
 * @returns bytes, and in words why that is nothing
 */
export function roomFor(owner: string, { quota, used, free, size }: Room): { bytes: number; refusal: string | undefined } {
  const ofQuota = quota - used;
  const ofDisk = free - reserveOf(size);
  if (ofQuota <= 0) return { bytes: 0, refusal: `the quota of ${owner} is used up: ${formatBytes(used)} of ${formatBytes(quota)}` };
  if (ofDisk <= 0) return { bytes: 0, refusal: `the disk is full but for ${formatBytes(Math.max(0, free))}, which stay free` };
  return { bytes: Math.min(ofQuota, ofDisk), refusal: undefined };
}

/**
 * The configuration that a push is received with. From here and not from the repository, so that it
 * holds for every one of them, and whatever is in it.
 * @param maxBytes how much may come; 0 would mean no limit (git-config(1), receive.maxInputSize)
 */
export function receiveConfig(maxBytes: number): string[] {
  return [
    'receive.denyNonFastForwards=true', 'receive.denyDeletes=true', 'receive.denyDeleteCurrent=refuse', 'receive.fsckObjects=true', 'receive.autogc=false', 'gc.auto=0',
    `receive.maxInputSize=${Math.max(1, Math.floor(maxBytes))}`,
    // A packet stays a pack: its objects alone would each be synced.
    'receive.unpackLimit=1',
    // A server that has cut its own history could push nothing to an empty repository otherwise.
    // Git never makes a commit shallow that is reachable here (gitformat-shallow, "post_assign_shallow").
    'receive.shallowUpdate=true',
    'receive.advertisePushOptions=false', 'receive.advertiseAtomic=true', `core.hooksPath=${buddy.hooksDir}`,
    'core.logAllRefUpdates=always', 'gc.reflogExpire=never', 'gc.reflogExpireUnreachable=never',
    'core.fsync=all', 'core.fsyncMethod=batch', ...boundedMemory,
  ];
}

/** The configuration that a clone or a fetch is answered with. */
export const uploadConfig: readonly string[] = ['uploadpack.allowFilter=false', 'uploadpack.allowAnySHA1InWant=false'];

/** As a buddy's machine is small, too. */
export const boundedMemory: readonly string[] = [
  'core.bigFileThreshold=64m', 'pack.windowMemory=64m', 'pack.threads=1', 'pack.deltaCacheSize=32m',
  'core.packedGitWindowSize=8m', 'core.packedGitLimit=64m', 'core.deltaBaseCacheLimit=16m',
];

/** What the weekly look at a repository found, and how far its history was cut; kept in it. */
export interface Inspection {
  /** When it was last checked in full; ISO 8601. */
  checkedAt: string | null;
  /** What is damaged; null: nothing. */
  error: string | null;
  /** What came before this time is gone. */
  keptSince: string | null;
}

export const notInspected: Inspection = { checkedAt: null, error: null, keptSince: null };

const dayMs = 86_400_000;

/**
 * Up to when the history of a repository may be cut now. Goes forward by a month at most from one
 * time to the next, so that a clock that is wrong for a day does not cost all of it.
 * @param firstMs when the oldest entry of its log was made
 * @returns ms since 1970; undefined: nothing is old enough
 */
export function cutOff(facts: { nowMs: number; keepMs: number; firstMs: number | undefined; before: Inspection }): number | undefined {
  const { nowMs, keepMs, firstMs, before } = facts;
  if (firstMs === undefined) return undefined;
  const from = before.keptSince === null ? firstMs : Math.max(firstMs, Date.parse(before.keptSince));
  const until = Math.min(nowMs - keepMs, from + 31 * dayMs);
  return until > firstMs ? until : undefined;
}
