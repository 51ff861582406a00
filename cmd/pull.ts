import type { CommandModule } from 'yargs';
import { usageError } from '../lib/pure/errors.ts';
import { shortCommit } from '../lib/pure/static.ts';
import { noSuchSite, selectDomains } from '../lib/usecases/domains.ts';
import { withSystemd } from './connect.ts';
import { print, printFaults, printJson, report } from './output.ts';

interface Options {
  domains?: string[] | undefined;
  all?: boolean | undefined;
  json?: boolean | undefined;
  hourly?: boolean | undefined;
  instance?: string | undefined;
}

/** `sitegen pull`: brings static sites up to date with their repositories. */
export const pullCommand: CommandModule<object, Options> = {
  command: 'pull [domains..]',
  describe: 'show what the repositories of static sites have now; happens by itself every hour',
  builder: (yargs) => yargs
    .positional('domains', { type: 'string', array: true, describe: 'names of sites' })
    .option('all', { type: 'boolean', describe: 'all sites that have a repository and are enabled' })
    .option('json', { type: 'boolean', describe: 'print commits as JSON' })
    // What units run: faults of the hourly pull are alarms of the sites' own units.
    .option('hourly', { type: 'boolean', hidden: true })
    .option('instance', { type: 'string', hidden: true }),
  async handler({ domains: named = [], all = false, json = false, hourly = false, instance }) {
    if (all && named.length > 0) throw usageError('give domains or --all, not both');
    const { gitSites, pullSite, pullSites } = await import('../lib/usecases/pull.ts');
    if (instance !== undefined) {
      const { siteOfId } = await import('../lib/usecases/read-sites.ts');
      const file = await siteOfId(instance);
      if (!file) throw noSuchSite(instance);
      const [site] = await gitSites([file.domain]);
      if (site) describe(site.domain, await pullSite(site.domain, site.settings, report));
      return;
    }
    const sites = await gitSites(all || hourly ? undefined : await selectDomains(named, false));
    if (sites.length === 0) {
      if (!hourly) report('no site has a repository');
      return;
    }
    const results: object[] = [];
    const faults = await withSystemd((systemd) => pullSites(systemd, sites, {
      asUnit: hourly,
      report,
      done(domain, { before, after }) {
        results.push({ domain, before: before ?? null, after });
        if (!json && !(hourly && before === after)) describe(domain, { before, after });
      },
    }));
    if (json) printJson(results);
    // Those of the hourly pull have failed in units of their own.
    const code = printFaults(faults);
    if (!hourly) process.exitCode = code;
  },
};

function describe(domain: string, { before, after }: { before: string | undefined; after: string }): void {
  if (before === after) print(`${domain}: nothing new, ${shortCommit(after)}`);
  else print(`${domain}: ${before === undefined ? 'first pull' : shortCommit(before)} -> ${shortCommit(after)}`);
}
