/** Keys of a site's settings that say what answers; a site has one at most, and the default app without. */
export const kinds = ['app', 'image', 'compose', 'process', 'static', 'proxy', 'passthrough', 'redirect'] as const;

export type Kind = (typeof kinds)[number];

/** Those of them for which something of the site's own runs. */
const running: readonly Kind[] = ['app', 'image', 'compose', 'process'];

/** Whether something runs for a site: a container, several, or a program. One that names no kind at all has the default app. */
export function runsSomething(file: Readonly<Partial<Record<Kind, unknown>>>): boolean {
  return kinds.every((kind) => running.includes(kind) || file[kind] === undefined);
}
