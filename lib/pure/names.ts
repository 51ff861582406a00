import { createHash } from 'node:crypto';
import { domainToASCII } from 'node:url';
import { usageError } from './errors.ts';

/** systemd's UNIT_NAME_MAX less the terminating zero. */
const unitNameMax = 255;

/** Where things are. No other file writes a path of sitegen's. */
export const paths = {
  settings: '/etc/sitegen',
  defaultsFile: '/etc/sitegen/sitegen.yaml',
  sitesDir: '/etc/sitegen/sites',
  unitsDir: '/etc/systemd/system',
  /** What systemd starts at boot. The links are made here and not by systemd's EnableUnitFiles, after
   * which every unit claims to need a daemon-reload. */
  enabledDir: '/etc/systemd/system/sockets.target.wants',
  enabledServicesDir: '/etc/systemd/system/multi-user.target.wants',
  stateDir: '/var/lib/sitegen',
  /** One folder a site; the static server's configuration names it too. */
  checkoutsDir: '/var/lib/sitegen/checkouts',
  alarmsDir: '/var/lib/sitegen/alarms',
  /** One folder a site: fullchain.pem and key.pem, root's alone. */
  certsDir: '/var/lib/sitegen/certs',
  /** The ACME account, and what is known of each site's next try. */
  acmeDir: '/var/lib/sitegen/acme',
  /** flock(2): held while the router's certificates change; and while the challenge's socket is used. */
  certsLock: '/run/sitegen/certs.lock',
  alpnLock: '/run/sitegen/alpn.lock',
  /** What visitors did, one file a month. */
  statsDir: '/var/lib/sitegen/stats',
  /** What the router reads; generated, and written again by apply. */
  routerDir: '/var/lib/sitegen/router',
  /** Sockets of systemd's that the router connects to. */
  staticSocket: '/run/sitegen/static.sock',
  adoptSocket: '/run/sitegen/adopt.sock',
  stateSocket: '/run/sitegen/state.sock',
  metricsSocket: '/run/sitegen/metrics.sock',
  /** Exists only while a tls-alpn-01 challenge is answered. */
  alpnSocket: '/run/sitegen-router/alpn.sock',
  runDir: '/run/sitegen',
  codeDir: '/usr/lib/sitegen',
  networkRules: '/var/lib/sitegen/network.nft',
  networkEnvironment: '/var/lib/sitegen/network.env',
  dockerSocket: '/run/docker.sock',
  cgroupRoot: '/sys/fs/cgroup',
} as const;

/** The router's own files and sockets; the runtime directory is made by its unit. */
export const router = {
  socketUnit: 'sitegen-router.socket',
  unit: 'sitegen-router.service',
  user: 'sitegen-router',
  config: `${paths.routerDir}/haproxy.cfg`,
  users: `${paths.routerDir}/users.cfg`,
  mapsDir: `${paths.routerDir}/maps`,
  certList: `${paths.routerDir}/certs.list`,
  certsDir: `${paths.routerDir}/certs`,
  /** Serves whoever has no certificate of their own yet. */
  selfSigned: `${paths.routerDir}/certs/self-signed_.pem`,
  upstreamCa: `${paths.routerDir}/upstream-ca.pem`,
  probes: `${paths.routerDir}/probes.lst`,
  pagesDir: `${paths.routerDir}/pages`,
  /** There while the files above are newer than what the running router has read. */
  unread: `${paths.routerDir}/unread`,
  adminSocket: '/run/sitegen-router/admin.sock',
  /** The same for programs that only look: level operator, open to the group of the router's user. */
  statsSocket: '/run/sitegen-router/stats.sock',
  tlsSocket: '/run/sitegen-router/tls.sock',
  exporterSocket: '/run/sitegen-router/exporter.sock',
} as const;

/** A map file of the router. */
export function mapFile(name: string): string {
  return `${router.mapsDir}/${name}.map`;
}

/** The stick table that counts each site's traffic. */
export const trafficTable = 'st_site';

/** Where traffic is written down: `current` has the totals and what the router had counted last. */
export const statsPaths = {
  current: `${paths.statsDir}/current.json`,
  lock: `${paths.runDir}/stats.lock`,
} as const;

