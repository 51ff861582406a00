import { execFile } from 'node:child_process';
import fs from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { mountOf, offersProjects, parseMounts, parseProjects, parseProjid, wholeBlocks, type Mount } from '../pure/disk-quota.ts';
import { SitegenError } from '../pure/errors.ts';

/**
 * Project quotas of ext4 and XFS, through chattr(1), lsattr(1) and setquota(8), which know both.
 * Nothing is written down: the number is on the directory, the limit with the file system.
 */

const run = promisify(execFile);
const environment = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' };

/** All that is mounted, for those who ask about many directories. */
export async function readMounts(): Promise<Mount[]> {
  return parseMounts(await fs.readFile('/proc/self/mountinfo', 'utf8'));
}

async function realBelow(directory: string): Promise<string> {
  return fs.realpath(directory).catch(async () => (directory === '/' ? '/' : path.join(await realBelow(path.dirname(directory)), path.basename(directory))));
}

/** Where the file system of a directory, there or not yet, is mounted, if it offers quotas of projects; else undefined. */
export async function projectMount(directory: string, mounts?: readonly Mount[]): Promise<string | undefined> {
  const mount = mountOf(mounts ?? await readMounts(), await realBelow(directory));
  return offersProjects(mount) ? mount?.point : undefined;
}

/** What the kernel holds a directory's files to, and what it has counted of them. */
export interface Quota {
  usedBytes: number;
  limitBytes: number;
}

/**
 * What a directory's quota says, asked of statfs(2), which answers for the project of a directory that
 * hands it down (ext4_statfs_project, xfs_fs_statfs). Undefined where no quota is in force, or one that
 * is larger than the file system.
 */
export async function quotaInForce(directory: string, mounts?: readonly Mount[]): Promise<Quota | undefined> {
  const point = await projectMount(directory, mounts);
  if (point === undefined) return undefined;
  const [own, all] = await Promise.all([fs.statfs(directory), fs.statfs(point)].map((each) => each.catch(() => undefined)));
  if (!own || !all || own.blocks === all.blocks) return undefined;
  return { usedBytes: (own.blocks - own.bfree) * own.bsize, limitBytes: own.blocks * own.bsize };
}

/** Projects of directories; 0 for none. Those that are missing are left out. */
export async function projectsOf(directories: readonly string[]): Promise<Map<string, number>> {
  if (directories.length === 0) return new Map();
  const { stdout } = await run('lsattr', ['-p', '-d', '--', ...directories], { env: environment, maxBuffer: 64 * 1024 ** 2 })
    .catch((error: unknown) => ({ stdout: (error as { stdout?: string }).stdout ?? '' }));
  return parseProjects(stdout);
}

/** Numbers that the admin has given names. */
export async function namedProjects(): Promise<number[]> {
  return parseProjid(await fs.readFile('/etc/projid', 'utf8').catch(() => ''));
}

/**
 * Puts a tree into a project, which what is made in it later inherits. Links are left alone. Nobody
 * may be changing the tree meanwhile: paths are followed, and a link in the way would lead elsewhere.
 */
export async function joinProject(tree: string, project: number): Promise<void> {
  const of = (type: string, flags: readonly string[]) => quotaTool('find', [tree, '-xdev', '-type', type, '-exec', 'chattr', '-p', String(project), ...flags, '--', '{}', '+']);
  await of('d', ['+P']);
  await of('f', []);
}

/** Sets what a project may take; 0 bytes for no limit. @param point where its file system is mounted */
export async function setProjectLimit(point: string, project: number, bytes: number): Promise<void> {
  // In KiB, soft and hard, then numbers of files.
  const kib = bytes === 0 ? 0 : wholeBlocks(bytes) / 1024;
  await quotaTool('setquota', ['-P', String(project), '0', String(kib), '0', '0', point]);
}

/** Programs of this that are missing, with their Debian packages. */
export async function missingQuotaTools(): Promise<{ program: string; package: string }[]> {
  const needed = [{ program: 'chattr', package: 'e2fsprogs' }, { program: 'lsattr', package: 'e2fsprogs' }, { program: 'setquota', package: 'quota' }];
  const isThere = async (program: string) => (await Promise.all(environment.PATH.split(':').map((folder) => fs.access(`${folder}/${program}`).then(() => true, () => false)))).includes(true);
  const found = await Promise.all(needed.map(({ program }) => isThere(program)));
  return needed.filter((_, index) => found[index] !== true);
}

async function quotaTool(program: string, args: readonly string[]): Promise<void> {
  try {
    await run(program, args, { env: environment });
  } catch (error) {
    const { stderr = '', code } = error as { stderr?: string; code?: string | number };
    const why = code === 'ENOENT' ? 'it is not installed' : stderr.trim().split('\n').at(-1) ?? String(code);
    throw new SitegenError(`${program} cannot set a disk quota: ${why}`, { hint: 'see: sitegen doctor; apt-get install quota e2fsprogs', cause: error });
  }
}
