import { diskOf, usedBy } from '../effects/disk.ts';
import { namesIn, readIfThere, remove, writeAtomic } from '../effects/files.ts';
import { answer, branchesOf, checkHeld, cleanHeld, dropBranch, isHeld, makeHeld, packHeld } from '../effects/git/held.ts';
import { cutHistory, reflogOf } from '../effects/git/retain.ts';
import { withLock } from '../effects/lock.ts';
import { boundedMemory, cutOff, isOwner, notInspected, parseRequest, receiveConfig, roomFor, uploadConfig, type Inspection, type Request } from '../pure/buddy.ts';
import { reasonOf, SitegenError } from '../pure/errors.ts';
import { buddy, heldId, heldPaths, isSiteId } from '../pure/names.ts';

/**
 * What is done with the repositories that are kept for others. All of this runs as the restricted
 * account that they belong to, never as root.
 */

/** Who asks for what. */
export interface Service {
  owner: string;
  /** Bytes. */
  quota: number;
  /** What the client of ssh asked for: `SSH_ORIGINAL_COMMAND`. */
  command: string | undefined;
  /** Other places than those of an installation. */
  dir?: string;
  hooksDir?: string;
  silentMs?: number;
}

const waitS = 60;
const defaultSilentMs = 10 * 60_000;

/**
 * Answers one request of an owner's git over ssh. A repository is made by the first push to it.
 * @returns the exit code; what is refused was said on standard error, in words that git passes on
 */
export async function serve(service: Service): Promise<number> {
  const { owner, command, dir = buddy.dir } = service;
  const request = parseRequest(command, owner);
  if (!request) return refuse('only git may push and fetch here, from and to URLs such as ssh://user@host/example.com.git');
  const own = `${dir}/${owner}`;
  const { repository, inspection } = heldPaths(own, request.id);
  const held = await isHeld(repository);
  const { error, checkedAt } = held ? await readInspection(inspection) : notInspected;
  // Or the owner's server would go on taking it for a good backup.
  if (error !== null) return refuse(`this repository is damaged, as found on ${checkedAt ?? ''}: ${error}`);
  if (request.service === 'receive-pack') return receive(service, own, request);
  if (!held) return refuse(`'${request.id}.git' does not appear to be a git repository`);
  const code = await answer({ service: 'upload-pack', repository, config: [...uploadConfig, ...boundedMemory], environment: {}, silentMs: service.silentMs ?? defaultSilentMs });
  return Number(code);
}

async function receive({ owner, quota, hooksDir, silentMs = defaultSilentMs }: Service, own: string, { id }: Request): Promise<number> {
  const { repository, lock } = heldPaths(own, id);
  const busy = `${id} is being pushed or looked after by somebody else; try again later`;
  const room = await withLock(lock, { timeoutS: waitS }, async () => {
    await cleanHeld(repository);
    const { bytes, refusal } = roomFor(owner, { quota, used: await usedBy(own), ...await diskOf(own) });
    if (refusal === undefined && !await isHeld(repository)) await makeHeld(repository);
    return { bytes, refusal };
  }).catch((error: unknown) => {
    if (error instanceof SitegenError && error.message.includes('somebody else has held')) return { bytes: 0, refusal: busy };
    throw error;
  });
  if (room.refusal !== undefined) return refuse(room.refusal);
  const code = await answer({
    service: 'receive-pack', repository, lock: { file: lock, waitS }, silentMs,
    config: [...receiveConfig(room.bytes), ...(hooksDir === undefined ? [] : [`core.hooksPath=${hooksDir}`])],
    // For the hook, which looks again once all has come.
    environment: { SITEGEN_OWNER_DIR: own, SITEGEN_QUOTA: String(quota) },
  });
  return code === 'locked' ? refuse(busy) : code;
}

function refuse(reason: string): number {
  process.stderr.write(`fatal: ${reason}\n`);
  return 128;
}

/** What is kept of one site. */
export interface Held {
  owner: string;
  id: string;
  bytes: number;
  /** ISO 8601; null: nothing was ever pushed. */
  lastPush: string | null;
  inspection: Inspection;
}

/** Everything that is kept, by owner and site. */
export async function listHeld(dir: string = buddy.dir): Promise<Held[]> {
  const found: Held[] = [];
  for (const { owner, own, id } of await repositories(dir)) {
    const { repository, inspection } = heldPaths(own, id);
    const last = (await reflogOf(repository, 'refs/heads/main')).at(-1);
    found.push({ owner, id, bytes: await usedBy(repository), lastPush: last ? new Date(last.atMs).toISOString() : null, inspection: await readInspection(inspection) });
  }
  return found;
}

