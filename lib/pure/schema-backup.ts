import * as z from 'zod';
import { serviceField } from './compose/schema.ts';
import { alias, span, text } from './schema-values.ts';

/** Settings about backups, restoring and adopting; see schema.ts for what they are part of. */

const dayMs = 86_400_000;
const years = 20 * 366 * dayMs;

export const argv = () => z.array(z.string().min(1).refine((value) => !value.includes('\0'), 'must not contain a zero byte')).min(1);
const publicKey = () => text().regex(/^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-[a-z0-9@.-]+) [A-Za-z0-9+/=]+( .*)?$/, 'is not a public key: write ssh-ed25519 AAAA…');
const plainName = () => text().regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,80}$/, 'is not a file name: use letters, digits, "_", "-" and "."');

/** Ways to dump a database that sitegen knows. */
export const dumpWays = ['mariadb', 'mysql', 'postgresql', 'sqlite'] as const;

const dump = z.strictObject({
  way: z.enum(dumpWays, 'is not mariadb, mysql, postgresql or sqlite').describe('database, which says how it is dumped, checked and loaded').optional(),
  database: text().regex(/^[^-]/, 'must not begin with "-"').describe('name of the database; of SQLite, its file in the container; all databases unless given').optional(),
  user: text().regex(/^[^-]/, 'must not begin with "-"').describe('user of the database; root, or postgres, unless given').optional(),
  passwordEnv: text().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'is not a variable\'s name').describe('variable of the container that has the password').optional(),
  command: argv().describe('program and arguments that write the dump to standard output, run in the container; instead of "way"').optional(),
  load: argv().describe('program and arguments that read it from standard input, into an empty database').optional(),
  service: serviceField('the database is in'),
  file: plainName().describe('its name in the backup; dump.sql unless given').optional(),
  check: z.strictObject({
    trailer: text().describe('text that the last lines must contain'),
    tables: z.array(text()).describe('tables, or other texts, that must be in it'),
    shrink: z.string().regex(/^\d{1,2}%$/, 'is not a percentage below 100').describe('how much smaller than the last one it may be; 50% unless given'),
  }).partial().describe('what it must have to be accepted, besides exit code 0').optional(),
  timeout: span().describe('how long it may take; 10min unless given').optional(),
}).refine((value) => (value.way === undefined) !== (value.command === undefined), 'needs either way or command')
  .refine((value) => value.way !== 'sqlite' || value.database?.startsWith('/') === true, 'needs the file of SQLite: write database: /path/in/the/container');

const exclude = z.array(text().regex(/^[^/](.*[^/])?$/, 'is not a path below the data: without a slash at its beginning and end')
  .refine((value) => !value.split('/').includes('..'), 'must not contain ".."'));

const hooks = z.strictObject({
  install: argv().describe('run once, in the first container, while there is no data'),
  load: argv().describe('run in the first container after data came from a backup, before the dump is loaded'),
  launch: argv().describe('run in each new container, before it is visited'),
  upgrade: argv().describe('run in the first container of another image than the one before, with data of that one; both names are added as arguments'),
  rename: argv().describe('run when the site gets another domain; old and new one are added as arguments'),
  timeout: span().describe('how long each may take; 10min unless given'),
  service: serviceField('they run in'),
}).partial();

/** What both a site and an app may say. */
export const dataFields = {
  dump: z.union([z.enum(['mariadb', 'mysql', 'postgresql']).transform((way): z.output<typeof dump> => ({ way })), dump],
    'is not a dump: write mariadb, mysql, postgresql, or keys; of SQLite way and database').describe('how the site\'s database gets into the backup').optional(),
  hooks: hooks.describe('programs run in the container at turns of the site\'s life').optional(),
  exclude: exclude.describe('paths below the data that backups leave out, such as caches; * stands for a part of a name').optional(),
};

/** What a site alone may say. */
export const siteDataFields = {
  secrets: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'is not a variable\'s name: use letters, digits and _'), z.union([z.string(), z.number(), z.boolean()]).transform(String)
    .refine((value) => !value.includes('\0'), 'must not contain a zero byte')).describe('environment of the container that backups contain encrypted only').optional(),
  backup: z.boolean().describe('false: the site is not backed up').optional(),
};

const server = z.strictObject({
  url: z.string().regex(/^ssh:\/\/([A-Za-z0-9_][A-Za-z0-9_.-]*@)?([A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9a-fA-F:]+\])(:\d{1,5})?(\/[A-Za-z0-9_~][A-Za-z0-9_.~-]*)*\/?$/, 'is not an ssh URL: write ssh://user@host/directory')
    .describe('where the repositories are: one a site, called after it'),
  hostKey: publicKey().describe('the server\'s host key, as "ssh-keyscan host" prints it after the name; no other is accepted'),
});

/** `backup:` of `sitegen.yaml`. */
export const backupFields = z.strictObject({
  servers: z.array(server).max(8).describe('two servers that do not share a fate'),
  require: z.boolean().describe('true: no site is added unless there are two servers'),
  keep: span(years, '20y').describe('how long this machine keeps the history of others\' sites; 1y unless given'),
  keepLocal: span(years, '20y').describe('how long it keeps that of its own; 30d unless given'),
  recipient: text().regex(/^age1[a-z0-9]{20,2000}$/, 'is not a public key of age: write age1…').describe('who can read keys and secrets in backups (age)'),
  identity: text().regex(/^\//, 'is not an absolute path').describe('file with the age identity that reads them; needed to restore and adopt'),
  signers: z.array(publicKey()).describe('keys of other servers whose backups may be restored here; "sitegen backup key" prints a server\'s own'),
  address: z.string().regex(/^([A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])$/, 'is not a host').describe('where others forward visitors to when this server has taken a site over; its host name unless given'),
  quietHour: z.int().min(0).max(23).describe('hour of the day for repacking and rehearsals; 3 unless given'),
}).partial();

/** `adopt:` of `sitegen.yaml`. */
export const adoptFields = z.strictObject({
  enabled: z.boolean().describe('true: a visitor of an unknown domain makes this server look for its backup'),
  allow: z.array(alias()).describe('domains that may be adopted so; *.example.com stands for all names of that form'),
  app: text().regex(/^[a-z0-9][a-z0-9-]{0,40}$/, 'is not the name of an app').describe('app of a domain that has an empty repository; the default app unless given'),
  atOnce: z.int().min(1).max(32).describe('how many at once; 2 unless given'),
}).partial();

export type DumpSettings = z.output<typeof dump>;
export type HookSettings = z.output<typeof hooks>;
export type BackupSettings = z.output<typeof backupFields>;
export type AdoptSettings = z.output<typeof adoptFields>;