/** The traffic of a month such as `2026-11`. */
export function statsFile(month: string): string {
  return `${paths.statsDir}/${month}.tsv`;
}

/** The month of a file in `paths.statsDir`, or undefined when it is another file. */
export function monthOfFile(name: string): string | undefined {
  return /^(\d{4}-\d{2})\.tsv$/.exec(name)?.[1];
}

/** Key of the account at an ACME server. */
export function accountKeyFile(directory: string): string {
  return `${paths.acmeDir}/account/${createHash('sha256').update(directory).digest('hex').slice(0, 16)}.key`;
}

/** Names that all sites share. */
export const shared = {
  network: 'sitegen',
  bridge: 'sitegen0',
  parentSlice: 'site.slice',
  networkUnit: 'sitegen-network.service',
  table: 'sitegen',
  renewUnit: 'sitegen-renew.service',
  metricsSocketUnit: 'sitegen-metrics.socket',
  labels: { domain: 'sitegen.domain', spec: 'sitegen.spec' },
} as const;

/** Everything that is called after one domain. */
export interface SiteNames {
  domain: string;
  /** The domain, or a short stand-in where a unit name would get too long. */
  id: string;
  socket: string;
  service: string;
  /** Limits of the whole site: splice and container. */
  slice: string;
  /** The container alone, below `slice`: what is frozen must not hold the service. */
  appSlice: string;
  /** Names of all unit files, in the order in which they are written. */
  units: readonly string[];
  container: string;
  /** Holds the container's id, so that a stranger's of the same name is never started. */
  cidFile: string;
  /** flock(2): held while the container is made or replaced; not empty while a wake has to wait for it. */
  lockFile: string;
  /** How many kills for memory the slice had counted when a container's end was last looked at. */
  oomFile: string;
  settingsFile: string;
  /** The site's certificate and key, and the same in one file for the router. */
  certDir: string;
  routerCert: string;
  /** What is served of it: checked, chain and key in one file; and what is known of it. */
  acceptedCert: string;
  certState: string;
  /** flock(2): held while somebody gets or checks the certificate. */
  certLock: string;
  /** Gets or renews the certificate; watches for one dropped in by hand; pulls a static site. */
  certifyUnit: string;
  watchUnit: string;
  dropUnit: string;
  pullUnit: string;
  siteDir: string;
  dataDir: string;
  /** What is pulled for a static site: out of reach of containers, as a repository can name programs
   * to run, and out of the data, as it can be fetched again. */
  checkoutDir: string;
  /** flock(2): held while it is pulled. */
  pullLock: string;
  cgroup: string;
  appCgroup: string;
}

/**
 * Checks a domain as a person types it and brings it into the one form used everywhere:
 * lower case, punycode, no trailing dot.
 * @throws SitegenError (usage) that says what is wrong with it
 */
