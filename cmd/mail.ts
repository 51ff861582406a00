import type { CommandModule } from 'yargs';
import { selectDomains } from '../lib/usecases/domains.ts';
import { withSystemd } from './connect.ts';
import { colors, print, printFaults, printJson, printTable, report } from './output.ts';

interface QueueOptions {
  domain?: string | undefined;
  json?: boolean | undefined;
}

const queue: CommandModule<object, QueueOptions> = {
  command: ['queue [domain]', '$0'],
  describe: 'mail that waits for delivery, or could not be delivered',
  builder: (yargs) => yargs
    .positional('domain', { type: 'string', describe: 'name of a site; all unless given' })
    .option('json', { type: 'boolean', describe: 'print JSON' }),
  async handler({ domain, json }) {
    const { mailQueue } = await import('../lib/usecases/mail.ts');
    const rows = await mailQueue(domain === undefined ? undefined : await selectDomains([domain], false), report);
    const { red } = colors();
    if (json) printJson(rows);
    else if (rows.length === 0) report('no mail waits');
    else await printTable(['KEY', 'DOMAIN', 'TO', 'TAKEN', 'TRIES', 'STATE'], rows.map((row) => [row.key, row.domain, row.to.join(' '), row.taken, String(row.tries), `${row.state === 'failed' ? red('failed') : `next ${row.next ?? 'now'}`}${row.reason === null || row.reason === '' ? '' : `: ${row.reason}`}`]));
  },
};

const flush: CommandModule<object, { key: string[] }> = {
  command: 'flush [key..]',
  describe: 'try to deliver all that waits now; with keys, also mail that was given up',
  builder: (yargs) => yargs.positional('key', { type: 'string', array: true, default: [] as string[], describe: 'key of a message, as queue shows it' }),
  async handler({ key }) {
    const { flushMail, mailQueue } = await import('../lib/usecases/mail.ts');
    const refused = await withSystemd((systemd) => flushMail(systemd, key, report));
    const left = (await mailQueue(undefined, report)).filter(({ state }) => state === 'waiting');
    if (left.length > 0) print(`${left.length} still wait: sitegen mail queue`);
    else if (refused.length === 0) print('delivered all that waited');
    const code = printFaults(refused.map(({ key: name, domain, to, reason }) => ({ domain, reason: `mail ${name} to ${to.join(' ')} was given up: ${reason ?? 'nobody knows why'}` })));
    process.exitCode = left.length > 0 ? 1 : code;
  },
};

const remove: CommandModule<object, { key: string[] }> = {
  command: 'remove <key..>',
  describe: 'take messages out of the queue, undelivered',
  builder: (yargs) => yargs.positional('key', { type: 'string', array: true, demandOption: true, describe: 'key of a message, as queue shows it' }),
  async handler({ key }) {
    const { removeMail } = await import('../lib/usecases/mail.ts');
    await removeMail(key, report);
    for (const each of key) print(`removed ${each}`);
  },
};

const check: CommandModule = {
  command: 'check',
  describe: 'connect to the servers that mail goes to, and log in',
  async handler() {
    const { checkRelays } = await import('../lib/usecases/mail.ts');
    const results = await checkRelays();
    if (results.length === 0) report('no site sends mail: set mail.relay in sitegen.yaml');
    for (const { relay, domains, fault } of results) if (fault === undefined) print(`${relay}: works, for ${domains.length} ${domains.length === 1 ? 'site' : 'sites'}`);
    process.exitCode = printFaults(results.flatMap(({ relay, fault }) => (fault === undefined ? [] : [{ domain: relay, reason: fault }])));
  },
};

/** `sitegen mail`: what sites send. */
export const mailCommand: CommandModule = {
  command: 'mail',
  describe: 'list mail that sites have sent and that waits, or try it again',
  builder: (yargs) => yargs.command(queue).command(flush).command(remove).command(check).demandCommand(0).strict(),
  handler: () => undefined,
};
