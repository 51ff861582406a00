import { formatBytes } from '../quantities.ts';
import { atLeast, error, listed, ok, unlessNone, warning, type Verdict } from './verdict.ts';

/** Judges the machine itself. */

/** @param release os-release(5)'s ID, VERSION_ID and PRETTY_NAME */
export function judgeOs({ id, version, name }: { id: string; version: string; name: string }): Verdict {
  // Debian's testing has no version.
  const known = (id === 'debian' && (version === '' || atLeast(version, '12'))) || (id === 'ubuntu' && atLeast(version, '24.04'));
  return known ? ok(name) : warning(`${name === '' ? 'an unknown system' : name}: sitegen was never tried there`, 'Ubuntu 24.04 or later, or Debian 12 or later, is meant');
}

/** @param release as uname(2) has it */
export function judgeKernel(release: string): Verdict {
  // cgroup.freeze: 5.2; cgroup.kill: 5.14; memory.reclaim: 5.19.
  if (!atLeast(release, '5.14')) return error(`Linux ${release}: sites cannot be frozen reliably`, 'install a kernel of 5.19 or later');
  if (!atLeast(release, '5.19')) return warning(`Linux ${release}: frozen sites keep their memory until others need it`, 'install a kernel of 5.19 or later, which has memory.reclaim');
  return ok(`Linux ${release}`);
}

/** @param controllers of the root group; undefined where cgroup v2 is not mounted at /sys/fs/cgroup */
export function judgeCgroup(controllers: readonly string[] | undefined): Verdict {
  if (!controllers) return error('cgroup v2 is not used alone', 'boot with systemd.unified_cgroup_hierarchy=1');
  const missing = ['memory', 'pids', 'cpu', 'io'].filter((name) => !controllers.includes(name));
  if (missing.length === 0) return ok(`v2 with ${controllers.join(', ')}`);
  const what = `the kernel does not offer the controller${missing.length > 1 ? 's' : ''} ${missing.join(', ')}: limits for that have no effect`;
  return missing.includes('memory') ? error(what, 'boot with cgroup_enable=memory; in a container, have its host delegate the controllers')
    : warning(what, 'use a kernel that has them; in a container, have its host delegate them');
}

export function judgeSystemd(version: string): Verdict {
  return atLeast(version, '252') ? ok(version) : error(`systemd ${version} is too old`, 'systemd 252 or later is needed: upgrade the system');
}

/** @param version what `node --version` says where units look for it; undefined when it is missing there */
export function judgeNode(version: string | undefined): Verdict {
  if (version === undefined) return error('units find no program called node', 'install it for all users: apt-get install nodejs');
  return atLeast(version, '18.19') ? ok(version) : error(`Node ${version} is too old for what units run`, 'Node 18.19 or later is needed');
}

/** Debian's packages of the programs that are run, by name. */
export const neededPrograms: Readonly<Record<string, string>> = {
  docker: 'docker-cli', nft: 'nftables', ip: 'iproute2', ss: 'iproute2', iptables: 'iptables', curl: 'curl', nc: 'netcat-openbsd', flock: 'util-linux', busybox: 'busybox-static',
  haproxy: 'haproxy', nginx: 'nginx', git: 'git', ssh: 'openssh-client', 'ssh-keygen': 'openssh-client', openssl: 'openssl', journalctl: 'systemd',
};

export function judgePrograms(missing: readonly string[]): Verdict {
  const packages = [...new Set(missing.map((name) => neededPrograms[name] ?? name))];
  return missing.length === 0 ? ok(`all ${Object.keys(neededPrograms).length} are there`) : error(`missing: ${missing.join(', ')}`, `apt-get install ${packages.join(' ')}`);
}

/**
 * @param clock synchronized: what systemd-timedated says, undefined where there is none; newest: the
 *   latest time that sitegen has ever written down, ms since 1970
 */
export function judgeClock({ synchronized, nowMs, newestMs }: { synchronized: boolean | undefined; nowMs: number; newestMs: number | undefined }): Verdict {
  if (newestMs !== undefined && newestMs - nowMs > 5 * 60_000) {
    return error(`it is ${new Date(nowMs).toISOString()} here, and something was written on ${new Date(newestMs).toISOString()}`, 'set the clock: certificates and backups go by it');
  }
  if (synchronized === false) return warning('it is synchronised with no other clock', 'install and enable one: apt-get install systemd-timesyncd; timedatectl set-ntp true');
  return ok(synchronized === undefined ? 'whether it is synchronised cannot be told here' : 'it is synchronised');
}

export function judgeReboot(packages: readonly string[] | undefined): Verdict {
  return packages ? warning(`updates wait for a reboot${packages.length > 0 ? `: ${listed(packages)}` : ''}`, 'systemctl reboot; sites are dumped before, and wake again afterwards') : ok('none');
}

/**
 * @param limits of sysctl.d, and as they are; `actual` undefined for those that this kernel does not have.
 *   Undefined when the file itself is missing.
 */
