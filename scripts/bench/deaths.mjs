// Runs in a guest: kills containers of the sites i1, i2, … one after the other, and times until the
// kernel's entry is gone, until a path unit on cgroup.events has started a service, and until this
// process, which watches all of them, knows. Prints JSON. Arguments: how many to kill, how many there are.
import { execFileSync, spawn } from 'node:child_process';
import { readFileSync, statSync, watch } from 'node:fs';

const [deaths, count] = process.argv.slice(2).map(Number);
const out = (program, ...args) => execFileSync(program, args, { encoding: 'utf8' }).trim();
const sleep = (time) => new Promise((resolve) => { setTimeout(resolve, time); });
const events = (n) => `/sys/fs/cgroup/site.slice/site-i${n}.example.com.slice/site-i${n}.example.com-app.slice/cgroup.events`;

const noticed = new Map();
for (let n = 1; n <= count; n++) {
  watch(events(n), () => {
    let isEmpty = true;
    try {
      isEmpty = readFileSync(events(n), 'utf8').includes('populated 0');
    } catch {}
    if (isEmpty && !noticed.has(n)) noticed.set(n, Date.now());
  });
}
// Tells each change of the table as it happens, so nothing has to ask for it.
const gone = new Map();
const monitor = spawn('nft', ['monitor', 'elements'], { stdio: ['ignore', 'pipe', 'inherit'] });
let rest = '';
monitor.stdout.on('data', (data) => {
  const lines = (rest + data).split('\n');
  rest = lines.pop();
  for (const line of lines) {
    const address = /^delete element .* awake \{ ([\d.]+) \. 80/.exec(line)?.[1];
    if (address) gone.set(address, Date.now());
  }
});
await sleep(2000);
const watcherKb = Number(/^Pss: +(\d+)/m.exec(readFileSync('/proc/self/smaps_rollup', 'utf8'))?.[1]);

function touched(n) {
  try {
    return statSync(`/run/bench-watch-${n}`).mtimeMs;
  } catch {
    return undefined;
  }
}

const times = { entry: [], path: [], watcher: [] };
for (let n = 1; n <= deaths; n++) {
  const address = out('systemctl', 'show', '-P', 'Listen', `site-i${n}.example.com.socket`).split(':')[0];
  const pid = Number(out('docker', 'inspect', '--format', '{{.State.Pid}}', `site-i${n}.example.com`));
  const began = Date.now();
  process.kill(pid, 'SIGKILL');
  const found = () => ({ entry: gone.get(address), path: touched(n), watcher: noticed.get(n) });
  for (let tries = 0; Object.values(found()).includes(undefined); tries++) {
    if (tries > 3000) throw new Error(`i${n}: not noticed: ${JSON.stringify(found())}`);
    await sleep(10);
  }
  for (const [name, at] of Object.entries(found())) times[name].push(at - began);
  await sleep(1000);
}
monitor.kill();
console.log(JSON.stringify({ times, watcherKb }));
process.exit(0);
