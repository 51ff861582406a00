import test from 'ava';
import { completeMs, drainStep, freeMs, holdMs, interimBytes, quietMs, settleMs, spareMs, type DrainMemory, type FlowState } from '../../../lib/pure/drain.ts';

const none: DrainMemory = new Map();

/** A kept-alive connection whose request was answered five seconds ago. */
const idle: FlowState = { address: '192.0.2.1', port: 40_000, received: 80, sent: 500, receiveQueue: 0, sendQueue: 0, lastReceived: 5010, lastSent: 5000 };
const flow = (fields: Partial<FlowState> = {}): FlowState => ({ ...idle, ...fields });
const ports = (flows: readonly FlowState[]) => flows.map(({ port }) => port);

/** Looks every 25 ms at flows as they are at a time, until it is done. */
function drainAt(flowsAt: (ms: number) => FlowState[], limitMs = 5000): { doneAt: number; held: number[]; released: number[] } {
  let memory = none;
  const held: number[] = [];
  const released: number[] = [];
  for (let now = 0; now <= limitMs; now += 25) {
    const step = drainStep(flowsAt(now), memory, now);
    memory = step.memory;
    if (step.hold.length > 0) held.push(now);
    if (step.release.length > 0) released.push(now);
    if (step.busy.length === 0) return { doneAt: now, held, released };
  }
  return { doneAt: Number.POSITIVE_INFINITY, held, released };
}

test('without connections a drain is done at once', (t) => {
  t.deepEqual(drainStep([], none, 0), { hold: [], release: [], busy: [], memory: new Map() });
});

test('a connection that has long been answered is held, and done when no request slipped in before', (t) => {
  const { doneAt, held } = drainAt(() => [idle]);
  t.is(doneAt, settleMs);
  t.is(held[0], 0);
  t.is(held.length, doneAt / 25 + 1, 'it is held anew in each round');
});

test('a request without an answer is waited for', (t) => {
  t.is(drainAt(() => [flow({ sent: 0, lastReceived: 100, lastSent: 9000 })]).doneAt, Number.POSITIVE_INFINITY);
  t.is(drainAt(() => [flow({ lastReceived: 100, lastSent: 200 })]).doneAt, Number.POSITIVE_INFINITY, 'the second request on a connection');
  t.deepEqual(drainAt(() => [flow({ lastReceived: 100, lastSent: 200 })], 200).held, []);
});

test('bytes on their way keep a drain from ending', (t) => {
  t.is(drainAt(() => [flow({ receiveQueue: 1 })]).doneAt, Number.POSITIVE_INFINITY);
  t.is(drainAt(() => [flow({ sendQueue: 1 })]).doneAt, Number.POSITIVE_INFINITY);
});

test('a slow answer in parts is waited for to its end', (t) => {
  // A part each 200 ms until 1000 ms: between two of them the connection looks answered.
  const { doneAt } = drainAt((now) => {
    const parts = Math.min(5, Math.floor(now / 200));
    return [flow({ sent: 500 + parts * 100, lastReceived: 3000 + now, lastSent: now - parts * 200 })];
  });
  t.is(doneAt, 1000 + quietMs);
});

test('a request that slipped in before its connection was held is waited for', (t) => {
  const { doneAt, released } = drainAt((now) => [now < settleMs ? idle : flow({ received: 160, lastReceived: now - settleMs, lastSent: 5000 + now })]);
  t.is(doneAt, Number.POSITIVE_INFINITY);
  t.is(released[0], settleMs);
});

test('request and answer within one tick are watched until they are old', (t) => {
  t.is(drainAt((now) => [flow({ lastReceived: 100 + now, lastSent: 100 + now })]).doneAt, quietMs - 100);
});

test('more of an answer begins the watch anew', (t) => {
  const { doneAt } = drainAt((now) => [flow({ lastReceived: 5000, lastSent: now < 25 ? 5000 : 0, sent: now < 25 ? 500 : 900 })]);
  t.is(doneAt, 25 + quietMs);
});

test('a connection without its first request is waited for, not held, until it is old enough to be a spare one', (t) => {
  const spare = (ms: number) => flow({ received: 0, sent: 0, lastSent: 9000, lastReceived: ms });
  const young = drainAt((now) => [spare(now)], spareMs - 25);
  t.is(young.doneAt, Number.POSITIVE_INFINITY);
  t.deepEqual(young.held, []);
  t.is(drainAt((now) => [spare(now)]).doneAt, spareMs - 25 + quietMs);
});

test('a request that has come to its end is held while it is answered, but never for good', (t) => {
  // A visitor who sends a long request slowly may only seem to have finished.
  const { held, released, doneAt } = drainAt((now) => [flow({ received: 800, lastReceived: completeMs + now, lastSent: 9000 + now })], 3100);
  t.is(doneAt, Number.POSITIVE_INFINITY);
  t.is(held[0], 0);
  t.deepEqual(released, [holdMs]);
  t.deepEqual(held.filter((ms) => ms >= holdMs), held.filter((ms) => ms >= holdMs + freeMs));
  t.true(held.includes(holdMs + freeMs));
});

test('a request that still grows is not held', (t) => {
  t.deepEqual(drainAt(() => [flow({ received: 800, lastReceived: completeMs - 1, lastSent: 9000 })], 1000).held, []);
  t.deepEqual(drainAt(() => [flow({ received: 800, receiveQueue: 5, lastReceived: 900, lastSent: 9000 })], 1000).held, []);
});

