import * as z from 'zod';
import { SitegenError } from './errors.ts';
import type { SiteNames } from './names.ts';
import { escapeUnit, render, type View } from './render.ts';
import { argv } from './schema-backup.ts';

/**
 * A site whose program runs without a container, as a service of systemd in the slice where a
 * container would be. This is what is made of its settings; nothing starts it yet, so the schema of
 * sites does not have these keys.
 */

const value = z.union([z.string(), z.number(), z.boolean()]).transform(String).refine((text) => !text.includes('\0'), 'must not contain a zero byte');

export const processFields = z.strictObject({
  command: argv().describe('program and arguments, without a shell; ${port} and ${address} are where it has to listen, ${DOMAIN.port} and ${DOMAIN.address} where another site\'s program does').optional(),
  script: z.string().min(1).refine((text) => !text.includes('\0'), 'must not contain a zero byte').describe('the same as lines of a shell, instead of "command"').optional(),
  args: z.array(value).describe('further arguments').optional(),
  cwd: z.string().regex(/^(\/|(?!\/)[A-Za-z0-9_])[^\0\n"\\]*$/, 'is not a directory').refine((text) => !text.split('/').includes('..'), 'must not contain ".."').describe('working directory: below the site\'s data, or absolute; the data unless given').optional(),
  env: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'is not a variable\'s name'), value).describe('environment of the program').optional(),
  listenFds: z.boolean().describe('true: it takes its socket from systemd (sd_listen_fds(3)), instead of opening a port').optional(),
}).refine((given) => (given.command === undefined) !== (given.script === undefined), 'needs either command or script');

export type ProcessSettings = z.output<typeof processFields>;

/** Where a program listens. */
export interface Place {
  address: string;
  port: number;
}

/** What a program is started as. */
export interface ProcessSpec {
  argv: readonly string[];
  cwd: string;
  env: Readonly<Record<string, string>>;
  listenFds: boolean;
}

/**
 * The loopback address of a site's program: all of 127/8 is this host's, so that each has one of its
 * own without a route, and two may listen on the same port.
 * @param container the address that the site's container would have; all are of one range within a /8
 */
export function loopbackOf(container: string): string {
  return container.replace(/^\d+/, '127');
}

/**
 * Decides what a site's program is started as.
 * @param others places of other sites' programs, by domain
 * @throws SitegenError for a variable that nobody has
 */
export function resolveProcess(settings: ProcessSettings, names: Pick<SiteNames, 'domain' | 'dataDir'>, own: Place, others: ReadonlyMap<string, Place>): ProcessSpec {
  const fill = (text: string) => substitute(text, names.domain, own, others);
  const { command = [], script, args = [], cwd = '.', env = {}, listenFds = false } = settings;
  const given = script === undefined ? command : ['/bin/sh', '-ec', script, 'script'];
  return {
    argv: [...given, ...args].map((text) => fill(text)),
    cwd: cwd.startsWith('/') ? cwd : cwd === '.' ? names.dataDir : `${names.dataDir}/${cwd}`,
    env: Object.fromEntries(Object.entries({ PORT: '${port}', HOST: '${address}', ...env }).map(([name, text]) => [name, fill(text)])),
    listenFds,
  };
}

const variable = /\$\{(?:([A-Za-z0-9.-]+)\.)?(port|address)\}/g;

/** Other variables stay as they are: they are the program's, or its shell's. */
function substitute(text: string, domain: string, own: Place, others: ReadonlyMap<string, Place>): string {
  return text.replaceAll(variable, (whole, other: string | undefined, what: keyof Place) => {
    const place = other === undefined || other === domain ? own : others.get(other);
    if (!place) throw new SitegenError(`${domain}: process: ${whole}: there is no site ${other ?? ''} with a program of its own`);
    return String(place[what]);
  });
}

/** The unit of a site's program. @param template its text */
export function processUnit(template: string, names: SiteNames, spec: ProcessSpec, own: Place, stopMs: number): string {
  const [program = '', ...rest] = spec.argv;
  if (!/^[A-Za-z0-9_./]/.test(program)) throw new SitegenError(`${names.domain}: process: ${JSON.stringify(program)} is not a program`);
  const view: View = {
    domain: names.domain, settingsFile: names.settingsFile, appSlice: names.appSlice, dataDir: names.dataDir, cwd: spec.cwd, program,
    user: userOf(names), unit: processService(names), socket: names.socket, port: own.port, stopSeconds: Math.ceil(stopMs / 1000),
    arguments: rest.map((argument) => ({ argument })),
    env: Object.entries(spec.env).map(([name, text]) => ({ name, text })),
    opens: spec.listenFds ? [] : [{}],
  };
  return render(template, view, escapeUnit);
}

/** Its name: of a kind of its own, as "site-….service" could be another site's. */
export function processService({ id }: Pick<SiteNames, 'id'>): string {
  return `sitegen-process@${id}.service`;
}

/** The user that systemd makes up for it; the name decides the number, so that files stay its own. */
function userOf({ id }: Pick<SiteNames, 'id'>): string {
  // Linux allows 31 characters, and systemd no dots.
  const plain = id.replaceAll(/[^a-z0-9]/g, '-').slice(0, 16);
  return `sg-${plain}-${checksum(id)}`;
}

/** FNV-1a: two sites whose names are cut alike must not share a user. */
function checksum(text: string): string {
  let hash = 0x811c9dc5;
  for (const char of text) hash = Math.imul(hash ^ char.charCodeAt(0), 0x01000193) >>> 0;
  return hash.toString(16).padStart(8, '0');
}
