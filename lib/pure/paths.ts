import { createHash } from 'node:crypto';

/** Where things are. No other file writes a path of sitegen's. */
export const paths = {
  settings: '/etc/sitegen',
  defaultsFile: '/etc/sitegen/sitegen.yaml',
  sitesDir: '/etc/sitegen/sites',
  /** The admin's own apps; they stand in for those of the catalogue. */
  appsDir: '/etc/sitegen/apps',
  unitsDir: '/etc/systemd/system',
  /** Units that all sites share: where packages have theirs, so that what an admin has above stands in for them. */
  sharedUnitsDir: '/usr/lib/systemd/system',
  /** What systemd starts at boot. The links are made here and not by systemd's EnableUnitFiles, after
   * which every unit claims to need a daemon-reload. */
  enabledDir: '/etc/systemd/system/sockets.target.wants',
  enabledTimersDir: '/etc/systemd/system/timers.target.wants',
  enabledServicesDir: '/etc/systemd/system/multi-user.target.wants',
  /** When timers that catch up have last elapsed: systemd's own, and it leaves those of removed ones. */
  timerStampsDir: '/var/lib/systemd/timers',
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
  /** One bare repository a site: out of reach of containers, as a repository can name programs to run. */
  gitDir: '/var/lib/sitegen/git',
  /** What is known of each site's backups; the last look at its files. Both can be lost. */
  backupDir: '/var/lib/sitegen/backup',
  /** Sites that are restored to see whether they come back; emptied again. */
  rehearsalDir: '/var/lib/sitegen/rehearsal',
  /** This server's own key pair: opens the backup servers, and signs what is put there. */
  serverKey: '/etc/sitegen/keys/server',
  /** Host keys of the backup servers as ssh reads them: written from the settings each time. */
  hostsDir: '/run/sitegen/hosts',
  /** What visitors did, one file a month. */
  statsDir: '/var/lib/sitegen/stats',
  /** What the router reads; generated, and written again by apply. */
  routerDir: '/var/lib/sitegen/router',
  /** Sockets of systemd's that the router connects to. */
  staticSocket: '/run/sitegen/static.sock',
  adoptSocket: '/run/sitegen/adopt.sock',
  /** Where the responder, which may do nothing itself, asks for a site to be adopted. */
  adopterSocket: '/run/sitegen/adopter.sock',
  stateSocket: '/run/sitegen/state.sock',
  metricsSocket: '/run/sitegen/metrics.sock',
  /** Exists only while a tls-alpn-01 challenge is answered. */
  alpnSocket: '/run/sitegen-router/alpn.sock',
  runDir: '/run/sitegen',
  /** flock(2): held by whoever changes settings or units. */
  machineLock: '/run/sitegen/lock',
  /** What the last round of the idle timer knew, and the locks of the sites that are starting, and what each of them will take. */
  idleFile: '/run/sitegen/idle.json',
  startsDir: '/run/sitegen/starts',
  /** What all sites may hold together, bytes, and how many percent of their swap count to it, for the shim. */
  budgetFile: '/run/sitegen/budget',
  /** A file for each image that sitegen has pulled, loaded or built. */
  imagesDir: '/var/lib/sitegen/images',
  /** Environments of sites' programs, a file a site. */
  processesDir: '/var/lib/sitegen/processes',
  /** A file for each process that works in a container for an admin. */
  usesDir: '/run/sitegen/uses',
  /** How many sites may start at once, for the shim. */
  startsFile: '/var/lib/sitegen/starts',
  codeDir: '/usr/lib/sitegen',
  /** Unit files as install.sh has put them into `sharedUnitsDir`. */
  installedUnitsDir: '/usr/lib/sitegen/units',
  /** Limits of the kernel that install.sh raises. */
  sysctlFile: '/usr/lib/sysctl.d/60-sitegen.conf',
  networkRules: '/var/lib/sitegen/network.nft',
  /** What sites may reach outside, as rules: a file a site that may not reach everything. */
  egressDir: '/var/lib/sitegen/egress',
  egressLock: '/run/sitegen/egress.lock',
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
  /** Names that may be adopted, as a map. */
  adoptable: `${paths.routerDir}/adoptable.map`,
  pagesDir: `${paths.routerDir}/pages`,
  /** There while the files above are newer than what the running router has read. */
  unread: `${paths.routerDir}/unread`,
  adminSocket: '/run/sitegen-router/admin.sock',
  /** The same for programs that only look: level operator, open to the group of the router's user. */
  statsSocket: '/run/sitegen-router/stats.sock',
  tlsSocket: '/run/sitegen-router/tls.sock',
  exporterSocket: '/run/sitegen-router/exporter.sock',
} as const;

