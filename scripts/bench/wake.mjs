// Runs in a guest: times cold hits in turns, so that all see the same machine. Prints JSON.
// Arguments: rounds, then NAME=KIND:CONTAINER:ADDRESS:UNIT for each way; KIND is "api" (start over
// Docker's API, then the first answer) or "hit" (a request to a sleeping site).
import { execFileSync } from 'node:child_process';
import http from 'node:http';

const rounds = Number(process.argv[2]);
const ways = process.argv.slice(3).map((text) => {
  const [name, rest] = text.split('=');
  const [kind, container, address, unit] = rest.split(':');
  return { name, kind, container, address, unit, ms: [] };
});

function request(options) {
  return new Promise((resolve, reject) => {
    const sent = http.request({ agent: false, ...options }, (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode));
    });
    sent.on('error', reject);
    sent.end();
  });
}

async function answer(address) {
  for (;;) {
    try {
      return await request({ host: address, port: 80, path: '/' });
    } catch (error) {
      if (error.code !== 'ECONNREFUSED') throw error;
    }
  }
}

async function once({ kind, container, address }) {
  const began = performance.now();
  if (kind === 'api') await request({ socketPath: '/run/docker.sock', path: `/containers/${container}/start`, method: 'POST' });
  const status = await answer(address);
  if (status !== 200) throw new Error(`${container}: ${status}`);
  return performance.now() - began;
}

for (let round = -2; round < rounds; round++) {
  for (const way of ways) {
    const ms = await once(way);
    if (round >= 0) way.ms.push(ms);
    // Lets connections close before the container goes, or they disturb its next start.
    await new Promise((resolve) => setTimeout(resolve, 100));
    if (way.kind === 'api') execFileSync('docker', ['stop', '--time', '1', way.container], { stdio: 'ignore' });
    else execFileSync('systemctl', ['--quiet', 'stop', way.unit], { stdio: 'ignore' });
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}
console.log(JSON.stringify(Object.fromEntries(ways.map(({ name, ms }) => [name, ms]))));
