import type { CommandModule } from 'yargs';
import { hostOf } from '../lib/pure/choose.ts';
import { formatBytes } from '../lib/pure/quantities.ts';
import { selectDomains } from '../lib/usecases/domains.ts';
import { withMachineLocked } from './connect.ts';
import { print, report, showProgress } from './output.ts';

interface Options {
  from: string;
  to: string;
  redirect?: boolean | undefined;
}

const depsFor = (domain: string) => ({ progress: showProgress(domain), now: () => new Date() });

/** `sitegen rename OLD NEW`: a customer changes the domain. */
export const renameCommand: CommandModule<object, Options> = {
  command: 'rename <from> <to>',
  describe: 'give a site another domain, with its data and history',
  builder: (yargs) => yargs
    .positional('from', { type: 'string', demandOption: true, describe: 'the site\'s domain' })
    .positional('to', { type: 'string', demandOption: true, describe: 'the domain that it gets' })
    .option('redirect', { type: 'boolean', default: true, describe: 'send visitors of the old domain to the new one; --no-redirect forgets the old one' }),
  async handler({ from: input, to, redirect = true }) {
    const [from = ''] = await selectDomains([input], false);
    const { renameSite } = await import('../lib/usecases/rename.ts');
    const servers = await withMachineLocked((deps) => renameSite({ ...deps, ...depsFor(from) }, from, to, { redirect }));
    print(`${from} is ${to} now${redirect ? `, and redirects to it` : ''}`);
    for (const url of servers) report(`${hostOf(url)} keeps the history until now under ${from}; there: sitegen buddy erase NAME ${from}`);
  },
};

/** `sitegen clone FROM TO`: a copy for trying things out. */
export const cloneCommand: CommandModule<object, Options> = {
  command: 'clone <from> <to>',
  describe: 'make a copy of a site under another domain, for trying things out',
  builder: (yargs) => yargs
    .positional('from', { type: 'string', demandOption: true, describe: 'the site\'s domain' })
    .positional('to', { type: 'string', demandOption: true, describe: 'the copy\'s domain' }),
  async handler({ from: input, to }) {
    const [from = ''] = await selectDomains([input], false);
    const { cloneSite } = await import('../lib/usecases/rename.ts');
    const { files, bytes } = await withMachineLocked((deps) => cloneSite({ ...deps, ...depsFor(to) }, from, to));
    print(`${to} is a copy of ${from}: ${files} files, ${formatBytes(bytes)}; its first visit starts it`);
  },
};
