import { isAddress } from './addresses.ts';
import { paths, router, shared } from './names.ts';
import { refuseSpecial, render } from './render.ts';
import { masks, strips } from './routes.ts';
import type { DefaultsFile } from './schema.ts';
import type { HostPort } from './schema-values.ts';

/** What holds where `router:` says nothing. */
export const builtInRouter = {
  maxConnections: 4000,
  connections: 200,
  requests: 1000,
  logins: 20,
  statePath: '/.well-known/sitegen/state',
  log: 'full',
  /** Asked for by programs that look for mistakes, and by nobody else. */
  probes: ['/.env', '/.git/', '/.aws/', '/.ssh/', '/.vscode/', '/.DS_Store', '/vendor/phpunit/', '/cgi-bin/', '/boaform/', '/actuator/', '/solr/', '/HNAP1',
    '/wp-config.php.', '/wp-content/plugins/wp-file-manager/', '/phpinfo.php', '/info.php', '/server-status', '/_ignition/', '/telescope/', '/owa/', '/autodiscover/'],
} as const;

/** Response headers that sites set so often that the configuration knows them from the start. */
const commonHeaders = ['Content-Security-Policy', 'Permissions-Policy', 'Access-Control-Allow-Origin', 'Cache-Control', 'X-Robots-Tag',
  'Referrer-Policy', 'X-Frame-Options', 'Strict-Transport-Security', 'Cross-Origin-Opener-Policy', 'Link'];

/** What the configuration takes from the machine. */
export interface RouterHost {
  ipv6: boolean;
  /** Directory with the router's own pages. */
  pages: string;
  /** Addresses of DNS servers. */
  nameservers: readonly string[];
}

/** Addresses in a resolv.conf(5) that HAProxy can ask: of IPv6 those that need no interface. */
export function nameserversIn(resolvConf: string): string[] {
  return [...resolvConf.matchAll(/^\s*nameserver\s+(\S+)/gm)].map(([, address = '']) => address).filter((address) => isAddress(address) !== 0);
}

/**
 * The router's configuration. It does not name sites, and depends on them only through the names
 * of unusual headers; a change of it needs a reload.
 * @param template text of haproxy.cfg.mustache
 * @param logFormat value of `log-format`, from a file beside it
 * @param headers names of headers that sites set, in lower case
 * @throws Error when a value of the host's cannot be written into it
 */
export function routerConfig(template: string, logFormat: string, settings: DefaultsFile['router'], headers: Iterable<string>, host: RouterHost): string {
  const limits = settings?.limits;
  const log = settings?.log ?? builtInRouter.log;
  const known = new Map([...headers].map((name) => [name.toLowerCase(), name.toLowerCase()]));
  for (const name of commonHeaders) known.set(name.toLowerCase(), name);
  const unknown = settings?.unknown === undefined || settings.unknown === 'reject' ? undefined : settings.unknown;
  return render(template, {
    ...router,
    maps: router.mapsDir,
    adminSocket: router.adminSocket,
    alpnSocket: paths.alpnSocket,
    adoptSocket: paths.adoptSocket,
    stateSocket: paths.stateSocket,
    staticSocket: paths.staticSocket,
    certList: router.certList,
    probes: router.probes,
    pages: host.pages,
    nameservers: host.nameservers.map((address, index) => ({ index: String(index), address: bracketed(address) })),
    ipv6: host.ipv6 ? [{}] : [],
    proxies: (settings?.proxies ?? []).map((range) => ({ range })),
    visitors: settings?.maxConnections ?? builtInRouter.maxConnections,
    ...descriptors,
    maxconn: 2 * (settings?.maxConnections ?? builtInRouter.maxConnections),
    connections: limits?.connections ?? builtInRouter.connections,
    requests: limits?.requests ?? builtInRouter.requests,
    logins: limits?.logins ?? builtInRouter.logins,
    statePath: settings?.statePath ?? builtInRouter.statePath,
    log: log === 'off' ? [] : [{}],
    logFormat: log === 'anonymous' ? logFormat.replaceAll('%[src]', '%[src,ipmask(24,48)]') : logFormat,
    masks: masks.map((mask) => text(mask)),
    strips: strips.map((strip) => text(strip)),
    headers: [...known].sort().map(([key, name]) => ({ key, name })),
    unknownTls: unknown?.https ? [target(unknown.https)] : [],
    unknownHttp: unknown?.http ? [target(unknown.http)] : [],
    containers: [
      { name: 'be_site', reuse: 'safe', retry: 'conn-failure empty-response' },
      { name: 'be_site_once', reuse: 'never', retry: 'conn-failure' },
    ],
    upstreams: [{ name: 'be_http', tls: [] }, { name: 'be_https', tls: [{}] }],
  }, refuseSpecial);
}

/** Numbers of the descriptors that the socket unit hands over, in the order of its lines. */
const descriptors = { plain4: 3, tls4: 4, plain6: 5, tls6: 6 } as const;

/** A second configuration file with the users of all sites, as site/user. */
export function usersConfig(users: ReadonlyMap<string, string>): string {
  const lines = [...users].sort().map(([name, hash]) => `\tuser ${checked(name)} password ${checked(hash)}\n`);
  return `# Made by sitegen; "sitegen apply" writes it again.\nuserlist sites\n${lines.join('')}`;
}

/** Users in a file of `usersConfig`, with their hashes. */
export function parseUsers(config: string): Map<string, string> {
  return new Map([...config.matchAll(/^\tuser (\S+) password (\S+)$/gm)].map(([, name = '', hash = '']) => [name, hash]));
}

/** Drop-ins for what the units in `units/` cannot know. */
export function routerDropIns(settings: DefaultsFile['router'], ipv6: boolean): { path: string; content: string | undefined }[] {
  const head = '# Made by sitegen; "sitegen apply" writes it again.\n[Socket]\n';
  const { metrics } = settings ?? {};
  return [
    {
      path: `${paths.unitsDir}/${router.socketUnit}.d/50-no-ipv6.conf`,
      content: ipv6 ? undefined : `${head}ListenStream=\nListenStream=0.0.0.0:80\nListenStream=0.0.0.0:443\n`,
    },
    {
      path: `${paths.unitsDir}/${shared.metricsSocketUnit}.d/50-listen.conf`,
      content: metrics && `${head}ListenStream=${checked(bracketed(metrics.host))}:${metrics.port}\n`,
    },
  ];
}

function target({ host, port }: HostPort): Record<string, string | Record<string, string>[]> {
  // No DNS has to know that name.
  const address = host === 'localhost' ? '127.0.0.1' : bracketed(host);
  return { host, address, port: String(port), resolve: isAddress(host) === 0 && host !== 'localhost' ? [{}] : [] };
}

/** As a port can follow it. */
function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}

function text(values: Readonly<Record<string, number>>): Record<string, string> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, String(value)]));
}

/** Names and hashes were checked as they were read; a slip there must not become a directive here. */
function checked(value: string): string {
  if (/^[A-Za-z0-9._@/$=:[\]-]+$/.test(value)) return value;
  throw new Error('a value cannot be written into the configuration of the router');
}
