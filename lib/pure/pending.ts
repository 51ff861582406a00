import { SitegenError } from './errors.ts';

/**
 * What the first container of a site has to do before anybody visits it, as a file beside the
 * data says: a word a line.
 */
export interface Pending {
  /** A try to install it has begun: whatever is in the data by now is of that try. */
  begun: boolean;
  /** The application makes its data. */
  install: boolean;
  /** The data came from a backup, and the database is still in its dump. */
  load: boolean;
  /** The domain that the site had before. */
  renamedFrom: string | undefined;
}

/** Nothing but the given. */
export function pendingOf(some: Partial<Pending>): Pending {
  return { begun: false, install: false, load: false, renamedFrom: undefined, ...some };
}

/** Text of the file. */
export function formatPending({ begun, install, load, renamedFrom }: Pending): string {
  const lines = [...(install ? ['install'] : []), ...(load ? ['load'] : []), ...(renamedFrom === undefined ? [] : [`rename ${renamedFrom}`]), ...(begun ? ['begun'] : [])];
  return lines.map((line) => `${line}\n`).join('');
}

/** Reads it; undefined when there is no such file. @throws SitegenError for a word that is unknown: to go on would lose data */
export function parsePending(text: string | undefined): Pending | undefined {
  if (text === undefined) return undefined;
  const pending = pendingOf({});
  for (const line of text.split('\n').filter((each) => each !== '')) {
    const from = /^rename (\S+)$/.exec(line)?.[1];
    if (from !== undefined) pending.renamedFrom = from;
    else if (line === 'install' || line === 'load' || line === 'begun') pending[line] = true;
    else throw new SitegenError(`cannot tell what is to be done first: ${JSON.stringify(line)}`);
  }
  return pending;
}

/** What is to be done, for people: "install it"; to follow "its first start has to". */
export function describePending({ install, load, renamedFrom }: Pending): string {
  const parts = [...(install ? ['install it'] : []), ...(load ? ['load its dump'] : []), ...(renamedFrom === undefined ? [] : [`tell it that it was ${renamedFrom}`])];
  return parts.join(' and ') || 'launch it';
}
