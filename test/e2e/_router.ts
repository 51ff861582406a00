import { buildImage } from './_images.ts';
import { until, type Guest } from './_guest.ts';
import { write } from './_machine.ts';
import { ensureServerImage, put, serverImage } from './_server.ts';

/** Docker's name of the image with router-app.mjs. */
export const appImage = 'test/router-app:2';

/** Where a visitor that is not the machine itself comes from, and the machine's address for it. */
export const outside = { visitor: '192.0.2.2', visitor6: '2001:db8:77::2', machine: '192.0.2.1', machine6: '2001:db8:77::1' } as const;

/** One visit by router-client.mjs; over TLS at 127.0.0.1:443 unless something else is said. */
export interface Step {
  /** `raw` sends `pieces` as they are; `ws` and `ws2` are websockets over HTTP/1.1 and HTTP/2. */
  kind?: 'h1' | 'h2' | 'raw' | 'ws' | 'ws2';
  to?: string;
  from?: string;
  port?: number;
  /** false: plain HTTP, to port 80; none: bytes as they are, to port 443. */
  tls?: false | 'none';
  /** Name in the TLS hello; that of `host` unless given. */
  sni?: string;
  alpn?: readonly string[];
  min?: string;
  max?: string;
  host?: string;
  path?: string;
  method?: string;
  headers?: Readonly<Record<string, string | readonly string[]>>;
  body?: string;
  /** Of `h2`: what is asked for over one connection. */
  requests?: readonly Pick<Step, 'host' | 'path' | 'method' | 'headers' | 'body'>[];
  /** Texts to send (`base64:` for any bytes), milliseconds to wait; of `ws` also `!command`. */
  pieces?: readonly (string | number)[];
  /** Milliseconds that an answer to `raw` may take, that any other may take, and before the first byte. */
  wait?: number;
  timeout?: number;
  after?: number;
}

/** What a visitor saw; fields that its kind does not have are undefined. */
export interface Seen {
  error?: string;
  status?: number;
  version?: string;
  headers: Partial<Record<string, string>>;
  body: string;
  /** Bytes of the body as they came, perhaps compressed. */
  length: number;
  protocol?: string;
  /** Common name in the certificate. */
  subject?: string;
  ms: number;
  text: string;
  closed: boolean;
  /** Milliseconds until the first byte came. */
  first?: number;
  answers: Seen[];
  lines: string[];
}

/** What router-app.mjs tells of a request. */
export interface Arrived {
  name: string;
  method: string;
  url: string;
  headers: Partial<Record<string, string>>;
  /** Names of the headers, as often as they came. */
  names: string[];
  size: number;
  remote: string;
}

/** Makes sure that the router runs, and that programs and image for its tests are there. */
export async function ensureRouter(guest: Guest): Promise<void> {
  await put(guest, 'router-client.mjs', '/tmp/router-client.mjs');
  await put(guest, 'router-app.mjs', '/tmp/router-app.mjs');
  await put(guest, 'router-h2.mjs', '/tmp/router-h2.mjs');
  if ((await guest.run(['docker', 'image', 'inspect', appImage])).code !== 0) {
    await ensureServerImage(guest);
    await buildImage(guest, appImage, { Dockerfile: `FROM ${serverImage}\nCOPY app.mjs /server.mjs\n`, 'app.mjs': await guest.sh('cat /tmp/router-app.mjs') });
  }
  if ((await guest.run(['systemctl', 'is-active', '--quiet', 'sitegen-router'])).code !== 0) await guest.sh('sitegen apply --quiet');
  // What an earlier test's visitors did must not count against this one's.
  await guest.sh(`echo 'clear table st_sources; clear table st_holds; clear table st_unknown' | ${api}`);
}

/** A command that hands its standard input to the running router. */
export const api = 'socat -t 10 - UNIX-CONNECT:/run/sitegen-router/admin.sock';

/** Visits from the guest itself, or from `outside` with `visitor`. */
export async function visit(guest: Guest, steps: readonly Step[], { together = false, visitor = false } = {}): Promise<Seen[]> {
  const command = [...(visitor ? ['ip', 'netns', 'exec', 'visitor'] : []), 'node', '/tmp/router-client.mjs'];
  const given = steps.map((step) => (visitor ? { to: outside.machine, ...step } : step));
  const { stdout, stderr } = await guest.run(command, { input: JSON.stringify({ together, steps: given }), timeoutMs: 300_000 });
  if (stdout === '') throw new Error(`router-client.mjs: ${stderr}`);
  return JSON.parse(stdout) as Seen[];
}

/** One visit. */
export async function visitOne(guest: Guest, step: Step, options: { visitor?: boolean } = {}): Promise<Seen> {
  const [seen] = await visit(guest, [step], options);
  if (!seen) throw new Error('nothing was seen');
  return seen;
}

/** What arrived at the app, by its answer. @throws Error with the answer when it is none of the app's */
export function arrived(seen: Seen): Arrived {
  try {
    return JSON.parse(seen.body) as Arrived;
  } catch {
    throw new Error(`not an answer of the app: ${JSON.stringify(seen).slice(0, 500)}`);
  }
}

/** Settings of a site that router-app.mjs on the guest itself answers, to be followed by others. */
export const hostSettings = 'proxy: http://127.0.0.1:9000\n';

/** The same with a container, which takes longer to start and to stop. */
export const appSettings = `image: ${appImage}\nvolumes: [data:/data]\nenv: {LOG: /data/log}\n`;

/**
 * Has sites while something is done, by what their settings say besides the domain; at the end
 * they and their data are gone.
 */
