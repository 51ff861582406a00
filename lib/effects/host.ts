import { execFile } from 'node:child_process';
import fs from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';

/** Looks at the machine as it was installed. Nothing here changes anything, but `setSysctls`. */

const execute = promisify(execFile);

/** Where systemd looks for programs of units (systemd.exec(5), `ExecSearchPath=`). */
const unitPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

const environment = { PATH: unitPath, LC_ALL: 'C' };

async function textOf(file: string): Promise<string | undefined> {
  return fs.readFile(file, 'utf8').catch(() => undefined);
}

/** ID, VERSION_ID and PRETTY_NAME of os-release(5); empty where it says nothing. */
export async function osRelease(): Promise<{ id: string; version: string; name: string }> {
  const text = (await textOf('/etc/os-release')) ?? '';
  const value = (key: string) => (new RegExp(`^${key}=(.*)$`, 'm').exec(text)?.[1] ?? '').replace(/^"(.*)"$/, '$1');
  return { id: value('ID'), version: value('VERSION_ID'), name: value('PRETTY_NAME') };
}

/** What `node --version` says where units look for it; undefined when there is none. */
export async function nodeOfUnits(): Promise<string | undefined> {
  return execute('node', ['--version'], { env: environment }).then(({ stdout }) => stdout.trim().replace(/^v/, ''), () => undefined);
}

/** Those of some programs that units would not find. */
export async function missingPrograms(names: readonly string[]): Promise<string[]> {
  const found = await Promise.all(names.map(async (name) => name.startsWith('/') ? await isProgram(name)
    : (await Promise.all(unitPath.split(':').map((directory) => isProgram(`${directory}/${name}`)))).includes(true)));
  return names.filter((_, index) => found[index] !== true);
}

async function isProgram(file: string): Promise<boolean> {
  return fs.access(file, fs.constants.X_OK).then(() => true, () => false);
}

/** Whether systemd-timedated says that the clock is synchronised; undefined where it cannot be asked. */
export async function isSynchronized(): Promise<boolean | undefined> {
  const { stdout } = await execute('timedatectl', ['show', '--property=NTPSynchronized', '--value'], { env: environment, timeout: 10_000 }).catch(() => ({ stdout: '' }));
  return stdout.trim() === '' ? undefined : stdout.trim() === 'yes';
}

/** Packages whose updates wait for a reboot, as Debian's and Ubuntu's hooks note them; undefined when none does. */
export async function waitingForReboot(): Promise<string[] | undefined> {
  if (await textOf('/run/reboot-required') === undefined) return undefined;
  return [...new Set(((await textOf('/run/reboot-required.pkgs')) ?? '').split('\n').filter((line) => line !== ''))];
}

/** A number of the kernel's, such as `fs.inotify.max_user_instances`; undefined where this kernel has none of this name. */
export async function sysctl(name: string): Promise<number | undefined> {
  // sysctl(8): dots and slashes change places.
  const text = await textOf(`/proc/sys/${name.replaceAll('.', '/')}`);
  return text === undefined ? undefined : Number(text.trim().split(/\s+/).at(-1));
}

/** Puts a file of sysctl.d(5) in force. @throws what systemd-sysctl says */
export async function setSysctls(file: string): Promise<void> {
  await execute('/usr/lib/systemd/systemd-sysctl', [file]);
}

/** Sets one number of the kernel's until the next boot. */
export async function setSysctl(name: string, value: string): Promise<void> {
  await fs.writeFile(`/proc/sys/${name.replaceAll('.', '/')}`, value);
}

/** The file systems that some directories are on, once each; directories that are not there count as those above them. */
export async function fileSystems(directories: readonly string[]): Promise<{ used: string[]; freeBytes: number; sizeBytes: number; freeInodes: number; inodes: number; writable: boolean }[]> {
  const found = new Map<number, { used: string[]; at: string }>();
  for (const directory of directories) {
    const at = await nearest(directory);
    const { dev } = await fs.stat(at);
    const known = found.get(dev);
    if (known) known.used.push(directory);
    else found.set(dev, { used: [directory], at });
  }
  // A part of a file system can be mounted read-only.
  const mayWrite = async (directory: string) => fs.access(await nearest(directory), fs.constants.W_OK).then(() => true, () => false);
  return Promise.all([...found.values()].map(async ({ used, at }) => {
    const { bavail, bfree, blocks, bsize, ffree, files } = await fs.statfs(at);
    // As df(1) has it: what is reserved for root is neither free nor counted.
    const usable = blocks - (bfree - bavail);
    return { used, freeBytes: bavail * bsize, sizeBytes: usable * bsize, freeInodes: ffree, inodes: files, writable: !(await Promise.all(used.map((directory) => mayWrite(directory)))).includes(false) };
  }));
}

async function nearest(directory: string): Promise<string> {
  return fs.stat(directory).then(() => directory, () => (directory === '/' ? '/' : nearest(path.dirname(directory))));
}

/** Mode and owner of a file; undefined when there is none. */
export async function modeOf(file: string): Promise<{ mode: number; uid: number } | undefined> {
  return fs.stat(file).then(({ mode, uid }) => ({ mode: mode & 0o7777, uid }), () => undefined);
}

/** Loaded units of ours whose files systemd has read in another form than they are now. */
export async function changedUnits(patterns: readonly string[]): Promise<string[]> {
  const { stdout } = await execute('systemctl', ['show', '--property=Id,NeedDaemonReload', ...patterns], { env: environment, maxBuffer: 64 * 1024 ** 2 }).catch(() => ({ stdout: '' }));
  return stdout.split('\n\n').flatMap((unit) => (/^NeedDaemonReload=yes$/m.test(unit) ? (/^Id=(.*)$/m.exec(unit)?.[1] ?? []) : []));
}
