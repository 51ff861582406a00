import type { ContainerState, Docker } from '../effects/docker.ts';
import { countersOf } from '../effects/egress.ts';
import { exists, readIfThere } from '../effects/files.ts';
import type { Systemd, UnitState } from '../effects/systemd.ts';
import { backupWord, type BackupWord } from '../pure/backup.ts';
import { addressAt } from '../pure/addresses.ts';
import { allot } from '../pure/allot.ts';
import { reasonOf } from '../pure/errors.ts';
import { isListenSocket, listenPattern, paths, siteNames, unitPatterns, type SiteNames } from '../pure/names.ts';
import { kinds } from '../pure/kinds.ts';
import { addressFor } from '../pure/process.ts';
import { describePending, parsePending } from '../pure/pending.ts';
import type { SiteFile } from '../pure/schema.ts';
import { hasAddress } from '../pure/site.ts';
import { stateOf, type Facts, type State } from '../pure/state.ts';
import { readState } from './backup-state.ts';
import { diskState } from './disk.ts';
import { egressStatus, type EgressStatus } from './egress-status.ts';
import { loadSettings, takenOffsets, type LoadedSite } from './settings.ts';

/** One site as `status --json` shows it. */
export interface SiteStatus {
  domain: string;
  state: State;
  /** Where systemd listens, and where the container answers. */
  address: string | null;
  containerAddress: string | null;
  /** Of a program without one its unit. */
  container: { name: string; id: string | null; status: string | null };
  /** What answers: container, compose, process, static, proxy, passthrough or redirect. */
  kind: string | null;
  image: string | null;
  aliases: readonly string[];
  /** ActiveState by unit. */
  units: Record<string, string>;
  /** Bytes; `max` is null without a limit, and both are null where the kernel does not count. */
  memory: { current: number | null; max: number | null };
  /**
   * Room on the disk for its data, bytes: null without a limit, and `used` until somebody has looked. `way`:
   * `quota` where the kernel holds the limit, else `watched`; `measured` is when it was looked at, ISO 8601.
   */
  disk: { used: number | null; max: number; way: 'quota' | 'watched'; measured: string | null } | null;
  /** When the service last changed between asleep and awake; ISO 8601. */
  since: string | null;
  reason: string | null;
  /** What it may reach outside, places or "any", with names that have no address; and how many packets were blocked since the rules were made. Null for a site that runs nothing. */
  egress: EgressStatus | null;
  /** Whether it is backed up, and why not. */
  backup: { state: BackupWord['word']; reason: string | null };
}

/**
 * The state of some sites, or of all, as it is now: asked of systemd, Docker and the files.
 * @returns in alphabetical order
 */
export async function status(deps: { systemd: Systemd; docker: Docker }, domains?: readonly string[]): Promise<SiteStatus[]> {
  const settings = await loadSettings(domains);
  const taken = await takenOffsets(settings.ranges);
  const { offsets, clashes } = allot(settings.sites.map(({ site }) => site), settings.ranges, taken);
  const units = new Map((await deps.systemd.list(patternsFor(domains))).map((unit) => [unit.name, unit]));
  const containers = await containersOf(deps.docker, domains).catch((error: unknown) => reasonOf(error));
  const found = typeof containers === 'string' ? new Map<string, ContainerState>() : new Map(containers.map((container) => [container.name, container]));
  const images = new Map<string, Promise<boolean>>();
  const hasImage = (reference: string) => {
    const asked = images.get(reference) ?? deps.docker.hasImage(reference).catch(() => true);
    images.set(reference, asked);
    return asked;
  };

  const counters = settings.sites.some(({ site }) => site.workload?.egress !== undefined) ? await countersOf() : undefined;
  const servers = (settings.defaults.backup?.servers ?? []).map(({ url }) => url);
  const result: SiteStatus[] = [];
  for (const loaded of settings.sites) {
    const names = siteNames(loaded.site.domain);
    const container = found.get(names.container);
    const facts = await factsOf(loaded, names, units, container, container !== undefined || !loaded.site.workload?.image || await hasImage(loaded.image));
    if (facts.service?.activeState === 'failed') facts.failure = await lastWords(deps.systemd, names.service);
    facts.settingsFault = clashes.get(names.domain);
    const { state, reason } = stateOf(typeof containers === 'string' ? { ...facts, container: 'unknown', image: true } : facts);
    const address = addressFor(loaded.site.workload, addressAt(offsets.get(names.domain) ?? 0, settings.ranges));
    const backup = backupWord(await readState(names), servers, loaded.site.backedUp);
    result.push({
      backup: { state: backup.word, reason: backup.reason ?? null },
      domain: names.domain,
      state,
      kind: kindOf(loaded.file),
      address: hasAddress(loaded.site) ? address.site : null,
      containerAddress: loaded.site.workload ? address.container : null,
      container: loaded.site.workload?.program
        ? { name: names.processUnit, id: container?.id ?? null, status: container?.status ?? null }
        : { name: names.container, id: container?.id.slice(0, 12) ?? null, status: container?.status ?? null },
      image: loaded.image === '' ? null : loaded.image,
      aliases: loaded.site.aliases,
      units: unitStates(names, units),
      memory: await memoryOf(names),
      egress: loaded.site.workload ? await egressStatus(names.id, loaded.site.workload.egress, counters) : null,
      disk: await diskOf(names, loaded.site.workload?.diskBytes),
      since: await sinceOf(deps.systemd, names, units, settings.sites.length),
      reason: (typeof containers === 'string' && state !== 'disabled' ? (reason ?? containers) : reason) ?? null,
    });
  }
  for (const { domain, reason } of settings.faults) result.push(broken(domain, reason, units));
  return result.sort((a, b) => (a.domain < b.domain ? -1 : 1));
}

