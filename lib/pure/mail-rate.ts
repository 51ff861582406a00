/** How much a site may send: a window that slides, so that no hour has more than is allowed. */

const hourMs = 3_600_000;

/** What a site has sent, and when the limit was last said in its journal; times in ms since 1970. */
export interface Sent {
  times: readonly number[];
  told: number;
}

export const nothingSent: Sent = { times: [], told: 0 };

/** What still counts; times from the future, as the clock was set back, count as now, or they would for long. */
function within({ times }: Sent, now: number): number[] {
  return times.map((time) => Math.min(time, now)).filter((time) => time > now - hourMs);
}

/** How many recipients more there may be now. */
export function roomLeft(sent: Sent, now: number, perHour: number): number {
  return Math.max(0, perHour - within(sent, now).length);
}

/** The same with some recipients more; undefined when they would be too many. */
export function admit(sent: Sent, now: number, recipients: number, perHour: number): Sent | undefined {
  if (recipients > roomLeft(sent, now, perHour)) return undefined;
  return { ...sent, times: [...within(sent, now), ...Array.from({ length: recipients }, () => now)] };
}

/** The same without recipients of a message that was not taken after all. */
export function giveBack(sent: Sent, at: number, recipients: number): Sent {
  let left = recipients;
  return { ...sent, times: sent.times.filter((time) => time !== at || left-- <= 0) };
}

/** Whether the limit is to be said now: once an hour. @returns what to keep, or undefined */
export function tellLimit(sent: Sent, now: number): Sent | undefined {
  return sent.told > now - hourMs && sent.told <= now ? undefined : { ...sent, told: now };
}

/** Reads what was kept; what cannot be read counts as nothing. */
export function readSent(text: string | undefined): Sent {
  try {
    const { times, told } = JSON.parse(text ?? '') as { times?: unknown; told?: unknown };
    return { times: Array.isArray(times) ? times.filter((time): time is number => typeof time === 'number') : [], told: typeof told === 'number' ? told : 0 };
  } catch {
    return nothingSent;
  }
}
