import type { Systemd } from '../effects/systemd.ts';
import { exists, linkInto, makeBelow, mayWrite, namesIn, readIfThere, remove, writeAtomic } from '../effects/files.ts';
import { addressAt } from '../pure/addresses.ts';
import { allot } from '../pure/allot.ts';
import { editYaml, hasKey, parseSite } from '../pure/config.ts';
import { desired, type Desired } from '../pure/desired.ts';
import { isOurs } from '../pure/diff.ts';
import { reasonOf, SitegenError, usageError } from '../pure/errors.ts';
import { wildcardListeners } from '../effects/network.ts';
import { parseAlias, parseDomain, paths, shared, siteNames, unitPatterns } from '../pure/names.ts';
import type { DefaultsFile } from '../pure/schema.ts';
import { rangesOf } from '../pure/site.ts';
import { stringify } from 'yaml';
import { createContainer, ensureImage, removeContainer } from './apply.ts';
import { prepareMachine, type Deps } from './machine.ts';
import { neighbours, publishedOf, syncRouter, type RouterChange } from './router.ts';
import { loadDefaults, loadSettings, loadSite, loadTemplates, ownerOf, takenOffsets, type LoadedSite } from './settings.ts';

/** What the admin asked for; everything but the domain has a default. */
export interface AddRequest {
  domain: string;
  aliases?: string[] | undefined;
  app?: string | undefined;
  image?: string | undefined;
  port?: number | undefined;
  env?: Record<string, string> | undefined;
  volumes?: string[] | undefined;
  memoryMax?: string | undefined;
  /** As in the site's settings. */
  static?: string | { directory: string | undefined; git: string } | undefined;
  proxy?: string | undefined;
  passthrough?: string | undefined;
  redirect?: string | undefined;
}

/** What add made, or would make. */
export interface AddPlan {
  want: Desired;
  loaded: LoadedSite;
  settings: string;
  /** The image has to be built or pulled first. */
  imageMissing: boolean;
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
  const { memoryMax, ...given } = request;
  const limits = memoryMax === undefined ? undefined : { memoryMax };
  const settings = settingsText({ ...given, domain, aliases, limits });
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
  const owner = await ownerOf([domain, ...aliases, ...loaded.site.redirects], domain);
  if (owner) throw new SitegenError(`${owner.domain} belongs to the site ${owner.owner}`, { hint: `take it out of aliases in ${siteNames(owner.owner).settingsFile}` });
  if (!await mayWrite(paths.sitesDir)) throw new SitegenError(`cannot write ${paths.sitesDir}: permission denied`, { hint: 'run it as root' });

  const ranges = rangesOf(defaults);
  const { offsets, record } = allot([loaded.site], ranges, await takenOffsets(ranges));
  const address = addressAt(offsets.get(domain) ?? -1, ranges);
  const want = desired(loaded.site, address, loaded.image, await loadTemplates());
  for (const file of want.files) {
    if (await exists(file.path)) throw new SitegenError(`${domain}: ${file.path} exists already`, { hint: 'if it is a left-over, sitegen apply removes it' });
  }
  if (want.container && await deps.docker.find(names.container, domain)) {
    throw new SitegenError(`${domain}: its container ${names.container} exists already`, { hint: 'it is a left-over: sitegen apply removes it' });
  }
  return {
    want,
    loaded,
    settings: record.has(domain) ? editYaml(settings, { address: address.site }) : settings,
    imageMissing: want.container !== undefined && !await deps.docker.hasImage(loaded.image),
    change: {
      defaults,
      published: await publishedOf([loaded], offsets, defaults, false),
      domains: new Set([domain]),
    },
  };
}

/**
 * Adds a site: settings, data directories, image, container, units; at the end its socket
 * listens. When a step fails, those before it are undone in reverse and the error is thrown.
 * @param interrupted once aborted, the next step counts as failed
 */
