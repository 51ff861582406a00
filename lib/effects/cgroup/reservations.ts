import { rmSync, writeFileSync } from 'node:fs';
import { paths } from '../../pure/paths.ts';
import { parseReservation, type Reservation } from '../../pure/room.ts';
import { namesIn, textOf } from './read.ts';

/** What sites that start have reserved of the memory that all may hold; wake.sh writes and reads the same files. */

const prefix = 'need.';

/**
 * Reserves memory for a site that a job of it starts, as long as this process lives.
 * @param id of the site; a visitor's wake of it has a file of its own
 * @returns gives it back; twice is no error
 */
export function reserve(id: string, { bytes, cgroup }: Pick<Reservation, 'bytes' | 'cgroup'>): () => void {
  const file = fileOf(id);
  writeFileSync(file, `${bytes} ${process.pid} ${cgroup}\n`);
  return () => { rmSync(file, { force: true }); };
}

/** What sites that start have reserved by now, but for a job of this one. Wakes that were killed have let go of theirs. */
export function reservations(id: string): Reservation[] {
  return namesIn(paths.startsDir).filter((name) => name.startsWith(prefix)).map((name) => `${paths.startsDir}/${name}`).flatMap((file) => {
    const found = file === fileOf(id) ? undefined : parseReservation(textOf(file) ?? '');
    return found && isAlive(found.pid) ? [found] : [];
  });
}

/** No id has a colon in it. */
const fileOf = (id: string) => `${paths.startsDir}/${prefix}job:${id}`;

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
