import { setTimeout as sleep } from 'node:timers/promises';
import type { Docker } from '../effects/docker.ts';
import { requireFileBelow } from '../effects/files.ts';
import type { DesiredProject, ProjectContainer } from '../pure/compose/containers.ts';
import type { Desired } from '../pure/desired.ts';
import { reasonOf, SitegenError } from '../pure/errors.ts';
import { paths } from '../pure/names.ts';
import { describeEnd } from '../pure/docker.ts';

/** The containers of a Compose project, made and started in order; they are stopped and removed with that of the entrypoint. */

/** A service failed, which trying again within the same wake would not mend. */
export class ServiceError extends SitegenError {}

type ProjectDocker = Pick<Docker, 'create' | 'remove' | 'makeNetwork' | 'join'>;

/** How often a condition is looked at. */
const everyMs = 100;

/**
 * Creates all containers of a project anew, that of the entrypoint last: while it is missing the
 * project is, and the next try begins again.
 * @returns the id of the entrypoint's
 */
export async function createProject(docker: ProjectDocker, want: Pick<Desired, 'names' | 'dataFiles'>, project: DesiredProject): Promise<string> {
  const { container, domain } = want.names;
  for (const file of want.dataFiles) await requireFileBelow(paths.stateDir, file);
  await docker.remove(container, domain);
  for (const network of project.networks) if (!network.external) await docker.makeNetwork(container, network);
  let entry = '';
  for (const { name, spec, joins } of [...project.containers].sort((a, b) => Number(a.name === container) - Number(b.name === container))) {
    const id = await docker.create(name, spec);
    for (const { network, aliases } of joins) await docker.join(id, network, aliases);
    if (name === container) entry = id;
  }
  return entry;
}

/** Whether a container of a project is missing, as somebody has removed it. */
export async function isIncomplete(docker: Pick<Docker, 'members'>, want: Pick<Desired, 'names' | 'project'>): Promise<boolean> {
  if (!want.project) return false;
  const there = new Set((await docker.members(want.names.container)).map(({ name }) => name));
  return want.project.containers.some(({ name }) => name !== want.names.container && !there.has(name));
}

/**
 * Starts a site's container; of a project all of them, each once what it depends on is as it wants it.
 * One that works once, and has, is not started again.
 * @param id of the container that visitors reach
 * @param services these and what they depend on; all unless given
 * @param deadline when waiting for conditions ends; milliseconds since 1970
 * @throws SitegenError that names the service which failed
 */
export async function startSite(docker: Pick<Docker, 'start' | 'end' | 'exec'>, want: Pick<Desired, 'names' | 'project'>, id: string, deadline: number, services?: readonly string[]): Promise<void> {
  const { project } = want;
  if (!project) {
    await docker.start(id);
    return;
  }
  const started = new Map<string, Promise<void>>();
  const begin = (container: ProjectContainer): Promise<void> => {
    const running = started.get(container.service) ?? start(container);
    started.set(container.service, running);
    return running;
  };
  const start = async (container: ProjectContainer): Promise<void> => {
    await Promise.all(container.needs.map(async ({ service, condition }) => {
      const needed = project.containers.find((each) => each.service === service);
      if (!needed) return;
      await begin(needed);
      await fulfilled(docker, needed, condition, deadline);
    }));
    if (container.oneShot && await isDone(docker, container)) return;
    await docker.start(container.name);
  };
  // All are waited for, or what goes on would start containers behind whoever stops them.
  const results = await Promise.allSettled(project.containers.filter(({ service }) => services?.includes(service) ?? true).map((container) => begin(container)));
  const failed = results.find((result) => result.status === 'rejected');
  if (failed) throw failed.reason;
}

async function isDone(docker: Pick<Docker, 'end'>, { name }: ProjectContainer): Promise<boolean> {
  const { running, exitCode, finishedAt } = await docker.end(name);
  return !running && finishedAt !== undefined && exitCode === 0;
}

/** Waits until a service is what another wants it to be. */
async function fulfilled(docker: Pick<Docker, 'end' | 'exec'>, needed: ProjectContainer, condition: ProjectContainer['needs'][number]['condition'], deadline: number): Promise<void> {
  if (condition === 'service_started') return;
  let last = '';
  for (;;) {
    const end = await docker.end(needed.name);
    const done = !end.running && end.finishedAt !== undefined && end.exitCode === 0;
    if (condition === 'service_completed_successfully' && done) return;
    if (!end.running) throw new ServiceError(`its service ${needed.service} ended with ${describeEnd(end)}`, { hint: `look at: docker logs ${needed.name}` });
    if (condition === 'service_healthy' && needed.healthArgv) {
      const signal = AbortSignal.timeout(Math.max(1, deadline - Date.now()));
      // One that has just ended is seen above.
      const result = await docker.exec(needed.name, { argv: needed.healthArgv }, { signal }).catch((error: unknown) => { last = reasonOf(error); });
      if (result?.exitCode === 0) return;
      if (result) last = `exit code ${result.exitCode}${result.stderrTail.trim() === '' ? '' : `: ${result.stderrTail.trim().slice(-200)}`}`;
    }
    if (Date.now() > deadline) throw new ServiceError(`its service ${needed.service} ${condition === 'service_healthy' ? 'did not become healthy' : 'did not end'} in time${last === '' ? '' : ` (${last})`}`, { hint: 'set ready.timeout to a longer time' });
    await sleep(everyMs);
  }
}
