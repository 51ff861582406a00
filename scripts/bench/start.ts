import path from 'node:path';
import { execa } from 'execa';
import { figures, ratio } from './figures.ts';

const rounds = Number(process.env['ROUNDS'] ?? 20);
const root = path.resolve(import.meta.dirname, '../..');
const sitegen = path.join(root, 'dist/sitegen.mjs');

/** Commands that ask nobody, as they are typed most, beside Node with nothing to do. */
const commands = { '--help': ['--help'], '--version': ['--version'], 'apps': ['apps'] };

/** How long commands take on this machine, from the bundle that servers run. */
export async function benchStart(): Promise<void> {
  await execa('npm', ['run', '--silent', 'build'], { cwd: root, stdio: 'inherit' });
  const took: Record<string, number[]> = { node: [] };
  for (let round = 0; round < rounds; round += 1) {
    (took['node'] ??= []).push(await time(['-e', '0']));
    for (const [name, args] of Object.entries(commands)) (took[name] ??= []).push(await time([sitegen, ...args]));
  }
  console.log(`start of commands, ${rounds} rounds in turns, Node ${process.version}:`);
  for (const [name, values] of Object.entries(took)) figures(name === 'node' ? 'node -e 0' : `sitegen ${name}`, values, 'ms');
  for (const name of Object.keys(commands)) ratio(`sitegen ${name} ÷ node`, took[name] ?? [], took['node'] ?? []);
}

/** @returns milliseconds from start to end; throws when it fails */
async function time(args: readonly string[]): Promise<number> {
  return (await execa('node', args)).durationMs;
}
