import { askSocket, holdConnection } from '../lib/effects/hold.ts';
import { IdleClock, inheritedSockets, serveHttp, serveRaw, type Answer, type Question } from '../lib/effects/sockets.ts';
import type { Systemd } from '../lib/effects/systemd.ts';
import { reasonOf } from '../lib/pure/errors.ts';
import { parseDomain, paths, router } from '../lib/pure/names.ts';
import { makeDecision, makeReport } from '../lib/usecases/hold.ts';

/**
 * Answers the router's questions, over sockets that systemd listens on: the state of a site, what
 * becomes of a connection for an unknown name, and metrics. It ends when nobody asks.
 */
const idleMs = 30_000;
/** The router lets fewer through; beyond this many at once somebody else is at it. */
const holdsMax = 256;
/** Less than the router waits for a state. */
const patienceMs = 4000;

const report = (error: unknown) => { console.error(error instanceof Error ? (error.stack ?? error.message) : error); };
const names = makeReport((line) => { console.log(line); }, () => Date.now());
const clock = new IdleClock(idleMs, () => {
  names.flush();
  process.exit(0);
});

let connection: Promise<Systemd> | undefined;

/** Runs a question to systemd over one connection, which is made anew after a failure. */
async function ask<T>(question: (systemd: Systemd) => Promise<T>): Promise<T> {
  const asked = connection ??= import('../lib/effects/systemd.ts').then(({ connectSystemd }) => connectSystemd());
  let timer: NodeJS.Timeout | undefined;
  try {
    return await Promise.race([
      asked.then(question),
      // A bus that turns a connection away says nothing.
      new Promise<never>((_, reject) => { timer = setTimeout(() => { reject(new Error(`systemd has not answered within ${patienceMs} ms`)); }, patienceMs); }),
    ]);
  } catch (error) {
    if (connection === asked) connection = undefined;
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

async function state({ method, headers }: Question): Promise<Answer> {
  const json = String(headers['accept'] ?? '').includes('application/json');
  const say = (status: number, word: string): Answer => (json
    ? { status, type: 'application/json', body: `${JSON.stringify({ state: word })}\n` }
    : { status, type: 'text/plain; charset=utf-8', body: `${word}\n` });
  if (method !== 'GET' && method !== 'HEAD') return say(405, 'unknown');
  let domain: string;
  try {
    domain = parseDomain(String(headers['x-sitegen-site'] ?? ''));
  } catch {
    return say(400, 'unknown');
  }
  const { monitorSite } = await import('../lib/usecases/site-state.ts');
  const word = await ask((systemd) => monitorSite(systemd, domain));
  return say(word === 'broken' ? 503 : 200, word);
}

async function metrics({ method, path }: Question): Promise<Answer> {
  if (method !== 'GET' && method !== 'HEAD') return { status: 405, type: 'text/plain', body: 'only GET\n' };
  if (path !== '/metrics') return { status: 404, type: 'text/plain', body: 'see /metrics\n' };
  const { metricsPage } = await import('../lib/usecases/metrics.ts');
  const body = await metricsPage(() => ask((systemd) => Promise.resolve(systemd)), Date.now());
  return { status: 200, type: 'text/plain; version=0.0.4; charset=utf-8', body };
}

const decide = makeDecision({ adopt: (name) => askSocket(paths.adopterSocket, name), now: () => Date.now() });
const sockets = inheritedSockets(process.env, process.pid);
for (const { name, fd } of sockets) {
  if (name === 'state') serveHttp(fd, clock, state, report);
  else if (name === 'metrics') serveHttp(fd, clock, metrics, report);
  else if (name === 'adopt') {
    serveRaw(fd, clock, holdsMax, (client) => {
      holdConnection(client, router.tlsSocket, decide).then((outcome) => {
        if (outcome.kind === 'refused') names.refused(outcome.name);
        else if (outcome.kind === 'passed') console.log(`passed on a connection for ${outcome.name ?? ''}, whose site was added just now`);
      }, report);
    }, report);
  }
}

process.on('SIGTERM', () => {
  names.flush();
  process.exit(0);
});
// systemd would start it again at once, and again; whoever waits has to be patient for a moment.
process.on('uncaughtException', (error) => {
  console.error(`ends for a fault of its own: ${reasonOf(error)}`);
  report(error);
  setTimeout(() => process.exit(1), 2000);
});
if (sockets.length === 0) {
  console.error('no sockets: this program is started by sitegen-responder.service');
  process.exit(2);
}
