import { parse } from 'yaml';
import { composeFields } from '../../../../lib/pure/compose/schema.ts';
import { readProject } from '../../../../lib/pure/compose/read.ts';

/** Reads a project of YAML; the entrypoint is "web" unless given. Gives its faults as "path: message". */
export function read(project: string, more: { entrypoint?: string; allow?: string[]; env?: Record<string, string>; secrets?: Record<string, string> } = {}) {
  const { env, secrets, entrypoint = 'web', allow } = more;
  const compose = composeFields.parse({ entrypoint, ...(allow && { allow }), project: parse(project) as unknown });
  const { project: found, faults = [] } = readProject({ compose, env, secrets });
  return { project: found, faults: faults.map(({ path, message }) => `${path.slice(2).join('.')}: ${message}`) };
}

/** A project with one service, "web", that has some lines more; and some lines beside it. */
export function webWith(lines: string, beside = ''): string {
  return `services:\n  web:\n    image: web:1\n${lines.split('\n').map((line) => `    ${line}`).join('\n')}\n${beside}`;
}
