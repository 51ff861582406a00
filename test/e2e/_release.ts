import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { lab, type Guest } from './_guest.ts';

const tree = path.resolve(import.meta.dirname, '../..');

/** What `scripts/release` has made of a version. */
export interface Release {
  version: string;
  archive: string;
  package: string;
}

/**
 * Builds this work tree as a release of a version, in a folder.
 * @param change is given a copy of the tree before that
 */
export async function buildRelease(folder: string, version: string, change: (copy: string) => Promise<void> = () => Promise.resolve()): Promise<Release> {
  const copy = await mkdtemp(path.join(os.tmpdir(), 'sitegen-tree-'));
  const out = path.join(folder, version);
  try {
    const { stdout } = await execa('git', ['-c', 'safe.directory=*', 'ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: tree });
    for (const file of stdout.split('\0').filter((name) => name !== '')) {
      await mkdir(path.dirname(path.join(copy, file)), { recursive: true });
      await cp(path.join(tree, file), path.join(copy, file)).catch((error: unknown) => { if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error; });
    }
    await symlink(path.join(tree, 'node_modules'), path.join(copy, 'node_modules'));
    const manifest = path.join(copy, 'package.json');
    await writeFile(manifest, (await readFile(manifest, 'utf8')).replace(/"version": ".*"/, `"version": "${version}"`));
    await change(copy);
    await execa('./scripts/release', [out], { cwd: copy, env: { SOURCE_DATE_EPOCH: '1700000000', GIT_CEILING_DIRECTORIES: os.tmpdir() }, timeout: 600_000 });
  } finally {
    await rm(copy, { recursive: true, force: true });
  }
  return { version, archive: path.join(out, `sitegen-${version}.tar.gz`), package: path.join(out, `sitegen_${version}_all.deb`) };
}

/** Copies a release into a guest: unpacked to /root/VERSION, the package beside it as /root/VERSION.deb. */
export async function bring(guest: Guest, { version, archive, package: deb }: Release): Promise<void> {
  const into = (file: string, script: string) => execa(lab, ['exec', guest.name, '--', 'sh', '-ec', script], { inputFile: file, timeout: 120_000 });
  await into(archive, `rm -rf /root/${version}; mkdir /root/${version}; tar -xz -C /root/${version} --strip-components=1`);
  await into(deb, `cat >/root/${version}.deb`);
}
