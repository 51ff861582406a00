import { SitegenError, reasonOf } from '../lib/pure/errors.ts';
import { siteNames } from '../lib/pure/names.ts';
import { awaitReady, checkRoom, noteFailure, refuseVisitors, startContainer, type WakeRequest } from '../lib/usecases/wake.ts';
import { readUnitEnvironment } from './unit-environment.ts';

/**
 * The patient part of the shim, called by wake.sh as `wake.mjs start|ready|refuse|full` where its fast way
 * does not do. Prints the milliseconds of create and start; on failure, or when it is only to refuse,
 * it answers the visitors, and exits with 75; with anything else only when it could not even do that.
 */
const answered = 75; // EX_TEMPFAIL of sysexits.h(3head)
const unit = readUnitEnvironment();
const startedAt = Number(process.env['SITEGEN_BEGAN_MS'] ?? Date.now());
const names = siteNames(unit.domain);
const request: WakeRequest = {
  domain: unit.domain,
  container: unit.container,
  target: { address: unit.address, port: unit.port, path: unit.readyPath, host: unit.domain, others: unit.listen.map(({ container }) => container) },
  startedAt,
  deadline: startedAt + unit.readyMs,
};
try {
  if (process.argv[2] === 'refuse') {
    console.error(`${unit.domain} failed to start a moment ago and is not tried again yet`);
    await refuseVisitors(names);
    process.exitCode = answered;
  } else if (process.argv[2] === 'full') {
    await checkRoom(unit.domain);
  } else if (process.argv[2] === 'start') {
    const { create, start } = await startContainer(request);
    process.stdout.write(`${create} ${start}\n`);
  } else {
    await awaitReady(request);
  }
} catch (error) {
  console.error(`${unit.domain} ${process.argv[2] === 'start' ? 'could not be started: ' : ''}${reasonOf(error)}`);
  if (!(error instanceof SitegenError)) console.error(error);
  await noteFailure(names).catch((fault: unknown) => { console.error(`the next try is not put off: ${reasonOf(fault)}`); });
  const requests = await refuseVisitors(names);
  console.error(`answered ${requests} requests with 503; the next visitor causes a new try`);
  process.exitCode = answered;
}
