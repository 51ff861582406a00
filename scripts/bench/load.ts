import type { Guest } from '../../test/e2e/_lab.ts';

/** What a run of wrk or h2load told: both give the requests a second on one line, and failures on others. */
export interface Told {
  rate: number;
  done: number;
}

/** @param title of what was asked, for errors @throws Error when any request failed */
export function parseLoad(title: string, out: string): Told {
  const number = (pattern: RegExp) => Number(pattern.exec(out)?.[1] ?? Number.NaN);
  const [wrk, h2load] = [number(/Requests\/sec: +([\d.]+)/), number(/, ([\d.]+) req\/s/)];
  const done = number(/(\d+) requests in/) || number(/(\d+) succeeded/);
  const failed = /Non-2xx|Socket errors/.test(out) || !/ 0 failed, 0 errored|requests in/.test(out);
  if (failed || !(done > 0)) throw new Error(`${title}\n${out}`);
  return { rate: Number.isNaN(wrk) ? h2load : wrk, done };
}

/** Runs a load in the guest. @returns requests a second */
export async function loadOf(guest: Guest, command: string): Promise<number> {
  return parseLoad(command, await guest.sh(`ulimit -Sn $(ulimit -Hn); ${command} 2>&1`)).rate;
}
