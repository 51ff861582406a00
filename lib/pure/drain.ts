/** A visitor's connection to the splice, by the kernel's counters (ss -tni, tcp_info). */
export interface FlowState {
  /** The visitor's end. */
  address: string;
  port: number;
  received: number;
  sent: number;
  /** Bytes that wait to be read by the splice, or to be acknowledged by the visitor. */
  receiveQueue: number;
  sendQueue: number;
  /** Milliseconds since the last byte came from the visitor, and went to it. */
  lastReceived: number;
  lastSent: number;
  /** Bytes in the visitor's own queue, which have not come yet; undefined where its end is not seen. */
  waiting?: number | undefined;
}

/** What a drain remembers between two looks, by `address:port`; times in milliseconds, monotonic. */
export type DrainMemory = ReadonlyMap<string, Remembered>;

interface Remembered {
  received: number;
  sent: number;
  /** How many bytes of the visitor's were answered; undefined until it has been seen. */
  answered: number | undefined;
  quietSince: number;
  heldSince: number | undefined;
  /** What had been sent by then. */
  sentAtHold: number;
  /** Not to be held before, unless it is answered. */
  freeUntil: number;
}

/** What to do after a look at all connections. */
export interface DrainStep {
  /** Connections whose next request is to be kept out from now on. */
  hold: FlowState[];
  /** Held ones that may have to receive the rest of a request. */
  release: FlowState[];
  /** Those that may still have a request in flight. */
  busy: FlowState[];
  memory: DrainMemory;
}

/**
 * A held connection without a byte for this long has been answered: long enough for answers that
 * come in parts, and for request and answer within one tick of the kernel's clock, whose order is
 * unknown.
 */
export const quietMs = 1000;

/**
 * A connection without its first request for this long is a spare one. Until then it is not held:
 * its request would be kept out, and its visitor could not know that it may be sent again.
 */
export const spareMs = 3000;

/** A request that came just before its connection was held shows within this time. */
export const settleMs = 50;

/** A request that has not grown for this long is taken for complete. */
export const completeMs = 200;

/** How long such a connection is held while it is answered, and then let go in case the request was not complete. */
export const holdMs = 2000;
export const freeMs = 1000;

/**
 * From "HTTP/1.1 100" to "HTTP/1.1 100 Continue", each with its two ends of line: what asks for the rest of
 * a request. An answer is longer, and what is shorter is the end of one whose begin came before.
 */
export const interimBytes = { least: 16, most: 25 };

/**
 * One round of a drain. The splice does not see requests, so they are told from the order of
 * bytes: a connection is answered when its last byte went to the visitor. Held connections get
 * no further request: what the visitor sends is dropped before it arrives, and sent again by its
 * kernel. Those at work are held too as soon as their request seems complete, or a visitor who
 * asks again at once would never be caught between two requests. Where the visitor's own end is seen
 * it is complete when nothing waits there; what waits there later is the next request if an answer has
 * begun meanwhile, and else the rest of this one, which is let through. Nothing is in flight when all
 * are held, answered, and quiet.
 * @param now milliseconds, monotonic
 */
export function drainStep(flows: readonly FlowState[], before: DrainMemory, now: number): DrainStep {
  const memory = new Map<string, Remembered>();
  const hold: FlowState[] = [];
  const release: FlowState[] = [];
  const busy: FlowState[] = [];
  for (const flow of flows) {
    const key = `${flow.address}:${flow.port}`;
    const known: Remembered = before.get(key) ?? {
      received: flow.received, sent: flow.sent, answered: undefined, quietSince: now - Math.min(flow.lastSent, flow.lastReceived), heldSince: undefined, sentAtHold: flow.sent, freeUntil: 0,
    };
    const grew = flow.sent !== known.sent;
    // A request that slipped in makes what was sent until now the answer to an earlier one.
    const sentBefore = known.heldSince === undefined || flow.received !== known.received ? flow.sent : known.sentAtHold;
    const since = flow.sent - sentBefore;
    const isInterim = since >= interimBytes.least && since <= interimBytes.most && flow.waiting !== 0;
    const isBegun = since > 0 && !isInterim;
    const isAnswered = !isInterim && flow.receiveQueue === 0
      && (flow.sent > 0 ? flow.lastSent <= flow.lastReceived || isBegun || flow.received === known.answered
        : flow.received === 0 && flow.lastReceived >= spareMs);
    const isComplete = flow.received > 0 && flow.receiveQueue === 0 && (flow.waiting === undefined
      ? flow.lastReceived >= completeMs && now >= known.freeUntil && (known.heldSince === undefined || now - known.heldSince < holdMs)
      : flow.waiting === 0);
    const next: Remembered = {
      received: flow.received,
      sent: flow.sent,
      // Bytes tell it better than times: what keeps a connection alive is acknowledged later than the last answer.
      answered: isAnswered && flow.sent > 0 ? flow.received : known.answered,
      quietSince: grew || flow.sendQueue > 0 || !isAnswered ? now : known.quietSince,
      heldSince: known.heldSince ?? now,
      sentAtHold: sentBefore,
      freeUntil: known.freeUntil,
    };
    if (isAnswered || isComplete) {
      hold.push(flow);
    } else {
      if (known.heldSince !== undefined) {
        release.push(flow);
        next.freeUntil = now + freeMs;
      }
      next.heldSince = undefined;
    }
    const isSettled = known.heldSince !== undefined && now - known.heldSince >= settleMs;
    if (!isAnswered || !isSettled || now - next.quietSince < quietMs) busy.push(flow);
    memory.set(key, next);
  }
  return { hold, release, busy, memory };
}
