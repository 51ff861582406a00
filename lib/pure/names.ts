import { createHash } from 'node:crypto';
import { domainToASCII } from 'node:url';
import { diskNames, type DiskNames } from './disk-names.ts';
import { egressNamesOf, type EgressNames } from './egress-names.ts';
import { usageError } from './errors.ts';
import { jobUnits } from './job-names.ts';
import { jobName, jobNameMax } from './jobs.ts';
import { listenSocket } from './listen-names.ts';
import { paths, router, shared } from './paths.ts';
import { escapeHyphens, processNames, type ProcessNames } from './unit-names.ts';

export * from './job-names.ts';
export * from './listen-names.ts';
export * from './unit-names.ts';
export * from './paths.ts';

/** systemd's UNIT_NAME_MAX less the terminating zero. */
const unitNameMax = 255;

/** Everything that is called after one domain. */
export interface SiteNames extends ProcessNames, EgressNames, DiskNames {
  domain: string;
  /** The domain, or a short stand-in where a unit name would get too long. */
  id: string;
  socket: string;
  service: string;
  /** Limits of the whole site: splice and container. */
  slice: string;
  /** The container alone, below `slice`: what is frozen must not hold the service. */
  appSlice: string;
  /** Of a Compose project's container that visitors reach, below `appSlice`: ends with that, whatever else runs. */
  entrySlice: string;
  /** Names of the unit files that all have, in the order in which they are written; and of those that some have beside them. */
  units: readonly string[];
  moreUnits: readonly string[];
  container: string;
  /** Holds the container's id, so that a stranger's of the same name is never started. */
  cidFile: string;
  /** flock(2): held while the container is made or replaced; not empty while a wake has to wait for it. */
  lockFile: string;
  /** There when the service's next stop is to freeze the container: the invocation id of that very run, and the
   * cause; with `stop-` before it there is the cause alone. */
  freezeFile: string;
  /** There while wakes have failed: how many, and until when visitors are refused at once; ms since 1970. */
  failedFile: string;
  /** How many kills for memory the slice had counted when a container's end was last looked at. */
  oomFile: string;
  /** What it held at most since it was last started, bytes: what its next start needs. */
  memoryFile: string;
  /** Written by whoever works in the container without being a visitor: its time is that of the last such work. */
  workFile: string;
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
  /** Root's part of what a backup has: dump, manifest, settings, certificate. */
  metaDir: string;
  /** The site's bare repository. */
  repository: string;
  /** What is known of its backups, and of its files since the last one. */
  backupState: string;
  backupCache: string;
  /** flock(2): held while what is known of its backups is changed. */
  stateLock: string;
  /** flock(2): held while the site is dumped, committed, restored or its repository is repacked. */
  dumpLock: string;
  /** flock(2): held while its commits are pushed. */
  pushLock: string;
  /** Which commit a push that is about to end was about. */
  pushedFile: string;
  /** There, with a word a line, while the first container has to install the site or load its dump.
   * In the site's own tree, so that whatever replaces the data brings its own. */
  pendingFile: string;
  /** Secrets that were made for its app, for when its settings are lost; root's alone. */
  secretsFile: string;
  /** The image that its data was last used with. */
  imageFile: string;
  /** There where Docker maps users of containers: whose its data is. */
  usersFile: string;
  /** What is made ready to become `siteDir`, and what has been it; no domain begins with "_". */
  nextDir: string;
  /** flock(2): held while that is being done. */
  restoreLock: string;
  formerDir: string;
  /** There while another server has the site; says which. */
  fenceFile: string;
  /** The epoch that this server has claimed, until it is committed. */
  epochFile: string;
  /** What was encrypted for the last commit. */
  sealedFile: string;
  fenceUnit: string;
  /** Brings the site to this machine. */
  adoptUnit: string;
  rehearseUnit: string;
  /** Fails while the backup is stale. */
  watchBackupUnit: string;
  dumpUnit: string;
  dumpTimer: string;
  pushUnit: string;
  /** Starts the push again while it fails. */
  pushTimer: string;
  /** What is pulled for a static site: out of reach of containers, as a repository can name programs
   * to run, and out of the data, as it can be fetched again. */
  checkoutDir: string;
  /** flock(2): held while it is pulled. */
  pullLock: string;
  /** flock(2): held while one of its jobs runs. */
  jobLock: string;
  cgroup: string;
  appCgroup: string;
  entryCgroup: string;
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
  const entrySlice = `site-${escapeHyphens(id)}-app-entry.slice`;
  const socket = `site-${id}.socket`;
  const service = `site-${id}.service`;
  const siteDir = `${paths.stateDir}/sites/${id}`;
  const ofProcess = processNames({ id });
  const cgroup = `${paths.cgroupRoot}/${shared.parentSlice}/${slice}`;
  return {
    domain,
    id,
    socket,
    service,
    slice,
    appSlice,
    entrySlice,
    ...ofProcess, ...egressNamesOf(id), ...diskNames({ id }),
    units: [slice, appSlice, service, socket],
    moreUnits: [entrySlice, ofProcess.processUnit, ofProcess.processSocket],
    container: `site-${id}`,
    cidFile: `${paths.stateDir}/containers/${id}`,
    lockFile: `${paths.runDir}/sites/${id}.lock`,
    freezeFile: `${paths.runDir}/sites/${id}.freeze`,
    failedFile: `${paths.runDir}/sites/${id}.failed`,
    oomFile: `${paths.runDir}/sites/${id}.oom`,
    memoryFile: `${paths.runDir}/sites/${id}.memory`,
    workFile: `${paths.runDir}/sites/${id}.work`,
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
    metaDir: `${siteDir}/meta`,
    repository: `${paths.gitDir}/${id}.git`,
    backupState: `${paths.backupDir}/${id}.json`,
    backupCache: `${paths.backupDir}/${id}.cache`,
    stateLock: `${paths.runDir}/sites/${id}.state`,
    dumpLock: `${paths.runDir}/sites/${id}.dump`,
    pushLock: `${paths.runDir}/sites/${id}.push`,
    pushedFile: `${paths.runDir}/sites/${id}.pushed`,
    pendingFile: `${siteDir}/meta/pending`,
    secretsFile: `${siteDir}/meta/made-secrets.json`,
    imageFile: `${siteDir}/meta/image`,
    usersFile: `${siteDir}/meta/users`,
    nextDir: `${paths.stateDir}/sites/_next_${id}`,
    restoreLock: `${paths.runDir}/sites/${id}.restore`,
    formerDir: `${paths.stateDir}/sites/_former_${id}`,
    fenceFile: `${paths.backupDir}/${id}.fence`,
    epochFile: `${paths.backupDir}/${id}.epoch`,
    sealedFile: `${paths.backupDir}/${id}.sealed`,
    watchBackupUnit: `sitegen-watch@${id}.service`,
    rehearseUnit: `sitegen-rehearse@${id}.service`,
    fenceUnit: `sitegen-fence@${id}.service`,
    adoptUnit: `sitegen-adopt@${id}.service`,
    dumpUnit: `sitegen-dump@${id}.service`,
    dumpTimer: `sitegen-dump@${id}.timer`,
    pushUnit: `sitegen-push@${id}.service`,
    pushTimer: `sitegen-push@${id}.timer`,
    checkoutDir: `${paths.checkoutsDir}/${id}`,
    pullLock: `${paths.runDir}/sites/${id}.pull`,
    jobLock: `${paths.runDir}/sites/${id}.job`,
    cgroup,
    appCgroup: `${cgroup}/${appSlice}`,
    entryCgroup: `${cgroup}/${appSlice}/${entrySlice}`,
  };
}

