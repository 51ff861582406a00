import type { CommandModule } from 'yargs';
import { selectDomains } from '../lib/usecases/domains.ts';
import { printJson, printTable, report } from './output.ts';

interface Options {
  domain: string;
  json?: boolean | undefined;
}

/** `sitegen secrets DOMAIN`: what was made for a site, and what its settings have. */
export const secretsCommand: CommandModule<object, Options> = {
  command: 'secrets <domain>',
  describe: 'show the passwords and keys of a site',
  builder: (yargs) => yargs
    .positional('domain', { type: 'string', demandOption: true, describe: 'name of the site' })
    .option('json', { type: 'boolean', describe: 'print JSON' }),
  async handler({ domain: input, json }) {
    const { secretsOf } = await import('../lib/usecases/secrets.ts');
    const [domain = input] = await selectDomains([input], false);
    const secrets = await secretsOf(domain);
    if (json) printJson(secrets);
    else if (Object.keys(secrets).length === 0) report(`${domain} has no secrets`);
    else await printTable(['NAME', 'VALUE'], Object.entries(secrets));
  },
};
