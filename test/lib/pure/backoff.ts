import test from 'ava';
import { backoffMs } from '../../../lib/pure/backoff.ts';

const pauses: [failures: number, ms: number][] = [[0, 1000], [1, 2000], [2, 4000], [8, 256_000], [9, 300_000], [10, 300_000], [5000, 300_000]];

for (const [failures, ms] of pauses) test(`after ${failures} failures before it, the next try comes ${ms} ms later`, (t) => { t.is(backoffMs(failures), ms); });
