import type { Duplex, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { demultiplexer } from '../../pure/docker.ts';
import { SitegenError } from '../../pure/errors.ts';

/** A program to run in a container: the container's user and environment, unless given; `env` comes on top. */
export interface Command {
  argv: readonly string[];
  env?: Readonly<Record<string, string>>;
  user?: string | undefined;
}

/** Where a program's input comes from and its output goes; without a receiver it is thrown away. */
export interface Streams {
  stdin?: Readable;
  /** Called with each piece in turn; nothing more is read until its promise is done. */
  stdout?: (data: Buffer) => void | Promise<void>;
  stderr?: (data: Buffer) => void | Promise<void>;
  /** Ends the program by SIGKILL; what it throws is the reason of the abort. */
  signal?: AbortSignal;
}

/** What Docker knows of a program that it was asked to run in a container. */
interface Exec {
  inspect(): Promise<{ Running: boolean; ExitCode: number | null; Pid: number }>;
}

const tailBytes = 4096;
const headBytes = 1024;

/** Passes a program's input and output on until it ends. @returns the end of its standard error, and the beginning of its output */
export async function exchange(socket: Duplex, { stdin, stdout, stderr, signal }: Streams): Promise<{ stderrTail: string; head: string }> {
  const { write, rest } = demultiplexer();
  const end = () => { socket.destroy(); };
  signal?.addEventListener('abort', end);
  let tail = Buffer.alloc(0);
  let head = Buffer.alloc(0);
  const broken: Error[] = [];
  // A program that ends before it has read all is told by its exit code; a source that breaks, here.
  stdin?.once('error', (error) => broken.push(error));
  const feeding = stdin && pipeline(stdin, socket).catch(() => undefined);
  try {
    for await (const chunk of socket) {
      for (const { stream, data } of write(chunk as Buffer)) {
        if (stream === 'stdout' && head.length < headBytes) head = Buffer.concat([head, data.subarray(0, headBytes)]);
        if (stream === 'stderr') tail = Buffer.concat([tail, data]).subarray(-tailBytes);
        await (stream === 'stderr' ? stderr : stdout)?.(data);
      }
    }
    if (rest() > 0) throw new SitegenError('Docker\'s stream of a program\'s output ended in the middle', { hint: 'look at: journalctl -u docker' });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    for (const reason of broken) throw reason;
    if (stdin === undefined || (code !== 'EPIPE' && code !== 'ECONNRESET' && code !== 'ERR_STREAM_PREMATURE_CLOSE')) throw error;
  } finally {
    signal?.removeEventListener('abort', end);
    socket.destroy();
    await feeding;
  }
  return { stderrTail: tail.toString('utf8').trim(), head: head.toString('utf8') };
}

/**
 * Why a program could not be started at all. Docker (26.1) writes that into the program's own
 * output, with a carriage return as terminals want it.
 */
export function notStarted(exitCode: number, head: string): string | undefined {
  return (exitCode === 126 || exitCode === 127) && /^(OCI runtime exec failed|unable to find user).*\r\n$/.test(head) ? head.trim() : undefined;
}

/** The exit code, which Docker knows a moment after the output has ended; undefined when the program was never seen to end. */
export async function exitCodeOf(exec: Exec): Promise<number | undefined> {
  for (let tries = 0; tries < 200; tries += 1) {
    const { Running, ExitCode } = await exec.inspect();
    if (!Running) {
      // A kill may be that of the whole container, of which Docker knows a moment later.
      if (ExitCode === 137) await sleep(500);
      return ExitCode ?? undefined;
    }
    await sleep(25);
  }
  throw new SitegenError('a program in a container has closed its output and goes on');
}

/** Docker has no request for it, but says which process of this machine it is; that leads a group of its own. */
export async function kill(exec: Exec): Promise<void> {
  const { Running, Pid } = await exec.inspect().catch(() => ({ Running: false, Pid: 0 }));
  if (!Running || Pid <= 1) return;
  try {
    process.kill(-Pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}

/** What to throw after a failure: of an abort, its reason. */
export function reasonFor(error: unknown, signal: AbortSignal | undefined): Error {
  const thrown: unknown = signal?.aborted === true ? signal.reason : error;
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}
