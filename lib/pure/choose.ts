/** Which of several histories of one site is taken. */

/** Where a history ends, and who has it. */
export interface Head {
  /** A server's URL, or `thisMachine`. */
  from: string;
  commit: string;
}

/** The repository on the machine itself. */
export const thisMachine = 'this machine';

export type Choice =
  | { kind: 'none' }
  /** from: all who have just this commit. */
  | { kind: 'one'; commit: string; from: readonly string[] }
  /** Each has what another lacks. */
  | { kind: 'diverged'; heads: readonly Head[] };

/**
 * Picks the history that has all others in it. No clock is asked, as those of servers differ.
 * @param isAncestor whether the first of two commits is in the history of the second
 */
export function choose(heads: readonly Head[], isAncestor: (older: string, newer: string) => boolean): Choice {
  const commits = [...new Set(heads.map(({ commit }) => commit))];
  const tips = commits.filter((commit) => !commits.some((other) => other !== commit && isAncestor(commit, other)));
  const [tip] = tips;
  if (tip === undefined) return { kind: 'none' };
  if (tips.length > 1) return { kind: 'diverged', heads: heads.filter(({ commit }) => tips.includes(commit)) };
  return { kind: 'one', commit: tip, from: heads.filter(({ commit }) => commit === tip).map(({ from }) => from) };
}

/**
 * The server that somebody means: its URL, its host, or `local` for the machine itself.
 * @returns undefined when none or more than one is meant
 */
export function serverNamed<Server extends { url: string }>(name: string, servers: readonly Server[]): Server | typeof thisMachine | undefined {
  if (name === 'local') return thisMachine;
  const plain = (url: string) => url.replace(/\/+$/, '');
  const exact = servers.find(({ url }) => plain(url) === plain(name));
  if (exact) return exact;
  const found = servers.filter(({ url }) => hostOf(url) === name.toLowerCase());
  return found.length === 1 ? found[0] : undefined;
}

/** The host in an ssh URL. */
export function hostOf(url: string): string {
  return (/^[a-z]+:\/\/(?:[^@/]*@)?(\[[^\]]+\]|[^:/]+)/.exec(url)?.[1] ?? url).toLowerCase();
}

/** What `--at` may say: part of a commit's id, or a time. */
export type Moment = { commit: string } | { time: string };

/**
 * Reads a moment: `4f2a91c`, `2026-11-20`, `2026-11-20 14:00`, `2026-11-20T14:00:00Z`, `3h ago`.
 * Without a zone a time is the machine's own.
 * @param nowMs ms since 1970, for times that are so long ago
 * @param spanMs reads a span such as `3h`
 * @returns the time in ISO 8601; undefined for what is neither
 */
export function parseMoment(text: string, nowMs: number, spanMs: (span: string) => number | undefined): Moment | undefined {
  if (/^[0-9a-f]{7,64}$/.test(text)) return { commit: text };
  const ago = /^(.+?)\s+ago$/.exec(text)?.[1];
  const ms = ago === undefined ? undefined : spanMs(ago);
  if (ms !== undefined) return { time: new Date(nowMs - ms).toISOString() };
  const parts = /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2})?)(Z|[+-]\d{2}:?\d{2})?)?$/.exec(text);
  if (!parts) return undefined;
  // A day alone means all of it.
  const at = Date.parse(`${parts[1] ?? ''}T${parts[2] ?? '23:59:59'}${parts[3] ?? ''}`);
  return Number.isNaN(at) ? undefined : { time: new Date(at).toISOString() };
}
