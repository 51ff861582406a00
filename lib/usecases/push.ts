import os from 'node:os';
import { headOf, isAncestor } from '../effects/git/objects.ts';
import { openStore, type Store, type StoreServer } from '../effects/git/store.ts';
import { withLock } from '../effects/lock.ts';
import type { Epoch, ServerState } from '../pure/backup.ts';
import { reasonOf, SitegenError } from '../pure/errors.ts';
import { siteNames, type SiteNames } from '../pure/names.ts';
import { nextStep, recoverBranch, settleConflict, type Facts } from '../pure/push.ts';
import { shortCommit } from '../pure/static.ts';
import { readState, updateState } from './backup-state.ts';
import { requireSigned } from './choose.ts';
import { epochOf, localEpoch } from './epoch.ts';
import { fence } from './fence.ts';
import { ensureServerKey } from './server-key.ts';
import { loadDefaults } from './settings.ts';

/** What a push needs of the machine and of its settings. */
export interface PushDeps {
  servers: readonly StoreServer[];
  now: () => Date;
  report: (line: string) => void;
  /** The epoch of a site on this machine, and that of a commit in its repository. */
  localEpoch: (names: SiteNames) => Promise<Epoch | undefined>;
  epochOf: (repository: string, commit: string) => Promise<Epoch | undefined>;
  /** Whether a commit is signed with a key that this server accepts. */
  trusted: (names: SiteNames, commit: string) => Promise<boolean>;
  /** Stops serving a site that another server has taken over. */
  fence: (names: SiteNames, by: Epoch, commit: string) => Promise<void>;
  /** The servers that were emptied on purpose get everything again. */
  refill?: boolean;
  /** Another kind of store, and where it keeps what it needs. */
  open?: (server: StoreServer) => Store;
}

/** What became of a push. */
export interface Pushed {
  /** Every server has the site's last commit, or none is to have it. */
  done: boolean;
  /** One about each server. */
  lines: string[];
  /** The commit that it was about; undefined where there is nothing to push any more. */
  commit?: string;
}

/**
 * What a push needs, from the settings.
 * @param report takes lines about what is waited for
 */
export async function pushDeps(report: (line: string) => void): Promise<PushDeps> {
  const defaults = await loadDefaults();
  const servers = defaults.backup?.servers ?? [];
  if (servers.length > 0) await ensureServerKey();
  return {
    servers, report, localEpoch, epochOf, fence, now: () => new Date(),
    trusted: (names, commit) => requireSigned(names, { commit, local: undefined }, defaults).then(() => true, () => false),
  };
}

/** How often it is looked whether there is a newer commit by now. */
const roundsMax = 3;

/**
 * Brings a site's last commit to every backup server, each by itself: one that is down keeps no
 * other. Only what a server says afterwards counts. Nothing is ever forced: where a server has
 * something else, ours goes to a branch of its own there, and that is an error until somebody has
 * settled it. What each server has, or why it has not, is written down.
 * May be called at any time and again; there is one push of a site at a time.
 */
export async function pushSite(domain: string, deps: PushDeps): Promise<Pushed> {
  const names = siteNames(domain);
  return withLock(names.pushLock, { waiting: () => { deps.report(`${domain}: waiting for another push of it`); } }, () => pushAll(names, deps));
}

/** The same for a caller that holds the site's `pushLock`. */
export async function pushAll(names: SiteNames, deps: PushDeps): Promise<Pushed> {
  let result: Pushed = { done: true, lines: [] };
  let last: string | undefined;
  for (let round = 0; round < roundsMax; round += 1) {
    const commit = await headOf(names.repository);
    if (commit === undefined) return { done: true, lines: ['there is no backup of it yet'] };
    if (commit === last) break;
    last = commit;
    const outcomes = await Promise.all(deps.servers.map((server) => pushTo(names, commit, server, deps)));
    result = { commit, done: outcomes.every(({ done }) => done), lines: outcomes.map(({ line }) => line) };
    // Whoever has lost the site has nothing to push any more.
    if (outcomes.some(({ fenced }) => fenced)) return { done: true, lines: result.lines };
  }
  return result;
}

interface Outcome {
  done: boolean;
  fenced: boolean;
  line: string;
}

async function pushTo(names: SiteNames, commit: string, server: StoreServer, deps: PushDeps): Promise<Outcome> {
  const { url } = server;
  const store = (deps.open ?? openStore)(server);
  let acknowledged = (await readState(names)).servers[url]?.acknowledged === true;
  try {
    // What is written down can get lost, and what the repository knows too, but hardly both.
    acknowledged ||= await store.known(names.repository) !== undefined;
    const { theirs, fencedBy } = await bring(store, names, commit, { acknowledged, refill: deps.refill === true }, deps);
    const done = theirs === commit;
    await write(names, url, { commit: theirs, acknowledged: true, error: null }, deps.now());
    return { done, fenced: fencedBy !== undefined, line: fencedBy === undefined ? `${url}: has ${shortCommit(commit)}` : `${url}: ${fencedBy.server} has the site now` };
  } catch (error) {
    const reason = error instanceof SitegenError && error.hint !== undefined ? `${reasonOf(error)}; ${error.hint}` : reasonOf(error);
    const seen = error instanceof Refused ? { commit: error.theirs } : {};
    await write(names, url, { ...seen, acknowledged, error: reason }, deps.now());
    return { done: false, fenced: false, line: `${url}: ${reason}` };
  }
}

