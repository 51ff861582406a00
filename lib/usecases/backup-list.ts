import { usedBy } from '../effects/disk.ts';
import { exists } from '../effects/files.ts';
import { log } from '../effects/git/objects.ts';
import { backupWord, type BackupState, type BackupWord, type Rehearsal } from '../pure/backup.ts';
import { siteNames } from '../pure/names.ts';
import { inParallel } from '../pure/parallel.ts';
import { readState } from './backup-state.ts';
import { readFence } from './fence.ts';
import { readableSites, siteFile } from './read-sites.ts';
import { headsOf } from './servers.ts';
import { loadDefaults } from './settings.ts';

/** What a server has of a site. */
export interface ServerRow {
  url: string;
  commit: string | null;
  upToDate: boolean;
  /** When that was seen; ISO 8601. */
  at: string | null;
  error: string | null;
  rehearsal: Rehearsal | null;
}

/** One site's backups, as `backup list --json` shows them; times are ISO 8601. */
export interface BackupRow {
  domain: string;
  state: BackupWord['word'];
  reason: string | null;
  /** The last look at the site, and the last commit: older when nothing has changed since. */
  dumpedAt: string | null;
  committedAt: string | null;
  commit: string | null;
  /** Bytes that its repository takes on this machine. */
  repositoryBytes: number;
  servers: ServerRow[];
  warnings: readonly string[];
}

/**
 * Backups of some sites, or of all.
 * @param domains these are asked for at the servers themselves; of all sites what is known is told
 */
export async function listBackups(domains: readonly string[] | undefined, now: Date): Promise<BackupRow[]> {
  const defaults = await loadDefaults();
  const urls = (defaults.backup?.servers ?? []).map(({ url }) => url);
  const sites = domains ? await Promise.all(domains.map((domain) => siteFile(domain))) : await readableSites();
  const rows: BackupRow[] = [];
  await inParallel(sites, 4, async ({ domain, backup }) => {
    const names = siteNames(domain);
    let state: BackupState = await readState(names);
    if (domains) state = { ...state, servers: { ...state.servers, ...await ask(state, names.id, defaults, now) } };
    const fence = await readFence(names);
    const { word, reason } = fence ? { word: 'off' as const, reason: `${fence.server} has the site, and its visitors are forwarded there` } : backupWord(state, urls, backup !== false);
    rows.push({
      domain,
      state: word,
      reason: reason ?? null,
      dumpedAt: state.dumpedAt,
      committedAt: state.committedAt,
      commit: state.commit,
      repositoryBytes: await usedBy(names.repository),
      servers: urls.map((url) => ({
        url,
        commit: state.servers[url]?.commit ?? null,
        upToDate: state.commit !== null && state.servers[url]?.commit === state.commit,
        at: state.servers[url]?.at ?? null,
        error: state.servers[url]?.error ?? null,
        rehearsal: state.rehearsals[url] ?? null,
      })),
      warnings: state.warnings,
    });
  });
  return rows.sort((a, b) => (a.domain < b.domain ? -1 : 1));
}

async function ask(state: BackupState, id: string, defaults: Awaited<ReturnType<typeof loadDefaults>>, now: Date): Promise<BackupState['servers']> {
  const heads = await headsOf(defaults, id);
  return Object.fromEntries(heads.map(({ url, commit, error }) => {
    const before = state.servers[url];
    const acknowledged = before?.acknowledged ?? false;
    return [url, error === undefined
      ? { commit: commit ?? null, at: now.toISOString(), acknowledged, error: null }
      : { commit: before?.commit ?? null, at: before?.at ?? now.toISOString(), acknowledged, error }];
  }));
}

/** Commits of a site, the latest first. @param count at most */
export async function backupLog(domain: string, count: number): Promise<Awaited<ReturnType<typeof log>>> {
  const { repository } = siteNames((await siteFile(domain)).domain);
  return await exists(repository) ? log(repository, 'refs/heads/main', count) : [];
}

