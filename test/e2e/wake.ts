import { guestTest, newestTest, until } from './_guest.ts';
import { ensureServerImage, serverImage } from './_server.ts';

/** A hit by each of many clients at once; gives how often each status came. */
const hits = (address: string, count: number) =>
  `curl --silent --parallel --parallel-immediate --parallel-max ${count} --max-time 60 --output /dev/null --write-out '%{http_code}\\n' 'http://${address}/?id=[1-${count}]' | sort | uniq -c | sed 's/^ *//'`;

guestTest('200 clients hit a cold site at once: 200 answers, one start of the container', async (t, guest) => {
  await ensureServerImage(guest);
  const address = await guest.site('many.example.com', '--image', serverImage, '--volume', 'data:/data');
  const since = await guest.sh('date +%s.%N');
  t.is(await guest.sh(hits(address, 200)), '200 200');
  const starts = await guest.sh(`docker events --since ${since} --until "$(date +%s.%N)" --filter container=site-many.example.com --filter event=start --format '{{.Action}}'`);
  t.is(starts, 'start');
});

newestTest('a slow app is waited for', async (t, guest) => {
  await ensureServerImage(guest);
  const address = await guest.site('slow.example.com', '--image', serverImage, '--volume', 'data:/data', '--env', 'START_DELAY_MS=8000');
  const { status, seconds } = await guest.get(address, { path: '/?id=1' });
  t.is(status, 200);
  t.true(seconds >= 7.5, `${seconds}`);
});

guestTest('an app that never answers gives 503 to everybody, harms nobody, and is woken again once repaired', async (t, guest) => {
  await ensureServerImage(guest);
  const domain = 'never.example.com';
  const address = await guest.site(domain, '--image', serverImage, '--volume', 'data:/data', '--env', 'START_DELAY_MS=9999999');
  const neighbour = await guest.site('neighbour.example.com');
  const file = `/etc/sitegen/sites/${domain}.yaml`;
  await guest.sh(`printf 'ready: {timeout: 4s}\\nstop: {timeout: 1s}\\n' >> ${file}; sitegen apply --quiet`);

  const first = await guest.get(address);
  t.is(first.status, 503);
  t.regex(first.headers, /retry-after: \d+/i);
  t.regex(first.body, /never\.example\.com could not be started/);
  t.true(first.seconds >= 3.5 && first.seconds < 60, `${first.seconds}`);

  const since = await guest.sh('date +%s.%N');
  const flood = guest.sh(hits(address, 1000));
  const other: number[] = [];
  for (let n = 0; n < 10; n++) {
    const { status, seconds } = await guest.get(neighbour);
    t.is(status, 200);
    other.push(seconds);
  }
  t.is(await flood, '1000 503');
  t.log(`the neighbour answered in ${Math.max(...other)} s at most meanwhile`);
  t.true(Math.max(...other) < 20);
  t.is(await guest.sh('systemctl is-active site-never.example.com.socket'), 'active');
  const starts = (await guest.sh(`docker events --since ${since} --until "$(date +%s.%N)" --filter container=site-${domain} --filter event=start --format start | wc -l`));
  t.true(Number(starts) <= 4, `${starts} starts for 1,000 hits`);

  const alarmOf = async () => (JSON.parse((await guest.sitegen('alarms', '--json')).stdout) as { unit: string; reason: string }[])
    .find(({ unit }) => unit === `site-${domain}.service`);
  await until('alarm is open', async () => await alarmOf() !== undefined);
  t.is((await alarmOf())?.reason, 'exit code 1');
  await until('status says that it is down', async () => (await guest.sitegen('status', domain)).code === 3, 30_000);

  await guest.sh(`sed -i 's/9999999/0/' ${file}; sitegen apply --quiet`);
  t.is((await guest.get(address, { path: '/?id=1' })).status, 200);
  t.is(await alarmOf(), undefined, 'the alarm closed by itself');
});

newestTest('a ready path is asked until it is answered without an error', async (t, guest) => {
  const address = await guest.site('path.example.com');
  await guest.sh(`printf 'ready: {path: /index.html, timeout: 20s}\\n' >> /etc/sitegen/sites/path.example.com.yaml; sitegen apply --quiet`);
  t.is((await guest.get(address)).status, 200);
});

guestTest('a container that ends by itself takes its service along, and the next visitor wakes it', async (t, guest) => {
  const address = await guest.site('dies.example.com');
  await guest.get(address);
  const began = Number(await guest.sh('docker kill site-dies.example.com >/dev/null; date +%s%3N'));
  await until('service is no longer active', async () => (await guest.run(['systemctl', 'is-active', '--quiet', 'site-dies.example.com'])).code !== 0, 5000, 20);
  const took = Number(await guest.sh('date +%s%3N')) - began;
  t.log(`noticed after ${took} ms`);
  t.true(took < 15_000, `${took} ms`);
  t.is((await guest.get(address)).status, 200);
});
