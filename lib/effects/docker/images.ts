import { pinnedNames } from '../../pure/image-names.ts';

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
