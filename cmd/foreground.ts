import { spawn } from 'node:child_process';

/**
 * Runs a program on this terminal until it ends; Ctrl-C goes to it alone.
 * @returns its exit code, or 128 and the number of the signal that ended it
 */
export function runInForeground(program: string, args: readonly string[]): Promise<number> {
  const ignore = () => undefined;
  process.on('SIGINT', ignore);
  return new Promise<number>((resolve, reject) => {
    const child = spawn(program, args, { stdio: 'inherit' });
    child.once('error', reject);
    child.once('close', (code, signal) => { resolve(code ?? (signal === 'SIGINT' ? 130 : 143)); });
  }).finally(() => process.off('SIGINT', ignore));
}
