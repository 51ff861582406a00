import { spawn } from 'node:child_process';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const execute = promisify(execFile);

/** An alarm as it goes out. */
export interface Alert {
  unit: string;
  host: string;
  /** ISO 8601. */
  time: string;
  reason: string;
  /** The last lines of the unit's journal. */
  journal: string[];
}

/**
 * Runs a program with the alarm's text on standard input. No shell is involved.
 * @throws Error when it fails or takes longer than `timeoutMs`
 */
export async function runCommand(argv: readonly string[], text: string, timeoutMs: number): Promise<void> {
  const [program = '', ...args] = argv;
  await new Promise<void>((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['pipe', 'ignore', 'inherit'], timeout: timeoutMs, killSignal: 'SIGKILL' });
    child.once('error', (error) => { reject(new Error(`${program}: ${error.message}`)); });
    child.once('close', (code, signal) => {
      if (code === 0) resolve();
      else reject(new Error(`${program} ended with ${signal ?? code}`));
    });
    child.stdin.on('error', () => undefined);
    child.stdin.end(text);
  });
}

/** Posts the alarm as JSON. @throws Error unless the answer is a 2xx within `timeoutMs` */
export async function postWebhook(url: string, alert: Alert, timeoutMs: number): Promise<void> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(alert),
    signal: AbortSignal.timeout(timeoutMs),
    redirect: 'error',
  }).catch((error: unknown) => {
    // fetch() itself only says that it failed.
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    throw new Error(`${new URL(url).host}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause: error });
  });
  if (!response.ok) throw new Error(`${new URL(url).host} answered ${response.status}`);
}

/** Hands the alarm to the local sendmail. @throws Error as `runCommand` */
export async function sendMail(to: string, alert: Alert, timeoutMs: number): Promise<void> {
  const head = [`To: ${to}`, `Subject: [${alert.host}] ${alert.unit} has failed`, 'MIME-Version: 1.0', 'Content-Type: text/plain; charset=utf-8'];
  await runCommand(['/usr/sbin/sendmail', '-i', '--', to], `${head.join('\n')}\n\n${alertText(alert)}`, timeoutMs);
}

/** An alarm as text. */
export function alertText(alert: Alert): string {
  return `${alert.unit} on ${alert.host} has failed: ${alert.reason}\n${alert.time}\n\n${alert.journal.join('\n')}\n`;
}

/** The last lines of a unit's journal. */
export async function lastLines(unit: string, count: number): Promise<string[]> {
  const { stdout } = await execute('journalctl', ['--unit', unit, '--lines', String(count), '--no-pager', '--output', 'short-iso', '--quiet']);
  return stdout.trimEnd().split('\n');
}
