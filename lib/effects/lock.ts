import { spawn } from 'node:child_process';
import fs from 'node:fs/promises';
import path from 'node:path';
import { SitegenError } from '../pure/errors.ts';

/**
 * Runs an action while holding an flock(2). Node has no flock, so a child holds it: `flock`
 * runs `cat` once it has the lock, and both end when our end of the pipe closes, be it by a kill.
 * @param options waiting: called when somebody else has the lock and we wait; timeoutS: how long
 *   to wait at most; signal: ends the wait; mark: what stands in the file meanwhile, for those who
 *   look without locking
 */
export async function withLock<T>(file: string, options: { waiting?: () => void; timeoutS?: number; signal?: AbortSignal; mark?: string }, action: () => Promise<T>): Promise<T> {
  const { waiting = () => undefined, timeoutS, signal, mark = '' } = options;
  signal?.throwIfAborted();
  await fs.mkdir(path.dirname(file), { recursive: true }).catch((error: unknown) => {
    throw new SitegenError(`cannot make ${path.dirname(file)}: run it as root`, { cause: error });
  });
  const holder = spawn('flock', ['--exclusive', ...(timeoutS === undefined ? [] : ['--wait', String(timeoutS)]), file, 'cat'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise<void>((resolve) => {
    holder.once('close', () => { resolve(); });
    holder.once('error', () => { resolve(); });
  });
  const timer = setTimeout(waiting, 300);
  const abort = () => { holder.kill(); };
  signal?.addEventListener('abort', abort);
  try {
    await new Promise<void>((resolve, reject) => {
      holder.once('error', (error) => { reject(new SitegenError(`cannot lock ${file}: ${error.message}`, { cause: error })); });
      holder.once('exit', (code) => { reject(signal?.aborted === true ? signal.reason as Error : new SitegenError(timeoutS !== undefined && code === 1 ? `somebody else has held ${file} for ${timeoutS} s` : `cannot lock ${file}: flock ended with ${code ?? 'a signal'}; run it as root`)); });
      holder.stdout.once('data', () => { resolve(); });
      holder.stdin.on('error', () => undefined);
      holder.stdin.write('\n');
    });
    clearTimeout(timer);
    signal?.removeEventListener('abort', abort);
    // Not atomically, as the lock is on this very file. What a killed holder left is taken out too.
    await fs.writeFile(file, mark);
    try {
      return await action();
    } finally {
      await fs.truncate(file);
    }
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', abort);
    holder.stdin.end();
    await ended;
  }
}
