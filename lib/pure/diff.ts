import type { Desired, RenderedFile } from './desired.ts';
import { wholeBlocks } from './disk-quota.ts';
import { formatEgress } from './egress-names.ts';
import { differs, parseEgress } from './egress-rules.ts';
import { isJobTimer, isListenSocket, isSiteUnit, limitsUnit, paths, siteNames, type SiteNames } from './names.ts';
import { formatBytes } from './quantities.ts';

/** What is on the machine, as far as apply compares it. */
export interface Actual {
  /** Content of our unit files, by path; a file that is missing has no entry. */
  files: ReadonlyMap<string, string>;
  /** ActiveState of loaded units, by name. */
  units: ReadonlyMap<string, string>;
  /** Sockets and timers that start at boot by themselves. */
  enabled: ReadonlySet<string>;
  /** Our containers, by name. */
  containers: ReadonlyMap<string, { specHash: string; domain: string; running: boolean }>;
  /** Sites' rules of what they may reach outside, by id. */
  egress: ReadonlyMap<string, string>;
  /** Directories that are there, of those that are desired. */
  directories: ReadonlySet<string>;
  /** Quotas of sites' data, by id; of those alone whose file system has quotas. */
  quotas?: ReadonlyMap<string, QuotaFacts>;
}

/** The quota in force, undefined where there is none; and how large the file system is. */
export interface QuotaFacts {
  limitBytes: number | undefined;
  diskBytes: number;
}

/** One thing that apply would do, in the order in which it has to be done. */
export type Step =
  | { do: 'make directory'; path: string }
  | { do: 'close'; unit: string }
  | { do: 'stop'; unit: string }
  | { do: 'stop container'; name: string; domain: string }
  | { do: 'remove container'; name: string; domain: string }
  | { do: 'write'; file: RenderedFile; before: string | undefined }
  | { do: 'remove file'; path: string }
  | { do: 'reload' }
  | { do: 'set limits'; unit: string }
  | { do: 'set quota'; bytes: number | undefined }
  | { do: 'create container'; name: string }
  | { do: 'set egress'; from: string; to: string }
  | { do: 'disable'; unit: string }
  | { do: 'enable'; unit: string }
  | { do: 'start'; unit: string };

/**
 * What makes one site on the machine equal to what it should be. A site that is awake is
 * stopped only when its container or its socket changes; the next visitor wakes it again.
 * What can fail comes first, so that a site is down for the shortest time.
 */
