import { spawn } from 'node:child_process';
import { SitegenError } from '../pure/errors.ts';

/** The connection failed or was cut: nobody knows what became of the command. */
export class ConnectionLost extends SitegenError {}

/**
 * Runs a command on another machine as whoever runs this: with their own keys, known hosts and
 * configuration of ssh, but nobody to ask. What it prints on standard error is shown as it comes.
 * @param host as ssh takes it
 * @returns its standard output
 * @throws ConnectionLost when ssh itself fails (exit code 255, says ssh(1)), or time is up; SitegenError when the command does
 */
export function runOver(host: string, command: readonly string[], timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const quoted = command.map((word) => (/^[A-Za-z0-9_./:=-]+$/.test(word) ? word : `'${word.replaceAll('\'', String.raw`'\''`)}'`)).join(' ');
    const child = spawn('ssh', ['-o', 'BatchMode=yes', '-o', 'ConnectTimeout=10', '-o', 'ServerAliveInterval=15', '--', host, quoted], { stdio: ['ignore', 'pipe', 'pipe'] });
    const timer = setTimeout(() => child.kill(), timeoutMs);
    let out = '';
    let said = '';
    child.stdout.on('data', (chunk: Buffer) => { out += chunk.toString('utf8'); });
    child.stderr.on('data', (chunk: Buffer) => {
      said = (said + chunk.toString('utf8')).slice(-4000);
      process.stderr.write(chunk);
    });
    child.once('error', (error) => {
      clearTimeout(timer);
      reject(new SitegenError(`cannot run ssh: ${error.message}`, { hint: 'apt-get install openssh-client', cause: error }));
    });
    child.once('close', (code) => {
      clearTimeout(timer);
      if (code === 0) resolve(out);
      else reject(new (code === null || code === 255 ? ConnectionLost : SitegenError)(`${host}: "${command.slice(0, 3).join(' ')}" failed: ${said.trim().split('\n').at(-1) ?? `exit code ${code ?? 'none'}`}`, { hint: `try it: ssh ${host} ${quoted}` }));
    });
  });
}
