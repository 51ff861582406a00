import { SitegenError } from './errors.ts';
import { paths } from './names.ts';

/** HTTP status of an error of Docker's. */
export function statusOf(error: unknown): number | undefined {
  return (error as { statusCode?: number } | undefined)?.statusCode;
}

/** An error of Docker's engine in words. @param what to follow "cannot" */
export function dockerError(what: string, error: unknown): SitegenError {
  if (error instanceof SitegenError) return error;
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  if (code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'EACCES') {
    return new SitegenError(`cannot ${what}: Docker does not answer at ${paths.dockerSocket}`, {
      hint: code === 'EACCES' ? 'run it as root' : 'look at: systemctl status docker', cause: error,
    });
  }
  const { json, message } = error as { json?: { message?: string }; message?: string };
  const text = (json?.message ?? message ?? String(error)).trim();
  return new SitegenError(`Docker would not ${what}: ${text}`, {
    cause: error,
    hint: text.includes('no space left') ? 'make room: df -h; docker system df' : undefined,
  });
}

/** How a container ended, in words. */
export function describeEnd(end: { exitCode: number; outOfMemory: boolean; error: string }): string {
  if (end.outOfMemory) return `exit code ${end.exitCode}, killed for using more memory than its limit`;
  return `exit code ${end.exitCode}${end.error === '' ? '' : ` (${end.error})`}`;
}

/** A piece of what a program in a container wrote. */
export interface Frame {
  stream: 'stdout' | 'stderr';
  data: Buffer;
}

/**
 * Takes Docker's multiplexed stream apart, piece by piece as it comes: 8 bytes (which stream,
 * three zeros, big-endian length), then the data
 * (https://docs.docker.com/reference/api/engine/version/v1.47/#tag/Container/operation/ContainerAttach).
 * @returns takes a chunk and gives what is in it; `rest` is what a frame still lacks
 */
export function demultiplexer(): { write: (chunk: Buffer) => Frame[]; rest: () => number } {
  let header = Buffer.alloc(0);
  let left = 0;
  let stream: Frame['stream'] = 'stdout';
  const write = (chunk: Buffer): Frame[] => {
    const frames: Frame[] = [];
    for (let at = 0; at < chunk.length;) {
      if (left === 0) {
        const taken = chunk.subarray(at, at + 8 - header.length);
        header = Buffer.concat([header, taken]);
        at += taken.length;
        if (header.length < 8) break;
        const [kind, ...zeros] = header.subarray(0, 4);
        if (kind === undefined || kind > 2 || zeros.some((byte) => byte !== 0)) throw new SitegenError('Docker\'s stream of a program\'s output cannot be read', { hint: 'look at: journalctl -u docker' });
        stream = kind === 2 ? 'stderr' : 'stdout';
        left = header.readUInt32BE(4);
        header = Buffer.alloc(0);
      } else {
        const data = chunk.subarray(at, at + left);
        frames.push({ stream, data });
        at += data.length;
        left -= data.length;
      }
    }
    return frames;
  };
  return { write, rest: () => left + header.length };
}