export function judgeKernelLimits(limits: readonly { name: string; wanted: number; optional: boolean; actual: number | undefined }[] | undefined): Verdict[] {
  if (!limits) return [error('the file with sitegen\'s limits is missing', 'run install.sh again')];
  const low = limits.filter(({ wanted, actual, optional }) => (actual === undefined ? !optional : actual < wanted));
  return unlessNone(low.map(({ name, wanted, actual }) => warning(`${name} is ${actual ?? 'missing'}, and ${wanted} is meant: many containers at once may fail`,
    'raise it: systemctl restart systemd-sysctl; if that does not help, another file of /etc/sysctl.d sets it lower', { do: 'sysctl' })), `${limits.length} are as they should be`);
}

/** Reads a file of sysctl.d(5); a `-` before a name says that it may be missing. */
export function parseSysctl(text: string): { name: string; wanted: number; optional: boolean }[] {
  return text.split('\n').flatMap((line) => {
    const [, dash, name = '', value] = /^(-?)\s*([a-z0-9_./-]+)\s*=\s*(\d+)\s*$/.exec(line) ?? [];
    return name === '' ? [] : [{ name, wanted: Number(value), optional: dash === '-' }];
  });
}

/** @param text /proc/sys/fs/file-nr: open, unused, at most (proc_sys_fs(5)) */
export function judgeOpenFiles(text: string): Verdict {
  const [open = 0, , most = Infinity] = text.trim().split(/\s+/).map(Number);
  const share = open / most;
  if (share < 0.8) return ok(`${open} of ${most > 1e12 ? 'any number' : most}`);
  const what = `${open} of ${most} files are open on the machine`;
  return share < 0.95 ? warning(what, 'raise fs.file-max, or find who has them: lsof') : error(what, 'raise fs.file-max: sysctl fs.file-max=…; or find who has them: lsof');
}

/** @param memory bytes: of the machine, and what `machine.memory` allows all sites */
export function judgeMemory({ totalBytes, budgetBytes }: { totalBytes: number; budgetBytes: number | undefined }): Verdict {
  const total = formatBytes(totalBytes);
  if (budgetBytes === undefined || budgetBytes > totalBytes * 0.95) {
    return warning(`all sites may hold ${budgetBytes === undefined ? 'any amount' : formatBytes(budgetBytes)}, and the machine has ${total}`, 'set machine.memory in sitegen.yaml to less, such as 70%');
  }
  if (totalBytes < 900 * 1024 ** 2) return warning(`${total} are little: a few sites at once fill them`, '2 GB or more are meant');
  return ok(`${total}, of which sites may hold ${formatBytes(budgetBytes)}`);
}

/** @param swap bytes; `share` of what goes out that stays in memory all the same, as in zram */
export function judgeSwap({ totalBytes, freeBytes, share }: { totalBytes: number; freeBytes: number; share: number }): Verdict {
  if (totalBytes === 0) return warning('there is none: frozen sites keep their memory, and are stopped instead when it gets short', 'apt-get install systemd-zram-generator, or make a swap file');
  const what = `${formatBytes(totalBytes)}${share < 1 && share > 0 ? ', compressed in memory' : ''}, ${formatBytes(freeBytes)} free`;
  return freeBytes < totalBytes / 10 ? warning(what, 'make more of it; until then sites are stopped instead of frozen') : ok(what);
}

/** A file system that sitegen writes to; bytes and inodes, those free for others than root. */
export interface DiskFacts {
  /** Directories of ours on it. */
  used: readonly string[];
  freeBytes: number;
  sizeBytes: number;
  freeInodes: number;
  /** 0 where the file system has no fixed number. */
  inodes: number;
  writable: boolean;
}

const mib = 1024 ** 2;

export function judgeDiskSpace(disks: readonly DiskFacts[]): Verdict[] {
  return unlessNone(disks.flatMap(({ used, freeBytes, sizeBytes }) => {
    const share = freeBytes / Math.max(1, sizeBytes);
    const what = `${formatBytes(freeBytes)} of ${formatBytes(sizeBytes)} are free below ${used.join(', ')}`;
    const advice = 'make room: sitegen image prune; docker system prune; journalctl --vacuum-size=200M';
    if (freeBytes < 256 * mib || share < 0.02) return [error(what, advice)];
    return freeBytes < 1024 * mib || share < 0.08 ? [warning(what, advice)] : [];
  }), disks.map(({ used, freeBytes }) => `${used[0] ?? ''} ${formatBytes(freeBytes)}`).join(', '));
}

export function judgeInodes(disks: readonly DiskFacts[]): Verdict[] {
  return unlessNone(disks.flatMap(({ used, freeInodes, inodes }) => {
    if (inodes === 0) return [];
    const share = freeInodes / inodes;
    const what = `${freeInodes} of ${inodes} inodes are free below ${used.join(', ')}`;
    const advice = 'find what has so many files: du --inodes -x / | sort -n | tail; then remove some';
    return share < 0.02 ? [error(what, advice)] : share < 0.1 ? [warning(what, advice)] : [];
  }), 'there are enough');
}

export function judgeWritable(disks: readonly DiskFacts[]): Verdict[] {
  return unlessNone(disks.filter(({ writable }) => !writable).map(({ used }) => error(`the disk with ${used.join(', ')} is read-only`, 'look at: dmesg | tail; then: mount -o remount,rw')), 'all of them can be');
}
