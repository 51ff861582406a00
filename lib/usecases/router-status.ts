import { readIfThere } from '../effects/files.ts';
import { connectRouter, routerRuns } from '../effects/router.ts';
import type { Systemd } from '../effects/systemd.ts';
import { paths, router } from '../pure/names.ts';
import { ownerOfEntry } from '../pure/routes.ts';
import { readMaps } from './router-files.ts';
import { driftOf, runningMaps } from './router-maps.ts';

/** What `sitegen router status` shows. */
export interface RouterStatus {
  /** ActiveState by unit. */
  units: Record<string, string>;
  /** Missing while the router does not answer. */
  running: {
    version: string;
    uptime: string;
    workers: number;
    connections: number;
    maxConnections: number;
    requests: number;
    /** Bytes of all its processes; null where the kernel does not count. */
    memory: number | null;
  } | undefined;
  sites: number;
  names: number;
  certificates: number;
  /** How the running router differs from its files, a line each. */
  drift: string[];
}

/** Asks systemd, the router and its files. */
export async function routerStatus(systemd: Pick<Systemd, 'list' | 'properties'>): Promise<RouterStatus> {
  const units = [router.socketUnit, router.unit];
  const states = new Map((await systemd.list(units)).map((unit) => [unit.name, unit.activeState]));
  const maps = await readMaps();
  const list = ((await readIfThere(router.certList)) ?? '').split('\n').filter((line) => line.startsWith('/'));
  const runs = await routerRuns();
  return {
    units: Object.fromEntries(units.map((unit) => [unit, states.get(unit) ?? 'inactive'])),
    running: runs ? await running(systemd) : undefined,
    sites: new Set([...maps.names.values()].map((value) => ownerOfEntry(value))).size,
    names: maps.names.size,
    certificates: list.filter((line) => !line.startsWith(router.selfSigned)).length,
    drift: runs ? driftText(driftOf(await runningMaps(connectRouter()), maps)) : [`${router.unit} does not answer: journalctl -u ${router.unit}`],
  };
}

async function running(systemd: Pick<Systemd, 'properties'>): Promise<RouterStatus['running']> {
  const info = await connectRouter().show('show info');
  const value = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(info)?.[1] ?? '';
  const { ControlGroup: group } = await systemd.properties(router.unit, 'Service');
  const cgroup = `${paths.cgroupRoot}${typeof group === 'string' ? group : ''}`;
  const processes = ((await readIfThere(`${cgroup}/cgroup.procs`)) ?? '').trim().split('\n').length;
  const memory = await readIfThere(`${cgroup}/memory.current`);
  return {
    version: value('Version'),
    uptime: value('Uptime'),
    // The first process only looks after the others.
    workers: Math.max(0, processes - 1),
    connections: Number(value('CurrConns')),
    maxConnections: Number(value('Maxconn')),
    requests: Number(value('CumReq')),
    memory: memory === undefined ? null : Number(memory),
  };
}

function driftText(count: number): string[] {
  return count === 0 ? [] : [`${count} entries of its maps are not as their files say: sitegen apply corrects them`];
}
