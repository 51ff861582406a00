import test from 'ava';
import { staleWays, type Claim } from '../../../lib/usecases/mend-ways.ts';

const claim = (site: string, ...ports: number[]): Claim => ({ site, listen: ports.map((port) => ({ public: port, container: 25 })) });
const ways = (sites: string[], ports: number[] = []) => ({ forwarded: new Set(sites), ports: new Map(ports.map((port) => [port, '10.214.0.1:25'])) });

test('while all entries are of sites that were awake at the look, nobody is asked', async (t) => {
  t.deepEqual(await staleWays(ways(['a', 'b'], [25]), [claim('a', 25), claim('b')], () => { throw new Error('asked'); }), { sites: [], public: [] });
});

test('what belongs to no service that is up is stale', async (t) => {
  t.deepEqual(await staleWays(ways(['a', 'b'], [25, 143]), [claim('a', 25)], () => Promise.resolve([claim('a', 25)])), { sites: ['b'], public: [143] });
});

test('one that has woken since the look is not, and one that has gone to sleep since is left to its own stop', async (t) => {
  t.deepEqual(await staleWays(ways(['slept', 'woken', 'killed']), [claim('slept')], () => Promise.resolve([claim('woken')])), { sites: ['killed'], public: [] });
});
