import path from 'node:path/posix';
import type { ComposeProject, ComposeService } from './schema.ts';

/** Where something in a service's file system comes from. */
export type Volume =
  /** Below the site's data; `file`: what must be there already, be it a file. */
  | { kind: 'data'; directory: string; target: string; readOnly: boolean; file: boolean }
  | { kind: 'host'; source: string; target: string; readOnly: boolean }
  /** One of Docker's that the project does not own. */
  | { kind: 'external'; source: string; target: string; readOnly: boolean }
  /** Goes with the container. */
  | { kind: 'anonymous'; target: string }
  | { kind: 'tmpfs'; target: string; options: string };

/** Below the site's data, one directory a named volume. */
export const volumesDir = 'volumes';

/** Modes of the short form that change nothing here, or only whether it can be written. */
const modes = ['ro', 'rw', 'z', 'Z', 'cached', 'delegated', 'consistent', 'nocopy'];

/**
 * Reads a volume of a service.
 * @returns what is wrong with it, as a text
 */
export function readVolume(given: NonNullable<ComposeService['volumes']>[number], project: Pick<ComposeProject, 'volumes'>): Volume | string {
  const long = typeof given === 'string' ? longForm(given) : given;
  if (typeof long === 'string') return long;
  const { type, source, read_only: readOnly = false } = long;
  const target = path.normalize(long.target).replace(/(?<=.)\/$/, '');
  const targetFault = faultOfTarget(target);
  if (targetFault !== undefined) return targetFault;
  if (long.bind?.propagation !== undefined) return 'sets how mounts spread, which would reach this machine\'s own: take propagation out';
  if (type === 'tmpfs') {
    const { size, mode } = long.tmpfs ?? {};
    // YAML's octal number has become a decimal one.
    const modeText = typeof mode === 'number' ? mode.toString(8) : mode;
    return { kind: 'tmpfs', target, options: [...(size === undefined ? [] : [`size=${size}`]), ...(modeText === undefined ? [] : [`mode=${modeText}`])].join(',') };
  }
  if (type === 'volume') {
    if (source === undefined || source === '') return { kind: 'anonymous', target };
    const declared = project.volumes?.[source];
    if (declared === undefined && !Object.hasOwn(project.volumes ?? {}, source)) return `names the volume ${source}, which the project does not have`;
    if (declared?.external === true) return { kind: 'external', source: declared.name ?? source, target, readOnly };
    return { kind: 'data', directory: `${volumesDir}/${source}`, target, readOnly, file: false };
  }
  if (source === undefined || source === '') return 'has no source';
  if (source.startsWith('~')) return `${source} is in a home directory: write a path below the site's data, such as ./files`;
  if (source.startsWith('/')) return { kind: 'host', source: path.normalize(source).replace(/(?<=.)\/$/, ''), target, readOnly };
  const directory = path.normalize(source).replace(/\/$/, '');
  if (directory === '..' || directory.startsWith('../')) return `${source} is outside the site's data`;
  if (directory === volumesDir || directory.startsWith(`${volumesDir}/`)) return `${source} is where named volumes are: choose another directory`;
  return { kind: 'data', directory, target, readOnly, file: long.bind?.create_host_path === false };
}

type Long = Exclude<NonNullable<ComposeService['volumes']>[number], string>;

function longForm(text: string): Long | string {
  const parts = text.split(':');
  if (parts.length > 3 || parts.some((part) => part === '')) return `${JSON.stringify(text)} is not a volume: write SOURCE:/path or SOURCE:/path:ro`;
  const [first = '', second, mode] = parts;
  if (second === undefined) return { type: 'volume', target: first };
  const options = mode?.split(',') ?? [];
  const strange = options.find((option) => !modes.includes(option));
  if (strange !== undefined) return `has the mode ${JSON.stringify(strange)}, which would reach this machine's own mounts, or is unknown: take it out`;
  const isPath = /^[./~]/.test(first);
  return { type: isPath ? 'bind' : 'volume', source: first, target: second, read_only: options.includes('ro') };
}

function faultOfTarget(target: string): string | undefined {
  if (!target.startsWith('/')) return `${JSON.stringify(target)} is not a path in the container: it must begin with /`;
  if (target === '/') return 'stands for the whole of the container: choose a place in it';
  const [top = ''] = target.slice(1).split('/');
  return ['proc', 'sys', 'dev'].includes(top) && target !== '/dev/shm' ? `/${top} is the kernel's: choose another place in the container` : undefined;
}

/** Whoever may write above this path, or at it, has Docker and thereby the machine. */
const dockerPaths = ['/run/docker.sock', '/var/run/docker.sock', '/run/containerd', '/var/run/containerd', '/var/lib/docker', '/var/lib/containerd'];

/** Whether a path of this machine holds Docker's socket or state, or lies in it. */
export function reachesDocker(source: string): boolean {
  return dockerPaths.some((known) => source === '/' || source === known || known.startsWith(`${source}/`) || source.startsWith(`${known}/`));
}
