import { guestTest, longTest, until, type Guest } from './_guest.ts';

interface Top {
  sites: { site: string; state: string; connections: number; requestsPerSecond: number | null; cpuPercent: number | null; memoryBytes: number | null; idleMs: number; next: string | null; nextInMs: number | null; stays: string | null }[];
  asleep: number;
}

interface Life {
  transitions: { from: string; to: string; cause: string; ms: number | null; phases: Record<string, number> | null }[];
  stretches: { from: string; to: string; state: string }[];
  summary: { wakes: number; shares: Record<string, number> };
}

async function json<T>(guest: Guest, ...args: string[]): Promise<T> {
  const { stdout, stderr, code } = await guest.sitegen(...args, '--json');
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as T;
}

/** Adds a site that falls asleep soon, on the timer's next round or when it is asked to. */
async function quickly(guest: Guest, domain: string): Promise<string> {
  const address = await guest.site(domain);
  await guest.sh(`printf 'idle: {after: 2s, stopAfter: 2s}\\nbackup: false\\n' >> /etc/sitegen/sites/${domain}.yaml; sitegen apply --quiet ${domain}`);
  return address;
}

const sleeps = (guest: Guest, domain: string, state: string) => until(`${domain} is ${state}`, async () => {
  await guest.sh('systemctl start sitegen-idle.service');
  return (await guest.status(domain)).state === state;
}, 30_000, 500);

guestTest('top tells what runs and what comes next, and timeline what has been', async (t, guest) => {
  const domain = 'top.example.com';
  // The journal may have sites of that name from before.
  const since = await guest.sh("date '+%F %T'");
  const address = await quickly(guest, domain);
  const row = async () => (await json<Top>(guest, 'top')).sites.find(({ site }) => site === domain);
  t.is(await row(), undefined, 'it sleeps');
  t.true((await json<Top>(guest, 'top')).asleep >= 1);
  t.regex((await guest.sitegen('top', '--all')).stdout, /top\.example\.com +asleep/);

  t.is((await guest.get(address)).status, 200);
  const awake = await row();
  t.like(awake, { state: 'awake', next: 'freeze' });
  t.true(awake !== undefined && (awake.cpuPercent ?? -1) >= 0 && (awake.requestsPerSecond ?? -1) >= 0 && (awake.nextInMs ?? 1e9) < 3000, JSON.stringify(awake));
  t.regex((await guest.sitegen('top')).stdout, /SITE +STATE[^\n]+\n[^]*top\.example\.com +awake +0 .* freezes (in 0:0|now)/);
  const before = await guest.sh('stat -c %Y.%s /run/sitegen/idle.json || true');
  await guest.sitegen('top');
  t.is(await guest.sh('stat -c %Y.%s /run/sitegen/idle.json || true'), before, 'who looks remembers nothing');

  await sleeps(guest, domain, 'frozen');
  t.like(await row(), { state: 'frozen', next: 'stop' });
  t.is((await guest.get(address)).status, 200);
  await sleeps(guest, domain, 'frozen');
  await sleeps(guest, domain, 'asleep');

  const life = await json<Life>(guest, 'timeline', domain, '--since', since);
  t.deepEqual(life.transitions.map((each) => `${each.from} ${each.to} ${each.cause}`),
    ['asleep awake a visitor', 'awake frozen idle', 'frozen awake a visitor', 'awake frozen idle', 'frozen asleep idle']);
  t.deepEqual(Object.keys(life.transitions[0]?.phases ?? {}), ['wait', 'create', 'start', 'ready']);
  t.true(life.transitions.every(({ ms }) => ms !== null && ms < 30_000));
  t.is(life.summary.wakes, 2);
  t.is(life.stretches.at(-1)?.state, 'asleep');
  const { stdout, stderr } = await guest.sitegen('timeline', domain, '--since', since, '--svg', '/tmp/week.svg');
  t.regex(stdout, /asleep → awake +a visitor +[\d.]+ m?s +.*start/);
  t.regex(stdout, /2 wakes: 2 by a visitor\n/);
  t.is(stderr, 'drawn into /tmp/week.svg\n');
  t.regex(await guest.sh('cat /tmp/week.svg; rm /tmp/week.svg'), /^<svg [^]*top\.example\.com[^]*<\/svg>$/);
});

longTest('a container that ends, and a wake that fails, are in the timeline; forged entries are not', async (t, guest) => {
  const domain = 'ends.example.com';
  // The journal may have sites of that name from before.
  const since = await guest.sh("date '+%F %T'");
  const address = await quickly(guest, domain);
  await guest.get(address);
  await guest.sh(`docker kill site-${domain} >/dev/null`);
  await until('its service has failed', async () => (await guest.run(['systemctl', 'is-failed', '--quiet', `site-${domain}`])).code === 0, 5000);
  const { transitionId } = (await import('../../lib/pure/paths.ts')).shared;
  await guest.sh(`printf 'MESSAGE_ID=${transitionId}\\nSITEGEN_DOMAIN=${domain}\\nSITEGEN_TO=frozen\\nSITEGEN_FROM=awake\\n' | setpriv --reuid=nobody --clear-groups logger --journald; journalctl --sync`);
  const { transitions } = await json<Life>(guest, 'timeline', domain, '--since', since);
  t.deepEqual(transitions.map(({ from, to }) => `${from} ${to}`), ['asleep awake', 'awake failed']);
});

longTest('top on a terminal goes on until q, and gives the terminal back', async (t, guest) => {
  await guest.site('live.example.com');
  const typed = (keys: string, seconds: number) => guest.sh(`(sleep ${seconds}; printf '${keys}') | timeout 20 script --quiet --return --command 'stty rows 24 cols 80; sitegen top; echo "code $?"; stty -a' /dev/null`);
  for (const keys of ['q', '\\003']) {
    const screen = await typed(keys, 4);
    t.true((screen.match(/\u001B\[H/g)?.length ?? 0) >= 2, 'it was drawn again');
    t.regex(screen, /\d+ asleep/);
    t.regex(screen, /\u001B\[\?1049h[^]*\u001B\[\?25h\u001B\[\?1049l[^]*code 0/);
    t.regex(screen, / icanon[^]* echo /);
  }
});
