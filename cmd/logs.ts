import type { CommandModule } from 'yargs';
import { router, siteNames } from '../lib/pure/names.ts';
import { selectDomains } from '../lib/usecases/domains.ts';
import { runInForeground } from './foreground.ts';

interface Options {
  domain?: string | undefined;
  service?: string | undefined;
  all?: boolean | undefined;
  access?: boolean | undefined;
  follow?: boolean | undefined;
  lines?: number | undefined;
  since?: string | undefined;
  grep?: string | undefined;
  json?: boolean | undefined;
}

/** `sitegen logs DOMAIN`: the journal of shim, systemd and container or program together. */
export const logsCommand: CommandModule<object, Options> = {
  command: 'logs [domain]',
  describe: 'show the journal of a site',
  builder: (yargs) => yargs
    .positional('domain', { type: 'string', describe: 'name of the site' })
    .option('service', { type: 'string', describe: 'what one service of a Compose project writes', conflicts: ['access', 'all'] })
    .option('all', { type: 'boolean', describe: 'all sites together' })
    .option('access', { type: 'boolean', describe: 'visitors\' requests instead, as the router has logged them' })
    .option('follow', { alias: 'f', type: 'boolean', describe: 'go on with new lines' })
    .option('lines', { alias: 'n', type: 'number', describe: 'the last lines only' })
    .option('since', { type: 'string', describe: 'from this time on, as journalctl reads it: today, "1 hour ago"' })
    .option('grep', { type: 'string', describe: 'only lines that match this expression' })
    .option('json', { type: 'boolean', describe: 'one JSON object a line, with all fields' }),
  async handler({ domain, service: wanted, all = false, access, follow, lines, since, grep, json }) {
    // Anybody may write a journal's fields, but for those that begin with "_".
    const domains = await selectDomains(domain === undefined ? [] : [domain], all);
    // Two values of one field stand for either.
    const args = access === true ? [...domains.map((each) => `SITEGEN_SITE=${each}`), 'SYSLOG_IDENTIFIER=sitegen-access', `_SYSTEMD_UNIT=${router.unit}`]
      : wanted === undefined ? domains.flatMap((each) => [siteNames(each).service, siteNames(each).socket, siteNames(each).processUnit].flatMap((unit) => ['--unit', unit]))
        : [`CONTAINER_NAME=${await (await import('../lib/usecases/services.ts')).containerOfService(domains[0] ?? '', wanted)}`, '_SYSTEMD_UNIT=docker.service'];
    if (follow) args.push('--follow');
    if (lines !== undefined) args.push('--lines', String(lines));
    if (since !== undefined) args.push('--since', since);
    if (grep !== undefined) args.push('--grep', grep);
    if (json) args.push('--output', 'json');
    process.exitCode = await runInForeground('journalctl', args);
  },
};
