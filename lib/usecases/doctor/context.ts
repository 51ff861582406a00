import { exists, namesIn, readIfThere, readMany } from '../../effects/files.ts';
import type { Docker } from '../../effects/docker.ts';
import type { Systemd } from '../../effects/systemd.ts';
import type { CheckId } from '../../pure/doctor/checks.ts';
import type { Verdict } from '../../pure/doctor/verdict.ts';
import { paths } from '../../pure/names.ts';
import type { DefaultsFile } from '../../pure/schema.ts';
import { describeDiff } from '../plan.ts';
import { readableSites } from '../read-sites.ts';
import { loadDefaults, loadSettings, type Settings } from '../settings.ts';

/** What checks look at the machine through; what several of them ask for is asked once. */
export interface Context {
  systemd: Systemd;
  docker: Docker;
  now: Date;
  /** Only this site; undefined for the machine and all sites. */
  domain: string | undefined;
  defaults: () => Promise<DefaultsFile>;
  settings: () => Promise<Settings>;
  sites: () => ReturnType<typeof readableSites>;
  diff: () => ReturnType<typeof describeDiff>;
  dockerFacts: () => ReturnType<Docker['facts']>;
}

/** One check: what it finds of its subject. What it throws is a finding too. */
export type Check = readonly [id: CheckId, look: (context: Context) => Promise<Verdict[] | Verdict>];

/** @param domain only this site */
export function makeContext(deps: { systemd: Systemd; docker: Docker }, now: Date, domain: string | undefined): Context {
  const domains = domain === undefined ? undefined : [domain];
  return {
    ...deps,
    now,
    domain,
    // With settings that cannot be read, "settings" says so, and the others look at what is built in.
    defaults: once(() => loadDefaults().catch((): DefaultsFile => ({}))),
    settings: once(() => loadSettings(domains)),
    sites: once(async () => (await readableSites()).filter((site) => domain === undefined || site.domain === domain)),
    diff: once(() => describeDiff(deps, domains)),
    dockerFacts: once(() => deps.docker.facts()),
  };
}

function once<T>(ask: () => Promise<T>): () => Promise<T> {
  let answer: Promise<T> | undefined;
  return () => (answer ??= ask());
}

/** Our unit files as they were installed, and as they are. */
export async function unitFilePairs(): Promise<{ name: string; installed: string; present: string | undefined; override: string | undefined }[]> {
  const names = (await namesIn(paths.installedUnitsDir)).filter((name) => /\.(service|socket|timer|path|slice)$/.test(name));
  const installed = readMany(names.map((name) => `${paths.installedUnitsDir}/${name}`));
  return Promise.all(installed.map(async ({ path, content }) => {
    const name = path.slice(path.lastIndexOf('/') + 1);
    const above = `${paths.unitsDir}/${name}`;
    // A mask is a link to /dev/null.
    const override = await exists(above) ? (await readIfThere(above)) ?? '' : undefined;
    return { name, installed: content, present: await readIfThere(`${paths.sharedUnitsDir}/${name}`), override };
  }));
}
