import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { silentEnds } from '../pure/silent.ts';

const execute = promisify(execFile);

/** What is still open on the container's side: a connection that its client has ended may wait for its program. */
const open = ['state', 'established', 'state', 'close-wait'];

/**
 * Ends connections to some ports of a container from whose clients nothing has come for `limitMs`.
 * Both sides hear of it, if they are there. What the splice has connected is among them.
 * @param pid of a process in the container, as its own kernel is asked
 * @returns how many there were
 */
export async function endSilent(pid: string, container: string, ports: readonly number[], limitMs: number): Promise<number> {
  // By address too: should the process have gone meanwhile, nobody else's connections are meant.
  const ours = ports.map((port) => `src ${container}:${port}`).join(' or ');
  const silent = silentEnds(await inContainer(pid, ['-HtniO', ...open, `( ${ours} )`]), limitMs);
  if (silent.length > 0) await inContainer(pid, ['-HtnK', ...open, silent.map(({ local, peer }) => `( src ${local} and dst ${peer} )`).join(' or ')]);
  return silent.length;
}

async function inContainer(pid: string, args: readonly string[]): Promise<string> {
  const { stdout } = await execute('nsenter', [`--net=/proc/${pid}/ns/net`, 'ss', ...args], { maxBuffer: 64 * 1024 * 1024, env: { ...process.env, LC_ALL: 'C' } });
  return stdout;
}
