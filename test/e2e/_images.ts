import { createReadStream } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { lab, type Guest } from './_lab.ts';

const here = import.meta.dirname;

/**
 * Builds an image in a guest, where no registry can be reached: from these files, the guest's
 * static busybox, and the Dockerfile among them. All are executable. Once built it is taken
 * from Docker's cache.
 */
export async function buildImage(guest: Guest, reference: string, files: Readonly<Record<string, string>>, base?: string): Promise<void> {
  const writes = Object.entries(files).map(([name, content]) =>
    `base64 -d >'${name}' <<<'${Buffer.from(content).toString('base64')}'; chmod 755 '${name}'`);
  await guest.sh(`
    cd "$(mktemp -d)"
    cp /usr/bin/busybox .
    ${writes.join('\n')}
    DOCKER_BUILDKIT=0 docker build --quiet ${base === undefined ? '' : `--build-arg BASE=${base}`} --tag ${reference} . >/dev/null
    rm -rf "$PWD"`);
}

/** Debian's WordPress with MariaDB and Apache. Gives the image's name. */
export async function ensureWordpress(guest: Guest): Promise<string> {
  return ensureDebian(guest, 'wordpress');
}

/** The same packages alone, as a base to build on. Gives the image's name. */
export async function ensureWordpressBase(guest: Guest): Promise<string> {
  return ensurePackages(guest, 'wordpress');
}

/** Debian's MariaDB, PostgreSQL and SQLite in one container. Gives the image's name. */
export async function ensureDatabases(guest: Guest): Promise<string> {
  return ensureDebian(guest, 'databases');
}

/** Debian with Node and two versions of Ghost, an older one and a newer, as a base to build on. Gives the image's name, and theirs. */
export async function ensureGhostBase(guest: Guest): Promise<{ base: string; versions: string[] }> {
  const base = await ensurePackages(guest, 'ghost');
  const folders = await guest.sh(`docker run --rm ${base} ls /opt`);
  return { base, versions: folders.split('\n').map((name) => name.replace('ghost-', '')).sort() };
}

/** An image of Debian's packages, made by `_NAME.sh` on this machine. */
async function ensurePackages(guest: Guest, name: string): Promise<string> {
  const { stdout: tar } = await execa(path.join(here, `_${name}.sh`), { stderr: 'inherit' });
  const base = `test/${name}-base:${path.basename(tar, '.tar.zst')}`;
  if ((await guest.run(['docker', 'image', 'inspect', base])).code !== 0) {
    const unpacked = execa('zstd', ['-dcq'], { input: createReadStream(tar), stdout: 'pipe', buffer: false });
    await unpacked.pipe(lab, ['exec', guest.name, '--', 'docker', 'import', '-', base]);
  }
  return base;
}

/** The same with the files of `fixtures/NAME`. */
async function ensureDebian(guest: Guest, name: string): Promise<string> {
  const base = await ensurePackages(guest, name);
  const folder = path.join(here, 'fixtures', name);
  const names = await readdir(folder);
  const files = await Promise.all(names.map(async (file) => [file, await readFile(path.join(folder, file), 'utf8')] as const));
  const reference = `test/${name}:1`;
  await buildImage(guest, reference, Object.fromEntries(files), base);
  return reference;
}
