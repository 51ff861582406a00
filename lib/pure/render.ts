import Mustache from 'mustache';
import { SitegenError } from './errors.ts';

/** Values for a template: plain ones, or lists for sections. */
// eslint-disable-next-line @typescript-eslint/consistent-indexed-object-style -- a Record cannot contain itself
export interface View { readonly [key: string]: string | number | readonly View[] }

/**
 * Fills a mustache template in. Unlike mustache itself, a key that is missing is an error,
 * and nothing is escaped but by `escape`.
 * @param escape makes a value safe in the format that the template writes
 * @throws SitegenError naming the missing key
 */
export function render(template: string, view: View, escape: (value: string) => string): string {
  requireKeys(Mustache.parse(template) as Span[], [view]);
  return Mustache.render(template, view, undefined, { escape: (value: unknown) => escape(String(value)) });
}

/**
 * Escapes a value for a quoted setting of a unit file, as systemd.syntax(7) and systemd.unit(5)
 * read it: "%" begins a specifier, "\" an escape; a line break would begin a new setting.
 */
export function escapeUnit(value: string): string {
  return value.replace(/[%"\\\u0000-\u001f\u007f]/g, (char) => {
    if (char === '%') return '%%';
    if (char === '"' || char === '\\') return `\\${char}`;
    return `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`;
  });
}

/** For formats whose values are all checked already: anything else than names, numbers and addresses is refused. */
export function refuseSpecial(value: string): string {
  if (/^[A-Za-z0-9_./:[\]-]*$/.test(value)) return value;
  throw new SitegenError(`${JSON.stringify(value)} cannot be written into a rule`);
}

type Span = [type: string, name: string, start: number, end: number, children?: Span[]];

function requireKeys(spans: readonly Span[], views: readonly View[]): void {
  for (const [type, name, , , children] of spans) {
    if (!['name', '&', '#', '^'].includes(type)) continue;
    const owner = views.find((view) => Object.hasOwn(view, name));
    if (!owner) throw new SitegenError(`template: "${name}" has no value`);
    const value = owner[name];
    if (type === '#' && Array.isArray(value)) for (const item of value as View[]) requireKeys(children ?? [], [item, ...views]);
  }
}
