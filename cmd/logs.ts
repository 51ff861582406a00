import { spawn } from 'node:child_process';
import type { CommandModule } from 'yargs';
import { siteNames } from '../lib/pure/names.ts';
import { selectDomains } from '../lib/usecases/domains.ts';

interface Options {
  domain: string;
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
    .option('follow', { alias: 'f', type: 'boolean', describe: 'go on with new lines' })
    .option('lines', { alias: 'n', type: 'number', describe: 'the last lines only' })
    .option('since', { type: 'string', describe: 'from this time on, as journalctl reads it: today, "1 hour ago"' })
    .option('grep', { type: 'string', describe: 'only lines that match this expression' })
    .option('json', { type: 'boolean', describe: 'one JSON object a line, with all fields' }),
  async handler({ domain, follow, lines, since, grep, json }) {
    const [known = domain] = await selectDomains([domain], false);
    const { service, socket } = siteNames(known);
    const args = ['--unit', service, '--unit', socket];
    if (follow) args.push('--follow');
    if (lines !== undefined) args.push('--lines', String(lines));
    if (since !== undefined) args.push('--since', since);
    if (grep !== undefined) args.push('--grep', grep);
    if (json) args.push('--output', 'json');
    process.exitCode = await runInForeground('journalctl', args);
  },
};

/**
 * Runs a program on this terminal until it ends; Ctrl-C goes to it alone.
 * @returns its exit code, or 128 and the number of the signal that ended it
 */
export function runInForeground(program: string, args: readonly string[]): Promise<number> {
  const ignore = () => undefined;
  process.on('SIGINT', ignore);
  return new Promise<number>((resolve, reject) => {
    const child = spawn(program, args, { stdio: 'inherit' });
    child.once('error', reject);
    child.once('close', (code, signal) => { resolve(code ?? (signal === 'SIGINT' ? 130 : 143)); });
  }).finally(() => process.off('SIGINT', ignore));
}
