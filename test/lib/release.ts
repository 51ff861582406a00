import { createHash } from 'node:crypto';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import test from 'ava';
import { execa } from 'execa';

const tree = path.resolve(import.meta.dirname, '../..');

/** What `scripts/release` makes of a tree, in a folder of its own. @param env beside this process's own */
async function release(from: string, out: string, env: Record<string, string>): Promise<string> {
  await execa('./scripts/release', [out], { cwd: from, env, timeout: 900_000 });
  return out;
}

/** The work tree as git sees it, elsewhere, and no clone. */
async function copyTree(to: string): Promise<void> {
  const { stdout } = await execa('git', ['-c', 'safe.directory=*', 'ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: tree });
  for (const file of stdout.split('\0').filter((name) => name !== '')) {
    await mkdir(path.dirname(path.join(to, file)), { recursive: true });
    await cp(path.join(tree, file), path.join(to, file)).catch((error: unknown) => { if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error; });
  }
  await execa('cp', ['-a', path.join(tree, 'node_modules'), to]);
}

const sums = async (folder: string) => Promise.all((await readdir(folder)).sort().map(async (file) =>
  `${createHash('sha256').update(await readFile(path.join(folder, file))).digest('hex')}  ${file}`));

test('a release has the same bytes wherever and by whom it is built, and says what is in it', async (t) => {
  t.timeout(1_800_000);
  const folder = await mkdtemp(path.join(os.tmpdir(), 'sitegen-release-'));
  try {
    const other = path.join(folder, 'quite', 'another place');
    await copyTree(other);
    const epoch = { SOURCE_DATE_EPOCH: '1700000000' };
    const first = await release(tree, path.join(folder, 'first'), epoch);
    await mkdir(path.join(folder, 'tmp'));
    // Another folder, umask, language, time zone and place for temporary files.
    await execa('bash', ['-c', 'umask 077; exec ./scripts/release "$0"', path.join(folder, 'second')],
      { cwd: other, env: { ...epoch, TMPDIR: path.join(folder, 'tmp'), TZ: 'Asia/Tokyo', LC_ALL: 'C.UTF-8', HOME: folder }, timeout: 900_000 });
    t.deepEqual(await sums(path.join(folder, 'second')), await sums(first));

    const { version } = JSON.parse(await readFile(path.join(tree, 'package.json'), 'utf8')) as { version: string };
    t.deepEqual((await readdir(first)).sort(), ['SHA256SUMS', `sitegen-${version}.cdx.json`, `sitegen-${version}.tar.gz`, `sitegen_${version}_all.deb`]);
    await execa('sha256sum', ['--check', '--strict', 'SHA256SUMS'], { cwd: first });

    await execa('tar', ['-xzf', path.join(first, `sitegen-${version}.tar.gz`), '-C', folder]);
    const unpacked = path.join(folder, `sitegen-${version}`);
    await execa('sha256sum', ['--check', '--strict', 'SHA256SUMS'], { cwd: unpacked });
    t.is((await execa('node', [path.join(unpacked, 'dist/sitegen.mjs'), '--version'])).stdout, version);
    const leaked = await execa('grep', ['-rlF', '-e', tree, '-e', other, '-e', folder, unpacked], { reject: false });
    t.is(leaked.stdout, '', 'no path of the machine that built it');

    const bom = JSON.parse(await readFile(path.join(first, `sitegen-${version}.cdx.json`), 'utf8')) as { bomFormat: string; metadata: { component: { name: string } }; components: { name: string; version: string }[] };
    t.is(bom.bomFormat, 'CycloneDX');
    t.is(bom.metadata.component.name, 'sitegen');
    const { dependencies } = JSON.parse(await readFile(path.join(tree, 'package.json'), 'utf8')) as { dependencies: Record<string, string> };
    for (const name of Object.keys(dependencies)) t.true(bom.components.some((component) => component.name === name), name);
    t.false(bom.components.some(({ name }) => name === 'ava'), 'nothing that only builds and tests');
    const licences = await readFile(path.join(unpacked, 'dist/LICENSES'), 'utf8');
    for (const [, name = ''] of licences.matchAll(/^(\S+) \S+ \(.*\)$/gm)) t.true(bom.components.some((component) => component.name === name), `${name} is bundled and listed`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test('what is no version, and a tree without a time, are refused', async (t) => {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'sitegen-release-'));
  try {
    await cp(path.join(tree, 'scripts'), path.join(folder, 'scripts'), { recursive: true });
    await mkdir(path.join(folder, 'node_modules'));
    await writeFile(path.join(folder, 'package.json'), '{"version": "1.0 final"}');
    const run = (env: Record<string, string>) => execa('./scripts/release', [path.join(folder, 'out')], { cwd: folder, env: { GIT_CEILING_DIRECTORIES: path.dirname(folder), ...env }, reject: false });
    t.regex((await run({})).stderr, /error: this is no clone, and no time is given\nrelease: hint: set SOURCE_DATE_EPOCH/);
    t.regex((await run({ SOURCE_DATE_EPOCH: 'yesterday' })).stderr, /error: this is no clone/);
    const odd = await run({ SOURCE_DATE_EPOCH: '1700000000' });
    t.is(odd.exitCode, 1);
    t.regex(odd.stderr, /error: not a version: 1\.0 final\n/);
    await t.throwsAsync(readdir(path.join(folder, 'out')), { code: 'ENOENT' });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