/** True for what `siteNames` may give as a site's id; nothing in it leads out of a directory. */
export function isSiteId(text: string): boolean {
  if (/^[a-z0-9.-]{1,40}_[0-9a-f]{16}$/.test(text)) return !text.startsWith('.') && !text.includes('..');
  try {
    return siteNames(parseDomain(text)).id === text;
  } catch {
    return false;
  }
}

/** Patterns that match just a site's units; systemd's are fnmatch(3)'s, where `\` escapes. */
export function unitPatterns(names: SiteNames): string[] {
  return [...names.units, ...names.moreUnits].map((unit) => unit.replaceAll('\\', String.raw`\\`));
}

/** The site's id and the job's name in the instance of a job's unit; undefined when it is none. */
export function parseJobInstance(instance: string): { id: string; job: string } | undefined {
  const [, id = '', job = ''] = /^([^:]+):([^:]+)$/.exec(instance) ?? [];
  return isSiteId(id) && jobName.test(job) ? { id, job } : undefined;
}

/** Where the link is by which systemd starts a unit at boot. */
export function enabledLink(unit: string): string {
  return `${unit.endsWith('.timer') ? paths.enabledTimersDir : paths.enabledDir}/${unit}`;
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

function siteId(domain: string): string {
  const longest = Math.max(
    alarmUnit(`sitegen-certify@${domain}.service`).length,
    alarmUnit(jobUnits({ id: domain }, 'x'.repeat(jobNameMax)).service).length,
    alarmUnit(listenSocket({ id: domain }, 65_535)).length,
    `site-${escapeHyphens(domain)}-app.slice`.length,
  );
  if (longest <= unitNameMax) return domain;
  // "_" cannot be in a domain, so a short name is never another site's.
  return `${domain.slice(0, 40)}_${createHash('sha256').update(domain).digest('hex').slice(0, 16)}`;
}
