import { hasOnlyDirectories } from '../effects/site-tree.ts';
import { exists, linkInto, mayWrite, remove, writeAtomic } from '../effects/files.ts';
import { addressAt } from '../pure/addresses.ts';
import { allot } from '../pure/allot.ts';
import { editYaml } from '../pure/config.ts';
import { desired, type Desired } from '../pure/desired.ts';
import { reasonOf, SitegenError, usageError } from '../pure/errors.ts';
import { wildcardListeners } from '../effects/network.ts';
import { jobPattern, listenPattern, parseAlias, parseDomain, paths, siteNames, unitPatterns } from '../pure/names.ts';
import { pendingOf, type Pending } from '../pure/pending.ts';
import type { DefaultsFile } from '../pure/schema.ts';
import { rangesOf } from '../pure/site.ts';
import { createContainer, ensureImage, makeDataDir, plannedImages, removeContainer, type PlannedImage } from './containers.ts';
import { repairCertificates } from './certs.ts';
import { settingsText } from './edit.ts';
import { dropEgress } from './egress.ts';
import { writePending } from './first-start.ts';
import { limitTreeIfPossible } from './disk-quota.ts';
import { jobFaults } from './jobs.ts';
import { portFaults } from './listen.ts';
import { syncMail } from './mail-sync.ts';
import { prepareMachine, type Deps } from './machine.ts';
import { forgetProcess } from './process.ts';
import { pullSite, removeCheckout } from './pull.ts';
import { stopAll, withdraw } from './remove.ts';
import { withSecrets } from './secrets.ts';
import { publishedOf, syncRouter, type RouterChange } from './router.ts';
import { loadDefaults, loadSite, loadTemplates, ownerOf, takenOffsets, type LoadedSite } from './settings.ts';

/** What the admin asked for; everything but the domain has a default. */
export interface AddRequest {
  domain: string;
  aliases?: string[] | undefined;
  app?: string | undefined;
  image?: string | undefined;
  port?: number | undefined;
  listen?: (string | number)[] | undefined;
  env?: Record<string, string> | undefined;
  volumes?: string[] | undefined;
  memoryMax?: string | undefined;
  /** As in the site's settings. */
  static?: string | { directory: string | undefined; git: string } | undefined;
  process?: { script: string } | undefined;
  proxy?: string | undefined;
  passthrough?: string | undefined;
  redirect?: string | undefined;
  /** A Compose project, as in the settings. */
  compose?: { entrypoint: string; project: Record<string, unknown> } | undefined;
  /** Settings as they are to be written, instead of all of the above but the domain. */
  text?: string | undefined;
  /** What its first container has to do; installs it unless given, where the app can and there is no data. */
  pending?: Pending | undefined;
}

/** What add made, or would make. */
export interface AddPlan {
  want: Desired;
  loaded: LoadedSite;
  settings: string;
  /** What its containers are made of. */
  images: readonly PlannedImage[];
  /** Names of secrets that were made for it. */
  secretsMade: readonly string[];
  change: RouterChange;
}

/**
 * Reads a request as if its settings were in their file already; needs no machine.
 * @throws SitegenError for names and settings that are wrong
 */
export async function readRequest(request: AddRequest): Promise<{ loaded: LoadedSite; settings: string; defaults: DefaultsFile }> {
  const domain = parseDomain(request.domain);
  const aliases = request.aliases?.map((alias) => parseAlias(alias));
  if (aliases?.includes(domain)) throw usageError(`${domain} cannot be its own alias`);
  const { memoryMax, text, pending: _, ...given } = request;
  const limits = memoryMax === undefined ? undefined : { memoryMax };
  const settings = text ?? settingsText({ ...given, domain, aliases, limits });
  const defaults = await loadDefaults();
  return { loaded: await loadSite(settings, siteNames(domain).settingsFile, defaults), settings, defaults };
}

/**
 * Checks everything that can be checked before anything is changed.
 * @throws SitegenError for a name that is taken, settings that are wrong, or a machine that is not ready
 */
