import { reasonOf } from '../lib/pure/errors.ts';
import { endProject, reportEnd } from '../lib/usecases/sleep.ts';
import { readUnitEnvironment } from './unit-environment.ts';

/**
 * Called by sleep.sh. With `project` it stops all of a Compose project, and prints Docker's status of
 * that; else Docker had nothing to stop, and it tells how the container ended. Exits with 1 when that
 * was a fault of its own, so that the unit fails and the alarm goes out.
 */
const { domain } = readUnitEnvironment();
try {
  if (process.argv[2] === 'project') {
    console.log(await endProject(domain));
    process.exit();
  }
  const { text, fault } = await reportEnd(domain, process.argv[2]);
  console.log(`asleep: ${text}`);
  // With a result of its own the unit has failed already, and the end of the container may be our doing.
  if (process.env['SERVICE_RESULT'] === 'success' && fault) process.exitCode = 1;
} catch (error) {
  console.error(`the container may still run: ${reasonOf(error)}`);
  process.exitCode = 1;
}
