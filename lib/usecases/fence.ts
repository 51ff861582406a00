import { readIfThere, readMany, remove, writeAtomic } from '../effects/files.ts';
import { makePrivate } from '../effects/folder.ts';
import { parseEpoch, type Epoch } from '../pure/backup.ts';
import { paths, siteNames, type SiteNames } from '../pure/names.ts';
import type { SiteFile } from '../pure/schema.ts';
import { splitHostPort } from '../pure/schema-values.ts';

/** What is known of the server that has a site now. */
export interface Fence extends Epoch {
  /** Its commit, as this server saw it, and when. */
  commit: string;
  at: string;
}

/**
 * Stops serving a site that another server has taken over: the file says so to everybody who reads
 * the settings, and apply, run by a unit, takes the site's units away and forwards its visitors.
 * May be called again; its data stays.
 * @param commit the commit in which the other server says so
 */
export async function fence(names: SiteNames, by: Epoch, commit: string, now = new Date()): Promise<void> {
  const before = await readFence(names);
  if (before?.epoch !== by.epoch || before.address !== by.address) {
    await makePrivate(paths.backupDir);
    const record: Fence = { ...by, commit, at: now.toISOString() };
    await writeAtomic({ path: names.fenceFile, content: `${JSON.stringify(record, undefined, 2)}\n`, mode: 0o600 });
    console.error(`<4>${names.domain}: ${by.server} has taken the site over (epoch ${by.epoch}); visitors are forwarded to ${by.address}`);
  }
  // Only here: all who read settings read this file.
  const { connectSystemd } = await import('../effects/systemd.ts');
  const systemd = await connectSystemd();
  try {
    await systemd.enqueue(names.fenceUnit);
  } finally {
    systemd.close();
  }
}

/** The server that has a site now, when it is not this one. */
export async function readFence(names: Pick<SiteNames, 'fenceFile'>): Promise<Fence | undefined> {
  return toFence((await readIfThere(names.fenceFile)) ?? '');
}

/** Takes a site back, after its backup was fetched; `claimEpoch` makes that count. */
export async function unfence(names: SiteNames): Promise<void> {
  await remove(names.fenceFile);
}

/**
 * The settings that hold for a site: its own, or, while another server has it, those of a site that
 * passes its visitors on.
 */
export function fencedSettings(file: SiteFile): SiteFile {
  // Synchronous, as it is asked for each of hundreds of sites.
  const [found] = readMany([siteNames(file.domain).fenceFile]);
  const record = found && toFence(found.content);
  const to = record && splitHostPort(`${record.address}:443`);
  if (!to) return file;
  const { domain, aliases, redirects, www, enabled } = file;
  return { domain, aliases, redirects, www, enabled, passthrough: { to, proxyProtocol: record.proxyProtocol ?? false, http: { ...to, port: 80 } } };
}

function toFence(text: string): Fence | undefined {
  const epoch = parseEpoch(text);
  if (!epoch) return undefined;
  const { commit, at } = JSON.parse(text) as Partial<Fence>;
  return { ...epoch, commit: commit ?? '', at: at ?? '' };
}