test('a held connection that turns out to get a request is released, held anew when it is answered, and watched anew', (t) => {
  const { held, released, doneAt } = drainAt((now) => {
    if (now < 25) return [idle];
    return [now < 125 ? flow({ receiveQueue: 10, lastReceived: 0 }) : flow({ sent: 600, lastReceived: now - 75, lastSent: now - 125 })];
  });
  t.deepEqual(released, [25]);
  t.deepEqual(held.filter((ms) => ms >= 25 && ms < 125), []);
  t.true(held.includes(125));
  t.is(doneAt, 125 + quietMs);
});

test('one connection at work keeps the drain from ending, and the others are held meanwhile', (t) => {
  const busy = flow({ port: 2, receiveQueue: 5 });
  const step = drainStep([flow({ port: 1 }), busy, flow({ port: 3 })], none, 0);
  t.deepEqual(ports(step.hold), [1, 3]);
  t.deepEqual(step.release, []);
  t.is(step.busy.length, 3, 'none is known to be quiet yet');
  const later = drainStep([flow({ port: 1 }), busy, flow({ port: 3 })], step.memory, 10_000);
  t.deepEqual(ports(later.busy), [2]);
  t.is(drainStep([flow({ port: 1 }), flow({ port: 3 })], later.memory, 10_000).busy.length, 0, 'connections that are gone count no more');
});

test('connections are told apart by address and port', (t) => {
  const { memory } = drainStep([flow({ port: 1 }), flow({ port: 2 }), flow({ address: '192.0.2.2', port: 1 })], none, 0);
  t.deepEqual([...memory.keys()], ['192.0.2.1:1', '192.0.2.1:2', '192.0.2.2:1']);
});

test('a connection that is new in a later round is watched from then on', (t) => {
  t.is(drainAt((now) => (now < 25 ? [idle] : [idle, flow({ port: 5 })])).doneAt, 25 + settleMs);
});

test('a request whose visitor has nothing left to send is held at once, and done when it has been answered', (t) => {
  // Asked 10 ms ago, answered after 300 ms, and asked again at once, which is held.
  const { held, released, doneAt } = drainAt((now) => [now < 300
    ? flow({ waiting: 0, received: 160, lastReceived: 10 + now, lastSent: 5000 })
    : flow({ waiting: 80, received: 160, sent: 900, lastReceived: 10 + now, lastSent: now - 300 })]);
  t.is(held[0], 0);
  t.deepEqual(released, []);
  t.is(doneAt, 300 + quietMs);
});

test('the rest of a request is let through until it has come', (t) => {
  const { held, released, doneAt } = drainAt((now) => [flow({ waiting: now >= 100 && now < 300 ? 80 : 0, received: now < 300 ? 160 : 240, lastReceived: now < 300 ? now : now - 300, lastSent: 5000 })], 2000);
  t.is(doneAt, Number.POSITIVE_INFINITY);
  t.deepEqual(released, [100]);
  t.deepEqual(held.filter((ms) => ms >= 100 && ms < 300), []);
  t.true(held.includes(300));
});

test('an answer that only asks for the rest of a request is none', (t) => {
  const { released } = drainAt((now) => [flow({ waiting: now >= 100 ? 5000 : 0, received: 160, sent: now >= 100 ? 500 + interimBytes.most : 500, lastReceived: 10 + now, lastSent: now >= 100 ? now - 100 : 5000 })], 100);
  t.deepEqual(released, [100]);
});

test('a connection that is held between the head of an answer and a short rest of it is done when it is quiet', (t) => {
  for (const rest of [1, interimBytes.least - 1, interimBytes.least, interimBytes.most, interimBytes.most + 1]) {
    const { doneAt, released } = drainAt((now) => [flow({ waiting: 0, received: 160, sent: now < 50 ? 700 : 700 + rest, lastReceived: 300 + now, lastSent: now < 50 ? 2000 : now - 50 })]);
    t.is(doneAt, 50 + quietMs, `${rest} bytes`);
    t.deepEqual(released, []);
  }
});

test('a next request that waits is no rest of the last one, whatever is acknowledged meanwhile', (t) => {
  // Past the splice the time of what came is that of the last acknowledgement, also of what only keeps a connection alive.
  const { memory } = drainStep([flow({ waiting: 0 })], none, 0);
  const { hold, release, busy } = drainStep([flow({ waiting: 80, lastReceived: 10, lastSent: 5100 })], memory, 100);
  t.deepEqual([ports(hold), release, busy], [[idle.port], [], []]);
});

test('a request that slipped in while its connection was held is waited for, however long the answer before it was', (t) => {
  const { doneAt, held } = drainAt((now) => [now < 25
    ? flow({ waiting: 0, received: 160, lastReceived: 300, lastSent: 5000 })
    : flow({ waiting: 0, received: 240, sent: now < 3000 ? 900 : 1300, lastReceived: now, lastSent: now < 3000 ? now + 1 : now - 3000 })]);
  t.is(doneAt, 3000 + quietMs);
  t.is(held[0], 0);
});

test('what is remembered is never changed afterwards', (t) => {
  const { memory } = drainStep([idle], none, 0);
  const copy = structuredClone(memory);
  drainStep([flow({ sent: 900 })], memory, 100);
  t.deepEqual(memory, copy);
});
