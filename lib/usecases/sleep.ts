import notify from 'systemd-notify';
import { exists, readIfThere, writeAtomic } from '../effects/files.ts';
import { siteNames } from '../pure/names.ts';
import { describeEnd } from '../pure/docker.ts';
import { connectRunner, isProgram } from './runner.ts';

/** Exit code after SIGKILL. */
const killed = 137;

/**
 * Ends all of a Compose project, in order.
 * @returns Docker's status for the container that visitors reach: 204 when it ran
 */
export async function endProject(domain: string): Promise<number> {
  const { container } = siteNames(domain);
  const docker = connectRunner();
  const ran = await docker.end(container).then(({ running }) => running, () => false);
  await docker.stop(container);
  return ran ? 204 : 304;
}

/**
 * Looks how a container ended that Docker did not have to stop. The text stays in the unit's
 * status until the next wake, where `systemctl status`, `sitegen status` and the alarm find it.
 * @param answer Docker's status to the stop
 * @returns `fault` when the container ended by a fault of its own
 * @throws Error when the container may still run
 */
export async function reportEnd(domain: string, answer: string | undefined): Promise<{ text: string; fault: boolean }> {
  const { container, cidFile, cgroup, oomFile } = siteNames(domain);
  const docker = connectRunner();
  if (!await exists(cidFile)) {
    // Half installed, or with half of its data: nobody may ever visit it.
    await docker.remove(container, domain);
    return { text: 'its first start was not finished; the next visitor causes a new one', fault: false };
  }
  const end = await docker.end(container);
  if (end.running) throw new Error(isProgram(container) ? 'systemd did not stop the program' : `Docker answered ${answer ?? 'nothing'} to the stop`);
  // Docker hears of it beside the end itself, and often too late for its own record.
  // The slice's count stays from one container to the next.
  const kills = Number(/^oom_kill (\d+)/m.exec(await readIfThere(`${cgroup}/memory.events`) ?? '')?.[1] ?? 0);
  const outOfMemory = end.outOfMemory || (end.exitCode === killed && kills > Number(await readIfThere(oomFile) ?? 0));
  await writeAtomic({ path: oomFile, content: String(kills) }).catch(() => undefined);
  const text = `the ${isProgram(container) ? 'program' : 'container'} had ended by itself with ${describeEnd({ ...end, outOfMemory })}`;
  await notify({ status: text }).catch(() => undefined);
  return { text, fault: end.exitCode !== 0 };
}
