import { paths } from './paths.ts';

/** What has to do with the room that a site's data takes. */
export interface DiskNames {
  /** What was found at the last look at that. */
  diskFile: string;
  /** There while the site is kept stopped, as its data takes more room than it may; the shim has the name too. */
  fullFile: string;
  /** Looks at it. */
  diskUnit: string;
}

/** @param site by its id */
export function diskNames({ id }: { id: string }): DiskNames {
  return { diskFile: `${paths.runDir}/sites/${id}.disk`, fullFile: `${paths.runDir}/sites/${id}.full`, diskUnit: `sitegen-disk@${id}.service` };
}