export function diffSite(want: Desired, actual: Actual): Step[] {
  const { names } = want;
  const changed = want.files.filter((file) => actual.files.get(file.path) !== file.content);
  const container = actual.containers.get(names.container);
  const specChanged = container !== undefined && container.specHash !== want.spec;
  // Left from a kind that the site no longer is.
  const isStale = (unit: string) => !want.files.some((file) => unitOf(file.path) === unit) && isOurs(actual.files.get(`${paths.unitsDir}/${unit}`) ?? '');
  const stale = [...names.units, ...names.moreUnits].filter((unit) => isStale(unit));
  const staleTimers = partsOf(names, actual, isJobTimer).filter((unit) => isStale(unit));
  const staleListens = partsOf(names, actual, isListenSocket).filter((unit) => isStale(unit));
  const isHolding = (unit: string) => isUp(actual.units.get(unit));
  const sockets = [names.socket, ...want.listens];
  const socketChanged = changed.some((file) => sockets.includes(unitOf(file.path)) && socketSection(file.content) !== socketSection(actual.files.get(file.path)));
  const listening = isHolding(names.socket);
  // None can be started while the service runs, so they come and go together.
  const listensDiffer = staleListens.length > 0 || (want.enabled && want.listens.some((unit) => !isHolding(unit)));
  // Another site may be about to have them, so they go before any is opened, and with them all that has them open.
  const given = [...staleListens, ...(want.enabled ? [] : want.listens)].filter((unit) => isHolding(unit));
  const stop = given.length > 0 ? 'close' : 'stop';
  const stopsSocket = listening && (!want.enabled || socketChanged || listensDiffer || stale.includes(names.socket));
  const sliceChanged = changed.some((file) => unitOf(file.path) === names.slice);

  const steps: Step[] = want.dataDirs.filter((path) => !actual.directories.has(path)).map((path) => ({ do: 'make directory', path }));
  steps.push(...changed.map((file): Step => ({ do: 'write', file, before: actual.files.get(file.path) })));
  if (changed.some((file) => actual.units.has(unitOf(file.path)))) steps.push({ do: 'reload' });
  if (sliceChanged && isUp(actual.units.get(names.slice))) steps.push({ do: 'set limits', unit: limitsUnit(names) });
  const quota = actual.quotas?.get(names.id);
  if (quota && !isQuota(quota, want.diskBytes)) steps.push({ do: 'set quota', bytes: want.diskBytes });
  const timers = want.enabled ? want.timers : [];
  const noTimers = [...want.timers.filter((unit) => !timers.includes(unit)), ...staleTimers];
  steps.push(...noTimers.filter((unit) => isUp(actual.units.get(unit))).map((unit): Step => ({ do: 'stop', unit })));
  if (stopsSocket) steps.push({ do: stop, unit: names.socket });
  steps.push(...given.map((unit): Step => ({ do: stop, unit })));
  if (isUp(actual.units.get(names.service)) && (stopsSocket || specChanged || stale.length > 0)) steps.push({ do: stop, unit: names.service });
  // What runs without its service: a frozen one above all.
  if (!want.enabled && container?.running === true && !specChanged && !isUp(actual.units.get(names.service))) steps.push({ do: 'stop container', name: names.container, domain: names.domain });
  if (specChanged) steps.push({ do: 'remove container', name: names.container, domain: names.domain });
  if (want.spec !== undefined && (container === undefined || specChanged)) steps.push({ do: 'create container', name: names.container });
  // Before anybody can wake it; of a program its user has to be there.
  steps.push(...egressStep(names, want.egress, actual));
  const listens = want.enabled && want.hasSocket;
  if (listens && !actual.enabled.has(names.socket)) steps.push({ do: 'enable', unit: names.socket });
  if (!listens && actual.enabled.has(names.socket)) steps.push({ do: 'disable', unit: names.socket });
  for (const unit of stale.filter((each) => each.endsWith('.slice') && isUp(actual.units.get(each)))) steps.push({ do: 'stop', unit });
  steps.push(...stale.map((unit): Step => ({ do: 'remove file', path: `${paths.unitsDir}/${unit}` })));
  steps.push(...noTimers.filter((unit) => actual.enabled.has(unit)).map((unit): Step => ({ do: 'disable', unit })));
  steps.push(...[...staleListens, ...staleTimers].map((unit): Step => ({ do: 'remove file', path: `${paths.unitsDir}/${unit}` })));
  if (listens && (!listening || stopsSocket)) {
    steps.push({ do: 'start', unit: names.socket });
    // Which has brought them along; this tells when one cannot be held.
    steps.push(...want.listens.map((unit): Step => ({ do: 'start', unit })));
  }
  // Last, as one that has missed a run starts its job at once.
  steps.push(...timers.filter((unit) => !actual.enabled.has(unit)).map((unit): Step => ({ do: 'enable', unit })));
  steps.push(...timers.filter((unit) => !isUp(actual.units.get(unit))).map((unit): Step => ({ do: 'start', unit })));
  return steps;
}

/** Whether a quota is the limit that is wanted; one beyond the disk cannot be told from none, and needs none. */
function isQuota({ limitBytes, diskBytes }: QuotaFacts, wanted: number | undefined): boolean {
  if (wanted === undefined || wanted >= diskBytes) return limitBytes === undefined;
  return limitBytes === wholeBlocks(wanted);
}

/** Timers of a site's jobs, or sockets of its ports, that have a file, or that systemd remembers. */
function partsOf(names: SiteNames, { files, units }: Pick<Actual, 'files' | 'units'>, isPart: typeof isJobTimer): string[] {
  const found = [...[...files.keys()].map((path) => unitOf(path)), ...units.keys()].filter((unit) => isPart(unit, names));
  return [...new Set(found)].sort();
}

function egressStep({ id }: Pick<SiteNames, 'id'>, spec: Desired['egress'], { egress }: Pick<Actual, 'egress'>): Step[] {
  const text = egress.get(id);
  return differs(id, spec, text) ? [{ do: 'set egress', from: formatEgress(text === undefined ? undefined : parseEgress(text)?.places ?? []), to: formatEgress(spec?.places) }] : [];
}

