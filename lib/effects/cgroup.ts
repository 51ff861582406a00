import { writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { unescapeHyphens } from '../pure/names.ts';
import { paths, shared } from '../pure/paths.ts';
import { namesIn, textOf } from './cgroup/read.ts';

/** What the kernel says of a site whose container runs. */
export interface SiteGroup {
  /** As `siteNames` has it. */
  id: string;
  /** The slice of its containers. */
  appCgroup: string;
  /** Its service runs: the site is awake, or on its way there or from there. */
  service: boolean;
  frozen: boolean;
  /** A dump or a job of ours is at work in it. */
  isUsed: boolean;
  /** It is a dump. */
  isDumped: boolean;
  /** CPU time that its containers have used, microseconds. */
  cpuUs: number;
  /** Bytes that came to its containers and went from them, but for those among themselves on their loopback. */
  trafficBytes: number;
  /** Bytes in memory, that part of swap which is memory too included, without file pages that the kernel can drop; undefined where it does not count. */
  memoryBytes: number | undefined;
}

/**
 * Looks at all sites whose containers run. Synchronous, and reads a dozen small files a site: it is
 * done every few seconds, where a process or a call to systemd a site would cost more than the sites.
 * @param swapShare how much of what is in swap counts
 */
export function siteGroups(root: string = paths.cgroupRoot, swapShare = 1): SiteGroup[] {
  const parent = `${root}/${shared.parentSlice}`;
  const helpers = `${root}/system.slice`;
  const used = new Map(namesIn(helpers).flatMap((name) => {
    const [, what, id] = /^sitegen-(dump|job)@([^:]+)(?::.+)?\.service$/.exec(name) ?? [];
    return id !== undefined && isPopulated(`${helpers}/${name}`) ? [[id, what]] : [];
  }));
  return namesIn(parent).flatMap((slice): SiteGroup[] => {
    const escaped = /^site-(.+)\.slice$/.exec(slice)?.[1];
    if (escaped === undefined) return [];
    const site = `${parent}/${slice}`;
    const app = `${site}/site-${escaped}-app.slice`;
    if (!isPopulated(app)) return [];
    const id = unescapeHyphens(escaped);
    const scopes = scopesIn(app);
    return [{
      id,
      appCgroup: app,
      service: isPopulated(`${site}/site-${id}.service`),
      frozen: [app, ...scopes].some((group) => numberIn(`${group}/cgroup.events`, 'frozen') === 1),
      isUsed: used.has(id),
      isDumped: used.get(id) === 'dump',
      cpuUs: numberIn(`${app}/cpu.stat`, 'usage_usec') ?? 0,
      trafficBytes: trafficIn(app),
      memoryBytes: memoryOf(site, swapShare),
    }];
  });
}

/** Whether one of a site's jobs is at work, or waits for its turn. */
export function hasJob(id: string, root: string = paths.cgroupRoot): boolean {
  const helpers = `${root}/system.slice`;
  return namesIn(helpers).some((name) => name.startsWith(`sitegen-job@${id}:`) && isPopulated(`${helpers}/${name}`));
}

/**
 * How many connections somebody has open to some ports of a site's containers, as their own kernel
 * says: those that were led there from outside have no end on this host.
 */
export function openConnections(appCgroup: string, ports: readonly number[]): number {
  if (ports.length === 0) return 0;
  const pid = containerPid(appCgroup);
  return pid === undefined ? 0 : ['tcp', 'tcp6'].reduce((sum, file) => sum + countOpen(textOf(`/proc/${pid}/net/${file}`) ?? '', ports), 0);
}

/** A process of a site's container, of a project's that one which visitors reach; undefined when none runs. */
export function containerPid(appCgroup: string): string | undefined {
  const entry = namesIn(appCgroup).find((name) => name.endsWith('-entry.slice'));
  return scopesIn(entry === undefined ? appCgroup : `${appCgroup}/${entry}`).flatMap((scope) => firstPid(scope) ?? [])[0];
}

/** How many lines of /proc/net/tcp or tcp6 are open connections to some ports (proc_pid_net(5)). */
export function countOpen(text: string, ports: readonly number[]): number {
  return text.split('\n').filter((line) => {
    const [, port = '', state = ''] = /^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} ([0-9A-F]{2}) /.exec(line) ?? [];
    // Established, or with all said by the visitor, or by the container and not yet heard of.
    return ['01', '08', '04'].includes(state) && ports.includes(Number.parseInt(port, 16));
  }).length;
}

/** Bytes that came to a site's containers and went from them. */
export function trafficIn(appCgroup: string): number {
  return scopesIn(appCgroup).reduce((sum, scope) => sum + trafficOf(scope), 0);
}

/** Whether the containers of one site run; `frozen` when they stand still. */
export function runState(appCgroup: string): 'stopped' | 'running' | 'frozen' {
  if (!isPopulated(appCgroup)) return 'stopped';
  return [appCgroup, ...scopesIn(appCgroup)].some((group) => numberIn(`${group}/cgroup.events`, 'frozen') === 1) ? 'frozen' : 'running';
}

