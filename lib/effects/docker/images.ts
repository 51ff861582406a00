import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import type Dockerode from 'dockerode';
import tar from 'tar-stream';
import { pinnedNames } from '../../pure/image-names.ts';

/** A file for a build context: its content, or the host's file to take. */
export type ContextFile = { name: string } & ({ content: Buffer; mode: number } | { hostFile: string; size: number; mode: number });

/** An image as Docker has it. */
export interface ImageState {
  id: string;
  /** Names with tags, and with digests. */
  names: readonly string[];
  bytes: number;
  createdMs: number;
}

interface Listed {
  Id: string;
  RepoTags?: string[] | null | undefined;
  RepoDigests?: string[] | null | undefined;
  Size: number;
  Created: number;
}

/** An image of Docker's list in our words. */
export function imageOf({ Id, RepoTags, RepoDigests, Size, Created }: Listed): ImageState {
  return { id: Id, names: pinnedNames([...RepoTags ?? [], ...RepoDigests ?? []]), bytes: Size, createdMs: Created * 1000 };
}

/** What it takes to run a container once. */
interface Runs {
  createContainer(options: object): Promise<{
    start(): Promise<unknown>;
    wait(options: { abortSignal: AbortSignal }): Promise<unknown>;
    logs(options: { stdout: true; stderr: true }): Promise<Buffer>;
    remove(options: { force: true; v: true }): Promise<unknown>;
  }>;
}

/** Runs a program as root in a new container of an image, and removes that again. */
export async function runOnce(api: Runs, reference: string, argv: readonly string[], limitMs: number): Promise<{ exitCode: number; output: string }> {
  const container = await api.createContainer({
    Image: reference, Entrypoint: argv.slice(0, 1), Cmd: argv.slice(1), User: '0', Tty: true, HostConfig: { Memory: 512 * 1024 ** 2, PidsLimit: 256 },
  });
  try {
    await container.start();
    const { StatusCode } = await container.wait({ abortSignal: AbortSignal.timeout(limitMs) }) as { StatusCode: number };
    return { exitCode: StatusCode, output: (await container.logs({ stdout: true, stderr: true })).toString('utf8') };
  } finally {
    await container.remove({ force: true, v: true });
  }
}

/** Fetches an image from its registry; `report` gets a line now and then. */
export async function pullImage(api: Dockerode, reference: string, report: (line: string) => void): Promise<void> {
  const tagged = /[:@][^/]*$/.test(reference) ? reference : `${reference}:latest`;
  await follow(api, await api.pull(tagged), report);
}

/** Builds an image from files; see `Docker.build`. */
export async function buildImage(api: Dockerode, reference: string, files: readonly ContextFile[], { base, fresh = false }: { base?: string | undefined; fresh?: boolean } = {}): Promise<void> {
  const context = await pack(files);
  // What is only on this machine has no registry to be pulled from.
  const local = base === undefined ? [] : (await api.listImages({ filters: { reference: [base] } })).flatMap(({ RepoDigests }) => RepoDigests ?? []);
  const options = { t: reference, forcerm: true, version: '1' as const, nocache: fresh, ...(fresh && local.length > 0 && { pull: true }), ...(base !== undefined && { buildargs: { BASE: base } }) };
  await follow(api, await api.buildImage(context, options), () => undefined);
}

/** Takes in the images of a file that "docker save" has written. */
export async function loadImages(api: Dockerode, file: string): Promise<void> {
  await follow(api, await api.loadImage(createReadStream(file)), () => undefined);
}

async function follow(api: Dockerode, stream: NodeJS.ReadableStream, report: (line: string) => void): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    api.modem.followProgress(stream, (error: Error | null) => {
      if (error) reject(error);
      else resolve();
    }, (event: { status?: string; id?: string }) => {
      if (event.status && !event.id) report(event.status);
    });
  });
}

async function pack(files: readonly ContextFile[]): Promise<NodeJS.ReadableStream> {
  const archive = tar.pack();
  const fill = async () => {
    for (const file of files) {
      // A fixed time keeps Docker's build cache valid.
      const header = { name: file.name, mode: file.mode, mtime: new Date(0) };
      if ('content' in file) {
        archive.entry(header, file.content);
      } else {
        const entry = archive.entry({ ...header, size: file.size });
        await pipeline(createReadStream(file.hostFile), entry);
      }
    }
    archive.finalize();
  };
  fill().catch((error: unknown) => archive.destroy(error as Error));
  return Promise.resolve(archive as unknown as NodeJS.ReadableStream);
}
