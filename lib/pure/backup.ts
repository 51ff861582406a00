/** What is known of a site's backups. */

/** What one server is known to have. */
export interface ServerState {
  /** Its commit as `ls-remote` last said; null: an empty repository, or none. */
  commit: string | null;
  /** When it was last asked with success; ISO 8601. */
  at: string;
  /** It has once had a commit of ours: from then on an empty repository there is a loss. */
  acknowledged: boolean;
  /** Why it could not be asked or did not take the commit; null when all is well. */
  error: string | null;
  /** Since when it is not up to date. */
  since?: string | undefined;
  /** The last commit of ours that went to a branch of its own there, as `main` could not take it. */
  aside?: string | undefined;
}

/** How a rehearsal of a restore from one server ended. */
export interface Rehearsal {
  at: string;
  commit: string;
  /** null: the site came back and answered. */
  error: string | null;
}

/** Kept in one file a site; what it says is asked again where it matters. */
export interface BackupState {
  /** When the site was last looked at with success, whether or not there was anything new. */
  dumpedAt: string | null;
  /** Up to when nothing is known to have changed after that. */
  unchangedAt?: string | undefined;
  /** The last commit of ours, and when it was made. */
  commit: string | null;
  committedAt: string | null;
  /** Why the last dump failed; null when it did not. */
  error: string | null;
  /** What was left out or is uncertain of the last commit, a line each. */
  warnings: readonly string[];
  /** Bytes of the last dump that was accepted. */
  dumpBytes: number | null;
  /** By the server's URL. */
  servers: Readonly<Record<string, ServerState>>;
  rehearsals: Readonly<Record<string, Rehearsal>>;
  /** Public key of the server that root has moved the site to, whose commits of it count like this one's. */
  successor?: string | undefined;
}

export const noBackup: BackupState = { dumpedAt: null, commit: null, committedAt: null, error: null, warnings: [], dumpBytes: null, servers: {}, rehearsals: {} };

/** Who has a site, in the backup itself: `meta/epoch.json`. */
export interface Epoch {
  /** Grows by one each time another server takes the site over. */
  epoch: number;
  /** The server's name for people, and the fingerprint of the key that it signs with (`SHA256:…`). */
  server: string;
  key: string;
  /** Host where visitors who come to a former server are forwarded to. */
  address: string;
  /** It takes the visitors' addresses from the former server, by PROXY protocol. */
  proxyProtocol?: boolean | undefined;
}

/** Reads `meta/epoch.json`; undefined for what is none. */
export function parseEpoch(text: string): Epoch | undefined {
  try {
    const { epoch, server, key, address, proxyProtocol } = JSON.parse(text) as Partial<Epoch>;
    const valid = Number.isSafeInteger(epoch) && [server, key, address].every((value) => typeof value === 'string' && value !== '');
    return valid ? { epoch: epoch ?? 0, server: server ?? '', key: key ?? '', address: address ?? '', ...(proxyProtocol === true && { proxyProtocol }) } : undefined;
  } catch {
    return undefined;
  }
}

/** Whether a site's backups are as they should be, in a word or two for lists; the reason where they are not. */
export interface BackupWord {
  word: 'off' | 'none yet' | 'local only' | 'behind' | 'failed' | 'well';
  reason: string | undefined;
}

/**
 * @param servers the URLs in the settings
 * @param wanted false for a site that is not to be backed up
 */
export function backupWord(state: BackupState, servers: readonly string[], wanted: boolean): BackupWord {
  if (!wanted) return { word: 'off', reason: undefined };
  if (state.error !== null) return { word: 'failed', reason: `not backed up: ${state.error}` };
  if (state.commit === null) return { word: 'none yet', reason: 'not backed up: there is no backup yet' };
  if (servers.length < 2) return { word: 'local only', reason: `not backed up: ${servers.length === 0 ? 'no backup servers are' : 'only one backup server is'} set` };
  const missing = servers.filter((url) => state.servers[url]?.commit !== state.commit);
  if (missing.length === 0) return { word: 'well', reason: undefined };
  const because = missing.map((url) => `${url} ${state.servers[url]?.error ?? 'does not have the last commit yet'}`).join('; ');
  return { word: 'behind', reason: `not backed up: ${because}` };
}

/** Between a dump before a stop and the container's end: the commit, requests in flight, the stop itself. */
const stopMs = 15 * 60_000;

/**
 * Whether a container ended without having been dumped before: by a crash, a power cut, or a dump
 * that came too late.
 * @param finishedAt when it ended, as Docker says; undefined when it never ran
 */
export function endedUndumped({ dumpedAt, unchangedAt }: Pick<BackupState, 'dumpedAt' | 'unchangedAt'>, finishedAt: string | undefined): boolean {
  if (finishedAt === undefined) return false;
  return dumpedAt === null || Date.parse(finishedAt) - Math.max(Date.parse(dumpedAt), Date.parse(unchangedAt ?? dumpedAt)) > stopMs;
}

/**
 * Whether a site was used after its last dump, or nobody knows.
 * @param usedAt when it was last at work, ms since 1970; undefined when that is not known
 */
export function isUndumped({ dumpedAt }: Pick<BackupState, 'dumpedAt'>, usedAt: number | undefined, now: number): boolean {
  // One in the future is from before the clock was set back.
  return dumpedAt === null || usedAt === undefined || Date.parse(dumpedAt) < usedAt || Date.parse(dumpedAt) > now;
}

const hourMs = 3_600_000;

/** How old a backup of an awake site may get, and for how long commits may wait to be pushed. */
export const staleAfterMs = 2 * hourMs;

/**
 * Why a site's backup calls for an alarm; undefined when it does not. Compares times of this
 * machine alone, and takes one in the future, from before the clock was set back, for the present.
 * @param awakeSince ms since 1970 since when the site is awake; undefined: it is not
 */
export function staleness(state: BackupState, facts: { servers: readonly string[]; wanted: boolean; awakeSince: number | undefined; now: number }): string | undefined {
  const { servers, wanted, awakeSince, now } = facts;
  if (!wanted) return undefined;
  const ageOf = (time: string | null) => (time === null ? Infinity : Math.max(0, now - Date.parse(time)));
  if (awakeSince !== undefined && now - awakeSince > staleAfterMs && ageOf(state.dumpedAt) > staleAfterMs) {
    return `it is awake, and its last backup is ${state.dumpedAt === null ? 'still to come' : `from ${state.dumpedAt}`}`;
  }
  if (awakeSince === undefined && state.error !== null) return `it is asleep, and its last backup failed: ${state.error}`;
  if (state.commit === null || ageOf(state.committedAt) <= staleAfterMs) return undefined;
  const behind = servers.filter((url) => state.servers[url]?.commit !== state.commit);
  return behind.length === 0 ? undefined : `${behind.join(' and ')} ${behind.length === 1 ? 'does' : 'do'} not have its commit of ${state.committedAt ?? ''}`;
}
