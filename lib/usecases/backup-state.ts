import path from 'node:path';
import { readIfThere, writeAtomic } from '../effects/files.ts';
import { makePrivate } from '../effects/folder.ts';
import { withLock } from '../effects/lock.ts';
import { noBackup, type BackupState } from '../pure/backup.ts';
import type { SiteNames } from '../pure/names.ts';

/** What is known of a site's backups; of one that was never backed up, or whose file is damaged, nothing. */
export async function readState(names: Pick<SiteNames, 'backupState'>): Promise<BackupState> {
  const text = await readIfThere(names.backupState);
  if (text === undefined) return noBackup;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? { ...noBackup, ...value } : noBackup;
  } catch {
    return noBackup;
  }
}

/**
 * Changes what is known of a site's backups. Whoever else changes it waits meanwhile, so a change
 * is made to what is there at that moment; it should take no time.
 * @returns what is known now
 */
export async function updateState(names: Pick<SiteNames, 'backupState' | 'stateLock'>, change: (state: BackupState) => BackupState): Promise<BackupState> {
  return withLock(names.stateLock, { timeoutS: 60 }, async () => {
    const before = await readState(names);
    const after = change(before);
    if (after === before) return before;
    await makePrivate(path.dirname(names.backupState));
    await writeAtomic({ path: names.backupState, content: `${JSON.stringify(after, undefined, 2)}\n`, mode: 0o600 });
    return after;
  });
}

/** Notes that a site has not changed since its last dump, so that nobody misses one when it has ended. */
export async function noteUnchanged(names: Pick<SiteNames, 'backupState' | 'stateLock'>, now: Date): Promise<void> {
  await updateState(names, (state) => ({ ...state, unchangedAt: now.toISOString() }));
}
