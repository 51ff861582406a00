import * as z from 'zod';
import { rangeFault } from './addresses.ts';
import { idleDefaults, idleFields, machineFields } from './schema-idle.ts';
import { isPercent } from './quantities.ts';
import { kinds } from './kinds.ts';
import { besideProcess, processFields } from './schema-process.ts';
import { appEnv, appFields } from './schema-app.ts';
import { image, siteImageFields } from './schema-image.ts';
import { egress } from './schema-egress.ts';
import { doctorFields } from './schema-doctor.ts';
import { jobFields } from './schema-jobs.ts';
import { mailDefaults, mailFields } from './schema-mail.ts';
import { adoptFields, backupFields, dataFields, siteDataFields } from './schema-backup.ts';
import { composeFields } from './compose/schema.ts';
import { acmeFields, entryFields, routerFields } from './schema-entry.ts';
import { alias, bytes, domain, listenPort, port, size, span, text } from './schema-values.ts';

/**
 * The one schema of all files that people write: types, validation and (through `describe`)
 * the text of the reference come from here. Limits carry systemd's names in camel case.
 */

const weight = () => z.int().min(1).max(10_000);

const limits = z.strictObject({
  memoryMax: size().describe('memory that container and splice together may use; above it the container is killed'),
  memoryHigh: size().describe('memory above which the site is slowed down'),
  cpuWeight: weight().describe('share of the CPU when it is scarce; 100 is normal'),
  cpuQuota: z.string().refine((value) => isPercent(value), 'is not a quota: write a percentage of one CPU such as 150%')
    .describe('CPU time at most, as a percentage of one CPU'),
  ioWeight: weight().describe('share of the disk when it is scarce; 100 is normal'),
  tasksMax: z.union([z.int().positive(), z.literal('infinity')], 'is not a number of tasks: write a whole number above 0, or infinity').transform(String)
    .describe('processes and threads at most'),
  disk: bytes().describe('room on the disk for its data; dumps and backups do not count (docs/concepts.md#limits)'),
}).partial();

const ready = z.strictObject({
  path: text().regex(/^\/[!-~]*$/, 'must begin with /, without spaces; other characters than ASCII as %XX')
    .describe('the site is ready when this path is answered with a status below 500'),
  tcp: z.literal(true).describe('the site is ready when its port accepts a connection; this is the default'),
  timeout: span().describe('how long a visitor is held while the site wakes; then 503'),
}).partial().refine((value) => value.path === undefined || value.tcp === undefined, 'has both path and tcp: keep one');

const stop = z.strictObject({
  timeout: span().describe('how long a stop waits for requests in flight, and then for the container to end'),
}).partial();

/** Docker's notation, with a host part that cannot leave the site's data directory. */
const volume = () => text().refine(
  (value) => /^(\.|(\.\/)?[A-Za-z0-9_][A-Za-z0-9_.-]*(\/[A-Za-z0-9_][A-Za-z0-9_.-]*)*):\/[^:/][^:]*(:ro|:rw)?$/.test(value)
    && !value.split(/[:/]/).includes('..'),
  'is not a volume: write directory:/path/in/the/container, the directory below the site\'s data',
);

const envName = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'is not a variable\'s name: use letters, digits and _');
const env = z.record(envName, z.union([z.string(), z.number(), z.boolean()], 'is not a value: write text, a number, true or false').transform(String)
  .refine((value) => !value.includes('\0'), 'must not contain a zero byte'));

const appName = () => z.string().regex(/^[a-z0-9][a-z0-9-]{0,40}$/, 'is not the name of an app: use small letters, digits and hyphens');

const owners = z.record(
  text().regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]*(\/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$/, 'is not a directory below the site\'s data'),
  z.string('is not an owner: write "uid:gid" in numbers, such as "33:33"').regex(/^\d{1,9}:\d{1,9}$/, 'is not an owner: write "uid:gid" in numbers, such as "33:33"'),
);

const workloadFields = {
  image: image().describe('Docker image, present or pulled; or where it comes from').optional(),
  port: port().describe('port the container listens on').optional(),
  env: env.describe('environment of the container').optional(),
  volumes: z.array(volume()).describe('directories kept in the site\'s data, as directory:/path/in/the/container[:ro]').optional(),
  owners: owners.describe('who owns directories of the data when they are made: uid:gid by the directory\'s name; root unless given').optional(),
  readOnly: z.boolean().describe('true: of the container only its data, /tmp, /var/tmp and /run can be written, and those three are empty after each start; false for an app that has it').optional(),
  limits: limits.describe('limits of the site\'s slice, in systemd\'s notation').optional(),
  ready: ready.describe('when the site counts as awake').optional(),
  stop: stop.describe('how the site is stopped').optional(),
  idle: idleFields.describe('when the site falls asleep by itself').optional(),
  jobs: jobFields.describe('work without visitors, by name; false for one of the app that the site does not have').optional(),
  ...dataFields,
};

