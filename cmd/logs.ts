import type { CommandModule } from 'yargs';
import { router, siteNames } from '../lib/pure/names.ts';
import { selectDomains } from '../lib/usecases/domains.ts';
import { runInForeground } from './foreground.ts';

interface Options {
  domain: string;
  access?: boolean | undefined;
  follow?: boolean | undefined;
  lines?: number | undefined;
  since?: string | undefined;
  grep?: string | undefined;
  json?: boolean | undefined;
}

/** `sitegen logs DOMAIN`: the journal of shim, systemd and container together. */
export const logsCommand: CommandModule<object, Options> = {
  command: 'logs <domain>',
  describe: 'show the journal of a site',
  builder: (yargs) => yargs
    .positional('domain', { type: 'string', demandOption: true, describe: 'name of the site' })
    .option('access', { type: 'boolean', describe: 'visitors\' requests instead, as the router has logged them' })
    .option('follow', { alias: 'f', type: 'boolean', describe: 'go on with new lines' })
    .option('lines', { alias: 'n', type: 'number', describe: 'the last lines only' })
    .option('since', { type: 'string', describe: 'from this time on, as journalctl reads it: today, "1 hour ago"' })
    .option('grep', { type: 'string', describe: 'only lines that match this expression' })
    .option('json', { type: 'boolean', describe: 'one JSON object a line, with all fields' }),
  async handler({ domain, access, follow, lines, since, grep, json }) {
    const [known = domain] = await selectDomains([domain], false);
    const { service, socket } = siteNames(known);
    // Anybody may write a journal's fields, but for those that begin with "_".
    const args = access === true ? [`SITEGEN_SITE=${known}`, 'SYSLOG_IDENTIFIER=sitegen-access', `_SYSTEMD_UNIT=${router.unit}`] : ['--unit', service, '--unit', socket];
    if (follow) args.push('--follow');
    if (lines !== undefined) args.push('--lines', String(lines));
    if (since !== undefined) args.push('--since', since);
    if (grep !== undefined) args.push('--grep', grep);
    if (json) args.push('--output', 'json');
    process.exitCode = await runInForeground('journalctl', args);
  },
};
