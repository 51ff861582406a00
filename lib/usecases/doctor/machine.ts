import { machineMemory } from '../../effects/cgroup.ts';
import { modifiedAt, exists, readIfThere } from '../../effects/files.ts';
import { lockFiles } from '../../effects/held-locks.ts';
import { changedUnits, fileSystems, isSynchronized, missingPrograms, modeOf, nodeOfUnits, osRelease, sysctl, waitingForReboot } from '../../effects/host.ts';
import { swapState, swapTotal } from '../../effects/cgroup/swap.ts';
import { judgeCgroup, judgeClock, judgeDiskSpace, judgeInodes, judgeKernel, judgeKernelLimits, judgeMemory, judgeNode, judgeOpenFiles, judgeOs, judgePrograms, judgeReboot, judgeSwap, judgeSystemd, judgeWritable, neededPrograms, parseSysctl } from '../../pure/doctor/system.ts';
import { isEnabledAtBoot, judgeAlarms, judgeAlerts, judgeFailed, judgeLocks, judgeModes, judgeReload, judgeSettings, judgeUnits } from '../../pure/doctor/units.ts';
import { error } from '../../pure/doctor/verdict.ts';
import { reasonOf, SitegenError } from '../../pure/errors.ts';
import { isSiteUnit, paths, siteNames } from '../../pure/names.ts';
import { budgetOf } from '../../pure/room.ts';
import { builtIn } from '../../pure/site.ts';
import { openAlarms } from '../alarm.ts';
import { readState } from '../backup-state.ts';
import { jobFaults } from '../jobs.ts';
import { claimFaults } from '../listen.ts';
import { loadDefaults, nameClashes } from '../settings.ts';
import { unitFilePairs, type Check, type Context } from './context.ts';

/** Checks of the machine itself and of what is installed on it. */

const disks = async ({ dockerFacts }: Context) => {
  const docker = await dockerFacts().then(({ directory }) => [directory].filter((each) => each !== ''), () => []);
  // Not /run: it is memory, and small by intent.
  return fileSystems([paths.stateDir, paths.settings, '/var/log', ...docker]);
};

export const machineChecks: readonly Check[] = [
  ['operating-system', async () => judgeOs(await osRelease())],
  ['kernel', async () => judgeKernel(((await readIfThere('/proc/sys/kernel/osrelease')) ?? '').trim())],
  ['cgroup', async () => judgeCgroup((await readIfThere(`${paths.cgroupRoot}/cgroup.controllers`))?.trim().split(' '))],
  ['systemd-version', async ({ systemd }) => judgeSystemd(await systemd.version())],
  ['node', async () => judgeNode(await nodeOfUnits())],
  ['programs', async () => judgePrograms(await missingPrograms(Object.keys(neededPrograms)))],
  ['clock', async ({ now, sites }) => judgeClock({ synchronized: await isSynchronized(), nowMs: now.getTime(), newestMs: await newest(await sites()) })],
  ['reboot-required', async () => judgeReboot(await waitingForReboot())],
  ['kernel-limits', async () => {
    const text = await readIfThere(paths.sysctlFile);
    return judgeKernelLimits(text === undefined ? undefined : await Promise.all(parseSysctl(text).map(async (limit) => ({ ...limit, actual: await sysctl(limit.name) }))));
  }],
  ['open-files', async () => judgeOpenFiles((await readIfThere('/proc/sys/fs/file-nr')) ?? '')],
  ['memory', async ({ defaults }) => {
    const totalBytes = machineMemory();
    return judgeMemory({ totalBytes, budgetBytes: budgetOf((await defaults()).machine?.memory ?? builtIn.memory, totalBytes) });
  }],
  ['swap', () => Promise.resolve(judgeSwap({ ...swapState(), totalBytes: swapTotal() }))],
  ['disk-space', async (context) => judgeDiskSpace(await disks(context))],
  ['inodes', async (context) => judgeInodes(await disks(context))],
  ['disk-writable', async (context) => judgeWritable(await disks(context))],
  ['settings', settings],
  ['file-modes', async () => judgeModes(await modes())],
  ['units', units],
  ['daemon-reload', async () => judgeReload(await changedUnits(['sitegen-*', 'site-*', 'site.slice']))],
  ['failed-units', async ({ systemd }) => {
    const loaded = await systemd.list(['sitegen-*', 'site-*']);
    // A site's own are told with its state.
    return judgeFailed(loaded.filter(({ name, activeState, loadState }) => activeState === 'failed' && (!isSiteUnit(name) || loadState === 'not-found')).map(({ name, loadState }) => ({ name, gone: loadState === 'not-found' })));
  }],
  ['alarms', async ({ systemd, now }) => judgeAlarms(await openAlarms(systemd, now))],
  ['alerts', async ({ defaults }) => {
    const { alerts = {} } = await defaults();
    const programs = [...(alerts.email === undefined ? [] : [{ way: 'email', program: '/usr/sbin/sendmail' }]), ...(alerts.command ? [{ way: 'command', program: alerts.command[0] ?? '' }] : [])];
    const missing = await missingPrograms(programs.map(({ program }) => program));
    return judgeAlerts({ ways: Object.keys(alerts), missing: programs.filter(({ program }) => missing.includes(program)) });
  }],
  ['locks', async () => judgeLocks(await lockFiles(paths.runDir, (name) => name === 'lock' || /\.(lock|state|dump|push|restore|pull|job)$/.test(name)))],
];