export async function withSites(guest: Guest, sites: Readonly<Record<string, string>>, body: () => Promise<void>): Promise<void> {
  const files = Object.keys(sites).map((domain) => `/etc/sitegen/sites/${domain}.yaml`);
  try {
    await setSites(guest, sites);
    await withApps(guest, { host: { NAME: 'app', LISTEN: '127.0.0.1:9000' } }, body);
  } finally {
    await guest.sh(`rm -f ${files.join(' ')}; sitegen apply --quiet; rm -rf ${Object.keys(sites).map((domain) => `/var/lib/sitegen/sites/${domain}`).join(' ')}`);
  }
}

/** Writes sites' settings and carries them out. Gives what apply said. */
export async function setSites(guest: Guest, sites: Readonly<Record<string, string>>): Promise<string> {
  const files = Object.entries(sites).map(([domain, text]) => `cat > /etc/sitegen/sites/${domain}.yaml <<'EOT'\ndomain: ${domain}\n${text}\nEOT\n`);
  return guest.sh(`${files.join('')}sitegen apply 2>&1`);
}

/** Has other settings in sitegen.yaml, one after the other, while something is done with each. */
export async function withDefaults(guest: Guest, ...turns: readonly (readonly [string, () => Promise<void>])[]): Promise<void> {
  const file = '/etc/sitegen/sitegen.yaml';
  await guest.sh(`cp ${file} /tmp/sitegen.yaml.before`);
  try {
    for (const [text, body] of turns) {
      await write(guest, file, text);
      await guest.sh('sitegen apply --quiet');
      await body();
    }
  } finally {
    await guest.sh(`cp /tmp/sitegen.yaml.before ${file}; sitegen apply --quiet`);
  }
}

/** Has servers on the guest itself while something is done: router-app.mjs with these variables, by their names. */
export async function withApps(guest: Guest, apps: Readonly<Record<string, Readonly<Record<string, string>>>>, body: () => Promise<void>): Promise<void> {
  const units = Object.keys(apps).map((name) => `test-app-${name}`);
  try {
    for (const [name, variables] of Object.entries(apps)) {
      const environment = Object.entries({ NAME: name, ...variables }).map(([key, value]) => `--setenv=${key}=${value}`);
      await guest.sh(`systemd-run --quiet --collect --unit=test-app-${name} ${environment.join(' ')} node /tmp/router-app.mjs`);
    }
    for (const { LISTEN = '80' } of Object.values(apps)) {
      const test = LISTEN.startsWith('/') ? `test -S ${LISTEN}` : `nc -z ${LISTEN.includes(':') ? LISTEN.replace(':', ' ') : `127.0.0.1 ${LISTEN}`}`;
      await until(`something listens at ${LISTEN}`, async () => (await guest.run(['bash', '-c', test])).code === 0);
    }
    await body();
  } finally {
    await guest.run(['systemctl', '--quiet', 'stop', ...units]);
  }
}

/** Has a visitor that comes from elsewhere while something is done: see `visit`. */
export async function withVisitor(guest: Guest, body: () => Promise<void>): Promise<void> {
  const end = 'ip netns delete visitor 2>/dev/null || true; ip link delete visitor0 2>/dev/null || true';
  try {
    await guest.sh(`${end}
      ip netns add visitor
      ip link add visitor0 type veth peer name eth0 netns visitor
      ip addr add ${outside.machine}/24 dev visitor0
      ip addr add ${outside.machine6}/64 dev visitor0 nodad
      ip link set visitor0 up
      ip -n visitor link set lo up
      ip -n visitor addr add ${outside.visitor}/24 dev eth0
      ip -n visitor addr add ${outside.visitor6}/64 dev eth0 nodad
      ip -n visitor link set eth0 up`);
    await body();
  } finally {
    await guest.sh(end);
  }
}

/** The process that answers visitors; another one after each reload. */
export async function workerPid(guest: Guest): Promise<number> {
  return Number(await guest.sh(`echo 'show info' | ${api} | sed -n 's/^Pid: //p'`));
}

/** True as long as nobody has woken the site since it was last put to sleep. */
export async function sleeps(guest: Guest, domain: string): Promise<boolean> {
  return (await guest.run(['systemctl', 'is-active', '--quiet', `site-${domain}.service`])).code !== 0;
}

/** What router-load.mjs prints. */
export interface Load {
  sent: number;
  answered: number;
  failed: number;
  reasons: string[];
  /** Failures right after one of the same visitor. */
  again: number;
  connections: number;
  slowest: number;
  rate: number;
}

/** Has visitors on some sites, as router-load.mjs describes, while something is done. */
export async function underLoad(guest: Guest, options: { hosts: readonly string[]; h1?: number; h2?: number; fresh?: number; think?: number; statuses?: readonly number[] }, body: () => Promise<void>): Promise<Load> {
  await put(guest, 'router-load.mjs', '/tmp/router-load.mjs');
  await guest.sh('rm -f /tmp/router-load.begun');
  const running = guest.run(['node', '/tmp/router-load.mjs', JSON.stringify(options)], { timeoutMs: 900_000 });
  try {
    await until('visitors have begun', async () => (await guest.run(['test', '-e', '/tmp/router-load.begun'])).code === 0, 60_000);
    await body();
  } finally {
    await guest.sh('touch /tmp/router-load.stop');
  }
  const { stdout, stderr } = await running;
  if (stdout === '') throw new Error(`router-load.mjs: ${stderr}`);
  return JSON.parse(stdout) as Load;
}
