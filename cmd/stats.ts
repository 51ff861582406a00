import type { CommandModule } from 'yargs';
import { usageError } from '../lib/pure/errors.ts';
import { parseDomain } from '../lib/pure/names.ts';
import { formatBytes } from '../lib/pure/quantities.ts';
import { parseSince } from '../lib/pure/since.ts';
import { allDomains, noSuchSite } from '../lib/usecases/domains.ts';
import { print, printJson, printTable } from './output.ts';

interface Options {
  domains?: string[] | undefined;
  since: string;
  json?: boolean | undefined;
}

/** `sitegen stats [DOMAIN…]`: what visitors did. */
export const statsCommand: CommandModule<object, Options> = {
  command: 'stats [domains..]',
  describe: 'show requests, bytes, errors and wakes of sites',
  builder: (yargs) => yargs
    .positional('domains', { type: 'string', array: true, describe: 'names of sites; all that had visitors when none is given' })
    .option('since', { type: 'string', default: '30d', describe: 'a span such as 24h, today, or a date such as 2026-11-01' })
    .option('json', { type: 'boolean', describe: 'print JSON; of named sites with every hour' }),
  async handler({ domains = [], since, json }) {
    const now = Date.now();
    const from = parseSince(since, now);
    if (from === undefined) throw usageError(`${JSON.stringify(since)} is not a time`, 'give a span such as 24h or 7d, today, yesterday, or a date such as 2026-11-01');
    const named = domains.map((domain) => parseDomain(domain));
    const known = named.length > 0 ? await allDomains() : [];
    for (const domain of named) if (!known.includes(domain)) throw noSuchSite(domain);
    const { readStats } = await import('../lib/usecases/stats.ts');
    const sites = await readStats(from, now, named.length > 0 ? named : undefined);
    if (json && named.length > 0) printJson(sites);
    else if (json) printJson(sites.map(({ hours: _hours, ...sums }) => sums));
    else if (sites.length === 0) print(`no visitors since ${new Date(from).toISOString()}`);
    else {
      await printTable(['SITE', 'REQUESTS', '4XX', '5XX', 'IN', 'OUT', 'WAKES'], sites.map((site) => [
        site.site, String(site.requests), String(site.clientErrors), String(site.serverErrors), formatBytes(site.bytesIn), formatBytes(site.bytesOut), String(site.wakes),
      ]));
    }
  },
};
