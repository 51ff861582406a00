import { connectDocker } from '../lib/effects/docker.ts';
import { reasonOf } from '../lib/pure/errors.ts';
import { describeEnd } from '../lib/usecases/wake.ts';
import { readUnitEnvironment } from './unit-environment.ts';

/**
 * Called by sleep.sh when Docker had nothing to stop: tells how the container ended. Exits with
 * 1 when that was a fault of its own, so that the unit fails and the alarm goes out.
 */
const { container } = readUnitEnvironment();
try {
  const end = await connectDocker().end(container);
  if (end.running) throw new Error(`Docker answered ${process.argv[2] ?? 'nothing'} to the stop`);
  console.log(`asleep: the container had ended by itself with ${describeEnd(end)}`);
  // With a result of its own the unit has failed already, and the end of the container may be our doing.
  if (process.env['SERVICE_RESULT'] === 'success' && end.exitCode !== 0) process.exitCode = 1;
} catch (error) {
  console.error(`the container may still run: ${reasonOf(error)}`);
  process.exitCode = 1;
}
