import fs from 'node:fs/promises';
import path from 'node:path';
import { copyAll } from '../effects/copy.ts';
import type { Docker } from '../effects/docker.ts';
import { exists, makeBelow, readIfThere, remove } from '../effects/files.ts';
import { hasOnlyDirectories } from '../effects/site-tree.ts';
import { checkPair } from '../pure/certificate.ts';
import { importProject, parseEnv, volumeName } from '../pure/compose/import.ts';
import { readAcme } from '../pure/compose/traefik.ts';
import { parse } from 'yaml';
import { reasonOf, SitegenError, usageError } from '../pure/errors.ts';
import { parseDomain, paths, siteNames } from '../pure/names.ts';
import { add, planAdd, type AddPlan } from './add.ts';
import { accept } from './certs.ts';
import { settingsText } from './edit.ts';
import type { Deps } from './machine.ts';

/** What the admin says beside the folder. */
export interface ImportRequest {
  folder: string;
  domain?: string | undefined;
  entrypoint?: string | undefined;
  /** Traefik's file of certificates; looked for in the folder unless given. */
  acme?: string | undefined;
  now: Date;
}

/** What an import would do. */
export interface ImportPlan {
  domain: string;
  /** As Compose calls the project. */
  project: string;
  settings: string;
  copies: { from: string; to: string }[];
  notes: string[];
  certificate: { chain: string; key: string } | undefined;
  plan: AddPlan;
}

/** As Compose looks for them. */
const fileNames = ['compose.yaml', 'compose.yml', 'docker-compose.yaml', 'docker-compose.yml'];

const acmePlaces = ['acme.json', 'letsencrypt/acme.json', 'traefik/acme.json', 'data/acme.json', 'certs/acme.json'];

/**
 * Looks at a project that Compose runs, and tells what it would be as a site. Changes nothing.
 * @throws SitegenError for a project that may not be taken as it is, by what it must not do
 */
export async function planImport(deps: Pick<Deps, 'docker'>, request: ImportRequest): Promise<ImportPlan> {
  const folder = path.resolve(request.folder);
  const file = await firstOf(fileNames.map((name) => path.join(folder, name)));
  if (file === undefined) throw new SitegenError(`${folder} has no Compose file`, { hint: `it would be called ${fileNames.join(', ')}` });
  const text = await fs.readFile(file, 'utf8');
  const given = parseDeclared(text, file);
  const project = given.name ?? path.basename(folder).toLowerCase().replaceAll(/[^a-z0-9_-]/g, '');
  const envFiles = new Map<string, Record<string, string>>();
  for (const name of given.envFiles) envFiles.set(name, parseEnv(await readIfThere(path.resolve(folder, name)) ?? ''));
  const files = new Set<string>();
  for (const name of given.paths) if ((await fs.stat(path.resolve(folder, name)).catch(() => undefined))?.isFile() === true) files.add(path.posix.normalize(name));
  const imported = importProject({
    project, text, envFiles, variables: parseEnv(await readIfThere(path.join(folder, '.env')) ?? ''), isFile: (name) => files.has(name),
  }, request.entrypoint);
  const notes = [...imported.notes];
  if (await firstOf(['compose.override.yaml', 'compose.override.yml', 'docker-compose.override.yml', 'docker-compose.override.yaml'].map((name) => path.join(folder, name))) !== undefined) {
    notes.push('the override file is not read: write what it says into the Compose file first');
  }
  const domain = request.domain ?? imported.hosts[0];
  if (domain === undefined) throw usageError('no domain given, and none is in labels of Traefik', 'say which: --domain example.com');
  const names = siteNames(parseDomain(domain));
  const settings = settingsText({ domain: names.domain, aliases: imported.hosts.filter((host) => host !== names.domain), ...imported.settings });
  if (await exists(names.dataDir) && !await hasOnlyDirectories(names.dataDir)) throw new SitegenError(`${names.domain}: there is data already in ${names.dataDir}`, { hint: 'move it away: nothing is written over' });
  const plan = await planAdd(deps, { domain: names.domain, text: settings });
  const copies: ImportPlan['copies'] = [];
  for (const { from, to } of imported.copies) {
    const source = 'path' in from ? path.join(folder, from.path) : await deps.docker.volumePath(volumeName(text, project, from.volume));
    if (source !== undefined && await exists(source)) copies.push({ from: source, to: path.join(names.dataDir, to) });
    else notes.push(`${'path' in from ? from.path : `the volume ${from.volume}`} is not there, so nothing is copied for it`);
  }
  return { domain: names.domain, project, settings, copies, notes, certificate: await certificateFor(request, folder, names.domain, notes), plan };
}

