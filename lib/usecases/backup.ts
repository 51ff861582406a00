import { runState } from '../effects/cgroup.ts';
import type { Docker } from '../effects/docker.ts';
import { exists, namesIn, readIfThere, remove } from '../effects/files.ts';
import { makePrivate } from '../effects/folder.ts';
import { withLock } from '../effects/lock.ts';
import type { Systemd } from '../effects/systemd.ts';
import { endedUndumped, type BackupState } from '../pure/backup.ts';
import { editYaml } from '../pure/config.ts';
import { splitPair } from '../pure/certificate.ts';
import { serviceContainer } from '../pure/compose/project.ts';
import { reasonOf, SitegenError } from '../pure/errors.ts';
import { describePending } from '../pure/pending.ts';
import { shared, siteNames, type SiteNames } from '../pure/names.ts';
import type { DefaultsFile, SiteFile } from '../pure/schema.ts';
import { readState, updateState } from './backup-state.ts';
import { acceptedPem } from './certs.ts';
import { commitSite, type MetaFile } from './commit.ts';
import { dumpDatabase } from './dump.ts';
import { localEpoch, thisServer } from './epoch.ts';
import { readFence } from './fence.ts';
import { readPending } from './first-start.ts';
import { freezeQuiet } from './quiet.ts';
import { seal } from './seal.ts';
import { ensureServerKey } from './server-key.ts';
import { loadSettings, type LoadedSite } from './settings.ts';

/** What a backup needs of the machine. */
export interface BackupDeps {
  docker: Docker;
  systemd: Pick<Systemd, 'enqueue' | 'thaw' | 'freeze' | 'list'>;
  report: (line: string) => void;
  now: () => Date;
}

/** What became of one. */
export interface Backup {
  commit: string | undefined;
  /** False when the site is as it was. */
  changed: boolean;
  files: number;
  bytes: number;
  warnings: readonly string[];
  /** Why there was nothing to do. */
  skipped?: string;
}

const nothing = { commit: undefined, changed: false, files: 0, bytes: 0, warnings: [] };

/**
 * Makes a commit of all that a site is: the dump of its database when it is awake, its data, its
 * settings, its certificate. Servers get it by a unit of its own, which is started here. Either all
 * of that is in the commit or there is none; the one before stays what it was.
 * @throws SitegenError with the reason, which is kept for `backup list` too
 */
export async function backupSite(deps: BackupDeps, domain: string): Promise<Backup> {
  const names = siteNames(domain);
  return withLock(names.dumpLock, { waiting: () => { deps.report(`${domain}: waiting for another backup or restore of it`); } }, () => backupLocked(deps, domain));
}

/** The same for a caller that holds the site's `dumpLock`. */
export async function backupLocked(deps: BackupDeps, domain: string): Promise<Backup> {
  const names = siteNames(domain);
  const fenced = await readFence(names);
  if (fenced) return { ...nothing, skipped: `${fenced.server} has the site now` };
  const pending = await readPending(names);
  // Until its first container is at work, data and dump are as the backup had them that they came from.
  if (pending && (pending.install || (await deps.docker.find(names.container, domain))?.running === true)) return { ...nothing, skipped: `its first start has to ${describePending(pending)} yet` };
  const { sites, faults: [fault], defaults } = await loadSettings([domain]);
  const [loaded] = sites;
  if (!loaded) throw new SitegenError(fault?.reason ?? `${domain}: there is no such site`);
  if (!loaded.site.backedUp) return { ...nothing, skipped: 'its settings say "backup: false"' };
  // What stands still answers nobody, a dump neither. Nobody else is led to it.
  const frozen = runState(names.appCgroup) === 'frozen';
  if (frozen) await deps.systemd.thaw(names.appSlice);
  try {
    const done = await commitAll(deps, names, loaded, defaults);
    const servers = defaults.backup?.servers ?? [];
    const { servers: known, commit } = await readState(names);
    if (servers.some(({ url }) => known[url]?.commit !== commit)) await deps.systemd.enqueue(names.pushUnit);
    return done;
  } catch (error) {
    await updateState(names, (state) => ({ ...state, error: reasonOf(error) }));
    throw error;
  } finally {
    // The idle timer freezes it if this does not.
    if (frozen) await freezeQuiet(deps.systemd, names, shared.guardUnit).catch((error: unknown) => { deps.report(`<4>${domain}: it is not frozen again yet: ${reasonOf(error)}`); });
  }
}

