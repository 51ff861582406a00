import type { CommandModule } from 'yargs';
import { formatEgress } from '../lib/pure/egress-names.ts';
import { parseDomain } from '../lib/pure/names.ts';
import { formatBytes } from '../lib/pure/quantities.ts';
import { isDown, type State } from '../lib/pure/state.ts';
import { allDomains, noSuchSite } from '../lib/usecases/domains.ts';
import type { SiteStatus } from '../lib/usecases/status.ts';
import { withMachine } from './connect.ts';
import { colors, print, printJson, printTable } from './output.ts';

interface Options {
  domains?: string[] | undefined;
  json?: boolean | undefined;
}

/** `sitegen list`: one line a site. */
export const listCommand: CommandModule<object, Options> = {
  command: ['list', 'ls'],
  describe: 'list all sites with their state',
  builder: (yargs) => yargs.option('json', { type: 'boolean', describe: 'print JSON' }),
  async handler({ json }) {
    const { status } = await import('../lib/usecases/status.ts');
    const sites = await withMachine((deps) => status(deps));
    if (json) printJson(sites);
    else if (sites.length === 0) print('no sites yet; add one: sitegen add example.com');
    else await table(sites);
  },
};

/** `sitegen status [DOMAIN…]`: exits with 3 when a named site is down or broken. */
export const statusCommand: CommandModule<object, Options> = {
  command: 'status [domains..]',
  describe: 'show sites in detail; exits with 3 when a named one is down',
  builder: (yargs) => yargs
    .positional('domains', { type: 'string', array: true, describe: 'names of sites; all when none is given' })
    .option('json', { type: 'boolean', describe: 'print JSON' }),
  async handler({ domains = [], json }) {
    const named = domains.map((domain) => parseDomain(domain));
    const known = named.length > 0 ? await allDomains() : [];
    for (const domain of named) if (!known.includes(domain)) throw noSuchSite(domain);
    const { status } = await import('../lib/usecases/status.ts');
    const sites = await withMachine((deps) => status(deps, named.length > 0 ? named : undefined));
    if (json) printJson(sites);
    else if (named.length > 0) for (const [index, site] of sites.entries()) details(site, index > 0);
    else if (sites.length === 0) print('no sites yet; add one: sitegen add example.com');
    else await table(sites);
    if (named.length > 0 && sites.some(({ state }) => isDown(state))) process.exitCode = 3;
  },
};

async function table(sites: readonly SiteStatus[]): Promise<void> {
  const { dim } = colors();
  await printTable(['SITE', 'STATE', 'KIND', 'ADDRESS', 'MEMORY', 'BACKUP', ''], sites.map((site) => [
    site.domain,
    paint(site.state),
    site.kind ?? '-',
    site.address ?? '-',
    site.memory.current === null ? '-' : `${formatBytes(site.memory.current)}/${site.memory.max === null ? 'no limit' : formatBytes(site.memory.max)}`,
    site.backup.state === 'well' || site.backup.state === 'off' ? site.backup.state : 'not backed up',
    dim((site.reason ?? '').split('\n', 1)[0] ?? ''),
  ]));
}

function details(site: SiteStatus, gap: boolean): void {
  const { bold, dim } = colors();
  if (gap) print('');
  const line = (name: string, value: string) => { print(`${name.padStart(10)}: ${value}`); };
  print(bold(site.domain));
  line('state', `${paint(site.state)}${site.since === null ? '' : dim(` since ${site.since}`)}`);
  if (site.reason !== null) for (const reason of site.reason.split('\n')) line('reason', reason);
  if (site.aliases.length > 0) line('aliases', site.aliases.join(', '));
  if (site.kind !== null) line('kind', site.kind);
  const runs = site.kind === 'process' ? 'program' : 'container';
  if (site.address !== null) line('address', `${site.address}:80${site.containerAddress === null ? '' : ` → ${runs} ${site.containerAddress}`}`);
  if (site.containerAddress !== null || site.container.id !== null) line(runs, `${site.container.name}${site.container.id === null ? ' (missing)' : `${runs === 'program' ? '' : ` ${site.container.id}`} (${site.container.status ?? '?'})`}`);
  if (site.image !== null) line('image', site.image);
  if (site.egress) line('egress', describe(site.egress));
  if (site.backup.state !== 'off') line('backup', site.backup.reason ?? 'on all servers');
  if (site.memory.current !== null) line('memory', `${formatBytes(site.memory.current)} of ${site.memory.max === null ? 'no limit' : formatBytes(site.memory.max)}`);
  if (site.disk) line('disk', `${site.disk.used === null ? 'not measured yet' : formatBytes(site.disk.used)} of ${formatBytes(site.disk.max)}${dim(site.disk.way === 'quota' ? ', a quota of the kernel' : `, watched${site.disk.measured === null ? '' : `: measured ${site.disk.measured}`}`)}`);
  if (site.address !== null) for (const [unit, state] of Object.entries(site.units)) line('unit', `${unit} ${dim(state)}`);
}

function describe({ allowed, unresolved, blocked }: NonNullable<SiteStatus['egress']>): string {
  const notes = [...(blocked === null ? [] : [`${blocked} packet${blocked === 1 ? '' : 's'} blocked`]), ...(unresolved.length > 0 ? [`no address of ${unresolved.join(', ')}`] : [])];
  return `${formatEgress(allowed === 'any' ? undefined : allowed)}${notes.length > 0 ? ` (${notes.join('; ')})` : ''}`;
}

function paint(state: State): string {
  const { green, red, yellow, cyan } = colors();
  if (state === 'awake' || state === 'routed') return green(state);
  if (state === 'broken') return red(state);
  if (state === 'waking') return yellow(state);
  return isDown(state) ? yellow(state) : cyan(state);
}
