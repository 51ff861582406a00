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
}
