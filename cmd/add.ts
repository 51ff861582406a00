import type { CommandModule } from 'yargs';
import { usageError } from '../lib/pure/errors.ts';
import type { AddPlan } from '../lib/usecases/add.ts';
import { withMachine, withMachineLocked } from './connect.ts';
import { print, report } from './output.ts';

interface Options {
  domain: string;
  alias?: string[] | undefined;
  app?: string | undefined;
  image?: string | undefined;
  port?: string | undefined;
  env?: string[] | undefined;
  volume?: string[] | undefined;
  memory?: string | undefined;
  'dry-run'?: boolean | undefined;
}

/** `sitegen add DOMAIN`. */
export const addCommand: CommandModule<object, Options> = {
  command: 'add <domain>',
  describe: 'add a site: from then on systemd holds its connections',
  builder: (yargs) => yargs
    .positional('domain', { type: 'string', demandOption: true, describe: 'name of the site, such as example.com' })
    .option('app', { type: 'string', describe: 'app of the catalogue (default: welcome)' })
    .option('image', { type: 'string', describe: 'Docker image, instead of an app', conflicts: 'app' })
    .option('alias', { type: 'string', array: true, nargs: 1, describe: 'another name of the site; may be repeated' })
    .option('port', { type: 'string', describe: 'port that the container listens on (default: 80)' })
    .option('env', { type: 'string', array: true, nargs: 1, describe: 'NAME=VALUE for the container; may be repeated' })
    .option('volume', { type: 'string', array: true, nargs: 1, describe: 'directory:/path, kept in the site\'s data; may be repeated' })
    .option('memory', { type: 'string', describe: 'memory limit, such as 256M' })
    .option('dry-run', { type: 'boolean', describe: 'only say what would be done' })
    .example('sitegen add blog.example.com --image ghost:5 --port 2368 --volume content:/var/lib/ghost/content', ''),
  async handler(options) {
    const request = {
      domain: options.domain,
      aliases: options.alias,
      app: options.app,
      image: options.image,
      port: options.port === undefined ? undefined : portOf(options.port),
      env: options.env === undefined ? undefined : Object.fromEntries(options.env.map((text) => pair(text))),
      volumes: options.volume,
      memoryMax: options.memory,
    };
    const { add, planAdd, readRequest } = await import('../lib/usecases/add.ts');
    await readRequest(request);
    if (options['dry-run']) {
      printPlan(await withMachine((deps) => planAdd(deps, request)));
      return;
    }
    const interruption = new AbortController();
    const interrupt = () => {
      report('interrupted: undoing what was done');
      interruption.abort();
    };
    process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
    const plan = await withMachineLocked((deps) => add(deps, request, interruption.signal));
    const { names, address } = plan.want;
    print(`${names.domain} is asleep at ${address.site}:80; the first visit wakes it`);
    report(`try it here:  curl -H 'Host: ${names.domain}' http://${address.site}/`);
    report(`look at it:   systemctl status ${names.id === names.domain ? `site-${names.domain}` : names.service}`);
  },
};

function printPlan({ want, settings, imageMissing, loaded }: AddPlan): void {
  print(`create ${want.names.settingsFile}`);
  for (const line of settings.trimEnd().split('\n')) print(`    ${line}`);
  for (const directory of want.dataDirs) print(`make directory ${directory}`);
  if (imageMissing) print(`${loaded.app && loaded.app.context.length > 0 ? 'build' : 'pull'} image ${loaded.image}`);
  print(`create container ${want.names.container} at ${want.address.container}`);
  for (const file of want.files) print(`create ${file.path}`);
  print(`enable and start ${want.names.socket}, listening on ${want.address.site}:80`);
}

function portOf(text: string): number {
  const port = Number(text);
  if (!/^\d+$/.test(text) || port < 1 || port > 65_535) throw usageError(`--port ${text}: is not a port: write a number from 1 to 65535`);
  return port;
}

function pair(text: string): [string, string] {
  const at = text.indexOf('=');
  if (at < 1) throw usageError(`--env ${text}: is not NAME=VALUE`);
  return [text.slice(0, at), text.slice(at + 1)];
}
