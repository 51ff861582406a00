import type { CommandModule } from 'yargs';
import { formatBytes } from '../lib/pure/quantities.ts';
import { shortCommit } from '../lib/pure/static.ts';
import { selectDomains } from '../lib/usecases/domains.ts';
import type { BackupRow } from '../lib/usecases/backup-list.ts';
import { withSystemd } from './connect.ts';
import { print, printFaults, printJson, printTable, report } from './output.ts';

interface Options {
  domains?: string[] | undefined;
  wait?: boolean | undefined;
}

const now: CommandModule<object, Options> = {
  command: ['now [domains..]', '$0'],
  describe: 'dump and commit sites now, and send that to the servers',
  builder: (yargs) => yargs
    .positional('domains', { type: 'string', array: true, describe: 'names of sites; all unless given' })
    .option('wait', { type: 'boolean', describe: 'wait until all servers have it' }),
  async handler({ domains: named = [], wait = false }) {
    const domains = await selectDomains(named, named.length === 0);
    const { backupByUnits } = await import('../lib/usecases/backup-now.ts');
    const { faults, done } = await withSystemd((systemd) => backupByUnits(systemd, domains, { wait, report }));
    for (const { domain, line } of done) print(`${domain}: ${line}`);
    process.exitCode = printFaults(faults);
  },
};

const list: CommandModule<object, { domains?: string[] | undefined; json?: boolean | undefined }> = {
  command: 'list [domains..]',
  describe: 'what is backed up, and which server has it; named sites are asked for at the servers',
  builder: (yargs) => yargs
    .positional('domains', { type: 'string', array: true, describe: 'names of sites; all unless given' })
    .option('json', { type: 'boolean', describe: 'print JSON' }),
  async handler({ domains: named = [], json }) {
    const { listBackups } = await import('../lib/usecases/backup-list.ts');
    const some = named.length > 0;
    const rows = await listBackups(some ? await selectDomains(named, false) : undefined, new Date());
    if (json) printJson(rows);
    else if (some) for (const row of rows) details(row);
    else await table(rows);
    // What is asked for by name has an answer that scripts can use.
    if (some && rows.some(({ state }) => state !== 'well' && state !== 'off')) process.exitCode = 3;
  },
};

async function table(rows: readonly BackupRow[]): Promise<void> {
  if (rows.length === 0) report('no sites yet; add one: sitegen add example.com');
  else {
    await printTable(['SITE', 'BACKUP', 'LAST LOOK', 'COMMIT', 'ON SERVERS', 'DISK', ''], rows.map((row) => [
      row.domain, row.state, minutes(row.dumpedAt), row.commit === null ? '-' : shortCommit(row.commit),
      row.servers.length === 0 ? '-' : `${row.servers.filter(({ upToDate }) => upToDate).length} of ${row.servers.length}`,
      formatBytes(row.repositoryBytes), row.reason ?? '',
    ]));
  }
}

function details(row: BackupRow): void {
  const line = (name: string, value: string) => { print(`${name.padStart(10)}: ${value}`); };
  print(row.domain);
  line('backup', row.state === 'well' ? 'backed up' : (row.reason ?? row.state));
  line('last look', minutes(row.dumpedAt));
  if (row.commit !== null) line('commit', `${shortCommit(row.commit)} of ${minutes(row.committedAt)}`);
  line('disk', formatBytes(row.repositoryBytes));
  for (const server of row.servers) {
    const has = server.commit === null ? 'has nothing' : server.upToDate ? 'has it' : `has ${shortCommit(server.commit)}`;
    line('server', `${server.url} ${has}${server.at === null ? '' : `, seen ${minutes(server.at)}`}${server.error === null ? '' : `; ${server.error}`}`);
    const { rehearsal } = server;
    if (rehearsal) line('rehearsal', `${minutes(rehearsal.at)}: ${rehearsal.error ?? `${shortCommit(rehearsal.commit)} came back and answered`}`);
  }
  for (const warning of row.warnings) line('warning', warning);
}

function minutes(time: string | null): string {
  return time === null ? 'never' : `${time.slice(0, 16).replace('T', ' ')} UTC`;
}

