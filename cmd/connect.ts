import { withLock } from '../lib/effects/lock.ts';
import type { Systemd } from '../lib/effects/systemd.ts';
import { paths } from '../lib/pure/names.ts';
import type { Deps } from '../lib/usecases/machine.ts';
import { report } from './output.ts';

/** Runs an action with connections to systemd and Docker, and closes them. */
export async function withMachine<T>(action: (deps: Deps) => Promise<T>): Promise<T> {
  const { connectRunner } = await import('../lib/usecases/runner.ts');
  return withSystemd((systemd) => action({ systemd, docker: connectRunner(), report }));
}

/** Runs an action with a connection to systemd alone. */
export async function withSystemd<T>(action: (systemd: Systemd) => Promise<T>): Promise<T> {
  const { connectSystemd } = await import('../lib/effects/systemd.ts');
  const systemd = await connectSystemd();
  try {
    return await action(systemd);
  } finally {
    systemd.close();
  }
}

/** The same as `withMachine`, for what changes settings or units: one at a time on a machine. */
export async function withMachineLocked<T>(action: (deps: Deps) => Promise<T>): Promise<T> {
  return withLock(paths.machineLock, { waiting: () => { report('waiting for another sitegen to finish'); } }, () => withMachine(action));
}
