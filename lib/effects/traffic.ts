import { execFile } from 'node:child_process';
import http from 'node:http';
import { promisify } from 'node:util';
import { SitegenError } from '../pure/errors.ts';
import { router, shared } from '../pure/names.ts';

const execute = promisify(execFile);

/** Longer than a busy router takes, and shorter than a scraper waits. */
const patienceMs = 4000;

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
  const args = [`MESSAGE_ID=${shared.transitionId}`, 'SITEGEN_TO=awake', '_UID=0', '--since', micros(from, 1), '--until', micros(to),
    '--output', 'json', '--output-fields', 'OBJECT_SYSTEMD_UNIT', '--no-pager', '--quiet'];
  const { stdout } = await execute('journalctl', args, { maxBuffer: 256 * 1024 * 1024 }).catch((error: unknown) => {
    throw new SitegenError('the journal cannot be read for wakes', { cause: error, hint: `look at: journalctl MESSAGE_ID=${shared.transitionId}` });
  });
  return stdout.split('\n').filter((line) => line !== '').flatMap((line) => {
    const { OBJECT_SYSTEMD_UNIT: unit } = JSON.parse(line) as { OBJECT_SYSTEMD_UNIT?: unknown };
    return typeof unit === 'string' ? [unit] : [];
  });
}
