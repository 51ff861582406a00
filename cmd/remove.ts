import type { CommandModule } from 'yargs';
import { SitegenError, usageError } from '../lib/pure/errors.ts';
import { hostOf } from '../lib/pure/choose.ts';
import { siteNames } from '../lib/pure/names.ts';
import { withMachineLocked } from './connect.ts';
import { print, report } from './output.ts';

interface Options {
  domain: string;
  purge?: boolean | undefined;
  backups?: boolean | undefined;
  yes?: boolean | undefined;
  'dry-run'?: boolean | undefined;
}

/** `sitegen remove DOMAIN`. */
export const removeCommand: CommandModule<object, Options> = {
  command: ['remove <domain>', 'rm'],
  describe: 'remove a site; its data stays unless --purge',
  builder: (yargs) => yargs
    .positional('domain', { type: 'string', demandOption: true, describe: 'name of the site' })
    .option('purge', { type: 'boolean', describe: 'delete its data too; asks first; its backups stay' })
    .option('backups', { type: 'boolean', describe: 'with --purge: delete its history on this machine too, and say what other servers keep' })
    .option('dry-run', { type: 'boolean', describe: 'only say what would be done' }),
  async handler({ domain: input, purge = false, backups = false, yes = false, 'dry-run': dryRun }) {
    const { planRemove, removeSite } = await import('../lib/usecases/remove.ts');
    const plan = await planRemove(input, purge, backups);
    if (dryRun) {
      for (const line of plan.lines) print(line);
      return;
    }
    if (purge && !yes) await confirm(plan.domain);
    await withMachineLocked((deps) => removeSite(deps, plan));
    print(`${plan.domain} is removed${purge ? ', with its data' : ''}`);
    for (const url of plan.servers) {
      if (backups) report(`${hostOf(url)} keeps its history until its admin ends that there: sitegen buddy erase NAME ${plan.domain}`);
    }
    if (purge && !backups && plan.servers.length > 0) report(`its backups stay: sitegen adopt ${plan.domain} brings it back; sitegen remove --purge --backups ${plan.domain} ends them`);
    if (!purge) report(`its data stays in ${siteNames(plan.domain).siteDir}; sitegen add ${plan.domain} uses it again`);
  },
};

async function confirm(domain: string): Promise<void> {
  if (!process.stdin.isTTY) throw usageError('--purge deletes data and there is no terminal to ask on', 'repeat it with --yes');
  const { createInterface } = await import('node:readline/promises');
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await prompt.question(`Delete ${domain} and all its data in ${siteNames(domain).siteDir}? Type the domain to confirm: `);
    if (answer.trim() !== domain) throw new SitegenError('nothing was removed');
  } finally {
    prompt.close();
  }
}
