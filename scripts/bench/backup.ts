import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import { execa } from 'execa';
import { backupWays, type Step, type Way } from './backup-peers.ts';
import { at, figures, ratio } from './figures.ts';

/** A site of one GB, unless told otherwise. */
const size = { files: Number(process.env['FILES'] ?? 5000), bytes: Number(process.env['MB'] ?? 1024) * 1e6, dump: Number(process.env['DUMP_MB'] ?? 22) * 1e6 };
const rounds = Number(process.env['ROUNDS'] ?? 24);

interface Cost {
  ms: number;
  /** Resident memory of all its processes together, at its highest, bytes. */
  peak: number;
}

/** What one way has cost. */
interface Measured {
  way: Way;
  first: Cost[];
  save: Cost[];
  send: Cost[];
  restore: Cost[];
  stored: number;
  shrunk: number;
  shrink: Cost;
}

/**
 * A site's first backup and 24 hours of 1 % changed rows and two new files each, in turns with plain
 * git and other programs. On this machine and not in a guest: it takes nothing but files.
 */
export async function benchBackup(): Promise<void> {
  const root = await mkdtemp(`${process.env['BENCH_DIR'] ?? os.tmpdir()}/sitegen-bench-`);
  try {
    const { stdout: version } = await execa('git', ['--version']);
    console.log(`backup of ${size.files} files of ${size.bytes / 1e6} MB and a dump of ${size.dump / 1e6} MB, ${rounds} rounds, in turns; ${version}, Node ${process.version}:`);
    const site = `${root}/site`;
    const rows = await makeSite(site);
    const all: Measured[] = [];
    for (const way of await backupWays(root, site)) {
      for (const step of way.prepare) await measure(step);
      all.push({ way, first: [], save: [], send: [], restore: [], stored: 0, shrunk: 0, shrink: { ms: 0, peak: 0 } });
    }
    for (const one of all) one.first = [await measureAll(one.way.save), await measureAll(one.way.send)];
    for (let round = 0; round < rounds; round += 1) {
      await changeSite(site, rows, round);
      // Each goes first as often as the others.
      for (const [index] of all.entries()) {
        const one = all[(index + round) % all.length];
        one?.save.push(await measureAll(one.way.save));
        one?.send.push(await measureAll(one.way.send));
      }
    }
    for (const one of all) {
      one.stored = await sizeOf(one.way.stored);
      one.shrink = await measureAll(one.way.shrink);
      one.shrunk = await sizeOf(one.way.stored);
    }
    for (let round = 0; round < 3; round += 1) {
      for (const [index] of all.entries()) {
        const one = all[(index + round) % all.length];
        const into = `${root}/restored`;
        one?.restore.push(await measureAll(one.way.restore(into)));
        await rm(into, { recursive: true, force: true });
        await rm(`${into}.git`, { recursive: true, force: true });
      }
    }
    print(all);
  } finally {
    if (process.env['KEEP'] !== '1') await rm(root, { recursive: true, force: true });
  }
}

function print(all: readonly Measured[]): void {
  const [ours, plain] = all;
  if (!ours || !plain) return;
  const sum = ({ save, send }: Measured) => save.map(({ ms }, index) => (ms + (send[index]?.ms ?? 0)) / 1000);
  for (const one of all) {
    console.log(`  ${one.way.name}`);
    console.log(`    first: ${one.first.map(({ ms }) => `${(ms / 1000).toFixed(1)} s`).join(' + ')}; peak ${megabytes(Math.max(...one.first.map(({ peak }) => peak)))}`);
    figures('  an hour: commit', one.save.map(({ ms }) => ms / 1000), 's');
    if (one.way.send.length > 0) figures('  an hour: push', one.send.map(({ ms }) => ms / 1000), 's');
    console.log(`    an hour: peak ${megabytes(at(one.save.map(({ peak }) => peak), 0.5))} to save, ${megabytes(at(one.send.map(({ peak }) => peak), 0.5))} to send (medians); at most ${megabytes(Math.max(...[...one.save, ...one.send].map(({ peak }) => peak)))}`);
    console.log(`    stored: ${megabytes(one.stored)}; repacked ${megabytes(one.shrunk)} in ${(one.shrink.ms / 1000).toFixed(1)} s, peak ${megabytes(one.shrink.peak)}`);
    figures('  restored from where it was sent', one.restore.map(({ ms }) => ms / 1000), 's');
  }
  console.log('  sitegen to plain git:');
  ratio('first', [sumOf(ours.first)], [sumOf(plain.first)]);
  ratio('an hour', sum(ours), sum(plain));
  ratio('an hour, commit alone', ours.save.map(({ ms }) => ms), plain.save.map(({ ms }) => ms));
  ratio('stored, repacked', [ours.shrunk], [plain.shrunk]);
  ratio('restore to clone', ours.restore.map(({ ms }) => ms), plain.restore.map(({ ms }) => ms));
}