/**
 * Takes a project over: stops it, so that its data is whole, copies that, and adds the site. The old
 * containers, volumes and files stay where they are; nothing starts them again by itself. When
 * something fails, they run as before.
 */
export async function importCompose(deps: Deps, { domain, project, settings, copies, certificate }: ImportPlan): Promise<void> {
  const names = siteNames(domain);
  const running = (await deps.docker.composeContainers(project)).filter((each) => each.running);
  const hadData = await exists(names.siteDir);
  const began: typeof running = [];
  try {
    for (const container of running) {
      deps.report(`stopping ${container.name}`);
      began.push(container);
      await deps.docker.stop(container.id);
    }
    await makeBelow(paths.stateDir, names.dataDir);
    for (const { from, to } of copies) {
      deps.report(`copying ${from}`);
      await makeBelow(paths.stateDir, path.dirname(to));
      await copyAll(from, to);
    }
    if (certificate) await accept(names, certificate);
    await add(deps, { domain, text: settings });
  } catch (error) {
    if (!hadData) await remove(names.siteDir).catch((removing: unknown) => { deps.report(reasonOf(removing)); });
    await startAgain(deps, began);
    throw error;
  }
  // Or they would come back with the next start of Docker, beside the site.
  for (const container of await deps.docker.composeContainers(project)) await deps.docker.keepStopped(container.id);
}

async function startAgain({ docker, report }: { docker: Pick<Docker, 'start'>; report: Deps['report'] }, containers: readonly { id: string; name: string }[]): Promise<void> {
  for (const { id, name } of [...containers].reverse()) {
    report(`starting ${name} again`);
    await docker.start(id).catch((error: unknown) => { report(reasonOf(error)); });
  }
}

/** What of a Compose file has to be looked up in its folder. */
function parseDeclared(text: string, file: string): { name: string | undefined; envFiles: string[]; paths: string[] } {
  let value: { name?: unknown; services?: Record<string, { env_file?: unknown; volumes?: unknown } | null> } | null;
  try {
    value = parse(text, { merge: true, maxAliasCount: 100 }) as typeof value;
  } catch (error) {
    throw new SitegenError(`${file} is not valid YAML: ${reasonOf(error)}`, { cause: error });
  }
  const services = Object.values(value?.services ?? {});
  const list = (given: unknown): unknown[] => (Array.isArray(given) ? given : given === undefined ? [] : [given]);
  const texts = (items: unknown[], key: string) => items.flatMap((item) => {
    const found = typeof item === 'object' && item !== null ? (item as Record<string, unknown>)[key] : item;
    return typeof found === 'string' ? [found] : [];
  });
  return {
    name: typeof value?.name === 'string' ? value.name : undefined,
    envFiles: services.flatMap((service) => texts(list(service?.env_file), 'path')),
    paths: services.flatMap((service) => texts(list(service?.volumes), 'source')).map((volume) => volume.split(':', 1)[0] ?? '').filter((source) => source.startsWith('.')),
  };
}

/** A certificate of Traefik's for the site that is good still. */
async function certificateFor({ acme, now }: ImportRequest, folder: string, domain: string, notes: string[]): Promise<ImportPlan['certificate']> {
  const file = acme ?? await firstOf(acmePlaces.map((place) => path.join(folder, place)));
  if (file === undefined) return undefined;
  const known = readAcme(await readIfThere(file) ?? '');
  if (!known) throw new SitegenError(`${file} is not Traefik's acme.json`);
  const found = known.find(({ names }) => names.includes(domain));
  if (!found) {
    notes.push(`${file} has no certificate for ${domain}`);
    return undefined;
  }
  const checked = checkPair(found, domain, now);
  if (typeof checked !== 'string') return { chain: found.chain, key: found.key };
  notes.push(`its certificate in ${file} is not taken over: ${checked}`);
  return undefined;
}

async function firstOf(files: readonly string[]): Promise<string | undefined> {
  for (const file of files) if (await exists(file)) return file;
  return undefined;
}
