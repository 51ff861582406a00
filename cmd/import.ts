import type { CommandModule } from 'yargs';
import { withMachine, withMachineLocked } from './connect.ts';
import { print, report } from './output.ts';

interface Options {
  dir: string;
  domain?: string | undefined;
  entrypoint?: string | undefined;
  acme?: string | undefined;
  'dry-run'?: boolean | undefined;
}

const compose: CommandModule<object, Options> = {
  command: 'compose <dir>',
  describe: 'take a project over that Docker Compose runs: its services, data, names and certificate',
  builder: (yargs) => yargs
    .positional('dir', { type: 'string', demandOption: true, describe: 'folder with the Compose file' })
    .option('domain', { type: 'string', describe: 'name of the site (default: the first that labels of Traefik name)', requiresArg: true })
    .option('entrypoint', { type: 'string', describe: 'SERVICE:PORT that visitors reach (default: what Traefik routes to)', requiresArg: true })
    .option('acme', { type: 'string', describe: 'Traefik\'s acme.json (default: looked for in the folder)', requiresArg: true })
    .option('dry-run', { type: 'boolean', describe: 'only say what would be done' }),
  async handler({ dir, domain, entrypoint, acme, 'dry-run': dryRun }) {
    const { importCompose, planImport } = await import('../lib/usecases/import-compose.ts');
    const request = { folder: dir, domain, entrypoint, acme, now: new Date() };
    const plan = await (dryRun === true ? withMachine((deps) => planImport(deps, request)) : withMachineLocked(async (deps) => {
      const made = await planImport(deps, request);
      await importCompose(deps, made);
      return made;
    }));
    for (const note of plan.notes) report(`note: ${note}`);
    if (dryRun === true) {
      print(`stop the containers of the Compose project ${plan.project}`);
      for (const { from, to } of plan.copies) print(`copy ${from} to ${to}`);
      if (plan.certificate) print(`take over the certificate of ${plan.domain}`);
      print(`add ${plan.domain}:`);
      for (const line of plan.settings.trimEnd().split('\n')) print(`    ${line}`);
      return;
    }
    print(`${plan.domain} is asleep; the first visit wakes it`);
    report(`the old project is stopped, and left in place: when nothing of it is missed, remove it with "docker compose --project-name ${plan.project} down --volumes"`);
  },
};

/** `sitegen import`: takes over what ran in other ways. */
export const importCommand: CommandModule = {
  command: 'import',
  describe: 'take over what has run in other ways so far',
  builder: (yargs) => yargs.command(compose).demandCommand(1, 'say what: sitegen import compose DIR'),
  handler: () => undefined,
};
