import { mkdirSync } from 'node:fs';

const name = 'd'.repeat(200);

/** Makes a tree in a directory whose paths are longer than a path may be, as a program can. @returns the name at its top, and how many directories it has */
export function makeDeep(root: string): { top: string; count: number } {
  const count = 30;
  const start = process.cwd();
  process.chdir(root);
  try {
    for (let depth = 0; depth < count; depth++) {
      mkdirSync(name);
      process.chdir(name);
    }
  } finally {
    process.chdir(start);
  }
  return { top: `${root}/${name}`, count };
}
