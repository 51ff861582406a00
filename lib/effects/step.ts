import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** For tests, which have a visitor come at each single step of going to sleep: runs the program that SITEGEN_AT_STEP names. */
export async function step(name: string): Promise<void> {
  const program = process.env['SITEGEN_AT_STEP'];
  if (program !== undefined) await promisify(execFile)(program, [name]);
}