/** Lets a site's containers go on at once, without systemd, which believes them frozen until it is told. */
export function thawNow({ appCgroup }: { appCgroup: string }): void {
  const slices = namesIn(appCgroup).filter((name) => name.endsWith('.slice')).map((name) => `${appCgroup}/${name}`);
  for (const group of [appCgroup, ...slices, ...scopesIn(appCgroup)]) {
    try {
      writeFileSync(`${group}/cgroup.freeze`, '0');
    } catch {
      // It has just gone.
    }
  }
}

/** Share of the time in which somebody waited for memory in the last ten seconds, percent; undefined where the kernel does not say (PSI). */
export function memoryPressure(): number | undefined {
  const some = /^some avg10=([\d.]+)/.exec(textOf('/proc/pressure/memory') ?? '')?.[1];
  return some === undefined ? undefined : Number(some);
}

/** The machine's memory, bytes. */
export function machineMemory(): number {
  return Number(/^MemTotal:\s+(\d+) kB/m.exec(textOf('/proc/meminfo') ?? '')?.[1] ?? 0) * 1024;
}

/**
 * Pushes what a group of processes holds out to swap, piece by piece, where the kernel can (memory.reclaim, since 5.19).
 * @param goOn asked before each piece
 * @returns bytes that went out
 */
export async function reclaim(group: string, goOn: () => boolean): Promise<number> {
  const before = Number(textOf(`${group}/memory.current`) ?? NaN);
  if (Number.isNaN(before)) return 0;
  for (let left = before; left > 0 && goOn(); left -= reclaimStep) {
    try {
      await writeFile(`${group}/memory.reclaim`, String(Math.min(left, reclaimStep)));
    } catch {
      // EAGAIN: that is all that can go. ENOENT: an older kernel.
      break;
    }
  }
  return before - Number(textOf(`${group}/memory.current`) ?? before);
}

/** Small enough for a visitor not to wait for the end of it. */
const reclaimStep = 16 * 1024 ** 2;

/** What all sites hold, as `memoryBytes` has it for each. */
export function heldByAll(swapShare: number): number | undefined {
  return memoryOf(`${paths.cgroupRoot}/${shared.parentSlice}`, swapShare);
}

/** What a site may hold at most, bytes; undefined without a limit, and where the kernel has none. */
export function memoryMax(group: string): number | undefined {
  const max = Number(textOf(`${group}/memory.max`) ?? NaN);
  return Number.isNaN(max) ? undefined : max;
}

/** What a group of processes holds in memory, bytes. */
export function memoryCurrent(group: string): number | undefined {
  const current = textOf(`${group}/memory.current`);
  return current === undefined ? undefined : Number(current);
}

/** Bytes that a group of processes holds: of what swap has of it a share, zram being memory; not what the kernel can read again. */
function memoryOf(group: string, swapShare: number): number | undefined {
  const current = memoryCurrent(group);
  if (current === undefined) return undefined;
  return Math.max(0, current - (numberIn(`${group}/memory.stat`, 'inactive_file') ?? 0)) + Math.floor(Number(textOf(`${group}/memory.swap.current`) ?? 0) * swapShare);
}

/** Groups of a site's containers, or of its program and what else runs of it without one. */
function scopesIn(appCgroup: string): string[] {
  return namesIn(appCgroup).flatMap((name) => {
    if (/\.(scope|service)$/.test(name)) return [`${appCgroup}/${name}`];
    // That of a project's entrypoint.
    return name.endsWith('.slice') ? scopesIn(`${appCgroup}/${name}`) : [];
  });
}

function firstPid(scope: string): string | undefined {
  const pid = textOf(`${scope}/cgroup.procs`)?.split('\n', 1)[0];
  return pid === '' ? undefined : pid;
}

/** A program without a container has no network of its own: its traffic cannot be told from the machine's. */
function trafficOf(scope: string): number {
  const pid = scope.endsWith('.scope') ? firstPid(scope) : undefined;
  const lines = (pid === undefined ? undefined : textOf(`/proc/${pid}/net/dev`))?.split('\n').slice(2) ?? [];
  return lines.filter((line) => !/^\s*lo:/.test(line)).reduce((sum, line) => {
    const fields = line.trim().split(/[:\s]+/);
    return sum + Number(fields[1] ?? 0) + Number(fields[9] ?? 0);
  }, 0);
}

function isPopulated(group: string): boolean {
  return numberIn(`${group}/cgroup.events`, 'populated') === 1;
}

/** A field of a file with a name and a number a line. */
function numberIn(file: string, field: string): number | undefined {
  const found = new RegExp(`^${field} (\\d+)$`, 'm').exec(textOf(file) ?? '')?.[1];
  return found === undefined ? undefined : Number(found);
}