/** Asking for all is quick for many and slow for one, where there are hundreds. */
const few = 10;

function kindOf(file: SiteFile): string {
  const kind = kinds.find((each) => file[each] !== undefined);
  return kind === undefined || kind === 'app' || kind === 'image' ? 'container' : kind;
}

function patternsFor(domains: readonly string[] | undefined): string[] {
  return domains === undefined || domains.length > few ? ['site-*', 'sitegen-process@*', 'sitegen-listen@*.socket'] : domains.flatMap((domain) => [...unitPatterns(siteNames(domain)), listenPattern(siteNames(domain))]);
}

async function containersOf(docker: Docker, domains: readonly string[] | undefined): Promise<ContainerState[]> {
  if (domains === undefined || domains.length > few) return docker.list();
  const found = await Promise.all(domains.map((domain) => docker.find(siteNames(domain).container, domain)));
  return found.filter((container) => container !== undefined);
}

async function factsOf(loaded: LoadedSite, names: SiteNames, units: ReadonlyMap<string, UnitState>, container: ContainerState | undefined, image: boolean): Promise<Facts> {
  const { site } = loaded;
  const root = site.entry.targets.get('');
  const [unitFiles, data] = await Promise.all([exists(`${paths.unitsDir}/${names.socket}`), exists(root?.kind === 'static' ? root.root : names.dataDir)]);
  return {
    runs: site.workload?.program ? 'program' : site.workload ? 'container' : hasAddress(site) ? 'splice' : 'nothing',
    settingsFault: undefined,
    enabled: loaded.site.enabled,
    socket: units.get(names.socket),
    service: units.get(names.service),
    unitFiles,
    // Only what is served or mounted can be missed.
    data: data || (!site.workload && root?.kind !== 'static'),
    image,
    container: container?.status,
    pending: loaded.site.workload ? await pendingOf(names) : undefined,
    isFull: await exists(names.fullFile),
    frozen: container?.running === true && units.get(names.service)?.activeState === 'inactive' && await isFrozen(names),
  };
}

async function pendingOf(names: SiteNames): Promise<string | undefined> {
  const pending = parsePending(await readIfThere(names.pendingFile).catch(() => undefined));
  return pending && describePending(pending);
}

function broken(domain: string, reason: string, units: ReadonlyMap<string, UnitState>): SiteStatus {
  const names = siteNames(domain);
  return {
    domain,
    backup: { state: 'off', reason: null },
    state: 'broken',
    kind: null,
    address: null,
    containerAddress: null,
    container: { name: names.container, id: null, status: null },
    image: null,
    aliases: [],
    units: unitStates(names, units),
    memory: { current: null, max: null },
    disk: null,
    since: null,
    reason,
    egress: null,
  };
}

function unitStates(names: SiteNames, units: ReadonlyMap<string, UnitState>): Record<string, string> {
  const listens = [...units.keys()].filter((unit) => isListenSocket(unit, names)).sort();
  return Object.fromEntries([...names.units, ...names.moreUnits.filter((unit) => units.has(unit) && unit !== names.entrySlice), ...listens].map((unit) => [unit, units.get(unit)?.activeState ?? 'inactive']));
}

async function memoryOf(names: SiteNames): Promise<SiteStatus['memory']> {
  const read = async (file: string) => {
    const text = (await readIfThere(`${names.cgroup}/${file}`))?.trim();
    return text === undefined || text === 'max' ? null : Number(text);
  };
  return { current: await read('memory.current'), max: await read('memory.max') };
}

async function diskOf(names: SiteNames, max: number | undefined): Promise<SiteStatus['disk']> {
  if (max === undefined) return null;
  const { usedBytes, quota, measuredAt } = await diskState(names);
  return { used: usedBytes ?? null, max, way: quota ? 'quota' : 'watched', measured: measuredAt?.toISOString() ?? null };
}

async function isFrozen(names: SiteNames): Promise<boolean> {
  return (await readIfThere(`${names.appCgroup}/cgroup.freeze`))?.trim() === '1';
}

/** What a service that has failed said last. */
export async function lastWords(systemd: Systemd, unit: string): Promise<string | undefined> {
  const { StatusText: text, Result: result } = await systemd.properties(unit, 'Service');
  return result === 'exit-code' && typeof text === 'string' && text !== '' ? text : undefined;
}

/** Costs a call a site, so long lists ask only for sites that are not simply asleep. */
async function sinceOf(systemd: Systemd, names: SiteNames, units: ReadonlyMap<string, UnitState>, count: number): Promise<string | null> {
  const service = units.get(names.service);
  if (!service || (count > 50 && service.activeState === 'inactive')) return null;
  const { StateChangeTimestamp: changed } = await systemd.properties(names.service, 'Unit');
  const micros = Number(changed ?? 0);
  return micros > 0 ? new Date(micros / 1000).toISOString() : null;
}

