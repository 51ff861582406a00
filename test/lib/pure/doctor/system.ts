import { judgeCgroup, judgeClock, judgeDiskSpace, judgeInodes, judgeKernel, judgeKernelLimits, judgeMemory, judgeNode, judgeOpenFiles, judgeOs, judgePrograms, judgeReboot, judgeSwap, judgeSystemd, judgeWritable, parseSysctl } from '../../../../lib/pure/doctor/system.ts';
import { judges } from './_verdicts.ts';

judges('Debian 12 is known', judgeOs({ id: 'debian', version: '12', name: 'Debian GNU/Linux 12 (bookworm)' }), ['ok', /Debian/]);
judges('Debian testing, which has no version, is known', judgeOs({ id: 'debian', version: '', name: 'Debian GNU/Linux forky/sid' }), ['ok', /sid/]);
judges('Ubuntu 24.04 is known', judgeOs({ id: 'ubuntu', version: '24.04', name: 'Ubuntu 24.04.1 LTS' }), ['ok', /24\.04/]);
judges('Ubuntu 22.04 was never tried', judgeOs({ id: 'ubuntu', version: '22.04', name: 'Ubuntu 22.04' }), ['warning', /never tried/]);
judges('Debian 11 was never tried', judgeOs({ id: 'debian', version: '11', name: 'Debian 11' }), ['warning', /never tried/]);
judges('a system without a name was never tried', judgeOs({ id: '', version: '', name: '' }), ['warning', /an unknown system/]);

judges('a kernel of Debian 12 can do all', judgeKernel('6.1.0-18-amd64'), ['ok', /6\.1/]);
judges('5.19 can do all', judgeKernel('5.19.0'), ['ok', /5\.19/]);
judges('5.15 does not reclaim', judgeKernel('5.15.0-91-generic'), ['warning', /keep their memory/]);
judges('5.4 does not freeze reliably', judgeKernel('5.4.0'), ['error', /cannot be frozen/]);

const all = ['cpuset', 'cpu', 'io', 'memory', 'hugetlb', 'pids'];
judges('all controllers', judgeCgroup(all), ['ok', /memory/]);
judges('cgroup v1', judgeCgroup(undefined), ['error', /v2 is not used/]);
judges('no memory controller', judgeCgroup(all.filter((name) => name !== 'memory')), ['error', /controller memory:/]);
judges('no io and no pids controller', judgeCgroup(['cpu', 'memory']), ['warning', /controllers pids, io:/]);

judges('systemd of Debian 12', judgeSystemd('252.39-1~deb12u2'), ['ok', /252/]);
judges('systemd of Debian 11', judgeSystemd('247.3-7'), ['error', /too old/]);
judges('Node of Ubuntu 24.04', judgeNode('18.19.1'), ['ok', /18/]);
judges('Node 18.13, of Debian 12 at first', judgeNode('18.13.0'), ['error', /too old/]);
judges('no Node where units look', judgeNode(undefined), ['error', /no program called node/]);
judges('all programs', judgePrograms([]), ['ok', /all/]);
judges('two programs of one package are missing', judgePrograms(['ip', 'ss']), ['error', /missing: ip, ss/]);

const nowMs = Date.parse('2026-11-27T12:00:00Z');
judges('a synchronised clock', judgeClock({ synchronized: true, nowMs, newestMs: nowMs - 1 }), ['ok', /synchronised/]);
judges('a clock nobody knows of', judgeClock({ synchronized: undefined, nowMs, newestMs: undefined }), ['ok', /cannot be told/]);
judges('a clock by itself', judgeClock({ synchronized: false, nowMs, newestMs: nowMs }), ['warning', /no other clock/]);
judges('a clock a little behind', judgeClock({ synchronized: true, nowMs, newestMs: nowMs + 60_000 }), ['ok', /synchronised/]);
judges('a clock that was set back', judgeClock({ synchronized: true, nowMs, newestMs: nowMs + 3_600_000 }), ['error', /written on 2026-11-27T13/]);

judges('no reboot is due', judgeReboot(undefined), ['ok', /none/]);
judges('a reboot for a new kernel', judgeReboot(['linux-image-6.1']), ['warning', /reboot: linux-image/]);
judges('a reboot for nobody knows what', judgeReboot([]), ['warning', /reboot$/]);

