import type { Found, Store } from '../effects/git/store.ts';
import { headOf, isAncestor } from '../effects/git/objects.ts';
import { signatureOf } from '../effects/git/signature.ts';
import { findCommit, commitAt, ownChanges, summaryOf } from '../effects/git/lineage.ts';
import { choose, serverNamed, thisMachine, type Head, type Moment } from '../pure/choose.ts';
import { reasonOf, SitegenError } from '../pure/errors.ts';
import { parseDomain, siteNames, type SiteNames } from '../pure/names.ts';
import type { DefaultsFile } from '../pure/schema.ts';
import { shortCommit } from '../pure/static.ts';
import { readState } from './backup-state.ts';
import { readMeta } from './extract.ts';
import { ensureServerKey } from './server-key.ts';

/** What is looked for, and where. */
export interface Search {
  names: Pick<SiteNames, 'id' | 'domain' | 'repository'>;
  stores: readonly Store[];
  /** Only there: a URL, a host, or `local`. */
  from?: string | undefined;
  /** What the servers have counts alone: another one has had the site since. */
  elsewhere?: boolean | undefined;
  /** An earlier commit than the last. */
  at?: Moment | undefined;
  report: (line: string) => void;
  /** Called now and then while a server sends. */
  progress?: ((stage: string, percent: number) => void) | undefined;
}

/** A backup that was found; its history is in the site's repository. */
export interface Chosen {
  kind: 'chosen';
  commit: string;
  /** The end of its history: it itself, unless an earlier moment was asked for. */
  tip: string;
  /** Who has that: URLs, or `thisMachine`. */
  from: readonly string[];
  /** Ends of other histories, which this one does not have in it: somebody has chosen between them. */
  others: readonly string[];
  /** Where this machine's branch was before. */
  local: string | undefined;
}

/** No backup; prepared: there is a repository for one. Only when every server has said so. */
export interface NoBackup {
  kind: 'none';
  prepared: boolean;
}

/**
 * Finds the backup that a site is to come back from: asks all servers, fetches what this machine
 * lacks, and takes the history that has all others in it. A server that does not answer, or whose
 * repository is damaged, is reported, and the others are taken.
 * @throws SitegenError when nobody answers, or histories have gone apart and `from` does not choose
 */
export async function chooseBackup(search: Search): Promise<Chosen | NoBackup> {
  const { names: { domain, id, repository }, from, report } = search;
  const local = await headOf(repository);
  const only = from === undefined ? undefined : serverNamed(from, search.stores);
  if (from !== undefined && only === undefined) {
    throw new SitegenError(`${from} is none of the backup servers, or several`, { hint: `give one of: local ${search.stores.map(({ url }) => url).join(' ')}` });
  }
  const heads: Head[] = local === undefined || search.elsewhere === true ? [] : [{ from: thisMachine, commit: local }];
  const faults: string[] = [];
  let prepared = false;
  // The others are still asked: who goes back behind them has to know of it.
  await Promise.all(search.stores.map(async (store) => {
    try {
      const found = await store.look(id);
      if (found.state === 'commit') heads.push({ from: store.url, commit: await bring(store, search, found) });
      prepared ||= found.state === 'empty';
    } catch (error) {
      faults.push(`${store.url}: ${reasonOf(error)}`);
    }
  }));
  for (const fault of faults) report(`warning: ${domain}: not from ${fault}`);
  if (heads.length === 0) {
    if (faults.length === 0) return { kind: 'none', prepared };
    throw new SitegenError(`${domain}: no backup could be had:\n${faults.join('\n')}`, { hint: 'mend one of them, and try again' });
  }
  const chosen = await chooseAmong(search, heads, only === undefined ? undefined : only === thisMachine ? thisMachine : only.url);
  return { ...chosen, commit: await commitOf(search, chosen.tip), kind: 'chosen', local };
}

