import { openWindows, type AskWindow } from '../effects/acme.ts';
import { namesIn } from '../effects/files.ts';
import { makePrivate, readFolder } from '../effects/folder.ts';
import type { Systemd } from '../effects/systemd.ts';
import { certificateNames, claimedBy, renewalId, withImplied } from '../pure/certificate.ts';
import { reasonOf } from '../pure/errors.ts';
import { paths, siteNames } from '../pure/names.ts';
import { inParallel } from '../pure/parallel.ts';
import { alarmDue, isLater, tasksOf, warningTime } from '../pure/renewal.ts';
import type { DefaultsFile, SiteFile } from '../pure/schema.ts';
import { acceptedPem, readState, writeState } from './certs.ts';
import { authorityOf, directoryOf, wayOf } from './certify.ts';
import { allDomains } from './domains.ts';
import { inspectFolder, sourceOf } from './drop.ts';

/** How many certificates are asked for at once. */
const atOnce = 3;
const hourMs = 3_600_000;

/** The sites for whose certificate there is something to do now, as `certify` will find it. */
export async function sitesDue(sites: readonly SiteFile[], defaults: DefaultsFile, now: Date): Promise<string[]> {
  const claimed = claimedBy(sites);
  const due: string[] = [];
  for (const file of sites) {
    const way = wayOf(file, defaults);
    if (way === 'none') continue;
    const names = siteNames(file.domain);
    const state = await readState(names);
    const { source, certificate } = await sourceOf(names);
    const folder = await inspectFolder(file.domain, now);
    if (folder.kind === 'new' || (folder.kind === 'wrong' && folder.reason !== state.refused)) {
      due.push(file.domain);
    } else if (way === 'manual' || source === 'manual') {
      if (certificate && now >= warningTime(certificate) && alarmDue(state, certificate, now)) due.push(file.domain);
    } else {
      const tasks = tasksOf(state, certificate, withImplied(certificateNames(file, (name) => claimed.has(name))), file.domain, now);
      if (!tasks.waits && (tasks.due || tasks.open.length > 0)) due.push(file.domain);
    }
  }
  return due;
}

/** Asks the authority when it wants certificates renewed, where that is not known or was long ago. */
export async function refreshWindows(sites: readonly SiteFile[], defaults: DefaultsFile, now: Date, report: (line: string) => void): Promise<void> {
  let asking: Promise<AskWindow | undefined> | undefined;
  for (const file of sites) {
    if (wayOf(file, defaults) !== 'acme') continue;
    const names = siteNames(file.domain);
    const { source } = await sourceOf(names);
    const state = await readState(names);
    if (source !== 'acme' || isLater(state.window?.askAgain, now)) continue;
    try {
      asking ??= authorityOf(defaults).then((ca) => openWindows({ directory: directoryOf(defaults), ca }));
      const ask = await asking;
      if (!ask) return;
      const id = renewalId((await acceptedPem(names)) ?? '');
      const window = id === undefined ? undefined : await ask(id);
      if (!window) continue;
      // The state anew: it may have changed while the server thought about it.
      await writeState(names, { ...await readState(names), window: { start: window.start, end: window.end, askAgain: new Date(now.getTime() + Math.max(hourMs, window.askAgainMs)).toISOString() } });
    } catch (error) {
      // Without it the certificate's own times count.
      report(`renewal times are not told: ${reasonOf(error)}`);
      return;
    }
  }
}

/** Starts the units of some sites, a few at once, and waits for them; their failures are their own alarms. */
export async function startUnits(systemd: Pick<Systemd, 'start'>, units: readonly string[]): Promise<void> {
  await inParallel(units, atOnce, (unit) => systemd.start(unit).catch(() => undefined));
}

/**
 * Sees to it that the folders are watched whose certificate comes from hand, or may do so: a watch
 * costs the kernel something, so there is none where ACME has given the certificate.
 * @returns the sites that are watched from now on, and have something in their folder already
 */
export async function arrangeWatches(systemd: Pick<Systemd, 'list' | 'start' | 'stop'>, sites: readonly SiteFile[], defaults: DefaultsFile): Promise<string[]> {
  const active = new Set((await systemd.list(['sitegen-certs@*.path'])).filter(({ activeState }) => activeState === 'active').map(({ name }) => name));
  const folders = new Set(await namesIn(paths.certsDir));
  const filled: string[] = [];
  for (const file of sites) {
    const names = siteNames(file.domain);
    const way = wayOf(file, defaults);
    const wanted = way !== 'none' && (file.certificate === 'manual' || (folders.has(names.id) && (await sourceOf(names)).source !== 'acme'));
    if (!wanted || active.delete(names.watchUnit)) continue;
    await makePrivate(names.certDir);
    await systemd.start(names.watchUnit);
    if ((await readFolder(names.certDir)).length > 0) filled.push(file.domain);
  }
  // A site whose settings have a fault is not among those given, and goes on as it was.
  const given = new Set(sites.map(({ domain }) => domain));
  for (const domain of await allDomains()) if (!given.has(domain)) active.delete(siteNames(domain).watchUnit);
  for (const unit of active) await systemd.stop(unit);
  return filled;
}
