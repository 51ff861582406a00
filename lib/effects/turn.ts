import { spawn } from 'node:child_process';
import fs from 'node:fs/promises';
import { SitegenError } from '../pure/errors.ts';
import { paths } from '../pure/paths.ts';

/**
 * Lines up as the wakes of visitors do (wake.sh), and behind them: a turn is taken only in a moment
 * in which no visitor's wake waits, and only one of ours asks at a time.
 * Its standard input is what it naps on, so it ends when we do; it is a socket, by which bash would
 * believe to be run from another machine and read its settings.
 */
const script = `
mkdir -p "$1"
slots=2
read -r slots 2>/dev/null <"$2"
exec {jobs}>>"$1/jobs" || exit
flock "$jobs"
while :; do
  exec {queue}>>"$1/queue"
  if flock --nonblock "$queue"; then
    for ((slot = 0; slot < slots; slot++)); do
      exec {turn}>>"$1/$slot"
      if flock --nonblock "$turn"; then
        exec {queue}>&- {jobs}>&-
        echo
        exec cat >/dev/null
      fi
      exec {turn}>&-
    done
  fi
  exec {queue}>&-
  read -r -t 0.2
  (($? > 128)) || exit
done`;

/**
 * Takes part in how many sites may start at once, behind visitors.
 * @param signal ends the wait; what it throws is the reason
 * @returns an action that gives the turn back
 */
export async function takeTurn(signal: AbortSignal): Promise<() => Promise<void>> {
  await fs.mkdir(paths.startsDir, { recursive: true });
  const holder = spawn('bash', ['--norc', '-c', script, 'turn', paths.startsDir, paths.startsFile], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise<void>((resolve) => {
    holder.once('close', () => { resolve(); });
    holder.once('error', () => { resolve(); });
  });
  const giveBack = async () => {
    holder.stdin.end();
    await ended;
  };
  const abort = () => { holder.kill(); };
  signal.addEventListener('abort', abort);
  try {
    signal.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      holder.stdin.on('error', () => undefined);
      holder.stdout.once('data', () => { resolve(); });
      void ended.then(() => { reject(signal.aborted ? signal.reason as Error : new SitegenError(`cannot line up in ${paths.startsDir}; run it as root`)); });
    });
    return giveBack;
  } catch (error) {
    holder.kill();
    await ended;
    throw error;
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
