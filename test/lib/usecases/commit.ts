import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs/promises';
import test from 'ava';
import { SitegenError } from '../../../lib/pure/errors.ts';
import { parseManifest } from '../../../lib/pure/manifest.ts';
import { extractSite, readMeta, verifyCommit } from '../../../lib/usecases/extract.ts';
import { listing, makeHostile, run, testSite } from '../_data.ts';

test('a hostile site comes back byte for byte; nothing of it is run or obeyed, and what cannot be kept is named', async (t) => {
  const site = await testSite(t);
  const marker = `${site.root}/was-run`;
  await makeHostile(t, site.data, marker);
  const { commit, changed, warnings } = await site.commit({ meta: [{ name: 'dump/dump.sql', content: Buffer.from('select 1;\n') }] });
  t.true(changed);
  t.deepEqual([...warnings].sort(), ['kinds/fifo was left out: it is a fifo', 'kinds/socket was left out: it is a socket']);

  await run('git', ['--git-dir', site.repository, 'fsck', '--full', '--strict']);
  await extractSite({ repository: site.repository, commit, into: `${site.root}/out` });
  t.deepEqual(await listing(`${site.root}/out/data`), await listing(site.data));
  t.is(await fs.readFile(`${site.root}/out/meta/dump/dump.sql`, 'utf8'), 'select 1;\n');
  const { blocks } = await fs.stat(`${site.root}/out/data/kinds/sparse`);
  t.true(blocks * 512 < 10 * 1024 * 1024, 'holes stay holes');
  t.is((await verifyCommit(site.repository, 'refs/heads/main')).commit, commit);

  // Others take it: a clone that checks all, with a work tree, and a server that refuses what it can.
  await run('git', ['-c', 'transfer.fsckObjects=true', 'clone', '-q', '--no-local', site.repository, `${site.root}/clone`]);
  t.is(await fs.readFile(`${site.root}/clone/data/app/%%2egit/hooks/post-commit`, 'utf8'), `#!/bin/sh\ntouch ${marker}\n`);
  await run('git', ['init', '-q', '--bare', '-b', 'main', `${site.root}/server.git`]);
  for (const [key, value] of [['receive.fsckObjects', 'true'], ['receive.denyNonFastForwards', 'true'], ['core.protectHFS', 'true'], ['core.protectNTFS', 'true']] as const) await run('git', ['--git-dir', `${site.root}/server.git`, 'config', key, value]);
  await site.git('push', '-q', `${site.root}/server.git`, 'main');
  t.is((await run('git', ['--git-dir', `${site.root}/server.git`, 'rev-parse', 'main'])).trim(), commit);
  await t.throwsAsync(fs.lstat(marker), { code: 'ENOENT' });

  // What came back is the same site.
  await fs.rm(site.data, { recursive: true });
  await fs.rename(`${site.root}/out/data`, site.data);
  t.like(await site.commit({ meta: [{ name: 'dump/dump.sql', content: Buffer.from('select 1;\n') }] }), { commit, changed: false, warnings: [] });
});

test.serial('only what has changed is read again, and a lost or damaged cache costs time alone', async (t) => {
  const site = await testSite(t);
  for (let n = 0; n < 50; n += 1) await fs.writeFile(`${site.data}/${n}`, Buffer.alloc(500_000, `file ${n}`));
  const first = await site.commit();
  const before = await readByUs();
  t.like(await site.commit(), { commit: first.commit, changed: false, files: 50, bytes: 25_000_000 });
  t.true(await readByUs() - before < 500_000, 'less than one of the files was read');

  await fs.writeFile(`${site.data}/7`, 'other text');
  const second = await site.commit();
  t.true(second.changed);
  t.is(await site.git('show', 'main:data/7'), 'other text');
  for (const damage of ['', 'nonsense', 'sitegen seen 1\n10 1 1 1 0000000000000000000000000000000000000000 "7"\nend\n']) {
    await fs.writeFile(site.cache, damage);
    t.like(await site.commit(), { commit: second.commit, changed: false });
  }
  await fs.rm(site.cache);
  t.like(await site.commit(), { commit: second.commit, changed: false });
});

/** Bytes that this process has read so far, of whatever; proc(5). */
async function readByUs(): Promise<number> {
  return Number(/^rchar: (\d+)/m.exec(await fs.readFile('/proc/self/io', 'utf8'))?.[1]);
}

test('a cache that names another content than the last commit is not believed', async (t) => {
  const site = await testSite(t);
  await fs.writeFile(`${site.data}/a`, 'right');
  await fs.writeFile(`${site.data}/b`, 'other');
  const { commit } = await site.commit();
  const blobs = await Promise.all(['a', 'b'].map(async (name) => (await site.git('rev-parse', `main:data/${name}`)).trim()));
  const cache = await fs.readFile(site.cache, 'utf8');
  await fs.writeFile(site.cache, cache.replace(blobs[0] ?? '', blobs[1] ?? ''));
  t.like(await site.commit(), { commit, changed: false });
});

