// Runs in a guest: times hits on a frozen site in turns with what they are compared with. Prints JSON.
// Arguments: rounds, address and domain of the site, address and unit of a bare activation of
// systemd-socket-proxyd before a container that runs, name and address of a container to pause.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import http from 'node:http';

const [rounds, site, domain, bare, unit, paused, pausedAddress] = [Number(process.argv[2]), ...process.argv.slice(3)];
const sleep = (time) => new Promise((resolve) => { setTimeout(resolve, time); });
const run = (program, ...args) => execFileSync(program, args, { stdio: ['ignore', 'ignore', 'inherit'] });

function request(options) {
  return new Promise((resolve, reject) => {
    const sent = http.request({ agent: false, path: '/', ...options }, (response) => {
      response.resume();
      response.on('end', () => (response.statusCode < 300 ? resolve() : reject(new Error(`status ${response.statusCode}`))));
    });
    sent.on('error', reject);
    sent.end();
  });
}

const slice = `/sys/fs/cgroup/site.slice/site-${domain}.slice/site-${domain}-app.slice/cgroup.events`;
function isFrozen() {
  try {
    return readFileSync(slice, 'utf8').includes('frozen 1');
  } catch {
    return false;
  }
}

const ways = {
  frozen: {
    async prepare() {
      for (let tries = 0; !isFrozen(); tries++) {
        if (tries > 100) throw new Error(`${domain} does not freeze`);
        await sleep(300);
        run('systemctl', 'start', 'sitegen-idle.service');
      }
    },
    act: () => request({ host: site, port: 80 }),
  },
  bare: {
    prepare: async () => { run('systemctl', '--quiet', 'stop', unit); },
    act: () => request({ host: bare, port: 80 }),
  },
  unpause: {
    prepare: async () => { run('docker', 'pause', paused); },
    async act() {
      await request({ socketPath: '/run/docker.sock', path: `/containers/${paused}/unpause`, method: 'POST' });
      await request({ host: pausedAddress, port: 80 });
    },
  },
};
const names = Object.keys(ways);
const ms = Object.fromEntries(names.map((name) => [name, []]));

for (let round = -3; round < rounds; round++) {
  // Each one comes first, in the middle and last equally often.
  for (const index of names.keys()) {
    const name = names[(index + round + 3) % names.length];
    await ways[name].prepare();
    // What a wake does in the background, and a round of the idle timer, is not to be in the others' times.
    await sleep(800);
    const began = performance.now();
    await ways[name].act();
    if (round >= 0) ms[name].push(performance.now() - began);
    await sleep(400);
  }
}
console.log(JSON.stringify(ms));
