import * as z from 'zod';
import { isAddress } from './addresses.ts';
import { parseSpan } from './quantities.ts';
import { isHost } from './hosts.ts';
import { bytes, domain, hostPort, sourceRange, splitHostPort, span, text } from './schema-values.ts';

/** What the router does for a site, and the router itself: parts of the one schema in schema.ts. */

const yearMs = 365 * 86_400_000;

/** A line of a map has to fit into the router's buffer, whole. */
const longest = 500;

const absolute = (value: string) => value.length <= longest && /^(\/[A-Za-z0-9._-]+)+$/.test(value) && !/\/\.\.?(\/|$)/.test(value);

/** What a visitor has no business with, be it above or below what is served. */
const systemDirectories = ['/etc', '/proc', '/sys', '/dev', '/run', '/root', '/boot', '/var/run', '/var/lib/sitegen'];

/** Below the site's data, or absolute where the admin's own files are. */
const directory = () => text().refine(
  (value) => value.length <= longest && (value === '/' || /^(\.|(\.\/)?[A-Za-z0-9_][A-Za-z0-9_.-]*(\/[A-Za-z0-9_][A-Za-z0-9_.-]*)*\/?)$/.test(value) || absolute(value.replace(/\/$/, ''))),
  { error: 'is not a directory: write one below the site\'s data, such as www, or an absolute path of letters, digits and ._-', abort: true },
).refine((value) => {
  const at = `${value.replace(/\/$/, '')}/`;
  return !value.startsWith('/') || !systemDirectories.some((other) => at.startsWith(`${other}/`) || `${other}/`.startsWith(at));
}, 'is a directory of the system, or has one in it: choose another one')
  .refine((value) => !/\/\.[^/]/.test(value), 'is hidden: its name must not begin with a dot');

/** Upstream of a proxy, taken apart. */
export interface Upstream {
  protocol: 'http' | 'https' | 'unix';
  /** Name or address without brackets; the path of a unix socket. */
  host: string;
  port: number;
  /** Takes the prefix's place when the URL has a path; undefined keeps paths as they are. */
  base: string | undefined;
}