/** The same faults as `validate` tells, of the machine's own settings too. */
export async function settings({ domain, settings: load }: Context) {
  const broken = await loadDefaults().then(() => undefined, (thrown: unknown) => (thrown instanceof SitegenError ? thrown.message : reasonOf(thrown)));
  if (broken !== undefined) return judgeSettings([{ domain: undefined, reason: broken }], 0);
  const all = domain === undefined;
  const { sites, faults } = await load();
  const wrong = [...await nameClashes(sites, all), ...await jobFaults(sites.map(({ site }) => site)), ...await claimFaults(sites, all)];
  return judgeSettings([...faults, ...wrong], sites.length);
}

/** The latest time that was written down, ms since 1970; files of ours have one too. */
async function newest(sites: readonly { domain: string }[]): Promise<number | undefined> {
  const files = await Promise.all([paths.defaultsFile, paths.networkRules, paths.sitesDir, paths.backupDir].map((file) => modifiedAt(file)));
  const dumps = await Promise.all(sites.map(async ({ domain }) => Date.parse((await readState(siteNames(domain))).dumpedAt ?? '')));
  const times = [...files, ...dumps].filter((time) => time !== undefined && Number.isFinite(time)) as number[];
  return times.length === 0 ? undefined : times.reduce((latest, time) => Math.max(latest, time));
}

/** Files with keys or secrets, and what others may do with them at most. */
async function modes() {
  const wanted: [path: string, most: number][] = [
    [paths.settings, 0o755], [paths.sitesDir, 0o755], [paths.defaultsFile, 0o600], [`${paths.settings}/keys`, 0o700], [paths.serverKey, 0o600],
    [paths.certsDir, 0o700], [paths.acmeDir, 0o700], [paths.backupDir, 0o700], [paths.gitDir, 0o700], [paths.stateDir, 0o755],
  ];
  const found = await Promise.all(wanted.map(async ([path, most]) => ({ path, most, ...await modeOf(path) })));
  return found.flatMap(({ path, most, mode, uid }) => (mode === undefined || uid === undefined ? [] : [{ path, most, mode, uid }]));
}

async function units({ systemd }: Context) {
  const pairs = await unitFilePairs();
  const loaded = new Map((await systemd.list(pairs.map(({ name }) => name).filter((name) => !name.includes('@')))).map((unit) => [unit.name, unit]));
  return judgeUnits(await Promise.all(pairs.map(async (pair) => {
    const wantedBy = /^WantedBy=(\S+)$/m.exec(pair.installed)?.[1];
    const unit = loaded.get(pair.name);
    return {
      ...pair,
      wantedBy,
      linked: wantedBy === undefined || !isEnabledAtBoot(pair.name) || await exists(`${paths.unitsDir}/${wantedBy}.wants/${pair.name}`),
      active: unit?.activeState ?? 'inactive',
      masked: unit?.loadState === 'masked' || pair.override === '',
    };
  })), paths.unitsDir);
}

/** What a check that could not look is worth. */
export function unknown(thrown: unknown) {
  const hint = thrown instanceof SitegenError ? thrown.hint : undefined;
  return error(`cannot be told: ${reasonOf(thrown)}`, hint ?? 'mend that, and ask again');
}
