import { isAncestor } from '../effects/git/objects.ts';
import { commitFile, joinHistories, moveMain } from '../effects/git/lineage.ts';
import type { Epoch } from '../pure/backup.ts';
import { thisMachine } from '../pure/choose.ts';
import type { SiteNames } from '../pure/names.ts';
import type { DefaultsFile } from '../pure/schema.ts';
import type { Chosen } from './choose.ts';
import { claimEpoch, epochOf, thisServer } from './epoch.ts';
import { ensureServerKey } from './server-key.ts';

/** A backup that a site goes on from. */
export interface Continuation {
  names: SiteNames;
  defaults: DefaultsFile;
  chosen: Pick<Chosen, 'tip' | 'others'>;
  /** See `claimEpoch`. */
  proxyProtocol?: boolean | undefined;
}

/**
 * Lets this machine's branch have all of the histories in it, so that every server takes what comes
 * next; where another server had the site, a commit says that this one has it now. That costs no look
 * at the data, so nothing of the former server's can come in between.
 * @param last the end of this machine's branch
 */
export async function goOnFrom({ names, chosen, defaults, proxyProtocol }: Continuation, last: string | undefined): Promise<void> {
  const { repository, domain } = names;
  const all = [...new Set([chosen.tip, ...(last === undefined ? [] : [last]), ...chosen.others])];
  const epochs = await Promise.all(all.map((commit) => epochOf(repository, commit)));
  const main = await endOf(repository, domain, all);
  if (main !== last) await moveMain(repository, main, last);
  const highest = epochs.filter((epoch) => epoch !== undefined).reduce<Epoch | undefined>((high, epoch) => (epoch.epoch > (high?.epoch ?? 0) ? epoch : high), undefined);
  const self = await thisServer(defaults);
  const now = await epochOf(repository, main);
  if (!highest || (highest.key === self.key && now?.epoch === highest.epoch)) return;
  const claim = await claimEpoch(names, highest, defaults, { proxyProtocol: proxyProtocol === true });
  const { file: signingKey } = await ensureServerKey();
  const content = `${JSON.stringify(claim, undefined, 2)}\n`;
  await moveMain(repository, await commitFile(repository, { parent: main, path: 'meta/epoch.json', content, message: `${domain}: taken over by ${claim.server}`, signingKey }), main);
}

/**
 * A commit with several histories in it.
 * @param all ends of histories; the first has the files that the commit is to have, if one has to be made
 */
export async function endOf(repository: string, domain: string, all: readonly string[]): Promise<string> {
  const ends: string[] = [];
  for (const commit of all) {
    const later = await Promise.all(all.filter((other) => other !== commit).map((other) => isAncestor(repository, commit, other)));
    if (!later.includes(true)) ends.push(commit);
  }
  const [first = ''] = ends;
  if (ends.length === 1) return first;
  const { file: signingKey } = await ensureServerKey();
  return joinHistories(repository, { of: all[0] ?? '', with: ends.filter((commit) => commit !== all[0]), message: `${domain}: one history again`, signingKey });
}

/** Whom a backup came from, for people. */
export function describeSource(from: readonly string[]): string {
  return from.map((each) => (each === thisMachine ? 'the repository on this machine' : each)).join(' and ');
}