export function parseDomain(input: string): string {
  const refuse = (why: string) =>
    usageError(`${JSON.stringify(input)} is not a domain: ${why}`, 'give a name such as example.com');
  const trimmed = input.endsWith('.') ? input.slice(0, -1) : input;
  if (trimmed === '') throw refuse('it is empty');
  if (trimmed.includes('*')) throw refuse('wildcards cannot be a site');
  if (/[\s/\\@:?#%]/.test(trimmed)) throw refuse('only letters, digits, hyphens and dots are allowed');
  const ascii = domainToASCII(trimmed);
  if (ascii === '') throw refuse('only letters, digits, hyphens and dots are allowed');
  const labels = ascii.split('.');
  for (const label of labels) {
    if (label === '') throw refuse('there is an empty label between two dots');
    if (label.length > 63) throw refuse(`the label "${label.slice(0, 20)}…" has ${label.length} characters, 63 are allowed`);
    if (!/^[a-z0-9-]+$/.test(label)) throw refuse(`the label "${label}" has other characters than letters, digits and hyphens`);
    if (label.startsWith('-') || label.endsWith('-')) throw refuse(`the label "${label}" begins or ends with a hyphen`);
  }
  if (labels.length < 2) throw refuse('it has one label only');
  if (/^\d+$/.test(labels.at(-1) ?? '')) throw refuse('it ends in a number, like an address');
  if (ascii.length > 253) throw refuse(`it has ${ascii.length} characters, 253 are allowed`);
  return ascii;
}

/** The same for another name of a site, which may also be `*.example.com`: all names of that form. */
export function parseAlias(input: string): string {
  return input.startsWith('*.') ? `*.${parseDomain(input.slice(2))}` : parseDomain(input);
}

/**
 * All names of a site. Pure: the same domain always gives the same names.
 * @param domain as `parseDomain` returns it
 */
export function siteNames(domain: string): SiteNames {
  const id = siteId(domain);
  const slice = `site-${escapeHyphens(id)}.slice`;
  const appSlice = `site-${escapeHyphens(id)}-app.slice`;
  const socket = `site-${id}.socket`;
  const service = `site-${id}.service`;
  const siteDir = `${paths.stateDir}/sites/${id}`;
  const cgroup = `${paths.cgroupRoot}/${shared.parentSlice}/${slice}`;
  return {
    domain,
    id,
    socket,
    service,
    slice,
    appSlice,
    units: [slice, appSlice, service, socket],
    container: `site-${id}`,
    cidFile: `${paths.stateDir}/containers/${id}`,
    lockFile: `${paths.runDir}/sites/${id}.lock`,
    oomFile: `${paths.runDir}/sites/${id}.oom`,
    settingsFile: settingsFileOf(id),
    certDir: `${paths.certsDir}/${id}`,
    routerCert: `${router.certsDir}/${id}.pem`,
    acceptedCert: `${paths.acmeDir}/${id}.pem`,
    certState: `${paths.acmeDir}/${id}.json`,
    certLock: `${paths.runDir}/certs/${id}.lock`,
    certifyUnit: `sitegen-certify@${id}.service`,
    watchUnit: `sitegen-certs@${id}.path`,
    dropUnit: `sitegen-certs@${id}.service`,
    pullUnit: `sitegen-pull@${id}.service`,
    siteDir,
    dataDir: `${siteDir}/data`,
    checkoutDir: `${paths.checkoutsDir}/${id}`,
    pullLock: `${paths.runDir}/sites/${id}.pull`,
    cgroup,
    appCgroup: `${cgroup}/${appSlice}`,
  };
}

/** Patterns that match just a site's units; systemd's are fnmatch(3)'s, where `\` escapes. */
export function unitPatterns(names: SiteNames): string[] {
  return names.units.map((unit) => unit.replaceAll('\\', String.raw`\\`));
}

/** Template instance that raises the alarm of a unit; its name is the longest that a site causes. */
export function alarmUnit(unit: string): string {
  return `sitegen-alarm@${unit}.service`;
}

/** The settings of the site that has an id: the instance name of its units. */
export function settingsFileOf(id: string): string {
  return `${paths.sitesDir}/${id}.yaml`;
}

/** A settings file's domain by its name, or undefined when the name is not one of ours. */
export function domainOfFile(name: string): string | undefined {
  if (!name.endsWith('.yaml')) return undefined;
  try {
    return parseDomain(name.slice(0, -'.yaml'.length));
  } catch {
    return undefined;
  }
}

/** A slice beside a site's container that exists only for the moment in which limits are put in force. */
export function limitsUnit({ appSlice }: Pick<SiteNames, 'appSlice'>): string {
  return appSlice.replace(/-app\.slice$/, '-set.slice');
}

/** Matches the unit files of sites in `paths.unitsDir`. */
export function isSiteUnit(fileName: string): boolean {
  return /^site-.+\.(socket|service|slice)$/.test(fileName);
}

function siteId(domain: string): string {
  const longest = Math.max(
    alarmUnit(`sitegen-certify@${domain}.service`).length,
    `site-${escapeHyphens(domain)}-app.slice`.length,
  );
  if (longest <= unitNameMax) return domain;
  // "_" cannot be in a domain, so a short name is never another site's.
  return `${domain.slice(0, 40)}_${createHash('sha256').update(domain).digest('hex').slice(0, 16)}`;
}

/** In a slice's name "-" means nesting (systemd.slice(5)), so the domain's own are escaped as systemd-escape does. */
function escapeHyphens(text: string): string {
  return text.replaceAll('-', String.raw`\x2d`);
}
