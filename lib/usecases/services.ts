import fs from 'node:fs/promises';
import { parse, stringify } from 'yaml';
import { entryOf } from '../pure/compose/read.ts';
import { resolveProject, serviceContainer } from '../pure/compose/project.ts';
import { reasonOf, SitegenError, usageError } from '../pure/errors.ts';
import { runsSomething } from '../pure/kinds.ts';
import { siteNames } from '../pure/names.ts';
import { siteFile } from './read-sites.ts';

/**
 * The name of the container that a service of a site runs in; without a service, of the one that visitors reach.
 * @throws SitegenError when the site has no such service
 */
export async function containerOfService(domain: string, service: string | undefined): Promise<string> {
  const names = siteNames(domain);
  if (service === undefined) return names.container;
  const { compose, order } = await projectOf(domain);
  if (!order.includes(service)) throw usageError(`${domain} has no service ${service}`, `its services: ${order.join(', ')}`);
  return serviceContainer(names, service === entryOf(compose) ? undefined : service);
}

/** Whether something runs for a site. */
export async function hasContainer(domain: string): Promise<boolean> {
  return runsSomething(await siteFile(domain));
}

/** Its project as it is written in the settings, as a Compose file; values of secrets are not in it. */
export async function projectText(domain: string): Promise<string> {
  return stringify((await projectOf(domain)).compose.project, { lineWidth: 0 });
}

/** A Compose file as it goes into settings. @throws SitegenError when it cannot be read, or holds no project */
export async function readComposeFile(file: string): Promise<Record<string, unknown>> {
  const text = await fs.readFile(file, 'utf8').catch((error: unknown) => { throw new SitegenError(`cannot read ${file}: ${reasonOf(error)}`, { cause: error }); });
  let project: unknown;
  try {
    project = parse(text, { merge: true, maxAliasCount: 100 });
  } catch (error) {
    throw new SitegenError(`${file} is not valid YAML: ${reasonOf(error)}`, { cause: error });
  }
  if (typeof project !== 'object' || project === null || Array.isArray(project)) throw new SitegenError(`${file} has no services`);
  return project as Record<string, unknown>;
}

/** @throws SitegenError for a site without a Compose project */
async function projectOf(domain: string) {
  const file = await siteFile(domain);
  const { compose } = file;
  if (!compose) throw new SitegenError(`${domain} is not a Compose project`, { hint: 'leave --service out: it has one container' });
  return { compose, order: resolveProject({ ...file, compose }).order };
}
