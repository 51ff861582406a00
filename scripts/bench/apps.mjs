// Runs in a guest: times cold visits to a site, and starts of its container by hand, in turns. Prints JSON.
// Arguments: rounds, domain, site's address, container's address, port.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import http from 'node:http';

const [rounds, domain, address, container, port] = process.argv.slice(2);
const service = `site-${domain}.service`;
const cgroup = `/sys/fs/cgroup/site.slice/site-${domain}.slice`;
const run = (...command) => execFileSync(command[0], command.slice(1), { stdio: 'ignore' });
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** As the router asks: a visitor over TLS. */
function ask(host, onPort) {
  return new Promise((resolve) => {
    const sent = http.get({ host, port: onPort, path: '/', agent: false, headers: { host: domain, 'x-forwarded-proto': 'https' } }, (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode));
    });
    sent.on('error', () => resolve(0));
  });
}

/** Milliseconds until it is answered with 200. */
async function first200(begin, host, onPort) {
  const began = performance.now();
  begin();
  while (await ask(host, onPort) !== 200) {
    if (performance.now() - began > 300_000) throw new Error(`${domain}: no 200 within five minutes`);
    await pause(2);
  }
  return performance.now() - began;
}

/** Kilobytes of all processes of the site, by the pages that they have in proportion to how many share them. */
function memory() {
  const read = (file) => {
    try {
      return readFileSync(file, 'utf8');
    } catch {
      return ''; // It has ended meanwhile.
    }
  };
  let files = [];
  try {
    files = readdirSync(cgroup, { recursive: true }).filter((file) => file.endsWith('cgroup.procs'));
  } catch {
    // There is nothing of it yet.
  }
  return files.flatMap((file) => read(`${cgroup}/${file}`).split('\n').filter(Boolean))
    .reduce((sum, pid) => sum + Number(/^Pss:\s+(\d+)/m.exec(read(`/proc/${pid}/smaps_rollup`))?.[1] ?? 0), 0);
}

const hit = [];
const hand = [];
const peaks = [];
for (let round = -1; round < Number(rounds); round++) {
  let peak = 0;
  const watch = setInterval(() => { peak = Math.max(peak, memory()); }, 100);
  const visit = await first200(() => undefined, address, 80);
  await pause(1000);
  clearInterval(watch);
  run('systemctl', '--quiet', 'stop', service);
  await pause(250);
  const started = await first200(() => run('docker', 'start', `site-${domain}`), container, port);
  await pause(100);
  run('docker', 'stop', `site-${domain}`);
  await pause(250);
  // The first one has what was never read before.
  if (round >= 0) {
    hit.push(visit);
    hand.push(started);
    peaks.push(peak / 1024);
  }
}
const wakes = execFileSync('journalctl', ['--no-pager', '--output', 'json', '--lines', rounds, 'MESSAGE_ID=5e4ad4a0a9f54b9c8e3f2d1c0b7a6958', 'SITEGEN_TO=awake', `SITEGEN_DOMAIN=${domain}`], { encoding: 'utf8' })
  .trim().split('\n').map((line) => JSON.parse(line).SITEGEN_PHASES);
console.log(JSON.stringify({ hit, hand, peaks, wakes }));
