import { SitegenError, reasonOf } from '../lib/pure/errors.ts';
import { awaitReady, refuseVisitors, startContainer, type WakeRequest } from '../lib/usecases/wake.ts';
import { readUnitEnvironment } from './unit-environment.ts';

/**
 * The patient part of the shim, called by wake.sh as `wake.mjs start|ready` where its fast way
 * does not do. Prints the milliseconds of create and start; on failure it answers the visitors,
 * and exits with 1.
 */
const unit = readUnitEnvironment();
const startedAt = Number(process.env['SITEGEN_BEGAN_MS'] ?? Date.now());
const request: WakeRequest = {
  domain: unit.domain,
  container: unit.container,
  target: { address: unit.address, port: unit.port, path: unit.readyPath, host: unit.domain },
  startedAt,
  deadline: startedAt + unit.readyMs,
};
try {
  if (process.argv[2] === 'start') {
    const { create, start } = await startContainer(request);
    process.stdout.write(`${create} ${start}\n`);
  } else {
    await awaitReady(request);
  }
} catch (error) {
  console.error(`${unit.domain} ${process.argv[2] === 'start' ? 'could not be started: ' : ''}${reasonOf(error)}`);
  if (!(error instanceof SitegenError)) console.error(error);
  const answered = await refuseVisitors(unit.domain);
  console.error(`answered ${answered} requests with 503; the next visitor causes a new try`);
  process.exitCode = 1;
}