/** Reads `http://host[:port][/base]`, `https://…` or `unix:/path`; undefined when it is none. */
export function parseUpstream(value: string): Upstream | undefined {
  const unix = /^unix:(\/.*)$/.exec(value)?.[1];
  if (unix !== undefined) return absolute(unix) && unix.length <= 100 ? { protocol: 'unix', host: unix, port: 0, base: undefined } : undefined;
  const match = /^(https?):\/\/([^/?#@\s]+)(\/[A-Za-z0-9._~/-]*)?$/i.exec(value);
  if (!match?.[1] || match[2] === undefined || value.length > longest) return undefined;
  const protocol = match[1].toLowerCase() as 'http' | 'https';
  const authority = /:\d+$/.test(match[2]) ? match[2] : `${match[2]}:${protocol === 'http' ? 80 : 443}`;
  const at = splitHostPort(authority);
  // Its certificate is checked for a name.
  if (!at || (protocol === 'https' && (at.host.includes(':') || /^[\d.]+$/.test(at.host)))) return undefined;
  const base = match[3]?.replace(/\/+$/, '');
  return { protocol, ...at, base: match[3] === undefined ? undefined : (base ?? '') };
}

/** The router's own ports: a single visitor would be passed on to it until it has no connection left. */
export function isRouterItself({ host, port }: Pick<Upstream, 'host' | 'port'>): boolean {
  return [80, 443].includes(port) && (['localhost', '0.0.0.0', '::', '::1'].includes(host) || /^127\.[\d.]+$/.test(host));
}

const circle = 'is the router itself: let the server listen on another port than 80 and 443';

const upstream = () => z.string().transform((value, context): Upstream => {
  const parsed = parseUpstream(value);
  if (parsed && isRouterItself(parsed)) context.addIssue({ code: 'custom', message: circle });
  if (parsed) return parsed;
  context.addIssue({ code: 'custom', message: 'is not an upstream: write http://host:port, https://name or unix:/path/to/socket; https needs a name for its certificate' });
  return z.NEVER;
});

const redirectTarget = () => text().refine((value) => {
  const match = /^https?:\/\/([^/?#@:]+)(:\d{1,5})?(\/[!-~]*)?$/.exec(value);
  return match?.[1] !== undefined && isHost(match[1].toLowerCase()) && splitHostPort(`a${match[2] ?? ':1'}`) !== undefined && !/["\\|]/.test(value) && value.length <= 2000;
}, 'is not a URL to redirect to: write https://example.org or https://example.org/path');

const redirect = z.union([
  redirectTarget().transform((to) => ({ to, status: undefined, keepPath: undefined })),
  z.strictObject({
    to: redirectTarget().describe('URL that visitors are sent to'),
    status: z.union([z.literal(301), z.literal(302), z.literal(307), z.literal(308)], 'is not a redirect: write 301, 302, 307 or 308').describe('308 unless given').optional(),
    keepPath: z.boolean().describe('false: everybody is sent to exactly this URL').optional(),
  }),
], 'is not a redirect: write a URL, or to, status and keepPath');

const proxy = z.union([
  upstream().transform((to) => ({ to, host: undefined })),
  z.strictObject({
    to: upstream().describe('http://host:port, https://name or unix:/path'),
    host: text().refine((value) => isHost(value.toLowerCase()), 'is not a name').describe('Host header that the upstream gets; the visitor\'s unless given').optional(),
  }),
], 'is not an upstream: write http://host:port, https://name or unix:/path/to/socket');

const gitUrl = () => text().refine(
  (value) => /^(https?:\/\/[^\s'"-][^\s'"]*|ssh:\/\/[^\s'"-][^\s'"]*|[A-Za-z0-9_.]+@[A-Za-z0-9.-]+:[^\s'"-][^\s'"]*|\/[^\s'"]+)$/.test(value),
  'is not a repository: write https://…, ssh://…, user@host:path or an absolute path',
);

const staticFiles = z.union([
  directory().transform((at) => ({ directory: at, git: undefined, branch: undefined, notFound: undefined })),
  z.strictObject({
    directory: directory().describe('directory that is served; with git, below the checkout').optional(),
    git: gitUrl().describe('repository that is checked out, and pulled every hour').optional(),
    branch: text().regex(/^[A-Za-z0-9_][A-Za-z0-9_./-]*$/, 'is not the name of a branch').describe('the repository\'s own unless given').optional(),
    notFound: text().refine((value) => absolute(value) && !value.includes('/.'), 'is not a path: write for example /404.html').describe('page for what is missing; /404.html unless given').optional(),
  }).refine((value) => value.git === undefined || !value.directory?.startsWith('/'), { message: 'is absolute: with git it is below the checkout', path: ['directory'] }),
], 'is neither a directory nor directory, git, branch and notFound');

const elsewhere = () => hostPort('an upstream').refine((at) => !isRouterItself(at), circle);

const passthrough = z.union([
  elsewhere().transform((to) => ({ to, proxyProtocol: undefined, http: undefined })),
  z.strictObject({
    to: elsewhere().describe('TLS server that gets the connections as they are'),
    proxyProtocol: z.boolean().describe('true: it is told the visitor\'s address, with PROXY protocol version 2').optional(),
    http: elsewhere().describe('gets what comes to port 80; redirected to https unless given').optional(),
  }),
], 'is not an upstream: write host:port, or to, proxyProtocol and http');

const path = z.string().regex(/^(\/[A-Za-z0-9._~-]+){1,6}\/?$/, 'is not a path: write for example /api, with up to six parts of letters, digits and ._~-')
  .refine((value) => value.length <= longest && !/\/\.\.?(\/|$)/.test(value), 'is not a path that visitors can ask for');

/** Of a path: a unix socket has no address of its own to be told by. */
const pathUpstream = () => upstream().refine((value) => value.protocol !== 'unix', 'is a unix socket, which only a site\'s own proxy can be: write http://host:port');

const pathProxy = z.strictObject({
  to: pathUpstream().describe('http://host:port or https://name'),
  host: text().refine((value) => isHost(value.toLowerCase()), 'is not a name').describe('see proxy.host of a site').optional(),
});

const pathTarget = z.union([
  pathUpstream().transform((to) => ({ proxy: { to, host: undefined } })),
  z.strictObject({ proxy: pathProxy.describe('see proxy of a site') }),
  z.strictObject({ static: directory().describe('see static of a site') }),
  z.strictObject({ redirect: redirect.describe('see redirect of a site') }),
], 'is not a target: write http://host:port, or one of proxy, static and redirect');

const pathTargets = z.record(path, pathTarget).superRefine((value, context) => {
  const again = Object.keys(value).find((key) => key.endsWith('/') && key.slice(0, -1) in value);
  if (again !== undefined) context.addIssue({ code: 'custom', message: 'is there twice: with and without / at its end', path: [again] });
});

const headerName = z.string().regex(/^[A-Za-z][A-Za-z0-9-]{0,63}$/, 'is not a header: use letters, digits and hyphens')
  .refine((name) => !/^(connection|content-length|transfer-encoding|upgrade|keep-alive|te|trailer|date|host|set-cookie)$/i.test(name), 'belongs to the connection: the router sets it itself');

/** For the running router " <<" announces further lines. */
const headerValue = z.string().regex(/^[ -~]*$/, 'must be one line of ASCII characters').max(4000, 'is too long: 4000 characters at most').trim()
  .refine((value) => !value.includes(' <<'), 'must not have << after a space');

const headers = z.record(headerName, headerValue)
  .superRefine((value, context) => {
    const names = Object.keys(value).map((name) => name.toLowerCase());
    const again = Object.keys(value).find((name, index) => names.indexOf(name.toLowerCase()) < index);
    if (again !== undefined) context.addIssue({ code: 'custom', message: 'is there twice: case does not count', path: [again] });
  });

const userName = z.string().regex(/^[A-Za-z0-9._@-]{1,64}$/, 'is not a user: use letters, digits and ._@-');
const passwordHash = () => z.string().regex(/^\$(5|6|2[aby]|y)\$[A-Za-z0-9./$=]{20,200}$/, 'is not a hashed password: make one with sitegen password');

const hsts = () => z.union([z.string(), z.number().positive()]).transform(String)
  .refine((value) => value === 'off' || parseSpan(value) !== undefined, { error: 'is not a time span: write for example 180d, or off', abort: true })
  .refine((value) => value === 'off' || ((parseSpan(value) ?? 0) >= 1000 && (parseSpan(value) ?? 0) <= 2 * yearMs), 'is out of range: write 1s to 730d, or off');

/** What every kind of site may say about how it is reached. */
export const entryFields = {
  static: staticFiles.describe('a directory is served, without any container').optional(),
  proxy: proxy.describe('an upstream that runs already answers').optional(),
  passthrough: passthrough.describe('TLS connections go on as they are to a server with a certificate of its own').optional(),
  redirect: redirect.describe('visitors are sent elsewhere').optional(),
  paths: pathTargets.describe('paths that something else answers, as /path: http://host:port').optional(),
  www: z.enum(['redirect', 'serve', 'none'], 'is not redirect, serve or none').describe('what www. before the domain does, or its absence').optional(),
  redirects: z.array(domain()).describe('names that only redirect to the site').optional(),
  http: z.enum(['redirect', 'serve'], 'is not redirect or serve').describe('what port 80 does; redirect unless given').optional(),
  certificate: z.enum(['acme', 'manual', 'none'], 'is not acme, manual or none').describe('where the certificate comes from; manual: from you; none: a self-signed one stays').optional(),
  hsts: hsts().describe('how long browsers must use https; off: not said').optional(),
  auth: z.record(userName, passwordHash()).describe('users that may enter, with hashed passwords: see sitegen password').optional(),
  allow: z.array(sourceRange()).describe('addresses and ranges that may visit; all others get 403').optional(),
  maintenance: z.union([
    z.boolean().transform((on) => (on ? { retryAfter: undefined, allow: undefined } : undefined)),
    z.strictObject({
      retryAfter: span().describe('when visitors may come again; 10min unless given').optional(),
      allow: z.array(sourceRange()).describe('addresses that are let through').optional(),
    }),
  ], 'is not true, false, or retryAfter and allow').describe('a page says that work is going on: see sitegen maintenance').optional(),
  timeouts: z.strictObject({
    response: span().describe('how long an awake site may take to begin its answer; 60s unless given'),
    tunnel: span(24 * 86_400_000, '24days').describe('how long a websocket, or a connection to a public port, may be silent; 1h unless given'),
  }).partial().describe('how long the router waits').optional(),
  maxBody: bytes().describe('size of a request at most; 1G unless given').optional(),
  headers: headers.describe('response headers, set over the site\'s own').optional(),
  probes: z.boolean().describe('true: requests that router.probes names reach the site').optional(),
};

const pair = z.union([
  z.literal('reject'),
  elsewhere().transform((to) => ({ https: to, http: { host: to.host, port: 80 } }))
    .refine(({ http }) => !isRouterItself(http), 'leads port 80 back to the router itself: write https and http, each with a port'),
  z.strictObject({
    https: elsewhere().describe('gets TLS connections as they are'),
    http: elsewhere().describe('gets requests of port 80'),
  }).partial(),
], 'is not reject, host:port, or http and https');

/** `router:` of sitegen.yaml. */
export const routerFields = z.strictObject({
  enabled: z.boolean().describe('false: ports 80 and 443 belong to another program'),
  unknown: pair.describe('where names go that no site has'),
  hsts: hsts().describe('see hsts of a site; 180d unless given'),
  maxConnections: z.int().min(50).max(15_000).describe('visitors\' connections at once; 4000 unless given'),
  limits: z.strictObject({
    connections: z.int().min(1).describe('connections of one address at once; 200 unless given'),
    requests: z.int().min(1).describe('requests of one address in ten seconds; 1000 unless given'),
    logins: z.int().min(1).describe('wrong passwords and POSTs to wp-login.php or xmlrpc.php of one address in a minute; 20 unless given'),
  }).partial().describe('limits of one address: an IPv4 address, or an IPv6 network of 64 bits'),
  maxBody: bytes().describe('see maxBody of a site'),
  proxies: z.array(sourceRange()).describe('servers whose connections to port 443 begin with the visitor\'s address, in PROXY protocol: former servers of sites that moved here'),
  log: z.enum(['full', 'anonymous', 'off'], 'is not full, anonymous or off').describe('access log in the journal; anonymous cuts addresses to their network'),
  probes: z.array(text().regex(/^\/[!-~]{1,499}$/, 'is not a path: write for example /.env')).describe('paths that only bots ask for: answered with 404, no site is woken'),
  statePath: text().refine(absolute, 'is not a path: write for example /state').describe('path at which each site\'s state is told without waking it; /.well-known/sitegen/state unless given'),
  metrics: hostPort('an address').refine(({ host }) => isAddress(host) !== 0, 'is not an address of this machine: write for example 127.0.0.1:9475').describe('where Prometheus metrics are offered besides /run/sitegen/metrics.sock, such as 127.0.0.1:9475'),
  upstreamCa: text().refine(absolute, 'is not an absolute path').describe('PEM file with authorities that https upstreams are checked with, besides the system\'s'),
}).partial();

/** `acme:` of sitegen.yaml. */
export const acmeFields = z.strictObject({
  enabled: z.boolean().describe('false: no certificates are asked for'),
  email: text().regex(/^[^\s@]+@[^\s@]+$/, 'is not an e-mail address').describe('told to the certificate authority'),
  directory: z.url({ protocol: /^https$/, error: 'is not a URL: write https://…' }).describe('ACME directory; Let\'s Encrypt\'s unless given'),
  ca: text().refine(absolute, 'is not an absolute path').describe('PEM file with the authority of the directory\'s own certificate, for private ones'),
  eab: z.strictObject({
    kid: text().describe('identifier of the key'),
    key: text().regex(/^[A-Za-z0-9_=+/-]+$/, 'is not base64url').describe('the key itself, as base64url'),
  }).describe('external account binding, as the authority gave it'),
  keyType: z.enum(['ecdsa-p256', 'ecdsa-p384', 'rsa-2048', 'rsa-4096'], 'is not ecdsa-p256, ecdsa-p384, rsa-2048 or rsa-4096').describe('key of new certificates; ecdsa-p256 unless given'),
  dns: z.array(text()).min(1).describe('program and arguments that set TXT records for dns-01; needed for wildcards'),
}).partial();
