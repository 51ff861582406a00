import { namesIn, readMany, remove } from '../effects/files.ts';
import type { Docker } from '../effects/docker.ts';
import { reasonOf, SitegenError } from '../pure/errors.ts';
import { buildVersion, digestIn, sameImage, upgradesIn } from '../pure/image-names.ts';
import { paths } from '../pure/names.ts';
import { imageSettings } from '../pure/schema-image.ts';
import { imageRecord } from './containers.ts';
import { originsOf, type ImageOrigin } from './image-of.ts';
import { loadSettings, type Fault, type LoadedSite } from './settings.ts';

/** Which images there are, whose they are, and whether there are newer ones. */

/** An image that sites use, or that came by sitegen. */
export interface ListedImage {
  reference: string;
  /** Sites whose settings name it. */
  sites: string[];
  /** How it is had; undefined for one that no site uses any more. */
  way: 'pull' | 'build' | 'tar' | undefined;
  present: boolean;
  bytes: number | null;
  /** It came by sitegen, so "prune" may remove it. */
  ours: boolean;
}

/** A site whose image could be newer. */
export interface NewerImage {
  domain: string;
  /** What would change, for people. */
  what: string;
  /** Version to pin; undefined for a service of a Compose project, whose image its own file names. */
  pin: string | undefined;
  updates: 'auto' | 'report';
}

/** How long the look for newer packages may take; it fetches their lists. */
const packagesMs = 5 * 60_000;

/** Images of sites, and those that came by sitegen. */
export async function listImages(docker: Pick<Docker, 'images'>): Promise<{ images: ListedImage[]; faults: readonly Fault[] }> {
  const { sites, faults } = await loadSettings();
  const there = await docker.images();
  const ours = recorded();
  const references = new Set([...sites.flatMap((site) => originsOf(site).map(({ reference }) => reference)), ...await ours]);
  const images: ListedImage[] = [];
  for (const reference of [...references].sort()) {
    const image = there.find(({ names }) => names.some((name) => sameImage(name, reference)));
    const users = sites.filter((site) => originsOf(site).some((origin) => origin.reference === reference));
    const way = users[0] && originsOf(users[0]).find((origin) => origin.reference === reference)?.way;
    images.push({
      reference, sites: users.map(({ site }) => site.domain), way, present: image !== undefined,
      bytes: image?.bytes ?? null, ours: (await ours).includes(reference),
    });
  }
  return { images, faults };
}

/**
 * Removes images that came by sitegen and that no site names any more. Others' are never touched,
 * and none that a container still has.
 * @returns what was removed, or would be
 * @throws SitegenError while settings of a site cannot be read: they may name one of them
 */
export async function pruneImages(docker: Pick<Docker, 'images' | 'removeImage'>, dryRun: boolean): Promise<{ removed: ListedImage[]; faults: Fault[] }> {
  const { images, faults: [unread] } = await listImages(docker);
  if (unread) throw new SitegenError(`nothing is removed, as nobody knows which image ${unread.domain} has: ${unread.reason}`, { hint: 'mend its settings: sitegen validate' });
  const removed: ListedImage[] = [];
  const faults: Fault[] = [];
  for (const image of images.filter(({ ours, sites }) => ours && sites.length === 0)) {
    try {
      if (!dryRun) {
        if (image.present) await docker.removeImage(image.reference);
        await remove(imageRecord(image.reference));
      }
      removed.push(image);
    } catch (error) {
      faults.push({ domain: image.reference, reason: reasonOf(error) });
    }
  }
  return { removed, faults };
}

/**
 * Looks for newer images of some sites, or of all. Fetches no image.
 * @returns those that are newer; faults for sites of which it cannot be told
 */
export async function findNewer(docker: Pick<Docker, 'imageState' | 'newestDigest' | 'runOnce'>, now: Date, domains?: readonly string[]): Promise<{ newer: NewerImage[]; faults: Fault[] }> {
  const settings = await loadSettings(domains);
  const faults: Fault[] = [...settings.faults];
  const newer: NewerImage[] = [];
  // Many sites have one image.
  const looks = new Map<string, Promise<{ what: string; pin: string } | undefined>>();
  for (const loaded of settings.sites) {
    const { domain, workload } = loaded.site;
    if (!workload?.image) continue;
    for (const origin of originsOf(loaded)) {
      const look = looks.get(origin.reference) ?? lookFor(docker, origin, nameOf(loaded, origin), now);
      looks.set(origin.reference, look);
      try {
        const found = await look;
        if (found) newer.push({ domain, what: found.what, ...(workload.project ? { pin: undefined, updates: 'report' } : { pin: found.pin, updates: workload.updates }) });
      } catch (error) {
        faults.push({ domain, reason: reasonOf(error) });
      }
    }
  }
  return { newer, faults };
}

/** An image's name as its settings have it, without the digest that it is pinned to. */
function nameOf({ file, app, site }: LoadedSite, origin: ImageOrigin): string {
  return site.workload?.project ? origin.reference : imageSettings(file.image ?? app?.file.image ?? '').pull ?? '';
}

async function lookFor(docker: Pick<Docker, 'imageState' | 'newestDigest' | 'runOnce'>, origin: ImageOrigin, pull: string, now: Date): Promise<{ what: string; pin: string } | undefined> {
  const present = await docker.imageState(origin.reference);
  if (!present) return undefined;
  // A file changes only when somebody changes it, and its name with it.
  if (origin.way === 'tar') return undefined;
  const pin = buildVersion(now);
  if (origin.way === 'pull') {
    // One that its settings name by a digest is meant to stay; one without was never in a registry.
    const have = digestIn(present.names, pull);
    if (pull.includes('@') || have === undefined) return undefined;
    const newest = await docker.newestDigest(pull);
    return newest === have ? undefined : { what: `${pull} is now ${short(newest)}, and it has ${short(have)}`, pin: newest };
  }
  if (origin.base !== undefined) {
    const base = await docker.imageState(origin.base);
    const have = base && digestIn(base.names, origin.base);
    const newest = have === undefined ? undefined : await docker.newestDigest(origin.base);
    if (newest !== have) return { what: `its base ${origin.base} is newer`, pin };
  }
  const { exitCode, output } = await docker.runOnce(origin.reference, ['/bin/sh', '-c', aptScript], packagesMs).catch(() => ({ exitCode: noApt, output: '' }));
  // Without Debian's packages nobody knows what is in it.
  if (exitCode === noApt) return undefined;
  if (exitCode !== 0) throw new SitegenError(`its packages cannot be looked up: ${output.trim().split('\n').at(-1) ?? `exit code ${exitCode}`}`);
  const packages = upgradesIn(output);
  return packages.length === 0 ? undefined : { what: `${packages.length} packages are newer: ${packages.slice(0, 8).join(' ')}${packages.length > 8 ? ' …' : ''}`, pin };
}

/** Exit code of a container that has no apt; another than those of apt and sh. */
const noApt = 44;
const aptScript = `command -v apt-get >/dev/null || exit ${noApt}; apt-get update -qq -o APT::Update::Error-Mode=any && LC_ALL=C apt-get --simulate upgrade`;

function short(digest: string): string {
  return digest.slice(0, 'sha256:'.length + 12);
}

async function recorded(): Promise<string[]> {
  const files = (await namesIn(paths.imagesDir)).map((name) => `${paths.imagesDir}/${name}`);
  return readMany(files).map(({ content }) => content.trim()).filter((reference) => reference !== '');
}
