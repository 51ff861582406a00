import type { CommandModule } from 'yargs';
import { parseMoment } from '../lib/pure/choose.ts';
import { usageError } from '../lib/pure/errors.ts';
import { formatBytes, parseSpan } from '../lib/pure/quantities.ts';
import { shortCommit } from '../lib/pure/static.ts';
import { selectDomains } from '../lib/usecases/domains.ts';
import { withMachine } from './connect.ts';
import { print, report, showProgress } from './output.ts';

interface Options {
  domain: string;
  at?: string | undefined;
  from?: string | undefined;
  path?: string[] | undefined;
  table?: string | undefined;
  force?: boolean | undefined;
}

/** `sitegen restore DOMAIN`. */
export const restoreCommand: CommandModule<object, Options> = {
  command: 'restore <domain>',
  describe: 'bring a site back from its backup; what it is now is committed first',
  builder: (yargs) => yargs
    .positional('domain', { type: 'string', demandOption: true, describe: 'name of the site' })
    .option('at', { type: 'string', requiresArg: true, describe: 'an earlier backup: part of its commit, a time, or "3h ago"' })
    .option('from', { type: 'string', requiresArg: true, describe: 'only from this backup server: its URL or host, or "local"' })
    .option('path', { type: 'string', array: true, nargs: 1, describe: 'only this file or directory below the data, while the site goes on; may be repeated' })
    .option('table', { type: 'string', requiresArg: true, conflicts: 'path', describe: 'only print this table\'s part of the dump, for the database\'s own client' })
    .option('force', { type: 'boolean', describe: 'also when the site has newer data than the backup' })
    .example('sitegen restore blog.example.com --at "2 days ago" --force', ''),
  async handler({ domain: input, at, from, path: wanted = [], table, force = false }) {
    const [domain = ''] = await selectDomains([input], false);
    const moment = at === undefined ? undefined : parseMoment(at, Date.now(), parseSpan);
    if (at !== undefined && !moment) throw usageError(`--at ${at}: is neither a commit nor a time`, 'write such as 4f2a91c, 2026-11-20, "2026-11-20 14:00" or "3h ago"; see: sitegen backup log');
    const paths = wanted.map((each) => each.replace(/^(\.\/)+/, '').replace(/\/+$/, ''));
    for (const each of paths) if (each === '' || each.startsWith('/') || each.split('/').includes('..')) throw usageError(`--path ${each}: is not a path below the site's data`);
    const search = { domain, from, at: moment };
    const deps = { progress: showProgress(domain), now: () => new Date() };
    if (table !== undefined) {
      const { printTable: printDump } = await import('../lib/usecases/restore-table.ts');
      await printDump({ ...deps, report }, search, table, process.stdout);
      return;
    }
    const { restoreSite } = await import('../lib/usecases/restore.ts');
    const { commit, files, bytes, saved } = await withMachine((machine) => restoreSite({ ...machine, ...deps }, { ...search, paths, force }));
    print(`${domain}: ${paths.length === 0 ? 'is' : paths.join(', ')} as in ${shortCommit(commit)}: ${files} files, ${formatBytes(bytes)}`);
    if (saved !== undefined && saved !== commit) report(`what it was before: sitegen restore ${domain} --at ${shortCommit(saved)} --force`);
    if (paths.length === 0) report('the next visit starts it');
  },
};
