import { randomBytes } from 'node:crypto';
import fs from 'node:fs/promises';
import test from 'ava';
import { attributes } from '../../../../lib/effects/git/import.ts';
import { checkRepository, repack, repositorySize } from '../../../../lib/effects/git/maintain.ts';
import { cutHistory } from '../../../../lib/effects/git/retain.ts';
import { SitegenError } from '../../../../lib/pure/errors.ts';
import { extractSite, verifyCommit } from '../../../../lib/usecases/extract.ts';
import { run, testSite, type TestSite } from '../../_data.ts';

/** A dump of rows that resemble each other as little as those of a database do. */
function dumpOf(rows: number, changed: number): Buffer {
  const row = (n: number, version: number) => `${n},${Buffer.from(`${n * 7919 % 104_729}:${version}`).toString('base64').repeat(8)}\n`;
  return Buffer.from(Array.from({ length: rows }, (_, n) => row(n, n % 100 === changed % 100 ? changed : 0)).join(''));
}

const dump = (content: Buffer) => ({ meta: [{ name: 'dump/dump.sql', content }] });

async function isDelta(site: TestSite, path: string): Promise<boolean> {
  const base = await run('sh', ['-c', 'git --git-dir "$1" rev-parse "$2" | git --git-dir "$1" cat-file --batch-check="%(deltabase)"', 'sh', site.repository, path]);
  return !/^0{40}/.test(base);
}

test('a repack keeps dumps as differences and uploads whole, and reads as before', async (t) => {
  const site = await testSite(t);
  await fs.writeFile(`${site.data}/a.txt`, 'text '.repeat(50_000));
  for (let n = 0; n < 300; n += 1) await fs.writeFile(`${site.data}/small-${n}`, String(n));
  for (let hour = 0; hour < 6; hour += 1) {
    await fs.appendFile(`${site.data}/a.txt`, `${hour}`);
    await fs.writeFile(`${site.data}/picture-${hour}`, randomBytes(50_000));
    await site.commit(dump(dumpOf(20_000, hour)));
  }
  t.is(await fs.readFile(`${site.repository}/info/attributes`, 'utf8'), attributes);
  const commit = (await site.git('rev-parse', 'main')).trim();
  const { before, after } = await repack(site.repository);
  t.true(after < before / 2, `${before} -> ${after}`);
  t.is((await repositorySize(site.repository)).packs, 1 + Number((await fs.readdir(`${site.repository}/objects/pack`)).some((name) => name.endsWith('.mtimes'))));
  t.true((await Promise.all(['main', 'main~5'].map((at) => isDelta(site, `${at}:meta/dump/dump.sql`)))).some(Boolean));
  t.true((await Promise.all(['main', 'main~5'].map((at) => isDelta(site, `${at}:meta/manifest`)))).some(Boolean));
  for (const at of ['main', 'main~1', 'main~5']) t.false(await isDelta(site, `${at}:data/a.txt`));
  await checkRepository(site.repository);
  t.is((await verifyCommit(site.repository, 'main~5')).files, 302);
  t.is((await verifyCommit(site.repository, 'main')).commit, commit);
});

test('a full check finds what reading a branch does not', async (t) => {
  const site = await testSite(t);
  await fs.writeFile(`${site.data}/a`, 'x');
  await site.commit();
  await fs.writeFile(`${site.data}/a`, 'y');
  await site.commit();
  await checkRepository(site.repository);
  await run('sh', ['-c', 'for f in objects/pack/*.pack; do chmod u+w $f; printf XX | dd of=$f bs=1 seek=60 conv=notrunc status=none; done'], site.repository);
  await t.throwsAsync(checkRepository(site.repository), { instanceOf: SitegenError });
});

test('after old history was cut off, commits, pushes, clones and restores go on', async (t) => {
  const site = await testSite(t);
  const server = `${site.root}/server.git`;
  await run('git', ['init', '-q', '--bare', '-b', 'main', server]);
  await run('git', ['--git-dir', server, 'config', 'receive.fsckObjects', 'true']);
  const hour = async (n: number) => {
    await fs.writeFile(`${site.data}/upload-${n % 3}`, randomBytes(100_000));
    return (await site.commit(dump(dumpOf(2000, n)))).commit;
  };
  const commits: string[] = [];
  for (let n = 0; n < 6; n += 1) commits.push(await hour(n));
  await site.git('push', '-q', server, 'main');
  const { bytes: whole } = await repositorySize(site.repository);
  t.true(await cutHistory(site.repository, commits[4] ?? '', undefined));
  t.true((await repositorySize(site.repository)).bytes < whole);
  await checkRepository(site.repository);
  t.is((await site.git('rev-list', '--count', 'main')).trim(), '2');

  // A server that has the rest takes what is new, and keeps all.
  const next = await hour(6);
  await repack(site.repository);
  await site.git('push', '-q', server, 'main');
  t.is((await run('git', ['--git-dir', server, 'rev-list', '--count', 'main'])).trim(), '7');
  await run('git', ['--git-dir', server, 'fsck', '--full', '--strict']);
  await verifyCommit(server, commits[0] ?? '');

  // A new one takes what is left when it is told to.
  const empty = `${site.root}/empty.git`;
  await run('git', ['init', '-q', '--bare', '-b', 'main', empty]);
  await t.throwsAsync(site.git('push', '-q', empty, 'main'), { message: /shallow update not allowed/ });
  await run('git', ['--git-dir', empty, 'config', 'receive.shallowUpdate', 'true']);
  await site.git('push', '-q', empty, 'main');
  await run('git', ['--git-dir', empty, 'fsck', '--full']);
  await extractSite({ repository: empty, commit: next, into: `${site.root}/out` });
  t.is((await fs.readdir(`${site.root}/out/data`)).length, 3);
});