/** An answer of a server that keeps ours out of it. */
class Refused extends SitegenError {
  constructor(readonly theirs: string | null, message: string, hint: string) {
    super(message, { hint });
  }
}

/** @returns what the server has in the end, and who has the site when it is not us */
async function bring(store: Store, names: SiteNames, ours: string, given: Pick<Facts, 'acknowledged' | 'refill'>, deps: PushDeps): Promise<{ theirs: string; fencedBy?: Epoch }> {
  const { id, repository, domain } = names;
  let theirs = await store.head(id);
  // A push that meets somebody else's is looked at once more, from the beginning.
  for (let turn = 0; turn < 2; turn += 1) {
    let relation = theirs === undefined ? undefined : await compare(repository, ours, theirs);
    let step = nextStep({ ...given, ours, theirs, relation });
    if (step === 'fetch') {
      theirs = await store.fetch(repository, id);
      relation = await compare(repository, ours, theirs);
      step = nextStep({ ...given, ours, theirs, relation });
    }
    if (step === 'lost') {
      throw new Refused(null, 'it has lost this backup: its repository is empty or gone', `ask its admin; if that was on purpose: sitegen backup refill ${domain}`);
    }
    if (step === 'done' && theirs !== undefined) return { theirs };
    if (step === 'conflict' && theirs !== undefined && (relation === 'behind' || relation === 'diverged')) return settle(store, names, ours, theirs, relation, deps);
    const result = await store.push(repository, id, ours);
    theirs = await store.head(id);
    if (result === 'pushed' && theirs === ours) return { theirs };
  }
  throw new Refused(theirs ?? null, `it does not have ${shortCommit(ours)} after the push, but ${theirs === undefined ? 'nothing' : shortCommit(theirs)}`, 'does somebody else push there too?');
}

/** How ours stands to theirs; undefined while theirs is not here. */
async function compare(repository: string, ours: string, theirs: string): Promise<Facts['relation']> {
  if (ours === theirs) return 'same';
  if (await headOf(repository, theirs) === undefined) return undefined;
  if (await isAncestor(repository, theirs, ours)) return 'ahead';
  return await isAncestor(repository, ours, theirs) ? 'behind' : 'diverged';
}

async function settle(store: Store, names: SiteNames, ours: string, theirs: string, relation: 'behind' | 'diverged', deps: PushDeps): Promise<{ theirs: string; fencedBy: Epoch }> {
  const { repository, domain } = names;
  const by = await deps.epochOf(repository, theirs).catch(() => undefined);
  const { aside, verdict } = settleConflict({
    relation, ourEpoch: (await deps.localEpoch(names))?.epoch ?? 0, theirEpoch: by?.epoch ?? 0, trusted: await deps.trusted(names, theirs),
  });
  // Before anything can fail: visitors must not go on writing here what nobody will see there.
  // Where this server itself has the site by theirs, forwarding would lead in a circle.
  const fenced = verdict === 'fenced' && by !== undefined && by.key !== (await deps.localEpoch(names))?.key;
  if (fenced) await deps.fence(names, by, theirs);
  const kept = aside ? await putAside(store, names, ours, deps) : undefined;
  if (fenced) return { theirs, fencedBy: by };
  const whereto = kept === undefined ? '' : `; ours went to its branch ${kept}`;
  const both = `it has ${shortCommit(theirs)}, and this server ${shortCommit(ours)}`;
  if (verdict === 'newer') throw new Refused(theirs, `${both}, which is older`, `bring the newer one here: sitegen restore ${domain}`);
  if (verdict === 'foreign') throw new Refused(theirs, `${both}${whereto}; its commit is signed by nobody whom this server trusts`, 'if it is a server of yours, add its key to backup.signers in sitegen.yaml; if not, its backups were replaced: ask its admin');
  throw new Refused(theirs, `the two histories differ: ${both}${whereto}`, `choose one of them: sitegen restore --from ${store.url} ${domain}, or look: sitegen backup list ${domain}`);
}

/** Sends a commit to a branch of its own, once. @returns its name; undefined when it is there already */
async function putAside(store: Store, names: SiteNames, commit: string, { now }: PushDeps): Promise<string | undefined> {
  if ((await readState(names)).servers[store.url]?.aside === commit) return undefined;
  const branch = recoverBranch(os.hostname(), now());
  await store.pushAside(names.repository, names.id, commit, branch);
  await write(names, store.url, { aside: commit }, now());
  return branch;
}

async function write(names: SiteNames, url: string, change: Partial<ServerState>, now: Date): Promise<void> {
  await updateState(names, (state) => {
    const before = state.servers[url] ?? { commit: null, at: now.toISOString(), acknowledged: false, error: null };
    const { since, ...after } = { ...before, ...change };
    // Only an answer is one: what could not be asked keeps what was known of it.
    const at = change.commit === undefined ? before.at : now.toISOString();
    const behind = after.error === null ? {} : { since: since ?? now.toISOString() };
    return { ...state, servers: { ...state.servers, [url]: { ...after, at, ...behind } } };
  });
}
