/** What to do about one backup server, from what it says that it has. */

/** What is known before anything is sent. */
export interface Facts {
  /** The commit that is to be there. */
  ours: string;
  /** What the server has; undefined: an empty repository, or none. */
  theirs: string | undefined;
  /** It has had a commit of this site before. */
  acknowledged: boolean;
  /** The admin says that it was emptied on purpose. */
  refill: boolean;
  /** How ours stands to theirs; undefined while theirs is not here to be compared. */
  relation: 'same' | 'ahead' | 'behind' | 'diverged' | undefined;
}

/**
 * What comes next: `fetch` brings theirs here, so that it can be asked again; `conflict` is what
 * `settleConflict` is about.
 */
export type Step = 'done' | 'push' | 'lost' | 'fetch' | 'conflict';

/** Never anything that would take a commit from the server. */
export function nextStep({ ours, theirs, acknowledged, refill, relation }: Facts): Step {
  if (theirs === undefined) return acknowledged && !refill ? 'lost' : 'push';
  if (theirs === ours || relation === 'same') return 'done';
  if (relation === undefined) return 'fetch';
  return relation === 'ahead' ? 'push' : 'conflict';
}

/** What is known of a server whose commit is no ancestor of ours. */
export interface Conflict {
  relation: 'behind' | 'diverged';
  /** Which server had the site when each of the two was made; 0 where it does not say. */
  ourEpoch: number;
  theirEpoch: number;
  /** Theirs is signed with a key that this server accepts. */
  trusted: boolean;
}

/** What to do about it. */
export interface Settlement {
  /** Ours goes to a branch of its own, as the server lacks it. */
  aside: boolean;
  /** Another server has the site now; it is somebody else's; or it is ahead of us, or beside us. */
  verdict: 'fenced' | 'foreign' | 'newer' | 'diverged';
}

/** The higher epoch has the site, whatever is newer; but a signature has to say so. */
export function settleConflict({ relation, ourEpoch, theirEpoch, trusted }: Conflict): Settlement {
  const aside = relation === 'diverged';
  if (!trusted) return { aside, verdict: 'foreign' };
  if (theirEpoch > ourEpoch) return { aside, verdict: 'fenced' };
  return { aside, verdict: relation === 'behind' ? 'newer' : 'diverged' };
}

/**
 * The branch that takes what cannot go to `main`.
 * @param host name of this server
 */
export function recoverBranch(host: string, now: Date): string {
  const name = host.toLowerCase().replaceAll(/[^a-z0-9-]+/g, '-').replaceAll(/^-+|-+$/g, '').slice(0, 60);
  return `recover/${name === '' ? 'server' : name}-${now.toISOString().replaceAll(/[:.]/g, '-')}`;
}
