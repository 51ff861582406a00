// Runs in a guest: times hits on a frozen site in turns with what they are compared with. Prints JSON.
// Arguments: rounds, address and domain of the site, address and unit of a bare activation of
// systemd-socket-proxyd before a container that runs, name and address of a container to pause.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import http from 'node:http';

const [rounds, site, domain, bare, unit, paused, pausedAddress] = [Number(process.argv[2]), ...process.argv.slice(3)];
const ms = { frozen: [], bare: [], unpause: [] };
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

async function timed(act) {
  const began = performance.now();
  await act();
  return performance.now() - began;
}

const slice = `/sys/fs/cgroup/site.slice/site-${domain}.slice/site-${domain}-app.slice/cgroup.events`;
const isFrozen = () => existsSync(slice) && readFileSync(slice, 'utf8').includes('frozen 1');

for (let round = -3; round < rounds; round++) {
  for (let tries = 0; !isFrozen(); tries++) {
    if (tries > 100) throw new Error(`${domain} does not freeze`);
    await sleep(300);
    run('systemctl', 'start', 'sitegen-idle.service');
  }
  run('docker', 'pause', paused);
  await sleep(500);
  const took = {
    frozen: await timed(() => request({ host: site, port: 80 })),
    bare: await timed(() => request({ host: bare, port: 80 })),
    unpause: await timed(async () => {
      await request({ socketPath: '/run/docker.sock', path: `/containers/${paused}/unpause`, method: 'POST' });
      await request({ host: pausedAddress, port: 80 });
    }),
  };
  if (round >= 0) for (const [name, value] of Object.entries(took)) ms[name].push(value);
  await sleep(300);
  run('systemctl', '--quiet', 'stop', unit);
  await sleep(300);
}
console.log(JSON.stringify(ms));
