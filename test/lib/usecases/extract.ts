import { spawnSync } from 'node:child_process';
import fs from 'node:fs/promises';
import test from 'ava';
import { SitegenError } from '../../../lib/pure/errors.ts';
import { extractSite, readMeta, verifyCommit } from '../../../lib/usecases/extract.ts';
import { listing, run, testSite, type TestSite } from '../_data.ts';

const refused = { instanceOf: SitegenError } as const;

async function filled(site: TestSite): Promise<void> {
  await fs.mkdir(`${site.data}/a/b`, { recursive: true });
  await fs.writeFile(`${site.data}/a/b/c`, 'one');
  await fs.writeFile(`${site.data}/a/d`, 'two');
  await fs.writeFile(`${site.data}/e`, Buffer.alloc(3_000_000, 'three'));
  await fs.symlink('/etc/shadow', `${site.data}/l`);
  await site.commit({ meta: [{ name: 'site.yaml', content: Buffer.from('domain: x') }] });
}

/** Makes a commit of its own with files changed as a script says, which knows $GIT_INDEX_FILE. */
function forge(site: TestSite, script: string): string {
  const { stdout, stderr } = spawnSync('sh', ['-ec', `git read-tree main; ${script}; git commit-tree -m x "$(git write-tree)"`], {
    env: { ...process.env, GIT_DIR: site.repository, GIT_WORK_TREE: site.root, GIT_INDEX_FILE: `${site.root}/index`, GIT_AUTHOR_NAME: 'x', GIT_AUTHOR_EMAIL: 'x', GIT_COMMITTER_NAME: 'x', GIT_COMMITTER_EMAIL: 'x' }, encoding: 'utf8',
  });
  if (stdout === '') throw new Error(stderr);
  return stdout.trim();
}

test('what a commit says beside its manifest is refused, and nothing is left of the attempt', async (t) => {
  const site = await testSite(t);
  await filled(site);
  const blob = 'blob=$(echo evil | git hash-object -w --stdin)';
  const manifest = (edit: string) => `m=$(git show main:meta/manifest | ${edit} | git hash-object -w --stdin); git update-index --add --cacheinfo 100644,$m,meta/manifest`;
  for (const [why, script] of [
    [/e is not what its manifest says/, `${blob}; git update-index --cacheinfo 100644,$blob,data/e`],
    [/e is not what its manifest says/, 'git update-index --cacheinfo 100755,$(git rev-parse main:data/e),data/e'],
    [/data\/new is not in its manifest/, `${blob}; git update-index --add --cacheinfo 100644,$blob,data/new`],
    [/other is not in its manifest/, `${blob}; git update-index --add --cacheinfo 100644,$blob,other`],
    [/data\/sub is not in its manifest/, 'git update-index --add --cacheinfo 160000,$(git rev-parse main),data/sub'],
    [/meta\/link does not belong there/, `${blob}; git update-index --add --cacheinfo 120000,$blob,meta/link`],
    [/data\/a\/d is missing/, 'git update-index --force-remove data/a/d'],
    [/no manifest/, 'git update-index --force-remove meta/manifest'],
    [/manifest .* damaged in line/, manifest('sed "s, a/d$, a/../../d,"')],
    [/manifest .* damaged in line/, manifest('sed "s,^d \\(.*\\) a$,l \\1 a /etc,"')],
    [/e is not what its manifest says/, manifest('sed "/ e$/s,[0-9a-f]\\{40\\},0000000000000000000000000000000000000000,"')],
    [/"?data\/e"?: it has/, manifest('sed "/ e$/s, 3000000 , 3000001 ,"')],
    [/l is not what its manifest says/, manifest('sed "s,/etc/shadow,/etc/passwd,"')],
  ] as const) {
    const commit = forge(site, script);
    await t.throwsAsync(extractSite({ repository: site.repository, commit, into: `${site.root}/out` }), { ...refused, message: why }, script);
    await t.throwsAsync(fs.lstat(`${site.root}/out`), { code: 'ENOENT' });
    await t.throwsAsync(verifyCommit(site.repository, commit), { ...refused, message: why }, script);
  }
});

test('a repository with damaged or missing objects is refused', async (t) => {
  for (const damage of ['truncate -s 0 $f', 'truncate -s -30 $f', 'printf XXXX | dd of=$f bs=1 seek=3000 conv=notrunc status=none', 'rm $f']) {
    const site = await testSite(t);
    await filled(site);
    await run('sh', ['-c', `for f in objects/pack/*.pack; do chmod u+w $f; ${damage}; done`], site.repository);
    await t.throwsAsync(extractSite({ repository: site.repository, commit: 'main', into: `${site.root}/out` }), refused, damage);
    await t.throwsAsync(fs.lstat(`${site.root}/out`), { code: 'ENOENT' });
  }
});

test('an object that is not what its name says is found where git itself does not look', async (t) => {
  const site = await testSite(t);
  await filled(site);
  // Loose objects have no checksum but their name: another one under its name reads without a complaint.
  await run('sh', ['-c', 'mv objects/pack/*.pack p; rm -f objects/pack/*; git --git-dir . unpack-objects -q < p; good=$(git rev-parse main:data/a/d); bad=$(printf two | tr o X | git --git-dir . hash-object -w --stdin); f() { echo objects/$(echo $1 | cut -c1-2)/$(echo $1 | cut -c3-); }; chmod u+w $(f $good); cat $(f $bad) > $(f $good)'], site.repository);
  t.is(await site.git('show', 'main:data/a/d'), 'twX');
  await t.throwsAsync(verifyCommit(site.repository, 'main'), { ...refused, message: /data\/a\/d/ });
});

test('single files and directories come with the directories that they are in', async (t) => {
  const site = await testSite(t);
  await filled(site);
  t.deepEqual(await extractSite({ repository: site.repository, commit: 'main', into: `${site.root}/out`, paths: ['a/b'] }), { files: 1, bytes: 3 });
  t.deepEqual((await run('find', ['.', '-path', './meta', '-prune', '-o', '-type', 'f', '-print'], `${site.root}/out`)).trim(), './data/a/b/c');
  await t.throwsAsync(extractSite({ repository: site.repository, commit: 'main', into: `${site.root}/out2`, paths: ['a/nothing'] }), { ...refused, message: /there is no a\/nothing/ });
  await extractSite({ repository: site.repository, commit: 'main', into: `${site.root}/out3`, paths: [''] });
  t.deepEqual(await listing(`${site.root}/out3/data`), await listing(site.data));
});

test('a directory that is there already is left alone', async (t) => {
  const site = await testSite(t);
  await filled(site);
  await fs.mkdir(`${site.root}/out`);
  await fs.writeFile(`${site.root}/out/mine`, 'x');
  await t.throwsAsync(extractSite({ repository: site.repository, commit: 'main', into: `${site.root}/out` }), refused);
  t.is(await fs.readFile(`${site.root}/out/mine`, 'utf8'), 'x');
});

test('settings are read from a commit, and what it has not is told from what cannot be read', async (t) => {
  const site = await testSite(t);
  await filled(site);
  t.is((await readMeta(site.repository, 'main', 'site.yaml'))?.toString(), 'domain: x');
  t.is(await readMeta(site.repository, 'main', 'none'), undefined);
  t.is(await readMeta(site.repository, 'main', 'site.yaml/x'), undefined);
  await t.throwsAsync(readMeta(site.repository, 'refs/heads/none', 'site.yaml'), refused);
  await t.throwsAsync(readMeta(`${site.root}/nowhere`, 'main', 'site.yaml'), refused);
});