/** What a machine has that keeps backups of others. */
export const buddy = {
  user: 'sitegen-buddy',
  /** One folder a key owner, with one bare repository a site. */
  dir: '/var/lib/sitegen-buddy',
  /** Hooks of all these repositories; none has hooks of its own. */
  hooksDir: `${paths.codeDir}/buddy-hooks`,
  program: `${paths.codeDir}/buddy`,
  /** Root's own; in the account's home, where every sshd looks. */
  keysFile: '/var/lib/sitegen-buddy/.ssh/authorized_keys',
  unit: 'sitegen-buddy.service',
  /** flock(2): held while the keys change. */
  keysLock: `${paths.runDir}/buddy-keys.lock`,
  /** One of the machine's host keys, for whoever is to pin it. */
  hostKeyFile: '/etc/ssh/ssh_host_ed25519_key.pub',
} as const;

/** What one owner has on a buddy's machine. */
export function heldPaths(directory: string, id: string) {
  const repository = `${directory}/${id}.git`;
  return {
    repository,
    /** flock(2): held while it is pushed to or looked after. */
    lock: `${directory}/${id}.lock`,
    /** What the last look at it found. */
    inspection: `${repository}/sitegen.json`,
  };
}

/** The id of a repository by its directory's name; undefined for other files. */
export function heldId(name: string): string | undefined {
  return name.endsWith('.git') ? name.slice(0, -'.git'.length) : undefined;
}

/** The relay for what containers send, and what it knows. */
export const mail = {
  /** Where containers find it. The kernel leads its port to another, as a site or the host's own server may have port 25. */
  host: 'mail.sitegen.internal',
  port: 25,
  listenPort: 2525,
  socketUnit: 'sitegen-mail.socket',
  unit: 'sitegen-mail.service',
  deliverUnit: 'sitegen-mail-deliver.service',
  deliverPath: 'sitegen-mail-deliver.path',
  deliverTimer: 'sitegen-mail-deliver.timer',
  /** One file a site that sends, or whose mail is forwarded. */
  sitesDir: '/var/lib/sitegen/mail/sites',
  /** Forwarding addresses, as Postfix reads them. */
  virtual: '/var/lib/sitegen/mail/virtual',
  spoolDir: '/var/lib/sitegen/mail/spool',
  stats: '/var/lib/sitegen/mail/stats.json',
  /** Accounts at smarthosts; root's own. */
  accounts: '/etc/sitegen/keys/mail',
  /** What each site has sent in the last hour. */
  countsDir: '/run/sitegen-mail',
  pathsWantsDir: '/etc/systemd/system/paths.target.wants',
} as const;

/** What the relay knows of a site, by the site's id. */
export function mailFileOf(id: string): string {
  return `${mail.sitesDir}/${id}`;
}

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
  /** Beginning of the bridges' names of Compose projects' own networks. */
  projectBridge: 'sgp-',
  parentSlice: 'site.slice',
  networkUnit: 'sitegen-network.service',
  table: 'sitegen',
  renewUnit: 'sitegen-renew.service',
  repackUnit: 'sitegen-repack.service',
  rehearseUnit: 'sitegen-rehearse.service',
  watchUnit: 'sitegen-watch.service',
  /** MESSAGE_ID of each site's wakes and sleeps in the journal (systemd.journal-fields(7)); the shell programs have it too. */
  transitionId: '5e4ad4a0a9f54b9c8e3f2d1c0b7a6958',
  guardUnit: 'sitegen-guard.service',
  idleUnit: 'sitegen-idle.service',
  idleTimer: 'sitegen-idle.timer',
  metricsSocketUnit: 'sitegen-metrics.socket',
  labels: { domain: 'sitegen.domain', spec: 'sitegen.spec', member: 'sitegen.member', order: 'sitegen.order' },
} as const;

/** Has others make room; what for is in its name, as `needText` has it. */
export function roomUnit(need: string): string {
  return `sitegen-room@${need}.service`;
}
