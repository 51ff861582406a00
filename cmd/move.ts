import type { CommandModule } from 'yargs';
import { selectDomains } from '../lib/usecases/domains.ts';
import { withMachine } from './connect.ts';
import { print } from './output.ts';

/** `sitegen move`: to another server, without losing a write. */
export const moveCommand: CommandModule<object, { domain: string; to: string; proxyFrom?: string | undefined }> = {
  command: 'move <domain>',
  describe: 'move a site to another server, and forward its visitors there until DNS has changed',
  builder: (yargs) => yargs
    .positional('domain', { type: 'string', demandOption: true, describe: 'name of the site' })
    .option('to', { type: 'string', demandOption: true, requiresArg: true, describe: 'the other server, as ssh takes it: root@new.example.net' })
    .option('proxy-from', { type: 'string', requiresArg: true, describe: 'this server\'s address as the other one sees it: then that is told the visitors\' own addresses' }),
  async handler({ domain: input, to: host, proxyFrom }) {
    const [domain = ''] = await selectDomains([input], false);
    const { moveSite } = await import('../lib/usecases/move.ts');
    await withMachine((deps) => moveSite(deps, domain, { host, proxyFrom }));
    print(`${domain} is served by ${host}; its visitors are forwarded there until its DNS has changed`);
  },
};
