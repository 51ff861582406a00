import type { CommandModule } from 'yargs';
import { markUse } from '../lib/effects/in-use.ts';
import { usageError } from '../lib/pure/errors.ts';
import { siteNames } from '../lib/pure/names.ts';
import { selectDomains } from '../lib/usecases/domains.ts';
import { withSystemd } from './connect.ts';
import { runInForeground } from './foreground.ts';

interface Options {
  domain: string;
  '--'?: string[] | undefined;
}

/** `sitegen exec DOMAIN -- CMD`: runs a command in the site's container, which is woken first. */
export const execCommand: CommandModule<object, Options> = {
  command: 'exec <domain>',
  describe: 'run a command in a site\'s container: sitegen exec DOMAIN -- CMD ARG…',
  builder: (yargs) => yargs.positional('domain', { type: 'string', demandOption: true, describe: 'name of the site' }),
  async handler({ domain, '--': command = [] }) {
    if (command.length === 0) throw usageError('no command given', 'sitegen exec DOMAIN -- CMD ARG…');
    process.exitCode = await inContainer(domain, command);
  },
};

/** `sitegen shell DOMAIN`: a shell in the site's container. */
export const shellCommand: CommandModule<object, Options> = {
  command: 'shell <domain>',
  describe: 'open a shell in a site\'s container',
  builder: (yargs) => yargs.positional('domain', { type: 'string', demandOption: true, describe: 'name of the site' }),
  async handler({ domain }) {
    process.exitCode = await inContainer(domain, ['sh', '-c', '[ -x /bin/bash ] && exec /bin/bash; [ -x /bin/sh ] && exec /bin/sh; exec busybox sh']);
  },
};

async function inContainer(input: string, command: readonly string[]): Promise<number> {
  const [domain = input] = await selectDomains([input], false);
  const names = siteNames(domain);
  const [{ wakeSite }, { noteWork }] = await Promise.all([import('../lib/usecases/control.ts'), import('../lib/usecases/idle-memory.ts')]);
  await withSystemd((systemd) => wakeSite(systemd, domain));
  const interactive = process.stdin.isTTY && process.stdout.isTTY ? ['--interactive', '--tty'] : ['--interactive'];
  const unmark = markUse(names.id);
  try {
    return await runInForeground('docker', ['exec', ...interactive, names.container, ...command]);
  } finally {
    await noteWork(names);
    unmark();
  }
}
