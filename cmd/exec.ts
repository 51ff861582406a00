import type { CommandModule } from 'yargs';
import { markUse } from '../lib/effects/cgroup/in-use.ts';
import { usageError } from '../lib/pure/errors.ts';
import { siteNames } from '../lib/pure/names.ts';
import { selectDomains } from '../lib/usecases/domains.ts';
import { withSystemd } from './connect.ts';
import { runInForeground } from './foreground.ts';
import { report } from './output.ts';

interface Options {
  domain?: string | undefined;
  service?: string | undefined;
  '--'?: string[] | undefined;
}

/** `sitegen exec DOMAIN -- CMD`: runs a command in the site's container, which is woken first. */
export const execCommand: CommandModule<object, Options & { all?: boolean | undefined }> = {
  command: 'exec [domain]',
  describe: 'run a command in a site\'s container, or beside its program: sitegen exec DOMAIN -- CMD ARG…',
  builder: (yargs) => yargs
    .positional('domain', { type: 'string', describe: 'name of the site' })
    .option('service', { type: 'string', describe: 'service of a Compose project (default: its entrypoint)' })
    .option('all', { type: 'boolean', describe: 'in all sites that have a container, one after the other', conflicts: 'service' }),
  async handler({ domain, service, all = false, '--': command = [] }) {
    if (command.length === 0) throw usageError('no command given', 'sitegen exec DOMAIN -- CMD ARG…');
    const domains = await selectDomains(domain === undefined ? [] : [domain], all);
    const { hasContainer } = await import('../lib/usecases/services.ts');
    for (const each of domains) {
      if (all && !await hasContainer(each)) continue;
      if (all) report(`${each}:`);
      const code = await inContainer(each, command, service);
      if (code !== 0) process.exitCode = code;
    }
  },
};

/** `sitegen shell DOMAIN`: a shell in the site's container. */
export const shellCommand: CommandModule<object, Options & { domain: string }> = {
  command: 'shell <domain>',
  describe: 'open a shell in a site\'s container, or beside its program',
  builder: (yargs) => yargs
    .positional('domain', { type: 'string', demandOption: true, describe: 'name of the site' })
    .option('service', { type: 'string', describe: 'service of a Compose project (default: its entrypoint)' }),
  async handler({ domain, service }) {
    const [known = domain] = await selectDomains([domain], false);
    process.exitCode = await inContainer(known, ['sh', '-c', '[ -x /bin/bash ] && exec /bin/bash; [ -x /bin/sh ] && exec /bin/sh; exec busybox sh'], service);
  },
};

/** Arguments of systemd-run where a site's program has no container that the command could run in. */
async function commandBeside(id: string, argv: readonly string[], terminal: boolean): Promise<string[] | undefined> {
  const { isProgram } = await import('../lib/usecases/runner.ts');
  if (!isProgram(`site-${id}`)) return undefined;
  const [{ processOf }, { runArguments }] = await Promise.all([import('../lib/usecases/process.ts'), import('../lib/pure/process-state.ts')]);
  return runArguments(await processOf(id), { argv, terminal });
}

/** Runs a command in the container of a site, or of one of its services; the site is woken first. @returns its exit code */
export async function inContainer(domain: string, command: readonly string[], service?: string): Promise<number> {
  const names = siteNames(domain);
  const container = service === undefined ? names.container : await (await import('../lib/usecases/services.ts')).containerOfService(domain, service);
  const [{ wakeSite }, { noteWork }] = await Promise.all([import('../lib/usecases/control.ts'), import('../lib/usecases/idle-memory.ts')]);
  await withSystemd((systemd) => wakeSite(systemd, domain));
  const interactive = process.stdin.isTTY && process.stdout.isTTY ? ['--interactive', '--tty'] : ['--interactive'];
  const unmark = markUse(names.id);
  try {
    const process = await commandBeside(names.id, command, interactive.includes('--tty'));
    return await (process ? runInForeground('systemd-run', process) : runInForeground('docker', ['exec', ...interactive, container, ...command]));
  } finally {
    await noteWork(names);
    unmark();
  }
}
