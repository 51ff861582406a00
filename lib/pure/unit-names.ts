import { paths } from './paths.ts';

/** What a site whose program runs without a container has beside what all have. */
export interface ProcessNames {
  /** Its service: of a kind of its own, as `site-….service` could be another site's. */
  processUnit: string;
  /** Where it listens, if systemd opens that for it. */
  processSocket: string;
  /** Its environment, as systemd reads it: root's alone, where the settings of a unit are everybody's. */
  environmentFile: string;
}

const prefix = 'sitegen-process@';

/** Names of a site's program, by the site's id. The shim knows a program by this form of its unit's name. */
export function processNames({ id }: { id: string }): ProcessNames {
  return { processUnit: `${prefix}${id}.service`, processSocket: `${prefix}${id}.socket`, environmentFile: `${paths.processesDir}/${id}` };
}

/** The id of the site whose program a unit is; undefined for any other unit. */
export function processId(unit: string): string | undefined {
  return unit.startsWith(prefix) && unit.endsWith('.service') ? unit.slice(prefix.length, -'.service'.length) : undefined;
}

/** Matches the unit files of sites in `paths.unitsDir`. */
export function isSiteUnit(fileName: string): boolean {
  return /^(site-.+\.(socket|service|slice)|sitegen-process@.+\.(socket|service))$/.test(fileName);
}

/** A slice beside a site's container that exists only for the moment in which limits are put in force. */
export function limitsUnit({ appSlice }: { appSlice: string }): string {
  return appSlice.replace(/-app\.slice$/, '-set.slice');
}

/** In a slice's name "-" means nesting (systemd.slice(5)), so the domain's own are escaped as systemd-escape does. */
export function escapeHyphens(text: string): string {
  return text.replaceAll('-', String.raw`\x2d`);
}

/** The reverse, for what `escapeHyphens` has made. */
export function unescapeHyphens(text: string): string {
  return text.replaceAll(String.raw`\x2d`, '-');
}
