import { execFile } from 'node:child_process';
import http from 'node:http';
import net from 'node:net';
import { promisify } from 'node:util';
import { SitegenError } from '../pure/errors.ts';
import { router, trafficTable } from '../pure/names.ts';

const execute = promisify(execFile);

/** Longer than a busy router takes, and shorter than a scraper waits. */
const patienceMs = 4000;

/** What the router has counted, as it prints it; undefined when it cannot be asked. */
export async function askCounters(): Promise<string | undefined> {
  // Root has the first alone; programs that only look have the second.
  return await ask(router.statsSocket) ?? ask(router.adminSocket);
}

function ask(path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = net.connect(path);
    let answer = '';
    socket.setEncoding('utf8').setTimeout(patienceMs);
    socket.on('data', (chunk: string) => { answer += chunk; });
    socket.once('timeout', () => socket.destroy());
    socket.once('error', () => { resolve(undefined); });
    socket.once('end', () => { resolve(answer); });
    socket.once('close', () => { resolve(undefined); });
    socket.write(`show info;show table ${trafficTable}\n`);
  });
}

/** The router's own metrics in Prometheus' format; undefined when it does not give them. */
export function routerMetrics(): Promise<string | undefined> {
  return new Promise((resolve) => {
    const request = http.get({ socketPath: router.exporterSocket, path: '/metrics', headers: { host: 'localhost' }, timeout: patienceMs }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => { text += chunk; });
      response.once('end', () => { resolve(response.statusCode === 200 ? text : undefined); });
      response.once('error', () => { resolve(undefined); });
    });
    request.once('timeout', () => request.destroy(new Error('no answer')));
    request.once('error', () => { resolve(undefined); });
  });
}

/**
 * Units that were woken in a span of time, once for each wake, as the journal has them. An index
 * leads to the shims' few lines, however long the journal is.
 * @param from, to milliseconds since 1970; `from` itself does not belong to it, `to` does
 */
export async function wokenUnits(from: number, to: number): Promise<string[]> {
  if (from >= to) return [];
  const micros = (ms: number, more = 0) => `@${Math.floor(ms / 1000)}.${String((ms % 1000) * 1000 + more).padStart(6, '0')}`;
  const args = ['SYSLOG_IDENTIFIER=wake', '_TRANSPORT=stdout', '--since', micros(from, 1), '--until', micros(to),
    '--output', 'json', '--output-fields', '_SYSTEMD_UNIT,MESSAGE', '--no-pager', '--quiet'];
  const { stdout } = await execute('journalctl', args, { maxBuffer: 256 * 1024 * 1024 }).catch((error: unknown) => {
    throw new SitegenError('the journal cannot be read for wakes', { cause: error, hint: 'look at: journalctl SYSLOG_IDENTIFIER=wake' });
  });
  return stdout.split('\n').filter((line) => line.includes('awake: woken by')).flatMap((line) => {
    const { _SYSTEMD_UNIT: unit, MESSAGE: message } = JSON.parse(line) as { _SYSTEMD_UNIT?: string; MESSAGE?: unknown };
    return unit !== undefined && typeof message === 'string' && message.startsWith('awake: woken by') ? [unit] : [];
  });
}