export async function planAdd(deps: Pick<Deps, 'docker'>, request: AddRequest): Promise<AddPlan> {
  const { loaded, settings, defaults } = await readRequest(request);
  const { domain, aliases } = loaded.site;
  const names = siteNames(domain);
  if (await exists(names.settingsFile)) {
    throw new SitegenError(`${domain}: the site exists already`, { hint: `see: sitegen status ${domain}; its settings: ${names.settingsFile}` });
  }
  requireServers(loaded, defaults);
  const owner = await ownerOf([domain, ...aliases, ...loaded.site.redirects], domain);
  if (owner) throw new SitegenError(`${owner.domain} belongs to the site ${owner.owner}`, { hint: `take it out of aliases in ${siteNames(owner.owner).settingsFile}` });
  if (!await mayWrite(paths.sitesDir)) throw new SitegenError(`cannot write ${paths.sitesDir}: permission denied`, { hint: 'run it as root' });

  const ranges = rangesOf(defaults);
  const { offsets, record } = allot([loaded.site], ranges, await takenOffsets(ranges));
  const address = addressAt(offsets.get(domain) ?? -1, ranges);
  const want = desired(loaded.site, address, loaded.image, await loadTemplates());
  const [refused] = [...await jobFaults([loaded.site]), ...await portFaults([loaded], false)];
  if (refused) throw new SitegenError(`${domain}: ${refused.reason}`);
  for (const file of want.files) {
    if (await exists(file.path)) throw new SitegenError(`${domain}: ${file.path} exists already`, { hint: 'if it is a left-over, sitegen apply removes it' });
  }
  if (want.spec !== undefined && await deps.docker.find(names.container, domain)) {
    throw new SitegenError(`${domain}: its container ${names.container} exists already`, { hint: 'it is a left-over: sitegen apply removes it' });
  }
  return {
    want,
    loaded,
    settings: record.has(domain) ? editYaml(settings, { address: address.site }) : settings,
    images: want.container ? await plannedImages(deps, loaded) : [],
    secretsMade: [],
    change: {
      defaults,
      published: await publishedOf([loaded], offsets, defaults, false),
      domains: new Set([domain]),
    },
  };
}

/** Plans it once before anything is made for it, and once more with that in its settings. */
async function planWithSecrets(deps: Pick<Deps, 'docker'>, request: AddRequest): Promise<AddPlan> {
  const plan = await planAdd(deps, request);
  const text = await withSecrets({ ...plan.loaded, text: plan.settings });
  return text === undefined ? plan : { ...await planAdd(deps, { ...request, text }), secretsMade: plan.want.missingSecrets };
}

/**
 * Refuses a site that would not be backed up, where the machine's settings want that.
 * @throws SitegenError that says what is missing
 */
export function requireServers({ site }: Pick<LoadedSite, 'site'>, { backup }: DefaultsFile): void {
  const count = backup?.servers?.length ?? 0;
  if (backup?.require !== true || !site.backedUp || count >= 2) return;
  throw new SitegenError(`${site.domain}: it would not be backed up: ${count === 0 ? 'no backup servers are' : 'only one backup server is'} set, and backup.require wants two`, {
    hint: `set two in backup.servers of ${paths.defaultsFile}`,
  });
}

/** What to tell whoever adds a site that is not backed up to two servers; undefined when it is. */
export function backupWarning({ site }: Pick<LoadedSite, 'site'>, { backup }: DefaultsFile): string | undefined {
  const count = backup?.servers?.length ?? 0;
  if (!site.backedUp || count >= 2) return undefined;
  return `${site.domain}: not backed up: ${count === 0 ? 'there are no backup servers' : 'there is only one backup server'}; set two in backup.servers of ${paths.defaultsFile}`;
}

/**
 * Adds a site: settings, data directories, image, container, units; at the end its socket
 * listens. When a step fails, those before it are undone in reverse and the error is thrown.
 * @param interrupted once aborted, the next step counts as failed
 */
