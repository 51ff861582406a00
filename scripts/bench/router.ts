import type { Guest } from '../../test/e2e/_lab.ts';
import { at, figures, ratio } from './figures.ts';
import { parseLoad } from './load.ts';
import { domain, startPeers, stopPeers, upstreamPort, ways, type Way } from './peers.ts';
import { benchSites } from './router-sites.ts';

/** Of each comparison with other servers; one takes about a minute. */
const rounds = Number(process.env['ROUNDS'] ?? 9);
const seconds = Number(process.env['SECONDS_EACH'] ?? 4);

interface Measured {
  /** Requests or handshakes a second. */
  rate: number;
  /** Of the servers' own processor time, in microseconds for each of them; a busy machine changes it less. */
  cpu: number;
  /** kB of all processes, in the middle of it. */
  pss: number;
}

type Load = (way: Way) => string;

const loads: Record<string, { title: string; unit: string; command: Load }> = {
  small: { title: '1 kB over 32 kept-alive connections', unit: 'requests/s', command: ({ port }) => `wrk -t 2 -c 32 -d ${seconds} https://${domain}:${port}/1k` },
  large: { title: '100 kB over 32 kept-alive connections', unit: 'requests/s', command: ({ port }) => `wrk -t 2 -c 32 -d ${seconds} https://${domain}:${port}/100k` },
  // Each of h2load's clients makes a connection of its own, knows no earlier session, and asks once.
  handshakes: { title: 'new TLS 1.3 connections, each with a request', unit: 'handshakes/s', command: ({ port }) => `h2load --h1 -n 1500 -c 1500 https://${domain}:${port}/1k` },
};

/** The router beside other servers, then by the number of its sites. */
export async function benchRouter(guest: Guest): Promise<void> {
  const parts = (process.env['PARTS'] ?? 'peers,plain,sites').split(',');
  await guest.sh('sitegen apply --quiet');
  // As it is shipped, and without what costs the journal more than any of them.
  if (parts.includes('peers')) await benchPeers(guest, true);
  if (parts.includes('plain')) await benchPeers(guest, false);
  if (parts.includes('sites')) await benchSites(guest);
}

async function benchPeers(guest: Guest, log: boolean): Promise<void> {
  const [container, settings] = ['box.example.com', '/etc/sitegen/sitegen.yaml'];
  await guest.sh(`cp ${settings} /tmp/sitegen.yaml.before
    ${log ? '' : `echo 'router: {log: off}' > ${settings}`}
    printf 'domain: %s\\nproxy: http://127.0.0.1:%s\\ncertificate: none\\n' ${domain} ${upstreamPort} > /etc/sitegen/sites/${domain}.yaml
    sitegen apply --quiet`);
  const results: Record<string, Record<string, Measured[]>> = {};
  try {
    await startPeers(guest, log);
    console.log(log ? '\nall of them tell each request to the journal' : '\nnone of them keeps a log of requests');
    for (let round = -1; round < rounds; round++) {
      for (const [load, { command }] of Object.entries(loads)) {
        for (const [key, way] of Object.entries(ways)) {
          const measured = await measure(guest, way, command(way));
          if (round >= 0) ((results[load] ??= {})[key] ??= []).push(measured);
        }
      }
    }
    print(results);
    await guest.site(container);
    await guest.sh(`grep -q ${container} /etc/hosts || echo 127.0.0.1 ${container} >> /etc/hosts; curl -sko /dev/null https://${container}/`);
    const { rate, cpu } = await measure(guest, ways.sitegen, `wrk -t 2 -c 32 -d ${seconds} https://${container}/`);
    console.log(`a container site: ${rate.toFixed(0)} requests/s, ${cpu.toFixed(0)} µs of the router's for each`);
  } finally {
    await stopPeers(guest);
    await guest.sh(`cp /tmp/sitegen.yaml.before ${settings}; rm -f /etc/sitegen/sites/${domain}.yaml; sitegen apply --quiet; sitegen remove --purge -yq ${container} || true`);
  }
}

async function measure(guest: Guest, { name, units }: Way, command: string): Promise<Measured> {
  const groups = (file: string) => units.map((unit) => `/sys/fs/cgroup/system.slice/${unit}/${file}`).join(' ');
  const out = await guest.sh(`
    cpu() { cat ${groups('cpu.stat')} | awk '/^usage_usec/ { sum += $2 } END { print sum }'; }
    ulimit -Sn $(ulimit -Hn)
    before=$(cpu)
    ${command} > /tmp/bench.out 2>&1 & load=$!
    sleep 0.5
    pss=$(for pid in $(cat ${groups('cgroup.procs')}); do cat /proc/$pid/smaps_rollup; done | awk '/^Pss:/ { sum += $2 } END { print sum }')
    wait $load
    after=$(cpu)
    cat /tmp/bench.out
    echo "pss $pss used $((after - before))"`);
  const number = (pattern: RegExp) => Number(pattern.exec(out)?.[1] ?? Number.NaN);
  const { rate, done } = parseLoad(`${name}: ${command}`, out);
  return { rate, cpu: number(/used (\d+)/) / done, pss: number(/pss (\d+)/) };
}

function print(results: Record<string, Record<string, Measured[]>>): void {
  const { sitegen: ours, ...peers } = ways;
  for (const [load, { title, unit }] of Object.entries(loads)) {
    console.log(`${title}, ${rounds} rounds, in turns:`);
    const of = (key: string, field: keyof Measured) => (results[load]?.[key] ?? []).map((measured) => measured[field]);
    for (const [key, { name }] of Object.entries(ways)) {
      figures(name, of(key, 'rate'), unit);
      console.log(`  ${''.padEnd(44)} ${at(of(key, 'cpu'), 0.5).toFixed(0)} µs of processor time each, ${(at(of(key, 'pss'), 0.5) / 1024).toFixed(1)} MB (PSS)`);
    }
    for (const [key, { name }] of Object.entries(peers)) {
      ratio(`${unit}, ${ours.name} ÷ ${name}`, of('sitegen', 'rate'), of(key, 'rate'));
      ratio(`processor time, ${ours.name} ÷ ${name}`, of('sitegen', 'cpu'), of(key, 'cpu'));
      ratio(`memory, ${ours.name} ÷ ${name}`, of('sitegen', 'pss'), of(key, 'pss'));
    }
  }
}
