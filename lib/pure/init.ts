import { parseDefaults, setInSections } from './config.ts';
import { usageError } from './errors.ts';
import { paths } from './paths.ts';

/** What `sitegen init` asks; undefined leaves what is there. */
export interface Answers {
  email: string | undefined;
  /** All backup servers there are to be. */
  servers: readonly BackupServer[] | undefined;
  memory: string | undefined;
}

/** As `backup.servers` has it. */
export interface BackupServer {
  url: string;
  hostKey: string;
}

/**
 * The machine's settings with the answers in them; comments and all else stay.
 * @throws SitegenError with the key and what is allowed, when an answer is not valid
 */
export function withAnswers(text: string, { email, servers, memory }: Answers): string {
  const changes: [string, string, unknown][] = [];
  if (email !== undefined) changes.push(['acme', 'email', email]);
  if (servers !== undefined) changes.push(['backup', 'servers', servers]);
  if (memory !== undefined) changes.push(['machine', 'memory', memory]);
  if (changes.length === 0) return text;
  const edited = setInSections(text, changes);
  parseDefaults(edited, paths.defaultsFile);
  return edited;
}

/**
 * Reads a backup server as it is typed: `ssh://user@host/directory`, with or without the host key behind it.
 * @throws SitegenError (usage) when it is no ssh URL
 */
export function parseServer(text: string): { url: string; hostKey: string | undefined; host: string; port: number } {
  const [, url = '', key] = /^(\S+)(?:\s+(\S+ \S+))?$/.exec(text.trim().replaceAll(/\s+/g, ' ')) ?? [];
  const [, host, port] = /^ssh:\/\/(?:[^@/\s]+@)?(\[[0-9a-fA-F:]+\]|[A-Za-z0-9][A-Za-z0-9.-]*)(?::(\d{1,5}))?(?:\/|$)/.exec(url) ?? [];
  if (host === undefined) throw usageError(`${JSON.stringify(text)} is not a backup server`, 'write ssh://user@host/directory, and, if you know it, its host key behind it');
  return { url, hostKey: key, host: host.replace(/^\[(.*)\]$/, '$1'), port: Number(port ?? 22) };
}

/** The first ed25519 key of what ssh-keyscan(1) prints, without the name; undefined when there is none. */
export function scannedKey(text: string): string | undefined {
  return /^[^#\s]\S* (ssh-ed25519 [A-Za-z0-9+/=]+)\s*$/m.exec(text)?.[1];
}
