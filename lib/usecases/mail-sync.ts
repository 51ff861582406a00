import fs from 'node:fs/promises';
import { exists, linkInto, namesIn, readIfThere, remove, writeAtomic } from '../effects/files.ts';
import { updatePostmap } from '../effects/postmap.ts';
import type { Systemd } from '../effects/systemd.ts';
import type { Desired } from '../pure/desired.ts';
import { isOurs } from '../pure/diff.ts';
import { virtualMap } from '../pure/mail.ts';
import { isSiteId, mail, mailFileOf, paths, siteNames } from '../pure/names.ts';
import { refuseSpecial, render } from '../pure/render.ts';
import { templatesDir } from './apps.ts';
import { readSenderSites } from './mail-sites.ts';

/** What the relay is to know. */
export interface MailChange {
  /** Sites that are to be known as given here. */
  sites: readonly Pick<Desired, 'names' | 'mail'>[];
  /** Domains that go. */
  gone?: readonly string[];
  /** With all sites: domains that keep what they have, as their settings cannot be read. Undefined when `sites` are not all. */
  keep?: ReadonlySet<string> | undefined;
  /** Address that the relay listens on. */
  gateway: string;
}

type SyncSystemd = Pick<Systemd, 'start' | 'stop' | 'resetFailed' | 'reload' | 'list'>;

/** What is linked to start at boot, and where. The service and the delivery are started by these. */
const links = [[mail.socketUnit, paths.enabledDir], [mail.deliverPath, mail.pathsWantsDir], [mail.deliverTimer, paths.enabledTimersDir]] as const;

/**
 * Writes what the relay and Postfix know of sites, and lets the relay listen while any site may send.
 * @param dryRun only says what would be done
 * @returns what was done, a line each
 */
export async function syncMail(systemd: SyncSystemd, change: MailChange, dryRun = false): Promise<string[]> {
  const lines: string[] = [];
  const told = new Map(change.sites.map(({ names, mail: file }) => [names.id, file?.content]));
  for (const domain of change.gone ?? []) told.set(siteNames(domain).id, undefined);
  if (change.keep) {
    const kept = new Set([...change.keep].map((domain) => siteNames(domain).id));
    for (const id of await namesIn(mail.sitesDir)) if (isSiteId(id) && !told.has(id) && !kept.has(id)) told.set(id, undefined);
  }
  for (const [id, content] of told) {
    const file = mailFileOf(id);
    if (await readIfThere(file) === content) continue;
    lines.push(`mail: ${content === undefined ? 'remove' : 'write'} ${file}`);
    if (dryRun) continue;
    await (content === undefined ? remove(file) : writeAtomic({ path: file, content }));
  }
  // What would be is known once the files are there.
  if (dryRun) return lines;
  const sites = await exists(mail.sitesDir) ? [...readSenderSites().values()] : [];
  lines.push(...await syncVirtual(virtualMap(sites), sites.some(({ otherEmail }) => otherEmail !== undefined)));
  lines.push(...await (sites.some(({ relay }) => relay !== undefined) ? listen(systemd, change.gateway) : silence(systemd)));
  return lines;
}

/** An empty map stays where there was one, as Postfix would fail without it. */
async function syncVirtual(content: string, hasAddresses: boolean): Promise<string[]> {
  const before = await readIfThere(mail.virtual);
  if (before === content || (before === undefined && !hasAddresses)) return [];
  await writeAtomic({ path: mail.virtual, content });
  await updatePostmap(mail.virtual);
  return [`mail: wrote ${mail.virtual}`];
}

async function listen(systemd: SyncSystemd, gateway: string): Promise<string[]> {
  const file = `${paths.unitsDir}/${mail.socketUnit}`;
  const content = render(await fs.readFile(`${templatesDir}/mail-socket.mustache`, 'utf8'), { gateway, port: mail.listenPort }, refuseSpecial);
  const before = await readIfThere(file);
  const loaded = await systemd.list(links.map(([unit]) => unit));
  const active = new Set(loaded.flatMap(({ name, activeState }) => (activeState === 'active' ? [name] : [])));
  const linked = await Promise.all(links.map(([unit, directory]) => exists(`${directory}/${unit}`)));
  if (before === content && active.has(mail.socketUnit) && active.has(mail.deliverPath) && linked.every(Boolean)) return [];
  if (before !== content) {
    await writeAtomic({ path: file, content });
    // One that was never loaded needs no reload.
    if (loaded.some(({ name }) => name === mail.socketUnit)) {
      await systemd.stop(mail.socketUnit);
      await systemd.reload();
    }
  }
  for (const [unit, directory] of links) await linkInto(directory, [`${paths.unitsDir}/${unit}`]);
  // The timer runs only while something waits, and once after a boot.
  await systemd.start(mail.deliverPath);
  await systemd.start(mail.socketUnit);
  return [`mail: ${mail.socketUnit} listens on ${gateway}:${mail.listenPort}`];
}

/** What is in the queue stays there; delivery of it is tried on until the machine boots again. */
async function silence(systemd: SyncSystemd): Promise<string[]> {
  const file = `${paths.unitsDir}/${mail.socketUnit}`;
  const before = await readIfThere(file);
  if (before === undefined || !isOurs(before)) return [];
  for (const unit of [mail.socketUnit, mail.unit, mail.deliverPath]) {
    await systemd.stop(unit);
    await systemd.resetFailed(unit);
  }
  for (const [unit, directory] of links) await remove(`${directory}/${unit}`);
  await remove(file);
  return [`mail: nothing listens any more, as no site has a relay`];
}
