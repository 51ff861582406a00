import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { execa } from 'execa';

/** The program that guests are driven with. */
export const lab = path.resolve(import.meta.dirname, '../../scripts/lab');

/** What a command in a guest gave back. */
export interface Result {
  code: number;
  stdout: string;
  stderr: string;
}

/** A running guest, with real systemd and real Docker. */
export interface Guest {
  name: string;
  /** Runs a command; never throws for its exit code. */
  run(command: readonly string[], options?: { input?: string; timeoutMs?: number }): Promise<Result>;
  /** Runs a bash script with -eu; throws with its output when it fails. Gives its standard output, trimmed. */
  sh(script: string, options?: { timeoutMs?: number }): Promise<string>;
  /** Runs sitegen; never throws for its exit code. */
  sitegen(...args: string[]): Promise<Result>;
  /** Adds a site and removes it, with its data, when the test is over. Gives its address. */
  site(domain: string, ...args: string[]): Promise<string>;
  /** Reboots the guest, and waits until it runs again. */
  reboot(): Promise<void>;
  /** One line per site as `status --json` gives it. */
  status(domain: string): Promise<SiteJson>;
  /** Status, body and seconds of a GET from within the guest. */
  get(address: string, options?: { path?: string; host?: string; timeoutS?: number }): Promise<{ status: number; body: string; seconds: number; headers: string }>;
}

/** As far as tests look at it. */
export interface SiteJson {
  domain: string;
  state: string;
  address: string;
  containerAddress: string;
  container: { name: string; id?: string; status?: string };
  units: Record<string, string>;
  memory: { current: number | null; max: number | null };
  since: string | null;
  reason?: string;
}

/** A guest by name, without a test around it. */
export function openGuest(name: string, domains: string[] = []): Guest {
  const guest: Guest = {
    name,
    async run(command, { input, timeoutMs = 120_000 } = {}) {
      const result = await execa(lab, ['exec', name, '--', ...command], {
        reject: false, timeout: timeoutMs, stripFinalNewline: false, ...(input === undefined ? { stdin: 'ignore' } : { input }),
      });
      return { code: result.exitCode ?? 255, stdout: result.stdout, stderr: result.stderr };
    },
    async sh(script, { timeoutMs = 120_000 } = {}) {
      const result = await guest.run(['bash', '-euo', 'pipefail', '-c', script], { timeoutMs });
      if (result.code !== 0) throw new Error(`exit code ${result.code} of: ${script}\n${`${result.stdout}\n${result.stderr}`.slice(-3000)}`);
      return result.stdout.trim();
    },
    sitegen: (...args) => guest.run(['sitegen', ...args]),
    async site(domain, ...args) {
      domains.push(domain);
      const added = await guest.sitegen('add', domain, ...args);
      if (added.code !== 0) throw new Error(`sitegen add ${domain}: ${added.stderr}`);
      // Far cheaper than to ask sitegen, as nearly every test does this.
      const held = await guest.sh(`{ systemctl show -P Listen 'site-${domain}.socket' || true; } 2>/dev/null | sed -n 's/:80 (Stream)$//p'`);
      return held === '' ? (await guest.status(domain)).address : held;
    },
    async reboot() {
      await guest.run(['systemctl', 'reboot']);
      await execa(lab, ['wait', name], { timeout: 180_000 });
    },
    async status(domain) {
      const { stdout, stderr } = await guest.sitegen('status', '--json', domain);
      const [site] = JSON.parse(stdout === '' ? '[]' : stdout) as SiteJson[];
      if (!site) throw new Error(`sitegen status ${domain}: ${stderr}`);
      return site;
    },
    async get(address, { path: url = '/', host, timeoutS = 30 } = {}) {
      const marker = randomBytes(6).toString('hex');
      const { stdout, code } = await guest.run(['curl', '--silent', '--max-time', String(timeoutS), '--include',
        '--write-out', `\n${marker} %{http_code} %{time_total}`, ...(host === undefined ? [] : ['--header', `Host: ${host}`]), `http://${address}${url}`],
      { timeoutMs: (timeoutS + 10) * 1000 });
      const [answer = '', figures = ''] = stdout.split(`\n${marker} `);
      const [headers = '', ...body] = answer.split('\r\n\r\n');
      const [status, seconds] = figures.split(' ').map(Number);
      return { status: code === 0 ? (status ?? 0) : 0, headers, body: body.join('\r\n\r\n'), seconds: seconds ?? 0 };
    },
  };
  return guest;
}

/** Machines that run tests can be several times slower than the one that a time was chosen on. */
const patience = 4;

/** Waits until a condition holds, asking again every `everyMs`. @throws Error after a few times `timeoutMs` */
export async function until(what: string, condition: () => Promise<boolean>, timeoutMs = 10_000, everyMs = 100): Promise<void> {
  const end = Date.now() + patience * timeoutMs;
  for (;;) {
    const began = Date.now();
    if (await condition()) return;
    if (Date.now() > end) throw new Error(`not within ${patience * timeoutMs} ms: ${what}`);
    // What is asked takes processors from what is waited for.
    await new Promise((resolve) => setTimeout(resolve, Math.max(everyMs, 2 * (Date.now() - began))));
  }
}

/** Notes how long parts of a test take. */
export function stopwatch(): { took: string[]; timed: <T>(what: string, body: () => Promise<T>) => Promise<T> } {
  const took: string[] = [];
  return {
    took,
    async timed(what, body) {
      const began = Date.now();
      const result = await body();
      took.push(`${what} ${((Date.now() - began) / 1000).toFixed(1)} s`);
      return result;
    },
  };
}