/** The domain that exported settings are of; undefined for none. */
function domainIn(settings: string): string | undefined {
  const written = /^domain:\s*["']?([^"'\s#]+)/m.exec(settings)?.[1];
  // In any case and script, as people write it.
  return written === undefined ? undefined : parseDomain(written);
}

/** Fetches a server's history, unless its last commit is there already. */
async function bring(store: Store, { names: { id, repository }, report, progress }: Search, { commit }: Extract<Found, { state: 'commit' }>): Promise<string> {
  return fetching(repository, async () => {
    if (await headOf(repository, commit) !== undefined) return commit;
    report(`fetching from ${store.url}`);
    return store.fetch(repository, id, progress);
  });
}

/** One at a time in a repository: two would take each other's locks for somebody else's. */
async function fetching<T>(repository: string, action: () => Promise<T>): Promise<T> {
  const turn = turns.get(repository) ?? Promise.resolve();
  const next = turn.then(action, action);
  turns.set(repository, next.catch(() => undefined));
  return next;
}

const turns = new Map<string, Promise<unknown>>();

async function chooseAmong(search: Search, heads: readonly Head[], only: string | undefined): Promise<Pick<Chosen, 'tip' | 'from' | 'others'>> {
  const { names: { domain, repository } } = search;
  const commits = [...new Set(heads.map(({ commit }) => commit))];
  const order = new Set<string>();
  for (const older of commits) for (const newer of commits) if (await isAncestor(repository, older, newer)) order.add(`${older} ${newer}`);
  const choice = choose(heads, (older, newer) => order.has(`${older} ${newer}`));
  if (only !== undefined) {
    const head = heads.find(({ from }) => from === only);
    if (!head) throw new SitegenError(`${domain}: ${only} has no backup of it`, { hint: 'see who has one: sitegen backup list' });
    const tips = choice.kind === 'diverged' ? choice.heads.map(({ commit }) => commit) : [];
    return { tip: head.commit, from: [only], others: [...new Set(tips)].filter((commit) => !order.has(`${commit} ${head.commit}`)) };
  }
  if (choice.kind === 'one') return { tip: choice.commit, from: choice.from, others: [] };
  throw await diverged(search, choice.kind === 'diverged' ? choice.heads : []);
}

async function diverged({ names: { domain, repository } }: Search, heads: readonly Head[]): Promise<SitegenError> {
  const commits = [...new Set(heads.map(({ commit }) => commit))];
  const lines = await Promise.all(commits.map(async (commit) => {
    const [{ time }, { commits: count, files }] = [await summaryOf(repository, commit), await ownChanges(repository, commit, commits.filter((other) => other !== commit))];
    const who = heads.filter((head) => head.commit === commit).map(({ from }) => from).join(', ');
    return `${who}: ${shortCommit(commit)} of ${time}, with ${count} ${count === 1 ? 'commit' : 'commits'} of its own (${files})`;
  }));
  const first = heads[0]?.from ?? '';
  return new SitegenError([`${domain}: its backups have gone apart, and none has all of the others in it:`, ...lines].join('\n'), {
    hint: `choose one; the others stay in the history: --from ${first === thisMachine ? 'local' : first}`,
  });
}

async function commitOf({ names: { domain, repository }, at }: Search, tip: string): Promise<string> {
  if (at === undefined) return tip;
  if ('commit' in at) return findCommit(repository, at.commit, [tip]);
  const found = await commitAt(repository, tip, at.time);
  if (found === undefined) throw new SitegenError(`${domain}: its first backup is later than ${at.time}`, { hint: `see: sitegen backup log ${domain}` });
  return found;
}

/**
 * Checks that a backup was made by this server, by one whose key is among `backup.signers`, or by
 * the one that the site was moved to.
 * What is in the history of this machine's own branch was.
 * @throws SitegenError that names the key, and where to allow it
 */
export async function requireSigned({ domain, repository }: Pick<SiteNames, 'domain' | 'repository'>, { commit, local }: Pick<Chosen, 'commit' | 'local'>, defaults: DefaultsFile): Promise<void> {
  if (local !== undefined && await isAncestor(repository, commit, local)) return;
  const { publicKey } = await ensureServerKey();
  const { successor } = await readState(siteNames(domain));
  const { state, key } = await signatureOf(repository, commit, [publicKey, ...defaults.backup?.signers ?? [], ...(successor === undefined ? [] : [successor])]);
  if (state === 'good') {
    // A server could pass one site's backup off as another's, and both are signed.
    const of = domainIn((await readMeta(repository, commit, 'site.yaml'))?.toString('utf8') ?? '');
    if (of === undefined || of === domain) return;
    throw new SitegenError(`${domain}: the backup ${shortCommit(commit)} is one of ${of}`, { hint: 'that server has given it out for another: take another server' });
  }
  const why = { 'unknown key': `was signed with the key ${key ?? ''}, whose backups are not restored here`, bad: 'is not what was signed', none: 'is not signed' }[state];
  throw new SitegenError(`${domain}: the backup ${shortCommit(commit)} ${why}`, {
    hint: state === 'unknown key' ? 'if that server is yours, write its key into backup.signers of sitegen.yaml; there, "sitegen backup key" prints it' : 'somebody has changed it: take another server, or an earlier commit',
  });
}

/** @throws SitegenError when a backup lacks what the former server says it had */
export async function requireCommit({ domain, repository }: Pick<SiteNames, 'domain' | 'repository'>, { commit: found }: Pick<Chosen, 'commit'>, commit: string | undefined): Promise<void> {
  if (commit === undefined || await isAncestor(repository, commit, found)) return;
  throw new SitegenError(`${domain}: the backup servers have ${shortCommit(found)}, without the last commit ${shortCommit(commit)} of its former server`, { hint: `have it pushed there: sitegen backup --wait ${domain}` });
}