export async function add(deps: Deps, request: AddRequest, interrupted?: AbortSignal): Promise<AddPlan> {
  const hadData = await exists(siteNames(parseDomain(request.domain)).siteDir);
  const plan = await planWithSecrets(deps, request);
  const { want, loaded } = plan;
  const { names } = want;
  // Secrets are written down beside the data before there is anything else of it.
  const undo: (() => Promise<void>)[] = hadData ? [] : [() => remove(names.siteDir)];
  const act = async (action: () => Promise<unknown>, back: () => Promise<void>) => {
    if (interrupted?.aborted) throw new SitegenError(`${names.domain}: interrupted, nothing is left of it`);
    undo.push(back);
    await action();
  };
  try {
    await prepareMachine(deps, await loadDefaults());
    // The longest step first, while there is nothing else to undo.
    const missing = plan.images.filter(({ bytes }) => bytes === undefined).map(({ origin }) => origin.reference);
    if (missing.length > 0) {
      await act(() => ensureImage(deps, loaded), async () => { for (const image of missing) if (await deps.docker.hasImage(image)) await deps.docker.removeImage(image); });
    }
    await act(() => writeAtomic({ path: names.settingsFile, content: plan.settings, mode: 0o600 }), () => remove(names.settingsFile));
    await act(
      async () => {
        for (const directory of want.dataDirs) await makeDataDir(want, directory);
        await limitTreeIfPossible(names, names.dataDir, want.diskBytes, deps.report);
      },
      () => Promise.resolve(),
    );
    const pending = request.pending ?? await toInstall();
    if (pending) await act(() => writePending(names, pending), () => remove(names.pendingFile));
    const { static: files } = loaded.file;
    if (files?.git !== undefined) await act(() => pullSite(names.domain, files, deps.report), () => removeCheckout(names.domain));
    if (want.spec !== undefined) {
      await act(() => createContainer(deps.docker, want, deps.report), async () => {
        await removeContainer(deps.docker, names);
        await dropEgress(names.id);
        if (want.process) await forgetProcess(names);
      });
    }
    if (want.hasSocket) await addUnits();
    if (want.mail) {
      const { gateway } = want;
      await act(() => syncMail(deps.systemd, { sites: [want], gateway }), async () => { await syncMail(deps.systemd, { sites: [], gone: [names.domain], gateway }); });
    }
    await act(async () => {
      for (const line of (await syncRouter(deps.systemd, plan.change)).lines) deps.report(line);
      // One that it had before it was removed.
      await repairCertificates([loaded.file], false);
      if (loaded.site.entry.certificate === 'acme') await deps.systemd.enqueue(names.certifyUnit);
    }, async () => { await withdraw(deps.systemd, names.domain); });
  } catch (error) {
    for (const back of undo.reverse()) {
      await back().catch((undoing: unknown) => { deps.report(`while undoing: ${reasonOf(undoing)}`); });
    }
    throw error;
  }
  return plan;

  async function toInstall(): Promise<Pending | undefined> {
    const install = loaded.site.workload?.hooks.install !== undefined && await hasOnlyDirectories(names.dataDir);
    return install ? pendingOf({ install }) : undefined;
  }

  async function addUnits(): Promise<void> {
    await act(() => writeAtomic(...want.files), async () => { for (const file of want.files) await remove(file.path); });
    // A removed site's units stay loaded, as they were, while sockets.target remembers that it wanted them.
    if ((await deps.systemd.list([...unitPatterns(names), jobPattern(names, 'timer'), listenPattern(names)])).length > 0) {
      deps.report('reloading systemd, which remembers an earlier site of this name');
      await deps.systemd.reload();
    }
    await act(() => linkInto(paths.enabledDir, [`${paths.unitsDir}/${names.socket}`]), () => remove(`${paths.enabledDir}/${names.socket}`));
    await act(async () => {
      await startSocket(deps, names.socket);
      // Which has brought them along; this tells when one cannot be held.
      for (const unit of want.listens) await deps.systemd.start(unit);
    }, async () => {
      await stopAll(deps, [...names.units, ...names.moreUnits, ...want.listens]);
      // systemd remembers a failed unit, and with it those that it needs.
      for (const unit of [...names.units, ...names.moreUnits, ...want.listens]) await deps.systemd.resetFailed(unit);
    });
    const timers = want.enabled ? want.timers : [];
    await act(() => linkInto(paths.enabledTimersDir, timers.map((timer) => `${paths.unitsDir}/${timer}`)), async () => { for (const timer of timers) await remove(`${paths.enabledTimersDir}/${timer}`); });
    await act(async () => { for (const timer of timers) await deps.systemd.start(timer); }, async () => { for (const timer of timers) await deps.systemd.stop(timer); });
  }
}

/** A web server that listens on all addresses is why a site's socket usually cannot. */
async function startSocket({ systemd }: Pick<Deps, 'systemd'>, socket: string): Promise<void> {
  try {
    await systemd.start(socket);
  } catch (error) {
    const others = await wildcardListeners(80);
    if (others.length === 0) throw error;
    throw new SitegenError(`${socket} cannot listen: ${others.join(', ')} has port 80 on all addresses`, {
      hint: 'let it listen on the public address alone, such as "listen 203.0.113.5:80", or with SO_REUSEPORT ("reuseport" in nginx)', cause: error,
    });
  }
}
