/** One connection, by its ends as ss takes them in a filter: `192.0.2.7:4711`. */
export interface Ends {
  local: string;
  peer: string;
}

/**
 * Those connections of `ss -HtniO` from whose clients nothing has come for so long: neither a byte
 * nor an acknowledgement, which a program that keeps its connections alive would get. A connection
 * about which the kernel does not say that is none of them.
 */
export function silentEnds(text: string, limitMs: number): Ends[] {
  return text.split('\n').flatMap((line) => {
    const [, local, peer] = /^\s*\S+\s+\d+\s+\d+\s+(\S+:\d+)\s+(\S+:\d+)\s/.exec(line) ?? [];
    if (local === undefined || peer === undefined) return [];
    const ago = ['lastrcv', 'lastack'].map((name) => Number(new RegExp(`\\b${name}:(\\d+)`).exec(line)?.[1] ?? 0));
    return Math.min(...ago) >= limitMs ? [{ local, peer }] : [];
  });
}
