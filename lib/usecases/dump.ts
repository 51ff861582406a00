import type { Docker } from '../effects/docker.ts';
import type { Dump } from '../pure/dump.ts';
import { SitegenError } from '../pure/errors.ts';
import type { SiteNames } from '../pure/names.ts';
import type { Hook } from '../pure/site.ts';

/** What of a site it takes to run something in its container. */
export type InContainer = Pick<SiteNames, 'domain' | 'container'>;

/**
 * Dumps the database of a running container into a file, which is replaced only by a whole dump
 * that was checked: on anything else the last good one stays. The caller holds the site's
 * `dumpLock`, has thawed the container and made the target's directory.
 * @param previousBytes size of the last dump that was accepted, or null
 * @param target the file, mode 0600
 * @returns its size
 * @throws SitegenError with the reason in one line
 */
export function dumpDatabase(_docker: Pick<Docker, 'find' | 'exec'>, _names: InContainer, _dump: Dump, _previousBytes: number | null, _target: string): Promise<{ bytes: number }> {
  return Promise.reject(new SitegenError('dumps are not there yet'));
}

/**
 * Loads a dump into the database of a running container. The built-in ways make the database
 * empty first, so that a load which was interrupted can be repeated.
 * @param source the dump's file
 * @throws SitegenError with the program's last words
 */
export function loadDatabase(_docker: Pick<Docker, 'find' | 'exec'>, _names: InContainer, _dump: Dump, _source: string, _report: (line: string) => void): Promise<void> {
  return Promise.reject(new SitegenError('loads are not there yet'));
}

/**
 * Runs a site's own program in its running container.
 * @param extraArgs arguments after those of the settings
 * @param report gets its output, line by line
 * @throws SitegenError when it ends with another exit code than 0, or takes too long; has its last lines
 */
export function runHook(_docker: Pick<Docker, 'find' | 'exec'>, _names: InContainer, _hook: Hook, _extraArgs: readonly string[], _report: (line: string) => void): Promise<void> {
  return Promise.reject(new SitegenError('hooks are not there yet'));
}
