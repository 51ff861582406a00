import { spawn } from 'node:child_process';
import type { ExecutionContext } from 'ava';

/** Holds a lock as another process does, until the function that it gives is called, or the test ends. */
export async function holdLock(t: ExecutionContext, file: string): Promise<() => Promise<void>> {
  const holder = spawn('flock', [file, 'sh', '-c', 'echo; exec cat'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => { holder.once('close', resolve); });
  await new Promise((resolve) => { holder.stdout.once('data', resolve); });
  const end = async () => {
    holder.stdin.end();
    await ended;
  };
  t.teardown(end);
  return end;
}
