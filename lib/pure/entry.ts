import { SitegenError } from './errors.ts';
import { parseSize, parseSpan } from './quantities.ts';
import { staticRoot } from './static.ts';
import type { Upstream } from './schema-entry.ts';
import type { DefaultsFile, SiteFile } from './schema.ts';
import type { HostPort } from './schema-values.ts';
import { siteNames } from './names.ts';

/** How a site is reached through the router, with every default decided. */
export interface Entry {
  /** What answers, by path without a slash at its end; the root is ''. */
  targets: ReadonlyMap<string, Target>;
  /** TLS goes on as it is; the targets then count for port 80 alone. */
  passthrough: { to: HostPort; proxyProtocol: boolean } | undefined;
  www: 'redirect' | 'serve' | 'none';
  http: 'redirect' | 'serve';
  certificate: 'acme' | 'manual' | 'none';
  /** Value of Strict-Transport-Security; empty for none. */
  hsts: string;
  /** Bytes; and whether the site says so itself. */
  maxBody: number;
  ownMaxBody: boolean;
  serverTimeoutMs: number;
  tunnelTimeoutMs: number;
  /** Ranges in CIDR notation. */
  allow: readonly string[] | undefined;
  maintenance: { retryAfterMs: number; allow: readonly string[] } | undefined;
  users: readonly { name: string; hash: string }[];
  headers: Readonly<Record<string, string>>;
  probes: boolean;
}

/** What answers a path. */
export type Target =
  | { kind: 'address' }
  | { kind: 'upstream'; to: { protocol: 'http' | 'https'; host: string; port: number; base: string | undefined }; host: string | undefined }
  | { kind: 'static'; root: string; notFound: string | undefined }
  | { kind: 'redirect'; to: string; status: 301 | 302 | 307 | 308; keepPath: boolean };

/** What holds where no file says anything. */
export const builtInEntry = {
  hsts: '180d', maxBody: '1G', response: '60s', tunnel: '1h', retryAfter: '10min',
} as const;

/** The other name that people try: with www, or without it. */
export function wwwCounterpart(domain: string): string | undefined {
  if (domain.startsWith('www.')) return domain.slice(4).includes('.') ? domain.slice(4) : undefined;
  return domain.length <= 249 ? `www.${domain}` : undefined;
}

/** Every name that a site says is its own. */
export function namesSaid({ domain, aliases = [], redirects = [] }: { domain: string; aliases?: readonly string[] | undefined; redirects?: readonly string[] | undefined }): string[] {
  return [domain, ...aliases, ...redirects];
}

/**
 * Decides everything about how a site is reached.
 * @param readyMs how long a wake may take; the router waits that much longer
 */
export function resolveEntry(file: SiteFile, defaults: DefaultsFile, readyMs: number): Entry {
  const { router, acme } = defaults;
  const hsts = file.hsts ?? router?.hsts ?? builtInEntry.hsts;
  const { maintenance } = file;
  return {
    targets: targetsOf(file),
    passthrough: file.passthrough === undefined ? undefined : { to: file.passthrough.to, proxyProtocol: file.passthrough.proxyProtocol ?? false },
    www: file.www ?? 'redirect',
    http: file.http ?? (file.passthrough?.http ? 'serve' : 'redirect'),
    certificate: file.passthrough ? 'none' : (file.certificate ?? (acme?.enabled === false ? 'none' : 'acme')),
    hsts: hsts === 'off' ? '' : `max-age=${Math.round(ms(hsts) / 1000)}`,
    maxBody: parseSize(file.maxBody ?? router?.maxBody ?? builtInEntry.maxBody) ?? 0,
    ownMaxBody: file.maxBody !== undefined && file.maxBody !== 'infinity',
    // The page of a failed wake takes a moment too.
    serverTimeoutMs: ms(file.timeouts?.response ?? builtInEntry.response) + (readyMs > 0 ? Math.ceil(readyMs) + 10_000 : 0),
    tunnelTimeoutMs: ms(file.timeouts?.tunnel ?? builtInEntry.tunnel),
    allow: file.allow,
    maintenance: maintenance && { retryAfterMs: ms(maintenance.retryAfter ?? builtInEntry.retryAfter), allow: maintenance.allow ?? [] },
    users: Object.entries(file.auth ?? {}).map(([name, hash]) => ({ name, hash })),
    headers: file.headers ?? {},
    probes: file.probes ?? false,
  };
}

function targetsOf(file: SiteFile): Map<string, Target> {
  const targets = new Map<string, Target>([['', mainTarget(file)]]);
  for (const [path, target] of Object.entries(file.paths ?? {})) {
    const key = path.replace(/\/+$/, '');
    if ('proxy' in target) targets.set(key, upstreamTarget(file.domain, target.proxy.to, target.proxy.host));
    else if ('static' in target) targets.set(key, { kind: 'static', root: directoryIn(file.domain, target.static), notFound: undefined });
    else targets.set(key, redirectTarget(target.redirect));
  }
  return targets;
}

function mainTarget(file: SiteFile): Target {
  if (file.redirect) return redirectTarget(file.redirect);
  if (file.static) return { kind: 'static', root: staticRoot(file.static, siteNames(file.domain)), notFound: file.static.notFound };
  if (file.proxy && file.proxy.to.protocol !== 'unix') return upstreamTarget(file.domain, file.proxy.to, file.proxy.host);
  if (file.passthrough) {
    const { http } = file.passthrough;
    return http
      ? { kind: 'upstream', to: { protocol: 'http', ...http, base: undefined }, host: undefined }
      : { kind: 'redirect', to: `https://${file.domain}`, status: 308, keepPath: true };
  }
  return { kind: 'address' };
}

function upstreamTarget(domain: string, to: Upstream, host: string | undefined): Target {
  if (to.protocol === 'unix') throw new SitegenError(`${domain}: paths: a unix socket can only be a site's own proxy`);
  return { kind: 'upstream', to: { ...to, protocol: to.protocol }, host };
}

function redirectTarget({ to, status, keepPath }: NonNullable<SiteFile['redirect']>): Target {
  const keep = keepPath ?? true;
  return { kind: 'redirect', to: keep ? to.replace(/\/+$/, '') : to, status: status ?? 308, keepPath: keep };
}

function directoryIn(domain: string, directory: string): string {
  return staticRoot({ directory }, siteNames(domain));
}

/** Whole milliseconds, as the router counts in no smaller ones. */
function ms(span: string): number {
  return Math.ceil(parseSpan(span) ?? 0);
}
