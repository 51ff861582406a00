import { formatMs } from '../lib/pure/quantities.ts';
import { drain } from '../lib/usecases/drain.ts';
import { readUnitEnvironment } from './unit-environment.ts';

/** Called by drain.sh when connections are open: returns when none has a request in flight. */
const { site, stopMs, dumpLimitS } = readUnitEnvironment();
const began = performance.now();
const left = await drain(site, stopMs, dumpLimitS + 20);
const took = formatMs(performance.now() - began);
console.log(left === 0 ? `requests in flight finished in ${took}` : `${left} connections were still at work after ${took} and are cut`);
