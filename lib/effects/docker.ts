import Dockerode from 'dockerode';
import type { ServiceSpec } from '../pure/compose/containers.ts';
import type { ContainerSpec } from '../pure/desired.ts';
import { dockerError, statusOf } from '../pure/docker.ts';
import { SitegenError } from '../pure/errors.ts';
import { rootIn, type Ids } from '../pure/ids.ts';
import { paths, shared } from '../pure/names.ts';
import { join, makeNetwork, membersOf, removeMembers, stopAll, type Foreign, type Member, composeContainers, volumePath } from './docker/project.ts';
import { exchange, exitCodeOf, kill, notStarted, reasonFor, type Command, type Streams } from './docker/exec.ts';
import { buildImage, imageOf, loadImages, pullImage, runOnce, type ContextFile, type ImageState } from './docker/images.ts';
import { dockerFacts } from './docker/facts.ts';
import { ensureNetwork, otherNetworks } from './docker/network.ts';

/** A container of ours, as far as sitegen looks at it. */
export interface ContainerState {
  id: string;
  name: string;
  domain: string;
  specHash: string;
  running: boolean;
  /** Docker's word: created, running, exited, dead … */
  status: string;
}

/** How a container ended. */
export interface ContainerEnd {
  running: boolean;
  /** Of its first process, on the host; 0 when it does not run. */
  pid: number;
  exitCode: number;
  /** ISO 8601; undefined while it runs, and before it ever did. */
  finishedAt: string | undefined;
  outOfMemory: boolean;
  error: string;
}

/** A container has the name of one of ours, and is not ours. */
export class StrangerError extends SitegenError {}

/**
 * Docker's engine. Every method throws `SitegenError`. Containers are changed only when they
 * carry our label, so a stranger's container of the same name is refused, never touched.
 */
export interface Docker {
  /** Our containers, running or not; of a Compose project the one that visitors reach. */
  list(): Promise<ContainerState[]>;
  /** One of our containers by name; undefined when there is none. Throws when it is a stranger's. */
  find(name: string, domain: string): Promise<ContainerState | undefined>;
  /** How the container ended, or that it runs. */
  end(name: string): Promise<ContainerEnd>;
  /** Creates a container and gives its id. */
  create(name: string, spec: ContainerSpec | ServiceSpec): Promise<string>;
  /** The other containers of the Compose project that a container of ours is the entrypoint of. */
  members(name: string): Promise<Member[]>;
  /** Makes a network for such a project, unless it is there. */
  makeNetwork(name: string, network: { name: string; internal: boolean; bridge: string }): Promise<void>;
  /** Containers of a project that Docker Compose runs. */
  composeContainers(project: string): Promise<Foreign[]>;
  /** Has a container that is stopped stay so when Docker starts. */
  keepStopped(id: string): Promise<void>;
  /** Where the files of a named volume are; undefined when there is none. */
  volumePath(name: string): Promise<string | undefined>;
  /** Has a container join a network, under some names. */
  join(id: string, network: string, aliases: readonly string[]): Promise<void>;
  start(id: string): Promise<void>;
  /** Ends a container, and its project, as its image wants it, and kills it after its own `StopTimeout`; one that does not run is no error. */
  stop(name: string): Promise<void>;
  /**
   * Runs a program in a running container, be it one that is not ours; any exit code is a result.
   * When this throws, the program has been killed, with all that is still in its process group.
   * @returns its exit code, and the last 4 kB that it wrote to standard error
   * @throws also when there is no such program, when the container ends meanwhile, and what the receivers throw
   */
  exec(container: string, command: Command, streams?: Streams): Promise<{ exitCode: number; stderrTail: string }>;
  /** Removes a container of ours, and its project, running or not; one that is missing counts as removed. */
  remove(name: string, domain: string): Promise<void>;
  hasImage(reference: string): Promise<boolean>;
  /** Undefined when there is none of this name. */
  imageState(reference: string): Promise<ImageState | undefined>;
  removeImage(reference: string): Promise<void>;
  /** Fetches an image from its registry; `report` gets a line now and then. */
  pull(reference: string, report: (line: string) => void): Promise<void>;
  /** Builds an image from files, with the classic builder, so that `FROM scratch` needs no registry. `base` is its ARG BASE; `fresh` takes nothing from the cache. */
  build(reference: string, files: readonly ContextFile[], options?: { base?: string | undefined; fresh?: boolean }): Promise<void>;
  /** Takes in the images of a file that "docker save" has written. */
  load(file: string): Promise<void>;
  /** All images that have a name. */
  images(): Promise<ImageState[]>;
  /** Digest that a registry has for a name now, without fetching the image. */
  newestDigest(reference: string): Promise<string>;
  /** Runs a program in a new container of an image, which is removed again, without any of a site's data. */
  runOnce(reference: string, argv: readonly string[], limitMs: number): Promise<{ exitCode: number; output: string }>;
  /** Makes the network of all sites when it is missing. Throws when one with other ranges is there. */
  ensureNetwork(range: { subnet: string; gateway: string; dynamic: string }): Promise<boolean>;
  /** Names and IPv4 ranges of all other networks. */
  otherNetworks(): Promise<{ name: string; subnet: string }[]>;
  /** Whom root of its containers is on this machine. */
  containerRoot(): Promise<Ids>;
  /** What the engine says of itself, for doctor. */
  facts(): ReturnType<typeof dockerFacts>;
}

