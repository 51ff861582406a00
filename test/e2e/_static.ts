import { randomBytes } from 'node:crypto';
import type { Guest } from './_guest.ts';
import { write } from './_machine.ts';

/** Where the static server listens, and a directory of the admin's that it may serve. */
export const socket = '/run/sitegen/static.sock';
export const www = '/srv/www/static-test';

/** What a request may say beside its path. */
export interface Asking {
  /** What the router would say; empty leaves the header out. */
  root?: string;
  method?: string;
  headers?: readonly string[];
}

/** Asks the static server as the router does, the path just as it is written. Header names are in small letters. */
export async function ask(guest: Guest, path: string, { root = www, method = 'GET', headers = [] }: Asking = {}) {
  const { stdout, stderr, code } = await guest.run(['curl', '--silent', '--show-error', '--max-time', '20', '--path-as-is', '--include', '--unix-socket', socket,
    ...(method === 'HEAD' ? ['--head'] : ['--request', method]),
    ...[...(root === '' ? [] : [`X-Sitegen-Root: ${root}`]), ...headers].flatMap((header) => ['--header', header]), `http://static.test${path}`]);
  if (code !== 0) throw new Error(`${path}: ${stderr}`);
  const [head = '', ...body] = stdout.split('\r\n\r\n');
  const [status = '', ...lines] = head.split('\r\n');
  const parsed = Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]));
  return { status: Number(status.split(' ')[1]), headers: parsed as Partial<Record<string, string>>, body: body.join('\r\n\r\n') };
}

/** What came of many requests. */
export interface Load {
  requests: number;
  /** Requests that got no answer. */
  failed: string[];
  /** How often each answer came: its status, and the beginning of its text. */
  answers: Record<string, number>;
  /** Pairs of pages of which the second was older than the first. */
  backwards: number;
  slowestMs: number;
}

/**
 * Asks for pages, each over a connection of its own, from the guest itself, while something is done there.
 * With `pairs`, always for the first and then for the second path, whose texts begin with a number.
 * With `site`, visits that site through the router, over connections that are kept.
 */
export async function load(guest: Guest, paths: readonly string[], options: { root?: string; at?: number; pairs?: boolean; site?: string }, meanwhile: () => Promise<unknown>): Promise<Load> {
  const at = `/tmp/static-load-${randomBytes(4).toString('hex')}`;
  await write(guest, `${at}.mjs`, loadProgram);
  const running = guest.run(['node', `${at}.mjs`, JSON.stringify({ mark: at, socket, root: options.root ?? www, paths, at: options.at ?? 8, pairs: options.pairs === true, site: options.site })], { timeoutMs: 300_000 });
  await guest.sh(`for i in $(seq 200); do [ ! -e ${at}.begun ] || exit 0; sleep 0.05; done; echo it does not begin; exit 1`);
  try {
    await meanwhile();
  } finally {
    await guest.sh(`touch ${at}.stop`);
  }
  const { stdout, stderr } = await running;
  await guest.sh(`rm -f ${at}.*`);
  try {
    return JSON.parse(stdout) as Load;
  } catch {
    throw new Error(`the load ended badly: ${stdout}${stderr}`);
  }
}

const loadProgram = `
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
const { mark, socket, root, paths, at, pairs, site } = JSON.parse(process.argv[2]);
const agent = new https.Agent({ keepAlive: true });
const setting = site === undefined
  ? { socketPath: socket, agent: false, headers: { host: 'static.test', 'x-sitegen-root': root } }
  : { host: '127.0.0.1', port: 443, agent, servername: site, rejectUnauthorized: false, headers: { host: site } };
const result = { requests: 0, failed: [], answers: {}, backwards: 0, slowestMs: 0 };
const get = (path) => new Promise((resolve) => {
  const began = performance.now();
  result.requests += 1;
  const end = (text) => {
    result.slowestMs = Math.max(result.slowestMs, Math.round(performance.now() - began));
    resolve(text);
  };
  (site === undefined ? http : https).get({ ...setting, path, timeout: 30000 }, (response) => {
    let text = '';
    response.setEncoding('utf8').on('data', (part) => { text += part; });
    response.on('end', () => {
      const key = response.statusCode + ' ' + text.slice(0, 20).trim();
      result.answers[key] = (result.answers[key] ?? 0) + 1;
      end(text);
    });
    response.on('error', (error) => { result.failed.push('cut off: ' + error.message); end(); });
  }).on('timeout', function () { this.destroy(new Error('no answer in 30 s')); }).on('error', (error) => { result.failed.push(path + ': ' + error.message); end(); });
});
let stop = false;
const worker = async () => {
  while (!stop) {
    if (pairs) {
      const first = await get(paths[0]);
      const second = await get(paths[1]);
      if (!(parseInt(second) >= parseInt(first))) result.backwards += 1;
    } else for (const path of paths) await get(path);
  }
};
setInterval(() => { stop ||= fs.existsSync(mark + '.stop'); }, 20).unref();
const workers = Array.from({ length: at }, worker);
fs.writeFileSync(mark + '.begun', '');
await Promise.all(workers);
agent.destroy();
console.log(JSON.stringify(result));
`;
