import type { CommandModule } from 'yargs';
import { parseDomain, siteNames } from '../lib/pure/names.ts';
import { formatBytes } from '../lib/pure/quantities.ts';
import { shortCommit } from '../lib/pure/static.ts';
import { withMachine } from './connect.ts';
import { print, report, showProgress } from './output.ts';

interface Options {
  domain: string;
  from?: string | undefined;
  app?: string | undefined;
  force?: boolean | undefined;
  check?: boolean | undefined;
  signer?: string | undefined;
  proxy?: string | undefined;
  commit?: string | undefined;
  automatic?: boolean | undefined;
}

/** Exit code for a site that is not to come here; to units it is no failure. */
const notToAdopt = 75;

/** `sitegen adopt DOMAIN`. */
export const adoptCommand: CommandModule<object, Options> = {
  command: 'adopt <domain>',
  describe: 'bring a site to this machine from its backup; its former server then forwards visitors here',
  builder: (yargs) => yargs
    .positional('domain', { type: 'string', demandOption: true, describe: 'name of the site' })
    .option('from', { type: 'string', requiresArg: true, describe: 'only from this backup server: its URL or host' })
    .option('app', { type: 'string', requiresArg: true, describe: 'app to install where there is no backup yet' })
    .option('force', { type: 'boolean', describe: 'though its DNS leads elsewhere, or data of its name is here' })
    .option('check', { type: 'boolean', describe: 'only say whether it could be adopted' })
    .option('signer', { type: 'string', requiresArg: true, implies: 'check', describe: 'public key of the former server, which has to be allowed here' })
    .option('proxy', { type: 'string', requiresArg: true, describe: 'address of the former server, which tells visitors\' own addresses by PROXY protocol' })
    .option('commit', { type: 'string', requiresArg: true, describe: 'last commit of the former server, which the backup has to have' })
    // What its unit runs.
    .option('automatic', { type: 'boolean', hidden: true }),
  async handler({ domain, from, app, force = false, check = false, signer, proxy, commit, automatic = false }) {
    const { adoptSite, checkAdopt, NotToAdopt } = await import('../lib/usecases/adopt.ts');
    const { worked } = await import('../lib/usecases/alarm.ts');
    if (check) {
      print(await checkAdopt(domain, signer));
      return;
    }
    const began = performance.now();
    const deps = { progress: automatic ? undefined : showProgress(domain), now: () => new Date() };
    try {
      const done = await withMachine((machine) => adoptSite({ ...machine, ...deps }, { domain, from, app, force, automatic, proxy, commit }));
      const what = done.commit === undefined ? 'is installed' : `is here, as in ${shortCommit(done.commit)}: ${done.files} files, ${formatBytes(done.bytes)}, from ${done.from}`;
      // Whatever has kept it from coming by itself is over.
      await worked(siteNames(parseDomain(domain)).adoptUnit, new Date());
      print(`${domain} ${what}, after ${((performance.now() - began) / 1000).toFixed(1)} s`);
    } catch (error) {
      if (!automatic || !(error instanceof NotToAdopt)) throw error;
      // Whoever invents names must raise no alarm.
      report(error.message);
      process.exitCode = notToAdopt;
    }
  },
};
