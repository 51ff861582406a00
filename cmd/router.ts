import type { CommandModule } from 'yargs';
import { formatBytes } from '../lib/pure/quantities.ts';
import { withSystemd, withMachineLocked } from './connect.ts';
import { print, printJson, report } from './output.ts';

interface Options {
  action: string;
  json?: boolean | undefined;
}

/** `sitegen router status|reload|config`. */
export const routerCommand: CommandModule<object, Options> = {
  command: 'router <action>',
  describe: 'look at what listens on ports 80 and 443, or reload it',
  builder: (yargs) => yargs
    .positional('action', { choices: ['status', 'reload', 'config'], demandOption: true, describe: 'status; reload, which loses no request; or config, to print its configuration' })
    .option('json', { type: 'boolean', describe: 'print JSON (with status)' }),
  async handler({ action, json }) {
    if (action === 'status') await showStatus(json ?? false);
    else if (action === 'reload') {
      const { reloadRouter } = await import('../lib/usecases/router.ts');
      await withMachineLocked(({ systemd }) => reloadRouter(systemd));
      report('the router is reloaded');
    } else {
      const [{ currentConfig }, { loadDefaults }] = await Promise.all([import('../lib/usecases/router-files.ts'), import('../lib/usecases/settings.ts')]);
      process.stdout.write(await currentConfig(await loadDefaults()));
    }
  },
};

async function showStatus(json: boolean): Promise<void> {
  const { routerStatus } = await import('../lib/usecases/router-status.ts');
  const status = await withSystemd((systemd) => routerStatus(systemd));
  if (json) printJson(status);
  else {
    const line = (name: string, value: string) => { print(`${name.padStart(12)}: ${value}`); };
    for (const [unit, state] of Object.entries(status.units)) line('unit', `${unit} ${state}`);
    if (status.running) {
      const { version, uptime, workers, connections, maxConnections, requests, memory } = status.running;
      line('version', `HAProxy ${version}, running for ${uptime}`);
      line('processes', `${workers} worker${workers === 1 ? '' : 's, the older ones until their connections end'}`);
      line('visitors', `${connections} connections of ${maxConnections} at most, ${requests} requests so far`);
      if (memory !== null) line('memory', formatBytes(memory));
    }
    line('sites', `${status.sites} with ${status.names} names, ${status.certificates} certificates of their own`);
    for (const [index, text] of status.drift.entries()) line(index === 0 ? 'drift' : '', text);
  }
  if (!status.running || status.drift.length > 0) process.exitCode = 3;
}
