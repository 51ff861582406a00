import { openStore, type Store } from '../effects/git/store.ts';
import { reasonOf } from '../pure/errors.ts';
import type { DefaultsFile } from '../pure/schema.ts';
import { ensureServerKey } from './server-key.ts';

/** What one backup server has of a site: a commit, nothing, or no answer. */
export interface Head {
  url: string;
  commit: string | undefined;
  error: string | undefined;
}

/** The backup servers of the settings, with the key that opens them. */
export async function openServers(defaults: DefaultsFile): Promise<Store[]> {
  const servers = defaults.backup?.servers ?? [];
  if (servers.length > 0) await ensureServerKey();
  return servers.map((server) => openStore(server));
}

/** Asks all backup servers at once what they have of a site; one that does not answer keeps no other. */
export async function headsOf(defaults: DefaultsFile, id: string): Promise<Head[]> {
  const servers = await openServers(defaults);
  return Promise.all(servers.map((store) => store.head(id).then(
    (commit): Head => ({ url: store.url, commit, error: undefined }),
    (error: unknown): Head => ({ url: store.url, commit: undefined, error: reasonOf(error) }),
  )));
}
