import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs/promises';
import test, { type ExecutionContext } from 'ava';
import { SitegenError } from '../../../lib/pure/errors.ts';
import { commitSite } from '../../../lib/usecases/commit.ts';
import { extractSite, verifyCommit } from '../../../lib/usecases/extract.ts';
import { run, testSite } from '../_data.ts';

/** Mounts something for the time of a test; false, with a word, where that cannot be done. */
async function mounted(t: ExecutionContext, at: string, script: string): Promise<boolean> {
  await fs.mkdir(at, { recursive: true });
  try {
    await run('sh', ['-ec', script, 'sh', at]);
  } catch (error) {
    t.log(`not tried, as nothing can be mounted here: ${String(error).split('\n').at(-2) ?? ''}`);
    t.pass();
    return false;
  }
  t.teardown(() => run('umount', ['--lazy', at]));
  return true;
}

const full = { instanceOf: SitegenError, message: /room|full|space/i } as const;

test('without room nothing is begun; a disk that fills up meanwhile leaves the history as it was', async (t) => {
  const site = await testSite(t);
  const disk = `${site.root}/disk`;
  if (!await mounted(t, disk, 'mount -t tmpfs -o size=220m none "$1"')) return;
  const names = { domain: 'x.example.com', dataDir: site.data, repository: `${disk}/x.git`, backupCache: `${site.root}/cache`, usersFile: `${site.root}/users` };
  const commit = () => commitSite({ names, exclude: [], meta: [], message: 'x', date: new Date(), signingKey: undefined, report: () => undefined, settled: 0n });
  const git = (...args: string[]) => run('git', ['--git-dir', names.repository, ...args]);
  await fs.writeFile(`${site.data}/a`, 'x');
  const { commit: first } = await commit();

  await fs.writeFile(`${site.data}/large`, randomBytes(180_000_000));
  await t.throwsAsync(commit(), { instanceOf: SitegenError, message: /no room to back up x\.example\.com: .* are free/ });

  await fs.truncate(`${site.data}/large`, 140_000_000);
  const failing = commit();
  const filler = spawn('sh', ['-c', 'sleep 0.4; head -c 300m /dev/zero > "$1/filler"', 'sh', disk], { stdio: 'ignore' });
  await t.throwsAsync(failing, full);
  await new Promise((resolve) => { if (filler.exitCode === null) filler.once('close', resolve); else resolve(undefined); });
  t.is((await git('rev-parse', 'main')).trim(), first);
  await git('fsck', '--full');
  t.is((await run('find', [names.repository, '-name', 'tmp_*'])).trim(), '');

  await fs.rm(`${disk}/filler`);
  const { commit: second } = await commit();
  await verifyCommit(names.repository, second);
  // The same at the other end.
  await fs.writeFile(`${disk}/filler`, Buffer.alloc(40_000_000));
  await t.throwsAsync(extractSite({ repository: names.repository, commit: second, into: `${disk}/out` }), full);
  await t.throwsAsync(fs.lstat(`${disk}/out`), { code: 'ENOENT' });
});

test('where files can share blocks, each is as it was at one moment, though it is written to all the time', async (t) => {
  const site = await testSite(t);
  const disk = `${site.root}/disk`;
  if (!await mounted(t, disk, `truncate -s 400M "${site.root}/image"; mkfs.xfs -q "${site.root}/image"; mount -o loop "${site.root}/image" "$1"`)) return;
  await fs.mkdir(`${disk}/site/data`, { recursive: true });
  const names = { domain: 'x.example.com', dataDir: `${disk}/site/data`, repository: site.repository, backupCache: site.cache, usersFile: `${site.root}/users` };
  await fs.writeFile(`${names.dataDir}/database`, Buffer.alloc(8_000_000, 'a'));
  // Each write is one call, which others see whole or not at all.
  const script = `
    const fs = require('node:fs');
    const fd = fs.openSync(process.argv[1], 'r+');
    for (let n = 0; ; n += 1) fs.writeSync(fd, Buffer.alloc(8_000_000, 97 + n % 26), 0, 8_000_000, 0);`;
  const writer = spawn(process.execPath, ['--eval', script, `${names.dataDir}/database`], { stdio: 'ignore' });
  try {
    const seen = new Set<string>();
    for (let round = 0; round < 6; round += 1) {
      const { commit, warnings } = await commitSite({ names, exclude: [], meta: [], message: 'x', date: new Date(), signingKey: undefined, report: () => undefined });
      const content = await run('git', ['--git-dir', site.repository, 'cat-file', 'blob', `${commit}:data/database`]);
      seen.add(content[0] ?? '');
      t.is(content.length, 8_000_000);
      t.true(content === content.slice(0, 1).repeat(8_000_000), `round ${round}: torn; ${warnings.join()}`);
    }
    t.true(seen.size > 1);
  } finally {
    writer.kill('SIGKILL');
  }
  t.deepEqual(await fs.readdir(`${disk}/site`), ['data']);
});

test('what is on another file system is backed up, and named', async (t) => {
  const site = await testSite(t);
  if (!await mounted(t, `${site.data}/mnt`, 'mount -t tmpfs -o size=1m none "$1"; echo there > "$1/file"')) return;
  const { commit, warnings } = await site.commit();
  t.deepEqual(warnings, ['mnt is on another file system, which a restore puts on this one']);
  await extractSite({ repository: site.repository, commit, into: `${site.root}/out` });
  t.is(await fs.readFile(`${site.root}/out/data/mnt/file`, 'utf8'), 'there\n');
});

test('paths too long to be made again, and files that claim to be larger than the disk, are named', async (t) => {
  const site = await testSite(t);
  // Node's own way of removing trees needs whole paths.
  t.teardown(() => run('rm', ['-rf', site.data]));
  await run('sh', ['-ec', 'for n in $(seq 40); do mkdir -p $(printf d%0199d 0); cd $(printf d%0199d 0); done; echo x > deep', 'sh'], site.data).catch(() => undefined);
  await run('sh', ['-ec', 'mkdir many; cd many; for n in $(seq 1200); do mkdir d; cd ./d; done'], site.data);
  await run('truncate', ['-s', '15T', `${site.data}/claims`]);
  const { commit, warnings } = await site.commit();
  t.is(warnings.length, 3);
  t.regex(warnings.join('\n'), /d0000.*… was left out: its path is too long/);
  t.regex(warnings.join('\n'), /many\/d\/d.*… was left out: its path is too long/);
  t.regex(warnings.join('\n'), /claims was left out: it claims to be larger than the disk/);
  await site.git('fsck', '--full', '--strict');
  await extractSite({ repository: site.repository, commit, into: `${site.root}/out` });
  t.pass();
});