/**
 * Removes what is kept of a site, for good. The site's own server makes an alarm of that, and does
 * not push again by itself.
 * @returns false when there was nothing
 */
export async function eraseHeld(owner: string, id: string, dir: string = buddy.dir): Promise<boolean> {
  const { repository, lock } = heldPaths(`${dir}/${owner}`, id);
  if (!(await namesIn(`${dir}/${owner}`)).includes(`${id}.git`)) return false;
  await withLock(lock, { timeoutS: waitS }, () => remove(repository));
  await remove(lock);
  return true;
}

/** How repositories are looked after. */
export interface Care {
  /** How long history is kept, ms. */
  keepMs: number;
  now: Date;
  /** All are checked in full, and not only those whose turn it is. */
  all: boolean;
  report: (line: string) => void;
  dir?: string;
}

/** A week, less what the start of the timer varies. */
const checkEveryMs = 6.5 * 86_400_000;

/**
 * Puts the packs of every repository together, and where it is due, reads all of it and cuts off
 * what is older than history is kept. A damaged one is left as it is, and refuses to be pushed to.
 * @returns what is wrong, a line each
 */
export async function lookAfter({ dir = buddy.dir, ...care }: Care): Promise<string[]> {
  const faults: string[] = [];
  for (const { owner, own, id } of await repositories(dir)) {
    try {
      const error = await withLock(heldPaths(own, id).lock, { timeoutS: 600 }, () => lookAt(own, id, care));
      if (error !== undefined) faults.push(`${owner}: ${id}: damaged: ${error}`);
    } catch (error) {
      faults.push(`${owner}: ${id}: ${reasonOf(error)}`);
    }
  }
  return faults;
}

async function lookAt(own: string, id: string, { keepMs, now, all, report }: Omit<Care, 'dir'>): Promise<string | undefined> {
  const { repository, inspection } = heldPaths(own, id);
  const before = await readInspection(inspection);
  await cleanHeld(repository);
  const since = now.getTime() - Date.parse(before.checkedAt ?? '');
  if (!all && before.error === null && since >= 0 && since < checkEveryMs) {
    await packHeld(repository, boundedMemory, (await diskOf(repository)).free);
    return undefined;
  }
  const error = await checkHeld(repository, boundedMemory);
  const checked: Inspection = { ...before, checkedAt: now.toISOString(), error: error ?? null };
  await writeInspection(inspection, checked);
  if (error !== undefined) return error;
  const until = await retain(repository, keepMs, now, before);
  if (until === undefined) {
    await packHeld(repository, boundedMemory, (await diskOf(repository)).free);
  } else {
    await writeInspection(inspection, { ...checked, keptSince: new Date(until).toISOString() });
    report(`${id}: kept since ${new Date(until).toISOString()}`);
  }
  return undefined;
}

/**
 * Cuts off what is too old by this machine's own log of when it came, whatever dates the commits
 * have. What the branch was at that time stays, as it was the backup then.
 * @returns up to when; undefined: nothing was old enough
 */
async function retain(repository: string, keepMs: number, now: Date, before: Inspection): Promise<number | undefined> {
  const log = await reflogOf(repository, 'refs/heads/main');
  const until = cutOff({ nowMs: now.getTime(), keepMs, firstMs: log[0]?.atMs, before });
  const oldest = until === undefined ? undefined : log.filter(({ atMs }) => atMs <= until).at(-1);
  if (until === undefined || !oldest) return undefined;
  for (const { ref } of await branchesOf(repository)) {
    const last = (await reflogOf(repository, ref)).at(-1);
    if (ref.startsWith('refs/heads/recover/') && last && last.atMs < until) await dropBranch(repository, ref);
  }
  await cutHistory(repository, oldest.commit, until);
  return until;
}

async function repositories(dir: string): Promise<{ owner: string; own: string; id: string }[]> {
  const found: { owner: string; own: string; id: string }[] = [];
  for (const owner of (await namesIn(dir)).filter((name) => isOwner(name))) {
    const own = `${dir}/${owner}`;
    for (const name of await namesIn(own)) {
      const id = heldId(name);
      if (id !== undefined && isSiteId(id) && await isHeld(heldPaths(own, id).repository)) found.push({ owner, own, id });
    }
  }
  return found;
}

async function readInspection(file: string): Promise<Inspection> {
  try {
    return { ...notInspected, ...JSON.parse((await readIfThere(file)) ?? '{}') as Partial<Inspection> };
  } catch {
    return notInspected;
  }
}

async function writeInspection(file: string, inspection: Inspection): Promise<void> {
  await writeAtomic({ path: file, content: `${JSON.stringify(inspection, undefined, 2)}\n` });
}
