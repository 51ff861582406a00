import type { CommandModule } from 'yargs';
import { usageError } from '../lib/pure/errors.ts';
import { shared, siteNames } from '../lib/pure/names.ts';
import { selectDomains } from '../lib/usecases/domains.ts';
import { inContainer } from './exec.ts';
import { runInForeground } from './foreground.ts';
import { print } from './output.ts';

interface Options {
  domain?: string | undefined;
  all?: boolean | undefined;
  '--'?: string[] | undefined;
}

const services = () => import('../lib/usecases/services.ts');

/** What is known of Compose's own commands; all others would go past the site's life. */
const commands: Readonly<Record<string, (domain: string, args: readonly string[]) => Promise<number>>> = {
  ps: (domain) => runInForeground('docker', ['ps', '--all', '--filter', `label=${shared.labels.domain}=${domain}`, '--format', 'table {{.Names}}\t{{.Image}}\t{{.Status}}']),
  images: (domain) => runInForeground('docker', ['ps', '--all', '--filter', `label=${shared.labels.domain}=${domain}`, '--format', 'table {{.Names}}\t{{.Image}}']),
  async config(domain) {
    const { projectText } = await services();
    print((await projectText(domain)).trimEnd());
    return 0;
  },
  async top(domain, [service]) {
    const { containerOfService } = await services();
    return runInForeground('docker', ['top', await containerOfService(domain, service)]);
  },
  async logs(domain, args) {
    const named = args.filter((arg) => !arg.startsWith('-'));
    const follow = args.some((arg) => arg === '-f' || arg === '--follow') ? ['--follow'] : [];
    if (named.length === 0) return runInForeground('journalctl', ['--unit', siteNames(domain).service, ...follow]);
    const { containerOfService } = await services();
    const containers = await Promise.all(named.map((service) => containerOfService(domain, service)));
    return runInForeground('journalctl', ['_SYSTEMD_UNIT=docker.service', ...containers.map((container) => `CONTAINER_NAME=${container}`), ...follow]);
  },
  async exec(domain, args) {
    const [service, ...command] = args.filter((arg, index) => index > 0 || !['-T', '-it', '-i', '-t'].includes(arg));
    if (service === undefined || command.length === 0) throw usageError('exec: no service or no command given', 'sitegen compose DOMAIN -- exec SERVICE CMD ARG…');
    return inContainer(domain, command, service);
  },
};

/** Commands of Compose that are commands of sitegen here. */
const instead: Readonly<Record<string, string>> = {
  up: 'sitegen apply DOMAIN', create: 'sitegen apply DOMAIN', down: 'sitegen stop DOMAIN, or sitegen remove DOMAIN', stop: 'sitegen stop DOMAIN', start: 'sitegen start DOMAIN',
  restart: 'sitegen restart DOMAIN', kill: 'sitegen stop DOMAIN', rm: 'sitegen remove DOMAIN', pause: 'sitegen stop DOMAIN', unpause: 'sitegen start DOMAIN', pull: 'sitegen apply DOMAIN',
};

/** `sitegen compose DOMAIN -- ARGS…`: Compose's commands for a site, from any folder. */
export const composeCommand: CommandModule<object, Options> = {
  command: 'compose [domain]',
  describe: 'look into a Compose project: sitegen compose DOMAIN -- ps, images, config, top, logs or exec',
  builder: (yargs) => yargs
    .positional('domain', { type: 'string', describe: 'name of the site' })
    .option('all', { type: 'boolean', describe: 'all sites that are Compose projects' }),
  async handler({ domain, all = false, '--': args = [] }) {
    const [name, ...rest] = args;
    const run = Object.hasOwn(commands, name ?? '') ? commands[name ?? ''] : undefined;
    if (!run) {
      const other = Object.hasOwn(instead, name ?? '') ? instead[name ?? ''] : undefined;
      throw usageError(name === undefined ? 'no command given' : `compose ${name} would go past the site's own life`, other === undefined ? `there are: ${Object.keys(commands).join(', ')}` : `use: ${other}`);
    }
    const chosen = await selectDomains(domain === undefined ? [] : [domain], all);
    const { readableSites } = await import('../lib/usecases/read-sites.ts');
    const projects = all ? new Set((await readableSites()).flatMap((site) => (site.compose ? [site.domain] : []))) : new Set(chosen);
    for (const each of chosen.filter((one) => projects.has(one))) {
      if (all) print(`${each}:`);
      const code = await run(each, rest);
      if (code !== 0) process.exitCode = code;
    }
  },
};
