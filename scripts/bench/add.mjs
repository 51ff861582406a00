// Runs in a guest: adds sites one after the other, asks each over TLS, and removes it. Prints
// milliseconds of both steps as JSON. Argument: how many.
import { execFile } from 'node:child_process';
import https from 'node:https';
import { promisify } from 'node:util';

const run = promisify(execFile);
const times = { add: [], request: [] };

function answer(domain) {
  return new Promise((resolve, reject) => {
    const sent = https.get({ host: '127.0.0.1', port: 443, servername: domain, headers: { host: domain }, rejectUnauthorized: false, agent: false }, (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode));
    });
    sent.on('error', reject);
  });
}

for (let turn = -1; turn < Number(process.argv[2]); turn++) {
  const domain = `t${turn + 1}.example.com`;
  const began = performance.now();
  await run('sitegen', ['add', '--quiet', domain]);
  const added = performance.now();
  const status = await answer(domain);
  if (status !== 200) throw new Error(`${domain}: ${status}`);
  const ended = performance.now();
  if (turn >= 0) {
    times.add.push(added - began);
    times.request.push(ended - added);
  }
  // Its search for a certificate goes on in the background, and is not to disturb the next.
  await run('systemctl', ['--quiet', 'stop', `sitegen-certify@${domain}.service`]).catch(() => undefined);
  await run('sitegen', ['remove', '--purge', '-yq', domain]);
  await new Promise((resolve) => setTimeout(resolve, 500));
}
console.log(JSON.stringify(times));