const verify: CommandModule<object, { domains?: string[] | undefined; server?: string | undefined }> = {
  command: 'verify [domains..]',
  describe: 'read whole backups and compare every file with its checksum',
  builder: (yargs) => yargs
    .positional('domains', { type: 'string', array: true, describe: 'names of sites; all unless given' })
    .option('server', { type: 'string', requiresArg: true, describe: 'what this server has, by its URL or a part of it; this machine\'s own unless given' }),
  async handler({ domains: named = [], server }) {
    const domains = await selectDomains(named, named.length === 0);
    const { verifyBackup } = await import('../lib/usecases/rehearse.ts');
    const faults: { domain: string; reason: string }[] = [];
    for (const domain of domains) {
      try {
        const { commit, files, bytes } = await verifyBackup(domain, server, report);
        print(`${domain}: ${shortCommit(commit)} is whole: ${files} files, ${formatBytes(bytes)}`);
      } catch (error) {
        const { reasonOf } = await import('../lib/pure/errors.ts');
        faults.push({ domain, reason: reasonOf(error) });
      }
    }
    process.exitCode = printFaults(faults);
  },
};

const log: CommandModule<object, { domain: string; lines?: number | undefined; json?: boolean | undefined }> = {
  command: 'log <domain>',
  describe: 'commits of a site, the latest first',
  builder: (yargs) => yargs
    .positional('domain', { type: 'string', demandOption: true, describe: 'name of the site' })
    .option('lines', { alias: 'n', type: 'number', default: 50, requiresArg: true, describe: 'how many' })
    .option('json', { type: 'boolean', describe: 'print JSON' }),
  async handler({ domain: input, lines = 50, json }) {
    const [domain = ''] = await selectDomains([input], false);
    const { backupLog } = await import('../lib/usecases/backup-list.ts');
    const commits = await backupLog(domain, lines);
    if (json) printJson(commits);
    else if (commits.length === 0) report(`${domain}: there is no backup yet`);
    else await printTable(['COMMIT', 'TIME', 'SIZE', ''], commits.map(({ commit, date, bytes, subject }) => [shortCommit(commit), minutes(date.toISOString()), formatBytes(bytes), subject]));
  },
};

const rehearse: CommandModule<object, { domains?: string[] | undefined }> = {
  command: 'rehearse [domains..]',
  describe: 'restore sites into containers that are thrown away, from each server; happens weekly',
  builder: (yargs) => yargs.positional('domains', { type: 'string', array: true, describe: 'names of sites; all unless given' }),
  async handler({ domains: named = [] }) {
    const domains = await selectDomains(named, named.length === 0);
    const { rehearseSites } = await import('../lib/usecases/rehearse.ts');
    const { withMachine } = await import('./connect.ts');
    const faults = await withMachine((deps) => rehearseSites(deps, domains, () => new Date(), (line) => { print(line); }));
    process.exitCode = printFaults(faults);
  },
};

const refill: CommandModule<object, { domain: string }> = {
  command: 'refill <domain>',
  describe: 'give servers that were emptied on purpose all of a site again',
  builder: (yargs) => yargs.positional('domain', { type: 'string', demandOption: true, describe: 'name of the site' }),
  async handler({ domain: input }) {
    const [domain = ''] = await selectDomains([input], false);
    const { pushDeps, pushSite } = await import('../lib/usecases/push.ts');
    const { done, lines } = await pushSite(domain, { ...await pushDeps(report), refill: true });
    for (const line of lines) print(`${domain}: ${line}`);
    if (!done) process.exitCode = 1;
  },
};

const key: CommandModule = {
  command: 'key',
  describe: 'print this server\'s public key: for backup servers, and for signers of other servers',
  async handler() {
    const { ensureServerKey } = await import('../lib/usecases/server-key.ts');
    print((await ensureServerKey()).publicKey);
  },
};

/** `sitegen backup …`. */
export const backupCommand: CommandModule = {
  command: 'backup',
  describe: 'back sites up now; see what is backed up, and prove it',
  builder: (yargs) => yargs.command(now).command(list).command(verify).command(log).command(rehearse).command(refill).command(key).demandCommand(0),
  handler: () => undefined,
};

