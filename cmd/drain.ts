import { siteNames } from '../lib/pure/names.ts';
import { formatMs } from '../lib/pure/quantities.ts';
import { drain, drainPorts } from '../lib/usecases/drain.ts';
import { readUnitEnvironment } from './unit-environment.ts';

/** Called by drain.sh when connections are open: returns when none has a request in flight, and no public port is at work. */
const { domain, site, listen, stopMs, dumpLimitS } = readUnitEnvironment();
const began = performance.now();
const ports = listen.map(({ container }) => container);
const [requests, others] = await Promise.all([drain(site, stopMs, dumpLimitS + 20), drainPorts(siteNames(domain).appCgroup, ports, stopMs)]);
const left = requests + others;
const took = formatMs(performance.now() - began);
console.log(left === 0 ? `requests in flight finished in ${took}` : `${left} connections were still at work after ${took} and are cut`);