const sumOf = (costs: readonly Cost[]) => costs.reduce((total, { ms }) => total + ms, 0);
const megabytes = (bytes: number) => `${Math.round(bytes / 1e6)} MB`;

async function measureAll(steps: readonly Step[]): Promise<Cost> {
  const total: Cost = { ms: 0, peak: 0 };
  for (const step of steps) {
    const { ms, peak } = await measure(step);
    total.ms += ms;
    total.peak = Math.max(total.peak, peak);
  }
  return total;
}

async function measure({ command: [program = '', ...args], environment }: Step): Promise<Cost> {
  const began = performance.now();
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, ...environment } });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => { said += chunk.toString(); });
  let peak = 0;
  const timer = setInterval(() => { void residentOf(child.pid ?? 0).then((bytes) => { peak = Math.max(peak, bytes); }); }, 50);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  clearInterval(timer);
  if (code !== 0) throw new Error(`${program} ${args.join(' ')}: ${said}`);
  return { ms: performance.now() - began, peak };
}

/** Resident memory of a process and all below it; proc(5). Shared pages count for each. */
async function residentOf(pid: number): Promise<number> {
  const [status, tasks] = await Promise.all([readFile(`/proc/${pid}/status`, 'utf8').catch(() => ''), readdir(`/proc/${pid}/task`).catch(() => [])]);
  const own = Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0) * 1024;
  const children = await Promise.all(tasks.map((task) => readFile(`/proc/${pid}/task/${task}/children`, 'utf8').catch(() => '')));
  const below = await Promise.all(children.join(' ').split(' ').filter((text) => text !== '').map((text) => residentOf(Number(text))));
  return below.reduce((total, bytes) => total + bytes, own);
}

async function sizeOf(directory: string): Promise<number> {
  const { stdout } = await execa('du', ['-sb', directory]);
  return Number(stdout.split('\t')[0]);
}

/** Pictures, which do not compress, in folders by month; a dump with a row a line. @returns its rows */
async function makeSite(site: string): Promise<string[]> {
  const average = size.bytes / size.files;
  for (let n = 0; n < size.files; n += 1) {
    const folder = `${site}/data/uploads/${2020 + n % 6}/${String(n % 12 + 1).padStart(2, '0')}`;
    if (n < 72) await mkdir(folder, { recursive: true });
    await writeFile(`${folder}/picture-${n}.jpg`, randomBytes(Math.round(average * (0.5 + n % 100 / 100))));
  }
  await mkdir(`${site}/meta`, { recursive: true });
  const rows: string[] = [];
  for (let bytes = 0; bytes < size.dump;) {
    const row = rowOf(rows.length, 0);
    rows.push(row);
    bytes += row.length + 1;
  }
  await writeDump(site, rows);
  return rows;
}

async function changeSite(site: string, rows: string[], round: number): Promise<void> {
  for (let n = 0; n < rows.length / 100; n += 1) {
    const index = (round * 7919 + n * 104_729) % rows.length;
    rows[index] = rowOf(index, round + 1);
  }
  await writeDump(site, rows);
  for (const name of ['a', 'b']) await writeFile(`${site}/data/uploads/2020/01/new-${round}-${name}.jpg`, randomBytes(Math.round(size.bytes / size.files)));
}

/** Text about as compressible as posts are: words from a small vocabulary. */
function rowOf(id: number, version: number): string {
  const digest = createHash('sha512').update(`${id} ${version}`).digest();
  const words = [...digest].map((byte) => vocabulary[byte] ?? '').join(' ');
  return `INSERT INTO posts VALUES (${id},${1_700_000_000 + id * 60 + version},'${words}');`;
}

const vocabulary = Array.from({ length: 256 }, (_, n) => createHash('sha256').update(String(n)).digest('base64').replaceAll(/[^a-z]/g, '').slice(0, 2 + n % 7));

async function writeDump(site: string, rows: readonly string[]): Promise<void> {
  const handle = await open(`${site}/meta/dump.sql`, 'w');
  await handle.writeFile(`${rows.join('\n')}\n`);
  await handle.close();
}
