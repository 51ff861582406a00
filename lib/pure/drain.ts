/** What the kernel tells of one visitor's connection, as far as a drain looks at it. */
export interface FlowState {
  address: string;
  port: number;
  received: number;
  sent: number;
  receiveQueue: number;
  sendQueue: number;
  /** Milliseconds since the last byte came from the visitor, and went to it. */
  lastReceived: number;
  lastSent: number;
}

/** What a drain remembers between two looks, by `address:port`. */
export type DrainMemory = ReadonlyMap<string, { sent: number; quietSince: number; certain: boolean }>;

/** What to do after a look at all connections. */
export interface DrainStep {
  /** Idle connections: their next request is to be kept out from now on. */
  hold: FlowState[];
  /** Held ones that turned out to be at work. */
  release: FlowState[];
  /** Nothing is in flight on any connection. */
  done: boolean;
  memory: DrainMemory;
}

/** A held connection without a byte for this long has been answered. */
export const quietMs = 250;

/** The same where request and answer fell into one tick of the kernel's clock, so that their order is unknown. */
export const unsureQuietMs = 1000;

/**
 * One round of a drain. Kept-alive connections cannot be seen through, so a connection counts
 * as idle when its last byte went to the visitor. It is then held (what the visitor sends next is
 * dropped before it arrives, and sent again by the visitor's kernel) and watched: if more of an
 * answer comes, it was still at work. The splice can end when every connection is held and quiet.
 * @param now milliseconds, monotonic
 */
export function drainStep(flows: readonly FlowState[], before: DrainMemory, now: number): DrainStep {
  const memory = new Map<string, { sent: number; quietSince: number; certain: boolean }>();
  const hold: FlowState[] = [];
  const release: FlowState[] = [];
  let done = true;
  for (const flow of flows) {
    const key = `${flow.address}:${flow.port}`;
    const known = before.get(key);
    const inTransit = flow.receiveQueue > 0 || flow.sendQueue > 0;
    const answered = flow.sent > 0 && flow.lastSent <= flow.lastReceived;
    const waitsForFirst = flow.sent === 0 && flow.received === 0 && flow.lastReceived >= unsureQuietMs;
    if (inTransit || !(answered || waitsForFirst)) {
      if (known) release.push(flow);
      done = false;
      continue;
    }
    hold.push(flow);
    const certain = known && known.sent !== flow.sent ? true : (known?.certain ?? flow.lastSent < flow.lastReceived);
    const quietSince = known?.sent === flow.sent ? known.quietSince : now;
    memory.set(key, { sent: flow.sent, quietSince, certain });
    if (now - quietSince < (certain ? quietMs : unsureQuietMs)) done = false;
  }
  return { hold, release, done, memory };
}
