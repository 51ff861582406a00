import { mail } from '../paths.ts';
import { error, of, ok, unlessNone, warning, type Verdict } from './verdict.ts';

/** Judges sitegen's own units, files and locks. */

/** A unit file as it was installed, and what became of it. */
export interface UnitFacts {
  name: string;
  /** As install.sh has put it there, and as it is now (undefined: gone). */
  installed: string;
  present: string | undefined;
  /** What the admin has in its place. */
  override: string | undefined;
  /** Where its link belongs by which systemd starts it at boot. */
  wantedBy: string | undefined;
  linked: boolean;
  /** ActiveState, and LoadState where that is not `loaded`. */
  active: string;
  masked: boolean;
}

/** Those that only wakes or settings start. */
const onDemand = ['sitegen-router.socket', 'sitegen-router.service', 'sitegen-idle.timer', 'sitegen-static.service', mail.deliverPath, mail.deliverTimer];

/** True for a unit that works all the time: sockets, timers, paths, and two services that stay active. */
export function isStanding(name: string): boolean {
  return !name.includes('@') && !onDemand.includes(name) && (/\.(socket|timer|path)$/.test(name) || ['sitegen-network.service', 'sitegen-shutdown.service'].includes(name));
}

/** True for one that systemd has to start at boot. */
export function isEnabledAtBoot(name: string): boolean {
  return isStanding(name) || ['sitegen-certs.service', 'sitegen-watch-boot.service'].includes(name);
}

/** @param unitsDir where units belong */
export function judgeUnits(units: readonly UnitFacts[], unitsDir: string): Verdict[] {
  if (units.length === 0) return [error('what install.sh has installed cannot be told', 'run install.sh again')];
  return unlessNone(units.flatMap((unit): Verdict[] => {
    const { name, installed, present, wantedBy } = unit;
    if (unit.masked) return [error(`${name} is masked`, `systemctl unmask ${name}; then sitegen doctor --fix`)];
    if (present === undefined) return [error(`${name} is missing`, 'run install.sh again', { do: 'install', unit: name })];
    const replaced = unit.override === undefined ? [] : [warning(`another ${name} stands in for sitegen's, and does not change with an upgrade`, `systemctl revert ${name}; what is to differ goes into a drop-in: systemctl edit ${name}`)];
    const changed = present === installed ? [] : [warning(`${name} is not as it was installed; the next upgrade writes it anew`, `put changes into a drop-in (systemctl edit ${name}), and run install.sh again`)];
    const idle = isStanding(name) && !['active', 'activating', 'reloading'].includes(unit.active) ? [error(`${name} is ${unit.active}`, `systemctl start ${name}; systemctl status ${name} says why it stopped`, { do: 'start', unit: name })] : [];
    const unlinked = isEnabledAtBoot(name) && wantedBy !== undefined && !unit.linked
      ? [error(`${name} is not started at boot`, `systemctl enable ${name}`, { do: 'enable', unit: name, directory: `${unitsDir}/${wantedBy}.wants` })] : [];
    return [...replaced, ...changed, ...idle, ...unlinked];
  }), `${units.length} are as they were installed`);
}

/** @param units that systemd says it has read in another form */
export function judgeReload(units: readonly string[]): Verdict {
  const [first = ''] = units;
  return units.length === 0 ? ok('systemd has read all of them') : warning(`${first}${units.length > 1 ? ` and ${units.length - 1} more` : ''} changed on disk`, 'systemctl daemon-reload', { do: 'reload' });
}

/** @param failed those that are failed; `gone` when there is no unit file any more */
export function judgeFailed(failed: readonly { name: string; gone: boolean }[]): Verdict[] {
  return unlessNone(failed.map(({ name, gone }) => (gone ? warning(`${name} has failed, and is gone since`, `systemctl reset-failed ${name}`, { do: 'reset', unit: name })
    : error(`${name} has failed`, `journalctl -u ${name} -n 30; then: systemctl restart ${name}`))), 'none');
}

export function judgeAlarms(alarms: readonly { unit: string; since: string; reason: string }[]): Verdict[] {
  return unlessNone(alarms.map(({ unit, since, reason }) => warning(`${unit} since ${since.slice(0, 16).replace('T', ' ')}: ${reason}`, `journalctl -u ${unit} -n 30`)), 'none is open');
}

/** @param missing the program of a way that is not there; `ways` that are set */
export function judgeAlerts({ ways, missing }: { ways: readonly string[]; missing: readonly { way: string; program: string }[] }): Verdict[] {
  if (ways.length === 0) return [warning('failures stand in the journal alone: nobody is told', 'set alerts.email, alerts.webhook or alerts.command in sitegen.yaml')];
  return unlessNone(missing.map(({ way, program }) => error(`alerts.${way}: ${program} is missing`, way === 'email' ? 'apt-get install msmtp-mta, or another program with sendmail' : 'correct alerts.command in sitegen.yaml')), ways.join(', '));
}

/** @param files with what others may do with them; `most` they should be able to, as for chmod(1) */
export function judgeModes(files: readonly { path: string; mode: number; uid: number; most: number }[]): Verdict[] {
  return unlessNone(files.flatMap(({ path, mode, uid, most }) => {
    if (uid !== 0) return [error(`${path} belongs to user ${uid}, not to root`, `chown root ${path}`)];
    const others = mode & 0o777 & ~most;
    return others === 0 ? [] : [error(`${path} has mode ${(mode & 0o777).toString(8)}: others can read keys or secrets, or change them`, `chmod ${(mode & most).toString(8)} ${path}`, { do: 'mode', path, mode: mode & most })];
  }), `${files.length} are root's alone`);
}

/** A file that is locked with flock(2), or that somebody has left. */
export interface LockFacts {
  file: string;
  /** Something stands in it: whoever looks without locking waits. */
  marked: boolean;
  held: boolean;
  /** For how long by the same process; undefined when that cannot be told. */
  heldMs: number | undefined;
  pid: number | undefined;
}

const longMs = 7 * 3_600_000;

export function judgeLocks(locks: readonly LockFacts[]): Verdict[] {
  return unlessNone(locks.flatMap(({ file, marked, held, heldMs, pid }) => {
    if (marked && !held) return [error(`${file} says that somebody works, and nobody does: wakes wait for it`, `truncate --size 0 ${file}`, { do: 'unlock', file })];
    return (heldMs ?? 0) > longMs ? [warning(`${file} is held for ${Math.floor((heldMs ?? 0) / 3_600_000)} h, by process ${pid ?? '?'}`, `see what it is: ps -fp ${pid ?? ''}; if it hangs, end it`)] : [];
  }), 'none is left over');
}

/** @param faults of settings; the machine's own without a domain */
export function judgeSettings(faults: readonly { domain: string | undefined; reason: string }[], sites: number): Verdict[] {
  return unlessNone(faults.map(({ domain, reason }) => {
    const verdict = error(reason, domain === undefined ? 'correct sitegen.yaml; until then nothing is applied' : 'correct its settings; until then it stays as it was');
    return domain === undefined ? verdict : of(domain, verdict);
  }), `${sites} site${sites === 1 ? '' : 's'}`);
}
