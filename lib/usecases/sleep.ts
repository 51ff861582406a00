import notify from 'systemd-notify';
import { connectDocker } from '../effects/docker.ts';
import { describeEnd } from './wake.ts';

/**
 * Looks how a container ended that Docker did not have to stop. The text stays in the unit's
 * status until the next wake, where `systemctl status`, `sitegen status` and the alarm find it.
 * @param answer Docker's status to the stop
 * @returns `fault` when the container ended by a fault of its own
 * @throws Error when the container may still run
 */
export async function reportEnd(container: string, answer: string | undefined): Promise<{ text: string; fault: boolean }> {
  const end = await connectDocker().end(container);
  if (end.running) throw new Error(`Docker answered ${answer ?? 'nothing'} to the stop`);
  const text = `the container had ended by itself with ${describeEnd(end)}`;
  await notify({ status: text }).catch(() => undefined);
  return { text, fault: end.exitCode !== 0 };
}
