import test from 'ava';
import type { Move } from '../../../lib/pure/idle.ts';
import { carryOutMoves } from '../../../lib/usecases/idle.ts';
import type { KnownSite } from '../../../lib/usecases/idle-memory.ts';

const known = (domain: string): KnownSite => ({
  domain, stamp: '', site: '10.213.1.1', container: '10.214.1.1', port: 80, backedUp: true,
  idle: { afterMs: 1, stopAfterMs: 1, never: false, freeze: true, awake: [], busy: undefined },
});

const site = (domain: string) => ({ known: known(domain), past: {} });
const idle = (domain: string, what: Move['do'] = 'freeze'): Move => ({ domain, do: what, cause: 'idle' });

test('moves that make room come first, and one that takes long keeps no other', async (t) => {
  const begun: string[] = [];
  const moves = [idle('slow'), idle('b'), { ...idle('c'), cause: 'memory' } satisfies Move, idle('d'), idle('e'), idle('f')];
  let last: (() => void) | undefined;
  const all = carryOutMoves(moves, site, {
    carryOut: ({ domain }) => {
      begun.push(domain);
      if (domain === 'f') last?.();
      return domain === 'slow' ? new Promise((resolve) => { last = () => { resolve(false); }; }) : Promise.resolve(false);
    },
    report: (line) => { t.fail(line); },
  });
  t.is((await all).size, 6);
  t.deepEqual(begun, ['c', 'slow', 'b', 'd', 'e', 'f']);
});

test('one that fails is told, and no other is kept', async (t) => {
  const lines: string[] = [];
  const moved = await carryOutMoves([idle('a'), idle('b'), idle('gone')], (domain) => (domain === 'gone' ? undefined : site(domain)), {
    carryOut: ({ domain }) => (domain === 'a' ? Promise.reject(new Error('no answer')) : Promise.resolve(false)),
    report: (line) => { lines.push(line); },
  });
  t.deepEqual([...moved.keys()], ['b']);
  t.deepEqual(lines, ['<4>a: it could not be put to sleep: no answer']);
});

test('what is remembered is that a site sleeps, and when a dump was tried', async (t) => {
  const moved = await carryOutMoves([idle('a'), idle('b'), idle('c', 'dump')], site, { carryOut: ({ domain }) => Promise.resolve(domain !== 'a'), report: (line) => { t.fail(line); } });
  const keys = (domain: string) => Object.keys(moved.get(domain) ?? {});
  t.deepEqual([keys('a'), keys('b'), keys('c')], [['state', 'since'], ['state', 'since', 'triedAt'], ['triedAt']]);
});
