import { exists } from '../effects/files.ts';
import type { SiteNames } from '../pure/names.ts';

/** There until a tree that was adopted is a site. */
export function adoptingFile(metaDir: string): string {
  return `${metaDir}/adopting`;
}

/** Whether a site's settings are of one that is whole, and not of an adoption that was killed. */
export async function isWhole(names: Pick<SiteNames, 'settingsFile' | 'metaDir'>): Promise<boolean> {
  return await exists(names.settingsFile) && !await exists(adoptingFile(names.metaDir));
}
