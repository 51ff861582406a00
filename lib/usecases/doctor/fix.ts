import fs from 'node:fs/promises';
import { linkInto, writeAtomic } from '../../effects/files.ts';
import { emptyLock } from '../../effects/held-locks.ts';
import { setSysctl, setSysctls } from '../../effects/host.ts';
import type { Finding, Fix } from '../../pure/doctor/verdict.ts';
import { reasonOf } from '../../pure/errors.ts';
import { paths } from '../../pure/names.ts';
import { apply } from '../apply.ts';
import type { Deps } from '../machine.ts';

/** What was done about findings, a line each, and what could not be. */
export interface Fixed {
  done: string[];
  failed: string[];
}

/** Later ones may need what earlier ones put right: units their files, apply its locks. */
const order: readonly Fix['do'][] = ['mode', 'unlock', 'sysctl', 'forward', 'install', 'reload', 'reset', 'enable', 'start', 'apply', 'enqueue'];

/**
 * Puts right what is safe to; each kind that is the same for many findings once. One that fails keeps no other.
 * @param domain what apply is confined to
 */
export async function fixFindings(deps: Deps, findings: readonly Finding[], domain: string | undefined): Promise<Fixed> {
  const wanted = new Map<string, Fix>();
  for (const { fix, ignored } of findings) if (fix && ignored === undefined) wanted.set(JSON.stringify(fix), fix);
  const result: Fixed = { done: [], failed: [] };
  for (const fix of [...wanted.values()].sort((a, b) => order.indexOf(a.do) - order.indexOf(b.do))) {
    try {
      result.done.push(...await carryOut(deps, fix, domain, result));
    } catch (error) {
      result.failed.push(`${describe(fix)}: ${reasonOf(error)}`);
    }
  }
  return result;
}

async function carryOut(deps: Deps, fix: Fix, domain: string | undefined, result: Fixed): Promise<string[]> {
  const { systemd } = deps;
  switch (fix.do) {
    case 'apply': {
      const { done, changed, faults } = await apply(deps, domain === undefined ? undefined : [domain]);
      result.failed.push(...faults.map((fault) => `${fault.domain}: ${fault.reason}`));
      return [...done, ...changed.map((each) => `${each}: applied`)];
    }
    case 'mode': {
      await fs.chmod(fix.path, fix.mode);
      break;
    }
    case 'unlock': {
      await emptyLock(fix.file);
      break;
    }
    case 'sysctl': {
      await setSysctls(paths.sysctlFile);
      break;
    }
    case 'forward': {
      await setSysctl('net.ipv4.ip_forward', '1');
      break;
    }
    case 'install': {
      await writeAtomic({ path: `${paths.sharedUnitsDir}/${fix.unit}`, content: await fs.readFile(`${paths.installedUnitsDir}/${fix.unit}`, 'utf8') });
      await systemd.reload();
      break;
    }
    case 'reload': {
      await systemd.reload();
      break;
    }
    case 'reset': {
      await systemd.resetFailed(fix.unit);
      break;
    }
    case 'enable': {
      await linkInto(fix.directory, [`${paths.sharedUnitsDir}/${fix.unit}`]);
      break;
    }
    case 'start': {
      await systemd.start(fix.unit);
      break;
    }
    case 'enqueue': {
      await systemd.enqueue(fix.unit);
      break;
    }
  }
  return [describe(fix)];
}

/** What a fix does, in the past. */
function describe(fix: Fix): string {
  switch (fix.do) {
    case 'apply': { return 'applied the settings'; }
    case 'mode': { return `chmod ${fix.mode.toString(8)} ${fix.path}`; }
    case 'unlock': { return `emptied ${fix.file}`; }
    case 'sysctl': { return `put ${paths.sysctlFile} in force`; }
    case 'forward': { return 'switched net.ipv4.ip_forward on, until the next boot'; }
    case 'install': { return `put ${fix.unit} back`; }
    case 'reload': { return 'reloaded systemd'; }
    case 'reset': { return `forgot the failure of ${fix.unit}`; }
    case 'enable': { return `enabled ${fix.unit}`; }
    case 'start': { return `started ${fix.unit}`; }
    case 'enqueue': { return `set ${fix.unit} going`; }
  }
}
