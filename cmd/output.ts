import pico from 'picocolors';
import { SitegenError } from '../lib/pure/errors.ts';

/** Options that every command has. */
export interface GlobalOptions {
  quiet?: boolean | undefined;
  verbose?: boolean | undefined;
  color?: boolean | undefined;
}

let global: GlobalOptions = {};

/** Sets how much is said, and whether in colour, for the rest of the run. */
export function configureOutput(options: GlobalOptions): void {
  global = options;
}

/** Colours for standard output: none unless it is a terminal that wants them. */
export function colors() {
  return pico.createColors(global.color !== false && process.stdout.isTTY && pico.isColorSupported);
}

/** A result line, on standard output. */
export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** A result for programs. */
export function printJson(value: unknown): void {
  print(JSON.stringify(value, undefined, 2));
}

/** What goes on, on standard error; not with --quiet. */
export function report(line: string): void {
  if (global.quiet !== true) process.stderr.write(`${line}\n`);
}

/**
 * Shows how far along something is: a line that is written over on a terminal, and a line a stage
 * elsewhere.
 */
export function showProgress(what: string): (stage: string, percent: number) => void {
  let last = '';
  return (stage, percent) => {
    if (global.quiet === true) return;
    const line = process.stderr.isTTY ? `${what}: ${stage} ${Math.floor(percent)} %` : `${what}: ${stage}`;
    if (line === last) return;
    last = line;
    process.stderr.write(process.stderr.isTTY ? `\r${line.padEnd(60)}${percent >= 100 ? '\n' : ''}` : `${line}\n`);
  };
}

/** Columns without borders. The library is loaded only here: most commands print none, and start sooner. */
export async function printTable(head: readonly string[], rows: readonly (readonly string[])[]): Promise<void> {
  const { tableLines } = await import('./table.ts');
  for (const line of tableLines(head, rows, colors().bold)) print(line);
}

/**
 * Prints an error the way all commands do.
 * @returns the exit code
 */
export function printError(error: unknown): number {
  const { red } = pico.createColors(global.color !== false && process.stderr.isTTY && pico.isColorSupported);
  const known = error instanceof SitegenError;
  const message = error instanceof Error ? error.message : String(error);
  for (const line of message.split('\n')) process.stderr.write(`sitegen: ${red('error:')} ${line}\n`);
  if (known && error.hint !== undefined) process.stderr.write(`sitegen: hint: ${error.hint}\n`);
  if (!known) process.stderr.write('sitegen: hint: this looks like a fault of sitegen; -v shows where\n');
  if (global.verbose && error instanceof Error) process.stderr.write(`${error.stack ?? ''}\n${error.cause instanceof Error ? `caused by: ${error.cause.stack ?? ''}\n` : ''}`);
  return known ? error.exitCode : 1;
}

/** Prints what some sites could not do, a line each. @returns the exit code */
export function printFaults(faults: readonly { domain: string; reason: string }[]): number {
  for (const { domain, reason } of faults) {
    for (const line of reason.split('\n')) process.stderr.write(`sitegen: error: ${line.startsWith(domain) ? line : `${domain}: ${line}`}\n`);
  }
  return faults.length > 0 ? 1 : 0;
}
