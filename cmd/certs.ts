import type { CommandModule } from 'yargs';
import { SitegenError, usageError } from '../lib/pure/errors.ts';
import { parseDomain, siteNames } from '../lib/pure/names.ts';
import { selectDomains } from '../lib/usecases/domains.ts';
import { withMachineLocked } from './connect.ts';
import { print, printFaults, printJson, printTable, report } from './output.ts';

interface ListOptions {
  domains?: string[] | undefined;
  json?: boolean | undefined;
}

const list: CommandModule<object, ListOptions> = {
  command: ['list [domains..]', '$0'],
  describe: 'names, issuer, days left, source, next try and last error of each certificate',
  builder: (yargs) => yargs
    .positional('domains', { type: 'string', array: true, describe: 'names of sites; all unless given' })
    .option('json', { type: 'boolean', describe: 'print JSON' }),
  async handler({ domains: named = [], json }) {
    const { certificateStatus } = await import('../lib/usecases/cert-commands.ts');
    const rows = await certificateStatus(new Date(), named.length === 0 ? undefined : await selectDomains(named, false));
    if (json) {
      printJson(rows);
      return;
    }
    await printTable(['DOMAIN', 'NAMES', 'ISSUER', 'DAYS', 'SOURCE', 'NEXT TRY', 'LAST ERROR'], rows.map((row) => [
      row.domain, row.names.filter((name) => name !== row.domain).join(' ') || '-', row.issuer ?? '-', String(row.daysLeft ?? '-'),
      row.source === 'none' ? 'self-signed' : row.source, row.nextTry?.slice(0, 16).replace('T', ' ') ?? '-',
      [row.refused === null ? undefined : `refused: ${row.refused}`, row.lastError ?? undefined, ...Object.entries(row.leftOut).map(([name, reason]) => `without ${name}: ${reason}`)]
        .filter((text) => text !== undefined).join('; ') || '-',
    ]));
  },
};

interface RenewOptions {
  domains?: string[] | undefined;
  all?: boolean | undefined;
  force?: boolean | undefined;
}

const renew: CommandModule<object, RenewOptions> = {
  command: 'renew [domains..]',
  describe: 'get certificates now: of the sites named, or of those that are due',
  builder: (yargs) => yargs
    .positional('domains', { type: 'string', array: true, describe: 'names of sites' })
    .option('all', { type: 'boolean', describe: 'all sites, due or not' })
    .option('force', { type: 'boolean', describe: 'even when the authority has asked to wait' }),
  async handler({ domains: named = [], all = false, force = false }) {
    const { certify } = await import('../lib/usecases/certify.ts');
    const { sitesDue } = await import('../lib/usecases/renew.ts');
    const { readableSites, siteFile } = await import('../lib/usecases/read-sites.ts');
    const { loadDefaults } = await import('../lib/usecases/settings.ts');
    const { worked } = await import('../lib/usecases/alarm.ts');
    const defaults = await loadDefaults();
    const chosen = all || named.length > 0;
    const domains = chosen ? await selectDomains(named, all) : await sitesDue(await readableSites(), defaults, new Date());
    if (domains.length === 0) report('no certificate is due');
    const faults: { domain: string; reason: string }[] = [];
    for (const domain of domains) {
      try {
        const file = await siteFile(domain);
        const { kind, lines } = await certify(file, defaults, { force: chosen, impatient: force, report });
        const amiss = kind === 'well' ? undefined : lines.at(-1);
        for (const line of amiss === undefined ? lines : lines.slice(0, -1)) print(line);
        if (kind === 'well') await worked(siteNames(domain).certifyUnit, new Date());
        else faults.push({ domain, reason: amiss ?? 'a try has failed; see: sitegen certs list' });
        if (kind === 'well' && lines.length === 0) report(`${domain}: nothing to do`);
      } catch (error) {
        if (!(error instanceof SitegenError)) throw error;
        faults.push({ domain, reason: error.hint === undefined ? error.message : `${error.message} (${error.hint})` });
      }
    }
    process.exitCode = printFaults(faults);
  },
};

interface ImportOptions {
  domain: string;
  cert: string;
  key: string;
  chain?: string | undefined;
}

const importCommand: CommandModule<object, ImportOptions> = {
  command: 'import <domain>',
  describe: 'serve a certificate from files, and ask for none any more',
  builder: (yargs) => yargs
    .positional('domain', { type: 'string', demandOption: true, describe: 'name of the site' })
    .option('cert', { type: 'string', demandOption: true, describe: 'file with the certificate, and perhaps its chain', requiresArg: true })
    .option('key', { type: 'string', demandOption: true, describe: 'file with the key', requiresArg: true })
    .option('chain', { type: 'string', describe: 'file with the chain', requiresArg: true }),
  async handler({ domain: input, cert, key, chain }) {
    const domain = parseDomain(input);
    const { importCertificate } = await import('../lib/usecases/cert-commands.ts');
    const lines = await withMachineLocked(({ systemd }) => importCertificate(systemd, domain, { cert, key, chain }, new Date()));
    for (const line of lines) report(line);
    print(`${domain} serves the certificate from ${cert}`);
  },
};

const remove: CommandModule<object, { domain: string; yes?: boolean | undefined }> = {
  command: 'remove <domain>',
  describe: 'forget a certificate with its key; one from the authority is asked for anew',
  builder: (yargs) => yargs.positional('domain', { type: 'string', demandOption: true, describe: 'name of the site' }),
  async handler({ domain: input, yes = false }) {
    const domain = parseDomain(input);
    const { removeCertificate } = await import('../lib/usecases/cert-commands.ts');
    const { siteFile } = await import('../lib/usecases/read-sites.ts');
    await siteFile(domain);
    if (!yes) await confirm(domain);
    const lines = await withMachineLocked(({ systemd }) => removeCertificate(systemd, domain));
    for (const line of lines) report(line);
    print(`the certificate of ${domain} is forgotten`);
  },
};

async function confirm(domain: string): Promise<void> {
  if (!process.stdin.isTTY) throw usageError('this deletes a key and there is no terminal to ask on', 'repeat it with --yes');
  const { createInterface } = await import('node:readline/promises');
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await prompt.question(`Delete the certificate and key of ${domain}? [y/N] `);
    if (!/^y(es)?$/i.test(answer.trim())) throw new SitegenError('nothing was removed');
  } finally {
    prompt.close();
  }
}

/** `sitegen certs`. */
export const certsCommand: CommandModule = {
  command: 'certs',
  describe: 'certificates: list, renew, import, remove',
  builder: (yargs) => yargs.command(list).command(renew).command(importCommand).command(remove).demandCommand(0),
  handler: () => undefined,
};