/** `/etc/sitegen/sites/<domain>.yaml`. */
export const siteSchema = z.strictObject({
  domain: domain().describe('the site\'s main name; the file is called after it'),
  aliases: z.array(alias()).describe('other names of the site; *.example.com stands for all names of that form').optional(),
  app: appName().describe('preset from the catalogue; either app or image').optional(),
  ...workloadFields,
  process: processFields.describe('a program that runs without a container, as a service of systemd').optional(),
  compose: composeFields.describe('a Compose project, all services of which are this one site').optional(),
  listen: z.array(listenPort()).describe('ports of this host for services beside the web, all connections to which go to the container').optional(),
  egress: egress().describe('what the site may reach outside: any, none, or a list of places, such as api.example.com:443 and 192.0.2.0/24:8000-8999/udp; TCP unless /udp is said').optional(),
  mail: mailFields.describe('mail that the site sends, and where mail to it goes').optional(),
  ...siteDataFields,
  ...siteImageFields,
  ...entryFields,
  doctor: doctorFields.describe('what "sitegen doctor" leaves out about the site').optional(),
  enabled: z.boolean().describe('false: nothing listens for the site').optional(),
  address: z.ipv4().describe('recorded by sitegen when the domain\'s own address was taken; leave it').optional(),
}).superRefine((value, context) => {
  const [first, second] = kinds.filter((kind) => value[kind] !== undefined);
  if (second !== undefined) context.addIssue({ code: 'custom', message: `has both ${first ?? ''} and ${second}: keep one`, path: [second] });
  if (first === 'compose' && value.volumes !== undefined) context.addIssue({ code: 'custom', message: 'belongs to a single container: name them in compose.project, at the services that have them', path: ['volumes'] });
  if (first === 'compose' && value.readOnly !== undefined) context.addIssue({ code: 'custom', message: 'belongs to a single container: write read_only at services of compose.project', path: ['readOnly'] });
  if (value.compose?.entrypoint.includes(':') === true && value.port !== undefined) context.addIssue({ code: 'custom', message: 'is in compose.entrypoint already: keep one', path: ['port'] });
  if (typeof value.image === 'object' && value.image.build === '.') context.addIssue({ code: 'custom', message: 'is the folder of an app: write an absolute path', path: ['image', 'build'] });
  if (first === 'process') for (const [path, message] of besideProcess(value)) context.addIssue({ code: 'custom', message, path });
  if (first === undefined || first === 'app' || first === 'image' || first === 'compose' || first === 'process') return;
  // A slip, as nothing of it would be used.
  for (const key of ['port', 'env', 'secrets', 'volumes', 'limits', 'ready', 'stop', 'idle', 'jobs', 'dump', 'hooks', 'listen', 'owners', 'readOnly', 'pin', 'update', 'egress'] as const) {
    if (value[key] !== undefined) context.addIssue({ code: 'custom', message: `belongs to a container, and ${first} has none: take it out`, path: [key] });
  }
  if (first === 'passthrough') {
    for (const key of ['paths', 'auth', 'allow', 'headers', 'maxBody', 'timeouts', 'maintenance', 'hsts', 'certificate', 'http', 'probes'] as const) {
      if (value[key] !== undefined) context.addIssue({ code: 'custom', message: 'needs requests to be read, and passthrough leaves them encrypted: take it out', path: [key] });
    }
  }
});

/** `templates/apps/<name>/app.yaml`, and the admin's own in `/etc/sitegen/apps`. */
export const appSchema = z.strictObject({
  ...appFields,
  ...workloadFields,
  env: appEnv.describe('environment of the container; {secret: 24} is made for each site').optional(),
}).refine((value) => value.image !== undefined, 'needs image');

const range = (what: string) => z.string()
  .superRefine((value, context) => {
    const fault = rangeFault(value);
    if (fault !== undefined) context.addIssue({ code: 'custom', message: `${fault}; write an IPv4 range such as 10.213.0.0/16` });
  }).describe(what);

/** `/etc/sitegen/sitegen.yaml`. */
export const defaultsSchema = z.strictObject({
  network: z.strictObject({
    sites: range('addresses that visitors\' connections come to, one a site, on this host only'),
    containers: range('addresses of the containers'),
  }).partial().describe('address ranges; change them before the first site').optional(),
  defaults: z.strictObject({
    app: appName().describe('app of a site that names neither app nor image'),
    limits: limits.describe('limits of a site that sets none'),
    ready: z.strictObject({ timeout: span().describe('see ready.timeout of a site') }).partial().describe('see ready of a site'),
    stop: stop.describe('see stop of a site'),
    idle: idleDefaults.describe('see idle of a site'),
    egress: egress().describe('see egress of a site; any unless given'),
  }).partial().describe('what a site has that says nothing else').optional(),
  machine: machineFields.describe('how sites share the machine').optional(),
  router: routerFields.describe('what listens on ports 80 and 443').optional(),
  acme: acmeFields.describe('where certificates come from').optional(),
  mail: mailDefaults.describe('what the mail of sites goes through').optional(),
  backup: backupFields.describe('where sites are backed up to').optional(),
  adopt: adoptFields.describe('sites that come by themselves, from their backups').optional(),
  alerts: z.strictObject({
    command: z.array(text()).min(1).describe('program and arguments; the alarm\'s text comes on standard input'),
    webhook: z.url({ protocol: /^https?$/, error: 'is not a URL: write http://… or https://…' }).describe('URL that gets the alarm as JSON in a POST'),
    email: text().regex(/^[^\s@-][^\s@]*@[^\s@]+$/, 'is not an e-mail address').describe('address that sendmail sends the alarm to'),
  }).partial().describe('where alarms go besides the journal').optional(),
  doctor: doctorFields.describe('what "sitegen doctor" leaves out, of the machine and of all sites').optional(),
});

export type SiteFile = z.output<typeof siteSchema>;
export type AppFile = z.output<typeof appSchema>;
export type DefaultsFile = z.output<typeof defaultsSchema>;