test('a commit follows files that become directories, links that become files, and what goes away', async (t) => {
  const site = await testSite(t);
  await fs.mkdir(`${site.data}/a/b`, { recursive: true });
  await fs.writeFile(`${site.data}/a/b/c`, '1');
  await fs.writeFile(`${site.data}/d`, '2');
  await fs.symlink('d', `${site.data}/e`);
  await site.commit({ meta: [{ name: 'x/old', content: Buffer.from('old') }] });
  await fs.rm(`${site.data}/a`, { recursive: true });
  await fs.writeFile(`${site.data}/a`, 'now a file');
  await fs.rm(`${site.data}/d`);
  await fs.mkdir(`${site.data}/d`);
  await fs.writeFile(`${site.data}/d/f`, '3');
  await fs.rm(`${site.data}/e`);
  await fs.writeFile(`${site.data}/e`, '4');
  const { commit } = await site.commit({ meta: [{ name: 'x', content: Buffer.from('new') }] });
  t.deepEqual((await site.git('ls-tree', '-r', '--name-only', (await site.commit({ meta: [{ name: 'x/old', content: Buffer.from('old') }] })).commit)).trim().split('\n'), ['data/a', 'data/d/f', 'data/e', 'meta/manifest', 'meta/x/old']);
  await site.commit({ meta: [{ name: 'x', content: Buffer.from('new') }] });
  t.deepEqual((await site.git('ls-tree', '-r', '--name-only', 'main')).trim().split('\n'), ['data/a', 'data/d/f', 'data/e', 'meta/manifest', 'meta/x']);
  await extractSite({ repository: site.repository, commit, into: `${site.root}/out` });
  t.deepEqual(await listing(`${site.root}/out/data`), await listing(site.data));
  // A change of rights alone is one too.
  await fs.chmod(`${site.data}/e`, 0o600);
  t.true((await site.commit({ meta: [{ name: 'x', content: Buffer.from('new') }] })).changed);
  t.regex((await readMeta(site.repository, 'main', 'manifest'))?.toString('latin1') ?? '', /^f 0600 .* e$/m);
});

test('what is excluded stays out, with a star for a part of a name', async (t) => {
  const site = await testSite(t);
  for (const directory of ['cache', 'wp-content/cache', 'wp-content/up', 'tmp.1']) {
    await fs.mkdir(`${site.data}/${directory}`, { recursive: true });
    await fs.writeFile(`${site.data}/${directory}/f`, 'x');
  }
  await fs.writeFile(`${site.data}/caf\u00e9.tmp`, 'x');
  await site.commit({ exclude: ['wp-content/cache', 'tmp.*', 'cache/*', 'caf\u00e9.*'] });
  const items = parseManifest((await readMeta(site.repository, 'main', 'manifest'))?.toString('latin1') ?? '');
  t.deepEqual(items.map(({ path }) => path), ['', 'cache', 'tmp.1', 'wp-content', 'wp-content/cache', 'wp-content/up', 'wp-content/up/f']);
});

test('nothing outside is read while directories and files are exchanged for links all the time', async (t) => {
  const site = await testSite(t);
  const outside = `${site.root}/outside`;
  for (const directory of [`${site.data}/d/deep`, `${outside}/deep`]) await fs.mkdir(directory, { recursive: true });
  for (let n = 0; n < 40; n += 1) await fs.writeFile(`${site.data}/d/deep/f${n}`, `inside ${n}`);
  for (let n = 0; n < 40; n += 1) await fs.writeFile(`${outside}/deep/f${n}`, `SECRET ${n}`);
  await fs.writeFile(`${site.data}/file`, 'inside');
  await fs.writeFile(`${outside}/file`, 'SECRET');
  const script = `
    cd "$1" || exit
    while :; do
      mv d d.aside; ln -s "$2" d; rm d; mv d.aside d
      mv d/deep d/aside; ln -s "$2/deep" d/deep; rm d/deep; mv d/aside d/deep
      mv file file.aside; ln -s "$2/file" file; rm file; mkfifo file; rm file; mv file.aside file
    done`;
  const swapper = spawn('sh', ['-c', script, 'sh', site.data, outside], { stdio: 'ignore' });
  try {
    const end = Date.now() + 8000;
    let rounds = 0;
    for (; Date.now() < end; rounds += 1) {
      await fs.rm(site.cache, { force: true });
      await site.commit();
    }
    t.log(`${rounds} commits`);
  } finally {
    swapper.kill('SIGKILL');
  }
  const blobs = await site.git('cat-file', '--batch-all-objects', '--batch-check=%(objecttype) %(objectname)');
  const texts = await run('sh', ['-c', `git --git-dir "$1" cat-file --batch-all-objects --batch-check='%(objecttype) %(objectname)' | sed -n 's/^blob //p' | git --git-dir "$1" cat-file --batch`, 'sh', site.repository]);
  t.true(blobs.includes('blob '));
  t.true(texts.includes('inside 7'));
  t.false(texts.includes('SECRET'));
});