async function commitAll(deps: BackupDeps, names: SiteNames, loaded: LoadedSite, defaults: DefaultsFile): Promise<Backup> {
  const { domain } = names;
  const before = await readState(names);
  const epoch = await localEpoch(names) ?? { epoch: 1, ...await thisServer(defaults) };
  const self = await thisServer(defaults);
  if (epoch.key !== self.key) {
    throw new SitegenError(`${domain}: its backup belongs to the server ${epoch.server} (${epoch.key})`, { hint: `take the site over: sitegen adopt --force ${domain}` });
  }
  await makePrivate(names.metaDir);
  const dumpBytes = await dump(deps, names, loaded, before);
  const recipient = defaults.backup?.recipient;
  const meta: MetaFile[] = [
    ...(await namesIn(dumpDir(names))).filter((name) => !name.startsWith('.')).map((name) => ({ name: `dump/${name}`, content: { file: `${dumpDir(names)}/${name}` } })),
    { name: 'site.yaml', content: Buffer.from(exportedSettings(loaded.text)) },
    { name: 'epoch.json', content: Buffer.from(`${JSON.stringify({ ...epoch, address: self.address }, undefined, 2)}\n`) },
    ...await imageOf(names),
    ...await certificateOf(names, loaded.file),
    ...await seal(names, await secretsOf(names, loaded.file), recipient),
  ];
  const { file: signingKey } = await ensureServerKey();
  const now = deps.now();
  const { commit, changed, warnings, files, bytes } = await commitSite({
    names, exclude: loaded.site.exclude, meta, message: `${domain}: backup`, date: now, signingKey, report: deps.report,
  });
  await updateState(names, (state) => ({
    ...state, dumpedAt: now.toISOString(), commit, error: null, dumpBytes, warnings: changed ? warnings : state.warnings,
    committedAt: changed || state.commit !== commit ? now.toISOString() : state.committedAt,
  }));
  const plain = recipient === undefined && before.commit === null && meta.some(({ name }) => name === 'certificate/key.pem' || name === 'secrets.json');
  const said = plain ? [...warnings, 'keys and secrets are readable for whoever can read the backup: set backup.recipient in sitegen.yaml to a key of age'] : warnings;
  return { commit, changed, files, bytes, warnings: said };
}

/** Where a site's accepted dumps are. */
export function dumpDir({ metaDir }: Pick<SiteNames, 'metaDir'>): string {
  return `${metaDir}/dump`;
}

/** @returns the size of the dump that goes into the commit; null where there is no database */
async function dump(deps: BackupDeps, names: SiteNames, { site: { workload } }: LoadedSite, before: BackupState): Promise<number | null> {
  const { dumpBytes, error } = before;
  const settings = workload?.dump;
  if (!settings) {
    await remove(dumpDir(names));
    return null;
  }
  const target = `${dumpDir(names)}/${settings.file}`;
  const container = await deps.docker.find(serviceContainer(names, settings.service), names.domain);
  if (container?.running !== true) {
    const finishedAt = container && (await deps.docker.end(container.id)).finishedAt;
    // Asleep since its last dump: nothing can have changed in the database.
    if (error === null && await exists(target) && !endedUndumped(before, finishedAt)) return dumpBytes;
    throw new SitegenError(`${names.domain}: it is asleep, and there is no good dump of its database`, { hint: `wake it, and it is dumped: sitegen start ${names.domain}; sitegen backup ${names.domain}` });
  }
  await makePrivate(dumpDir(names));
  const { bytes } = await dumpDatabase(deps.docker, names, settings, dumpBytes, target);
  // Of an earlier way or name.
  for (const name of await namesIn(dumpDir(names))) if (name !== settings.file) await remove(`${dumpDir(names)}/${name}`);
  return bytes;
}

/** What another machine can use of the settings: no address of this one, and no secret. */
function exportedSettings(text: string): string {
  return editYaml(text, { address: undefined, secrets: undefined });
}

/** Which image the data is for, so that a newer one knows what it gets. */
async function imageOf({ imageFile }: SiteNames): Promise<MetaFile[]> {
  const image = await readIfThere(imageFile);
  return image === undefined ? [] : [{ name: 'image', content: Buffer.from(image) }];
}

/** The certificate goes along readable, as everybody who visits gets it too. */
async function certificateOf(names: SiteNames, file: SiteFile): Promise<MetaFile[]> {
  const pem = file.passthrough ? undefined : await acceptedPem(names);
  return pem === undefined ? [] : [{ name: 'certificate/fullchain.pem', content: Buffer.from(splitPair(pem).chain) }];
}

async function secretsOf(names: SiteNames, file: SiteFile): Promise<Record<string, string>> {
  const pem = file.passthrough ? undefined : await acceptedPem(names);
  return {
    ...(pem !== undefined && { 'certificate/key.pem': splitPair(pem).key }),
    ...(Object.keys(file.secrets ?? {}).length > 0 && { 'secrets.json': `${JSON.stringify(file.secrets, undefined, 2)}\n` }),
  };
}
