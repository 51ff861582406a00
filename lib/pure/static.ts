import type { SiteNames } from './names.ts';

/** What a site says about its files; `static` of its settings has this form. */
export interface StaticSettings {
  /** Below the site's data, or below the checkout where there is a repository; or absolute. */
  directory?: string | undefined;
  git?: string | undefined;
  branch?: string | undefined;
  notFound?: string | undefined;
}

/**
 * The directory that visitors are shown: what the router sends as `X-Sitegen-Root`. It stays the
 * same over pulls, as they replace the link that is part of it.
 * @returns an absolute path without `.`, `..`, doubled slashes and a slash at its end
 */
export function staticRoot({ directory = '.', git }: StaticSettings, { dataDir, checkoutDir }: Pick<SiteNames, 'dataDir' | 'checkoutDir'>): string {
  const parts = directory.split('/').filter((part) => part !== '' && part !== '.');
  if (directory.startsWith('/')) return `/${parts.join('/')}`;
  return [git === undefined ? dataDir : checkedOut({ checkoutDir }), ...parts].join('/');
}

/** The link to the tree that is served; the static server takes its name as it is here. */
export function checkedOut({ checkoutDir }: Pick<SiteNames, 'checkoutDir'>): string {
  return `${checkoutDir}/current`;
}

/** A repository's address without secrets, and those by themselves. */
export interface Remote {
  /** Fit for command lines, which every user of the machine can see, and for messages. */
  url: string;
  /** Value of the header that logs in over http; undefined when the address has no password or token. */
  authorization: string | undefined;
}

/** Takes a repository's address apart; one that is no http or https URL stays as it is. */
export function remoteOf(git: string): Remote {
  const match = /^(https?:\/\/)([^/]*)@(.*)$/i.exec(git);
  if (!match) return { url: git.replace(/^(ssh:\/\/[^/:@]*):[^/@]*@/i, '$1@'), authorization: undefined };
  const [, scheme = '', userInfo = '', rest = ''] = match;
  const colon = userInfo.indexOf(':');
  const [user, password] = colon === -1 ? [userInfo, ''] : [userInfo.slice(0, colon), userInfo.slice(colon + 1)];
  const credentials = `${decode(user)}:${decode(password)}`;
  return { url: `${scheme}${rest}`, authorization: `Basic ${base64(credentials)}` };
}

/** A message of a program without the credentials that addresses in it may have. */
export function withoutCredentials(text: string): string {
  return text.replaceAll(/([a-z][a-z0-9+.-]*:\/\/)[^/\s@'"]*@/gi, '$1');
}

/** Short form of a commit, for people. */
export function shortCommit(commit: string): string {
  return commit.slice(0, 10);
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function base64(text: string): string {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}
