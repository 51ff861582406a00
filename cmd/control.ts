import type { CommandModule } from 'yargs';
import type { Action } from '../lib/usecases/control.ts';
import { selectDomains } from '../lib/usecases/domains.ts';
import { withMachine, withMachineLocked } from './connect.ts';
import { print, printFaults, report } from './output.ts';

interface Options {
  domains?: string[] | undefined;
  all?: boolean | undefined;
  'dry-run'?: boolean | undefined;
}

/** `sitegen start`: wakes sites. */
export const startCommand: CommandModule<object, Options> = command('start', 'wake sites and wait until they answer', 'awake');
/** `sitegen stop`: puts sites to sleep. */
export const stopCommand: CommandModule<object, Options> = command('stop', 'put sites to sleep once their requests are finished; the next visit wakes them', 'asleep');
/** `sitegen restart`. */
export const restartCommand: CommandModule<object, Options> = command('restart', 'stop sites and wake them again', 'awake again');
/** `sitegen enable`. */
export const enableCommand: CommandModule<object, Options> = command('enable', 'let sites be visited again', 'enabled');
/** `sitegen disable`. */
export const disableCommand: CommandModule<object, Options> = command('disable', 'switch sites off: nothing listens for them, also after a reboot', 'disabled');

function command(action: Action, describe: string, result: string): CommandModule<object, Options> {
  return {
    command: `${action} [domains..]`,
    describe,
    builder: (yargs) => yargs
      .positional('domains', { type: 'string', array: true, describe: 'names of sites' })
      .option('all', { type: 'boolean', describe: 'all sites' })
      .option('dry-run', { type: 'boolean', describe: 'only say what would be done' }),
    async handler({ domains: named = [], all = false, 'dry-run': dryRun }) {
      const domains = await selectDomains(named, all);
      if (dryRun) {
        for (const domain of domains) print(`${action} ${domain}`);
        return;
      }
      const { control } = await import('../lib/usecases/control.ts');
      const locked = action === 'enable' || action === 'disable';
      const faults = await (locked ? withMachineLocked : withMachine)((deps) => control(deps, action, domains));
      for (const domain of domains) if (!faults.some((fault) => fault.domain === domain)) report(`${domain} is ${result}`);
      process.exitCode = printFaults(faults);
    },
  };
}
