import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { paths } from '../../pure/paths.ts';
import { namesIn, textOf } from './read.ts';

/**
 * Says that this process works in a site's container, until the function that it gives is called.
 * Should it be killed, the next look finds that: the file names the process, and has the time of its start.
 */
export function markUse(id: string, directory: string = paths.usesDir): () => void {
  const file = `${directory}/${id}:${process.pid}`;
  mkdirSync(directory, { recursive: true });
  writeFileSync(file, startOf(process.pid) ?? '');
  return () => { rmSync(file, { force: true }); };
}

/** In how many processes somebody works in the container of each site, by id. */
export function usesOf(directory: string = paths.usesDir): Map<string, number> {
  const uses = new Map<string, number>();
  for (const name of namesIn(directory)) {
    const [, id, pid] = /^(.+):(\d+)$/.exec(name) ?? [];
    if (id === undefined) continue;
    const started = startOf(Number(pid));
    if (started !== undefined && textOf(`${directory}/${name}`) === started) uses.set(id, (uses.get(id) ?? 0) + 1);
    else rmSync(`${directory}/${name}`, { force: true });
  }
  return uses;
}

/** When a process was started, as the kernel counts (field 22 of proc_pid_stat(5)); undefined when there is none. */
function startOf(pid: number): string | undefined {
  // Its name, in parentheses, may have blanks.
  return textOf(`/proc/${pid}/stat`)?.split(') ').at(-1)?.split(' ')[19];
}
