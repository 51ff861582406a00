import { describeSecret } from './app-env.ts';
import type { Desired } from './desired.ts';
import { formatMs } from './quantities.ts';
import type { Program, Site } from './site.ts';

/**
 * What a site with a container will be, for people: a line a fact. No value of its environment, as
 * passwords are among them.
 */
export function describeWorkload({ workload, exclude }: Site, { owners, names }: Pick<Desired, 'owners' | 'names'>): string[] {
  if (!workload) return [];
  const { limits, mounts, env, missingSecrets, hooks, jobs, dump, idle, ready, updates, image, program } = workload;
  const environment = [...Object.keys(env), ...missingSecrets.map((secret) => describeSecret(secret))];
  const ownerOf = (directory: string) => owners.get(`${names.dataDir}/${directory}`);
  return [
    ...(program ? [describeProgram(program)] : []),
    `port ${workload.port}; ready when ${ready.path === undefined ? 'it accepts connections' : `${ready.path} is answered`}, within ${formatMs(ready.timeoutMs)}`,
    `limits: ${Object.entries(limits).map(([name, value]) => `${name}=${value}`).join(' ')}`,
    ...mounts.map(({ directory, target, readOnly }) => {
      const owner = ownerOf(directory);
      return `data: ${directory} at ${target}${readOnly ? ', to be read only' : ''}${owner ? `, owned by ${owner.uid}:${owner.gid}` : ''}`;
    }),
    ...(environment.length === 0 ? [] : [`environment: ${environment.join(' ')}`]),
    ...Object.entries(hooks).flatMap(([name, hook]) => (hook ? [`${name}: ${hook.argv.join(' ')}, for ${formatMs(hook.timeoutMs)} at most`] : [])),
    ...(dump ? [`backup: its database as ${dump.file}${exclude.length > 0 ? `, without ${exclude.join(' ')}` : ''}`] : []),
    ...jobs.map((job) => `job ${job.name}: ${job.calendar}`),
    `asleep: ${idle.never ? 'never' : `${idle.freeze ? 'frozen' : 'stopped'} after ${formatMs(idle.afterMs)}`}`,
    ...(image ? [`newer images: ${updates === 'auto' ? 'taken by themselves' : 'only told'}`] : []),
  ];
}

function describeProgram({ settings: { command, script = '', args = [], listenFds } }: Program): string {
  return `program: ${[...command ?? [script.trim()], ...args].join(' ')}${listenFds === true ? ', which takes its socket from systemd' : ''}`;
}