test('a file that is written to all the time is named, and its neighbours are kept', async (t) => {
  const site = await testSite(t);
  await fs.writeFile(`${site.data}/quiet`, 'x');
  await fs.writeFile(`${site.data}/log`, Buffer.alloc(3_000_000, 'a'));
  const writer = spawn('sh', ['-c', 'while :; do echo line >> "$1"; done', 'sh', `${site.data}/log`], { stdio: 'ignore' });
  try {
    const { warnings, commit } = await site.commit();
    t.regex(warnings.join('\n'), /^log was written to each of the 3 times/);
    t.is((await verifyCommit(site.repository, commit)).files, 2);
  } finally {
    writer.kill('SIGKILL');
  }
  t.like(await site.commit(), { warnings: [], changed: true });
});

test('what a killed run has left is in nobody\'s way, and the branch moves at the very end', async (t) => {
  const site = await testSite(t);
  await fs.writeFile(`${site.data}/a`, 'x');
  const { commit } = await site.commit();
  for (const name of ['HEAD.lock', 'packed-refs.lock', 'config.lock', 'refs/heads/main.lock', 'objects/pack/tmp_pack_abc', 'objects/tmp_objdir-x', 'fast_import_crash_1']) {
    await fs.mkdir(`${site.repository}/refs/sitegen`, { recursive: true });
    await fs.writeFile(`${site.repository}/${name}`, 'x');
    await fs.utimes(`${site.repository}/${name}`, 1, 1);
  }
  await fs.writeFile(`${site.repository}/refs/sitegen/next.lock`, '');
  // A fetch of somebody else is at work on this one.
  const busy = await fs.open(`${site.repository}/objects/pack/tmp_pack_busy`, 'w');
  await fs.utimes(`${site.repository}/objects/pack/tmp_pack_busy`, 1, 1);
  await fs.writeFile(`${site.data}/a`, 'y');
  const next = await site.commit();
  t.true(next.changed);
  t.is((await site.git('rev-parse', 'main~1')).trim(), commit);
  const left = (await run('find', ['.', '-name', '*.lock', '-o', '-name', 'tmp_*', '-o', '-name', 'fast_import*'], site.repository)).trim();
  t.is(left, './objects/pack/tmp_pack_busy');
  await busy.close();
});

test('a commit that is killed at any moment leaves the last one, and the next is whole', async (t) => {
  const site = await testSite(t);
  await fs.writeFile(`${site.data}/big`, Buffer.alloc(20_000_000, 'seed'));
  await site.commit();
  const script = `
    const { commitSite } = await import('./lib/usecases/commit.ts');
    const [dataDir, repository, backupCache] = process.argv.slice(1);
    process.stdout.write('x');
    await commitSite({ names: { domain: 'x', dataDir, repository, backupCache, usersFile: dataDir + '.users' }, exclude: [], meta: [], message: 'x', date: new Date(), signingKey: undefined, report: () => undefined });`;
  for (let round = 0; round < 12; round += 1) {
    const before = (await site.git('rev-parse', 'main')).trim();
    await fs.writeFile(`${site.data}/big`, randomBytes(20_000_000));
    const child = spawn(process.execPath, ['--import=tsx', '--input-type=module', '--eval', script, '--', site.data, site.repository, site.cache], { stdio: ['ignore', 'pipe', 'inherit'], detached: true });
    const ended = new Promise((resolve) => { child.once('close', resolve); });
    await new Promise((resolve) => { child.stdout.once('data', resolve); });
    await new Promise((resolve) => { setTimeout(resolve, round * 60); });
    if (child.pid !== undefined) try { process.kill(-child.pid, 'SIGKILL'); } catch { /* done already */ }
    await ended;
    const after = (await site.git('rev-parse', 'main')).trim();
    t.true(after === before || (await site.git('rev-parse', 'main~1')).trim() === before);
    await verifyCommit(site.repository, after);
  }
  const { commit } = await site.commit();
  await site.git('fsck', '--full');
  await extractSite({ repository: site.repository, commit, into: `${site.root}/out` });
  t.deepEqual(await listing(`${site.root}/out/data`), await listing(site.data));
});

test('a missing data directory and odd names of other files are refused', async (t) => {
  const site = await testSite(t);
  await t.throwsAsync(site.commit({ meta: [{ name: '../x', content: Buffer.from('') }] }));
  await t.throwsAsync(site.commit({ meta: [{ name: 'manifest', content: Buffer.from('') }] }));
  await t.throwsAsync(site.commit({ meta: [{ name: 'x', content: { file: `${site.root}/none` } }] }), { instanceOf: SitegenError });
  await fs.rm(site.data, { recursive: true });
  await t.throwsAsync(site.commit(), { instanceOf: SitegenError, message: /is missing/ });
});