/** What of a socket's unit takes effect only when it is started anew. */
function socketSection(unit: string | undefined): string {
  const section = /^\[Socket\]\n([^[]*)/m.exec(unit ?? '')?.[1] ?? '';
  return section.split('\n').filter((line) => line !== '' && !line.startsWith('#')).join('\n');
}

/**
 * What takes a site off the machine whose settings are gone. Its data stays.
 * @param domain as the labels of its container or the names of its units say
 */
export function diffRemoved(domain: string, actual: Actual): Step[] {
  const names = siteNames(domain);
  const fileOf = (unit: string) => actual.files.get(`${paths.unitsDir}/${unit}`);
  const timers = partsOf(names, actual, isJobTimer);
  const listens = partsOf(names, actual, isListenSocket);
  const present = [...names.units, ...names.moreUnits, ...timers, ...listens].filter((unit) => isOurs(fileOf(unit) ?? ''));
  const loaded = [...timers, ...listens, names.socket, names.service, ...names.moreUnits, names.appSlice, names.slice]
    .filter((unit) => actual.units.has(unit) && (fileOf(unit) === undefined || present.includes(unit)));
  const container = actual.containers.get(names.container);
  const stops = (isMeant: (unit: string) => boolean, how: 'close' | 'stop' = 'stop') => loaded.filter(isMeant).map((unit): Step => ({ do: how, unit }));
  return [
    ...stops((unit) => !unit.endsWith('.slice'), listens.length > 0 ? 'close' : 'stop'),
    ...[...timers, names.socket].filter((unit) => actual.enabled.has(unit) && (fileOf(unit) === undefined || present.includes(unit))).map((unit): Step => ({ do: 'disable', unit })),
    // Its label has the domain in full, where names have a stand-in.
    ...(container ? [{ do: 'remove container', name: names.container, domain: container.domain } as const] : []),
    // They kill what is in them, be it frozen.
    ...stops((unit) => unit.endsWith('.slice')),
    ...egressStep(names, undefined, actual),
    ...present.map((unit): Step => ({ do: 'remove file', path: `${paths.unitsDir}/${unit}` })),
  ];
}

/** One line for a step, as diff and dry runs print it. */
export function describeStep(step: Step): string {
  switch (step.do) {
    case 'write': return `${step.before === undefined ? 'create' : 'change'} ${step.file.path}`;
    case 'remove file': return `remove ${step.path}`;
    case 'make directory': return `make directory ${step.path}`;
    case 'set egress': return step.from === step.to ? `write the rules of egress anew (${step.to})` : `egress: ${step.to} instead of ${step.from}`;
    case 'set limits': return 'put the limits in force';
    case 'set quota': return step.bytes === undefined ? 'take the disk quota of its data away' : `set the disk quota of its data to ${formatBytes(step.bytes)}`;
    case 'reload': return 'reload systemd, once for all';
    case 'create container':
    case 'stop container':
    case 'remove container': return `${step.do} ${step.name}`;
    case 'close': return `stop ${step.unit}`;
    case 'stop':
    case 'start':
    case 'enable':
    case 'disable': return `${step.do} ${step.unit}`;
  }
}

/** The lines in which two versions of a small file differ, with `-` and `+`; order as in the files. */
export function changedLines(before: string, after: string): string[] {
  const [old, now] = [before.split('\n'), after.split('\n')];
  return [
    ...old.filter((line) => !now.includes(line)).map((line) => `- ${line}`),
    ...now.filter((line) => !old.includes(line)).map((line) => `+ ${line}`),
  ];
}

/** True for the content of a unit file that sitegen wrote; all others belong to the admin. */
export function isOurs(content: string): boolean {
  return content.startsWith('# Made by sitegen');
}

/** Files that would be written where somebody else's stand. */
export function foreignFiles(want: Desired, actual: Pick<Actual, 'files'>): string[] {
  return want.files.map(({ path }) => path).filter((path) => !isOurs(actual.files.get(path) ?? '# Made by sitegen'));
}

/** Unit files in a listing of `paths.unitsDir` that look like ours. */
export function siteUnitFiles(listing: readonly string[]): string[] {
  return listing.filter((name) => isSiteUnit(name) || isJobTimer(name) || isListenSocket(name)).map((name) => `${paths.unitsDir}/${name}`);
}

function isUp(activeState: string | undefined): boolean {
  return activeState === 'active' || activeState === 'activating' || activeState === 'reloading' || activeState === 'deactivating';
}

function unitOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
