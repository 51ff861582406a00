import type { CommandModule } from 'yargs';
import { selectDomains } from '../lib/usecases/domains.ts';
import { withMachineLocked } from './connect.ts';
import { printFaults, report } from './output.ts';

interface Options {
  state: string;
  domains?: string[] | undefined;
  all?: boolean | undefined;
  'retry-after'?: string | undefined;
  allow?: string[] | undefined;
}

/** `sitegen maintenance on|off DOMAIN…`. */
export const maintenanceCommand: CommandModule<object, Options> = {
  command: 'maintenance <state> [domains..]',
  describe: 'show a page instead of a site while somebody works on it',
  builder: (yargs) => yargs
    .positional('state', { choices: ['on', 'off'], demandOption: true, describe: 'on or off' })
    .positional('domains', { type: 'string', array: true, describe: 'names of sites' })
    .option('all', { type: 'boolean', describe: 'all sites' })
    .option('retry-after', { type: 'string', describe: 'when visitors may come again, such as 30min (default: 10min)' })
    .option('allow', { type: 'string', array: true, nargs: 1, describe: 'an address or range that is let through; may be repeated' }),
  async handler({ state, domains: named = [], all = false, 'retry-after': retryAfter, allow }) {
    const domains = await selectDomains(named, all);
    const { setMaintenance } = await import('../lib/usecases/control.ts');
    const settings = state === 'off' ? undefined : { retryAfter, allow };
    const faults = await withMachineLocked((deps) => setMaintenance(deps, domains, settings));
    for (const domain of domains) if (!faults.some((fault) => fault.domain === domain)) report(`${domain}: maintenance is ${state}`);
    process.exitCode = printFaults(faults);
  },
};
