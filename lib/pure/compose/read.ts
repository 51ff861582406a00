import type { z } from 'zod';
import { reasonOf } from '../errors.ts';
import { checkProject, refusedByName, type Fault } from './check.ts';
import { interpolate } from './interpolate.ts';
import { projectSchema, type ComposeProject, type ComposeSettings } from './schema.ts';

/** What of a site's settings its project is read from. */
export interface ComposeSite {
  compose?: ComposeSettings | undefined;
  env?: Readonly<Record<string, string>> | undefined;
  secrets?: Readonly<Record<string, string>> | undefined;
}

/**
 * Reads a site's Compose project: puts its variables in, and checks it.
 * @returns the faults, or a project without any; paths are those of the site's settings
 */
export function readProject(site: ComposeSite & { compose: ComposeSettings }): { project: ComposeProject; faults?: never } | { faults: Fault[]; project?: never } {
  const at = (faults: readonly Fault[]) => ({ faults: faults.map(({ path, message }) => ({ path: ['compose', 'project', ...path], message })) });
  const { compose } = site;
  let given: Record<string, unknown>;
  try {
    given = interpolate(compose.project, { ...site.env, ...site.secrets }) as Record<string, unknown>;
  } catch (error) {
    return at([{ path: [], message: reasonOf(error) }]);
  }
  // Extensions are for whoever writes the file.
  given = Object.fromEntries(Object.entries(given).filter(([key]) => !key.startsWith('x-')));
  const named = refusedByName(given);
  const parsed = projectSchema.safeParse(given);
  if (!parsed.success) {
    const isNamed = (path: readonly PropertyKey[], key: string) => named.some((fault) => fault.path.join('.') === [...path, key].join('.'));
    return at([...named, ...parsed.error.issues.flatMap((issue) => {
      if (issue.code === 'unrecognized_keys') return issue.keys.filter((key) => !isNamed(issue.path, key)).map((key) => ({ path: [...issue.path, key], message: 'is not supported: take it out' }));
      return [faultOf(issue)];
    })]);
  }
  const faults = checkProject(parsed.data, entryOf(compose), compose.allow ?? []);
  return faults.length > 0 ? at(faults) : { project: parsed.data };
}

/** The innermost issue is the one that says what is wrong. */
function faultOf(issue: z.core.$ZodIssue): Fault {
  if (issue.code === 'invalid_key') return { path: issue.path, message: issue.issues[0]?.message ?? issue.message };
  if (issue.code === 'invalid_union') {
    const [meant, ...more] = issue.errors.filter((inner) => inner.some(({ code, path }) => code !== 'invalid_type' || path.length > 0));
    const [inner] = more.length === 0 ? meant ?? [] : [];
    if (inner?.code === 'unrecognized_keys') return { path: [...issue.path, ...inner.path, inner.keys[0] ?? ''], message: 'is not supported: take it out' };
    if (inner) return faultOf({ ...inner, path: [...issue.path, ...inner.path] });
  }
  return { path: issue.path, message: issue.message.charAt(0).toLowerCase() + issue.message.slice(1) };
}

/** Where settings name a service of the project. */
export function servicesSaid({ dump, hooks, jobs }: Naming): { path: PropertyKey[]; service: string }[] {
  const said = [
    { path: ['dump', 'service'], service: dump?.service },
    { path: ['hooks', 'service'], service: hooks?.service },
    ...Object.entries(jobs ?? {}).map(([name, job]) => ({ path: ['jobs', name, 'service'], service: job === false ? undefined : job.service })),
  ];
  return said.flatMap(({ path, service }) => (service === undefined ? [] : [{ path, service }]));
}

interface Naming {
  dump?: { service?: string | undefined } | undefined;
  hooks?: { service?: string | undefined } | undefined;
  jobs?: Readonly<Record<string, false | { service?: string | undefined }>> | undefined;
}

/** The service that visitors reach. */
export function entryOf({ entrypoint }: Pick<ComposeSettings, 'entrypoint'>): string {
  return entrypoint.split(':', 1)[0] ?? '';
}

/** Its port, where that is named. */
export function portOf({ entrypoint }: Pick<ComposeSettings, 'entrypoint'>): number | undefined {
  const port = entrypoint.split(':')[1];
  return port === undefined ? undefined : Number(port);
}