/** A client for the local engine; nothing is sent yet. */
export function connectDocker(): Docker {
  const api = new Dockerode({ socketPath: paths.dockerSocket });

  const attempt = async <T>(what: string, action: () => Promise<T>): Promise<T> => {
    try {
      return await action();
    } catch (error) {
      throw dockerError(what, error);
    }
  };

  const find = async (name: string, domain: string): Promise<ContainerState | undefined> => {
    try {
      const info = await api.getContainer(name).inspect();
      if (info.Config.Labels[shared.labels.domain] !== domain) {
        throw new StrangerError(`${domain}: a container called ${name} exists and is not sitegen's`, {
          hint: `rename it: docker rename ${name} OTHER`,
        });
      }
      return {
        id: info.Id,
        name,
        domain,
        specHash: info.Config.Labels[shared.labels.spec] ?? '',
        running: info.State.Running,
        status: info.State.Status,
      };
    } catch (error) {
      if (statusOf(error) === 404) return undefined;
      throw dockerError(`look at container ${name}`, error);
    }
  };

  const imageState = (reference: string) => attempt(`look at image ${reference}`, async () => {
    try {
      const { Created, ...image } = await api.getImage(reference).inspect();
      return imageOf({ ...image, Created: Date.parse(Created) / 1000 });
    } catch (error) {
      if (statusOf(error) === 404) return undefined;
      throw error;
    }
  });

  return {
    find,
    list: () => attempt('list containers', async () => {
      const rows = await api.listContainers({ all: true, filters: { label: [shared.labels.domain] } });
      return rows.filter((row) => row.Labels[shared.labels.member] === undefined).map((row) => ({
        id: row.Id,
        name: (row.Names[0] ?? '').replace(/^\//, ''),
        domain: row.Labels[shared.labels.domain] ?? '',
        specHash: row.Labels[shared.labels.spec] ?? '',
        running: row.State === 'running',
        status: row.State,
      }));
    }),
    end: (name) => attempt(`look at container ${name}`, async () => {
      const { State } = await api.getContainer(name).inspect();
      return { running: State.Running, pid: State.Pid, exitCode: State.ExitCode, finishedAt: State.Running || State.FinishedAt.startsWith('0001') ? undefined : State.FinishedAt, outOfMemory: State.OOMKilled, error: State.Error };
    }),
    create: (name, spec) => attempt(`create container ${name}`, async () => {
      const created = await api.createContainer({ ...(spec as unknown as Dockerode.ContainerCreateOptions), name });
      return created.id;
    }),
    start: (name) => attempt(`start container ${name}`, async () => {
      try {
        await api.getContainer(name).start();
      } catch (error) {
        if (statusOf(error) !== 304) throw error;
      }
    }),
    stop: (name) => attempt(`stop container ${name}`, () => stopAll(api, name)),
    members: (name) => attempt(`list the containers of ${name}`, () => membersOf(api, name)),
    makeNetwork: (name, network) => attempt(`make the network ${network.name}`, () => makeNetwork(api, name, network)),
    composeContainers: (project) => attempt(`list the containers of ${project}`, () => composeContainers(api, project)),
    keepStopped: (id) => attempt(`set the restart policy of ${id}`, async () => { await api.getContainer(id).update({ RestartPolicy: { Name: 'no' } }); }),
    volumePath: (name) => attempt(`look at the volume ${name}`, () => volumePath(api, name)),
    join: (id, network, aliases) => attempt(`join the network ${network}`, () => join(api, id, network, aliases)),
    exec: (container, command, streams = {}) => attempt(`run ${command.argv[0] ?? ''} in ${container}`, async () => {
      const { stdin, signal } = streams;
      const abort = signal && { abortSignal: signal };
      const exec = await api.getContainer(container).exec({
        Cmd: [...command.argv], Env: Object.entries(command.env ?? {}).map(([name, value]) => `${name}=${value}`), ...(command.user !== undefined && { User: command.user }),
        AttachStdin: stdin !== undefined, AttachStdout: true, AttachStderr: true, ...abort,
      }).catch((error: unknown) => { throw reasonFor(error, signal); });
      try {
        const { stderrTail, head } = await exchange(await exec.start({ hijack: true, stdin: stdin !== undefined, ...abort }), streams);
        const exitCode = await exitCodeOf(exec);
        const { State } = await api.getContainer(container).inspect();
        if (exitCode === undefined || !State.Running) throw new SitegenError(`the container ${container} ended while ${command.argv[0] ?? ''} ran in it`, { hint: `look at: docker logs ${container}` });
        const why = notStarted(exitCode, head);
        if (why !== undefined) throw new SitegenError(`${command.argv[0] ?? ''} cannot be run in ${container}: ${why}`, { hint: why.includes('paused') ? 'it is frozen: sitegen start thaws it' : 'is the program in the image, and executable?' });
        return { exitCode, stderrTail };
      } catch (error) {
        await kill(exec);
        throw reasonFor(error, signal);
      }
    }),
    async remove(name, domain) {
      const found = await find(name, domain);
      if (found) {
        await attempt(`remove container ${name}`, async () => {
          try {
            await api.getContainer(found.id).remove({ force: true, v: true });
          } catch (error) {
            if (statusOf(error) !== 404) throw error;
          }
        });
      }
      await attempt(`remove what belongs to container ${name}`, () => removeMembers(api, name));
    },
    imageState,
    hasImage: async (reference) => await imageState(reference) !== undefined,
    removeImage: (reference) => attempt(`remove image ${reference}`, async () => {
      await api.getImage(reference).remove();
    }),
    pull: (reference, report) => attempt(`pull image ${reference}`, () => pullImage(api, reference, report)),
    build: (reference, files, options) => attempt(`build image ${reference}`, () => buildImage(api, reference, files, options)),
    load: (file) => attempt(`load images from ${file}`, () => loadImages(api, file)),
    images: () => attempt('list images', async () => (await api.listImages()).map((image) => imageOf(image))),
    newestDigest: (reference) => attempt(`look for a newer image ${reference}`, async () => {
      const { Descriptor } = await api.getImage(reference).distribution() as { Descriptor: { digest: string } };
      return Descriptor.digest;
    }),
    runOnce: (reference, argv, limitMs) => attempt(`run ${argv[0] ?? ''} in image ${reference}`, () => runOnce(api, reference, argv, limitMs)),
    ensureNetwork: (range) => attempt(`make the network ${shared.network}`, () => ensureNetwork(api, range)),
    otherNetworks: () => attempt('list networks', () => otherNetworks(api)),
    containerRoot: () => attempt('tell how it maps users', async () => rootIn(await api.info() as Parameters<typeof rootIn>[0])),
    facts: () => attempt('tell what it is', () => dockerFacts(api)),
  };
}