export async function add(deps: Deps, request: AddRequest, interrupted?: AbortSignal): Promise<AddPlan> {
  const plan = await planAdd(deps, request);
  const { want, loaded } = plan;
  const { names } = want;
  const undo: (() => Promise<void>)[] = [];
  const act = async (action: () => Promise<unknown>, back: () => Promise<void>) => {
    if (interrupted?.aborted) throw new SitegenError(`${names.domain}: interrupted, nothing is left of it`);
    undo.push(back);
    await action();
  };
  const hadData = await exists(names.siteDir);
  try {
    await prepareMachine(deps, rangesOf(await loadDefaults()));
    // The longest step first, while there is nothing else to undo.
    if (plan.imageMissing) await act(() => ensureImage(deps, loaded), () => deps.docker.hasImage(loaded.image).then((there) => (there ? deps.docker.removeImage(loaded.image) : undefined)));
    await act(() => writeAtomic({ path: names.settingsFile, content: plan.settings, mode: 0o600 }), () => remove(names.settingsFile));
    await act(
      async () => { for (const directory of want.dataDirs) await makeBelow(paths.stateDir, directory); },
      async () => { if (!hadData) await remove(names.siteDir); },
    );
    if (want.container) await act(() => createContainer(deps.docker, want), () => removeContainer(deps.docker, names));
    if (want.hasSocket) await addUnits();
    await act(async () => {
      for (const line of await syncRouter(deps.systemd, plan.change)) deps.report(line);
    }, async () => { await withdraw(deps.systemd, names.domain); });
  } catch (error) {
    for (const back of undo.reverse()) {
      await back().catch((undoing: unknown) => { deps.report(`while undoing: ${reasonOf(undoing)}`); });
    }
    throw error;
  }
  return plan;

  async function addUnits(): Promise<void> {
    await act(() => writeAtomic(...want.files), async () => { for (const file of want.files) await remove(file.path); });
    // A removed site's units stay loaded, as they were, while sockets.target remembers that it wanted them.
    if ((await deps.systemd.list(unitPatterns(names))).length > 0) {
      deps.report('reloading systemd, which remembers an earlier site of this name');
      await deps.systemd.reload();
    }
    await act(() => linkInto(paths.enabledDir, [`${paths.unitsDir}/${names.socket}`]), () => remove(`${paths.enabledDir}/${names.socket}`));
    await act(() => startSocket(deps, names.socket), async () => {
      await stopAll(deps, names.units);
      // systemd remembers a failed unit, and with it those that it needs.
      for (const unit of names.units) await deps.systemd.resetFailed(unit);
    });
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

/** What a removal takes away. */
export interface RemovePlan {
  domain: string;
  purge: boolean;
  lines: string[];
}

/** Checks that a site exists, and says what its removal would take away. */
export async function planRemove(domainInput: string, purge: boolean): Promise<RemovePlan> {
  const domain = parseDomain(domainInput);
  const names = siteNames(domain);
  const units = await ownUnits(names.units);
  const there = [names.settingsFile, ...units.flatMap((unit) => [`${paths.unitsDir}/${unit}`, `${paths.unitsDir}/${unit}.d`]), ...(purge ? [names.siteDir] : [])];
  const lines: string[] = [];
  for (const file of there) if (await exists(file)) lines.push(`remove ${file}`);
  if (lines.length === 0) {
    throw new SitegenError(`${domain}: there is no such site`, { hint: 'see: sitegen list' });
  }
  lines.push(`remove container ${names.container}`);
  return { domain, purge, lines };
}

/**
 * Removes a site: requests in flight are finished, then units, container and settings go.
 * Its data stays unless `purge`. May be repeated after an interruption.
 */
export async function removeSite(deps: Deps, plan: RemovePlan): Promise<void> {
  const names = siteNames(plan.domain);
  const units = await ownUnits(names.units);
  await withdraw(deps.systemd, plan.domain);
  await stopAll(deps, units);
  if (units.includes(names.socket)) await remove(`${paths.enabledDir}/${names.socket}`);
  await removeContainer(deps.docker, names);
  for (const unit of units) {
    await remove(`${paths.unitsDir}/${unit}`);
    await remove(`${paths.unitsDir}/${unit}.d`);
  }
  for (const unit of units) await deps.systemd.resetFailed(unit);
  await remove(names.settingsFile);
  if (plan.purge) await remove(names.siteDir);
  const others = (await namesIn(paths.sitesDir)).filter((name) => name.endsWith('.yaml'));
  if (others.length === 0) await stopAll(deps, [shared.parentSlice]);
}

/** Takes a site out of the router; a site that had its name beside its own gets it back. */
async function withdraw(systemd: Systemd, domain: string): Promise<void> {
  const [, other] = neighbours(domain);
  const defaults = await loadDefaults();
  const loaded = other === undefined || !await exists(siteNames(other).settingsFile) ? [] : (await loadSettings([other])).sites;
  const ranges = rangesOf(defaults);
  const { offsets } = allot(loaded.map(({ site }) => site), ranges, await takenOffsets(ranges));
  const published = await publishedOf(loaded, offsets, defaults, false, domain);
  await syncRouter(systemd, { defaults, published, domains: new Set([domain, ...loaded.map(({ site }) => site.domain)]) });
}

/** Those of a site's units that no file of the admin's own has taken. */
async function ownUnits(units: readonly string[]): Promise<string[]> {
  const own: string[] = [];
  for (const unit of units) if (isOurs((await readIfThere(`${paths.unitsDir}/${unit}`)) ?? '# Made by sitegen')) own.push(unit);
  return own;
}

/** A new site's settings as YAML; keys without a value are left out. */
export function settingsText(settings: Record<string, unknown>): string {
  const given = Object.entries(settings).filter(([, value]) => value !== undefined && !(Array.isArray(value) && value.length === 0));
  return `# Settings of a site; "sitegen apply" carries changes out. All keys: ${paths.settings}/example-site.yaml\n${stringify(Object.fromEntries(given), { lineWidth: 0 })}`;
}

/** Sets or clears `enabled` in a site's settings; apply carries it out. */
export async function setEnabled(domain: string, enabled: boolean): Promise<void> {
  // Written out where it stood: taking the key out would take the comments on it along.
  await editSettings(domain, (text) => ({ enabled: enabled ? (hasKey(text, 'enabled') ? true : undefined) : false }));
}

/**
 * Changes keys of a site's settings; undefined takes a key out.
 * @throws SitegenError when the result would be wrong; the file then stays as it was
 */
export async function editSettings(domain: string, changes: Readonly<Record<string, unknown>> | ((text: string) => Readonly<Record<string, unknown>>)): Promise<void> {
  const { settingsFile } = siteNames(domain);
  const text = await readIfThere(settingsFile);
  if (text === undefined) throw new SitegenError(`${domain}: there is no such site`, { hint: 'see: sitegen list' });
  const edited = editYaml(text, typeof changes === 'function' ? changes(text) : changes);
  parseSite(edited, settingsFile);
  await writeAtomic({ path: settingsFile, content: edited, mode: 0o600 });
}

/** Stops a site's units: the socket first, so that nobody wakes it again. */
async function stopAll({ systemd }: Pick<Deps, 'systemd'>, units: readonly string[]): Promise<void> {
  for (const unit of [...units].reverse()) await systemd.stop(unit);
}
