import { createReadStream } from 'node:fs';
import { once } from 'node:events';
import type { Writable } from 'node:stream';

/** The lines of a file, one character a byte: dumps need not be UTF-8. */
export async function* linesOfFile(file: string): AsyncGenerator<string> {
  let rest = '';
  // Not node:readline, to which a carriage return in somebody's text ends a line.
  for await (const chunk of createReadStream(file, 'latin1')) {
    const lines = (rest + (chunk as string)).split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
  }
  if (rest !== '') yield rest;
}

/** Writes those lines that belong, no faster than they are taken. @returns how many */
export async function writeLines(lines: AsyncIterable<string>, belongs: (line: string) => boolean, out: Writable): Promise<number> {
  let count = 0;
  for await (const line of lines) {
    if (!belongs(line)) continue;
    count += 1;
    if (!out.write(`${line}\n`, 'latin1')) await once(out, 'drain');
  }
  return count;
}