const limits = parseSysctl('# A comment = 5\nfs.a = 4096\n-net.b=8\n\nfs.c =  1\n');
const withActual = (...actual: (number | undefined)[]) => limits.map((limit, index) => ({ ...limit, actual: actual[index] }));
judges('limits as they should be, or higher', judgeKernelLimits(withActual(4096, 9, 1)), ['ok', /^3 /]);
judges('a limit of an optional part of the kernel may be missing', judgeKernelLimits(withActual(4096, undefined, 1)), ['ok', /^3 /]);
judges('other limits may not', judgeKernelLimits(withActual(128, 8, undefined)), ['warning', /fs\.a is 128, and 4096/, 'sysctl'], ['warning', /fs\.c is missing/, 'sysctl']);
judges('no file of limits', judgeKernelLimits(undefined), ['error', /file .* is missing/]);

judges('few open files', judgeOpenFiles('2880\t0\t9223372036854775807\n'), ['ok', /any number/]);
judges('many open files', judgeOpenFiles('850 0 1000'), ['warning', /850 of 1000/]);
judges('nearly all open files', judgeOpenFiles('960 0 1000'), ['error', /960 of 1000/]);

const gib = 1024 ** 3;
judges('2 GB', judgeMemory({ totalBytes: 2 * gib, budgetBytes: 1.4 * gib }), ['ok', /2\.0G, of which sites may hold 1\.4G/]);
judges('512 MB', judgeMemory({ totalBytes: gib / 2, budgetBytes: gib / 4 }), ['warning', /little/]);
judges('a budget of more than there is', judgeMemory({ totalBytes: 2 * gib, budgetBytes: 4 * gib }), ['warning', /may hold 4\.0G/]);
judges('no budget', judgeMemory({ totalBytes: 2 * gib, budgetBytes: undefined }), ['warning', /any amount/]);

judges('no swap', judgeSwap({ totalBytes: 0, freeBytes: 0, share: 1 }), ['warning', /none/]);
judges('zram', judgeSwap({ totalBytes: gib, freeBytes: gib, share: 0.35 }), ['ok', /compressed/]);
judges('a swap file', judgeSwap({ totalBytes: gib, freeBytes: gib, share: 0 }), ['ok', /^1\.0G, 1\.0G free/]);
judges('full swap', judgeSwap({ totalBytes: gib, freeBytes: gib / 20, share: 1 }), ['warning', /free/]);

const disk = { used: ['/var/lib/sitegen'], freeBytes: 50 * gib, sizeBytes: 100 * gib, freeInodes: 900, inodes: 1000, writable: true };
judges('a disk with room', judgeDiskSpace([disk]), ['ok', /sitegen 50\.0G/]);
judges('a disk with 5 %', judgeDiskSpace([{ ...disk, freeBytes: 5 * gib }]), ['warning', /5\.0G of 100\.0G are free below/]);
judges('a small disk with 900 MB', judgeDiskSpace([{ ...disk, sizeBytes: 5 * gib, freeBytes: 900 * 1024 ** 2 }]), ['warning', /900\.0M of 5\.0G/]);
judges('a disk with 1 %, and one with room', judgeDiskSpace([{ ...disk, freeBytes: gib }, disk]), ['error', /1\.0G of 100\.0G/]);
judges('a small disk with 100 MB', judgeDiskSpace([{ ...disk, sizeBytes: gib, freeBytes: 100 * 1024 ** 2 }]), ['error', /100\.0M/]);
judges('inodes', judgeInodes([disk]), ['ok', /enough/]);
judges('a file system that counts none', judgeInodes([{ ...disk, inodes: 0, freeInodes: 0 }]), ['ok', /enough/]);
judges('5 % of the inodes', judgeInodes([{ ...disk, freeInodes: 50 }]), ['warning', /50 of 1000/]);
judges('no inodes', judgeInodes([{ ...disk, freeInodes: 0 }]), ['error', /0 of 1000/]);
judges('a disk that can be written to', judgeWritable([disk]), ['ok', /can be/]);
judges('a read-only disk', judgeWritable([{ ...disk, writable: false }]), ['error', /read-only/]);
