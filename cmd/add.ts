import type { CommandModule } from 'yargs';
import { usageError } from '../lib/pure/errors.ts';
import { notesFor } from '../lib/pure/app-env.ts';
import { describeWorkload } from '../lib/pure/describe-app.ts';
import { kinds, type Kind } from '../lib/pure/kinds.ts';
import { formatBytes } from '../lib/pure/quantities.ts';
import type { AddPlan } from '../lib/usecases/add.ts';
import { withMachine, withMachineLocked } from './connect.ts';
import { print, report } from './output.ts';

interface Options {
  domain: string;
  alias?: string[] | undefined;
  app?: string | undefined;
  image?: string | undefined;
  port?: string | undefined;
  listen?: string[] | undefined;
  env?: string[] | undefined;
  volume?: string[] | undefined;
  memory?: string | undefined;
  static?: string | undefined;
  git?: string | undefined;
  process?: string | undefined;
  proxy?: string | undefined;
  passthrough?: string | undefined;
  redirect?: string | undefined;
  compose?: string | undefined;
  entrypoint?: string | undefined;
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
    .option('compose', { type: 'string', describe: 'Compose file, all services of which are this one site', requiresArg: true, conflicts: [...others('compose'), 'port', 'volume'] })
    .option('entrypoint', { type: 'string', describe: 'SERVICE:PORT of it that visitors reach', requiresArg: true })
    .option('alias', { type: 'string', array: true, nargs: 1, describe: 'another name of the site; may be repeated' })
    .option('port', { type: 'string', describe: 'port that the container listens on (default: 80)' })
    .option('listen', { type: 'string', array: true, nargs: 1, describe: 'port for the world, such as 25 or 25:2525 with the container\'s own; may be repeated' })
    .option('env', { type: 'string', array: true, nargs: 1, describe: 'NAME=VALUE for the container; may be repeated' })
    .option('volume', { type: 'string', array: true, nargs: 1, describe: 'directory:/path, kept in the site\'s data; may be repeated' })
    .option('memory', { type: 'string', describe: 'memory limit, such as 256M' })
    .option('static', { type: 'string', describe: 'serve a directory: one below the site\'s data, or an absolute path', conflicts: [...others('static')] })
    .option('git', { type: 'string', describe: 'serve a repository, pulled every hour; --static then names a directory in it', conflicts: [...others('static')] })
    .option('process', { type: 'string', describe: 'lines of a shell that run a program without a container; it listens on "$HOST:$PORT"', requiresArg: true, conflicts: [...others('process'), 'volume', 'env', 'listen'] })
    .option('proxy', { type: 'string', describe: 'an upstream answers: http://host:port, https://name or unix:/path', conflicts: [...others('proxy')] })
    .option('passthrough', { type: 'string', describe: 'TLS goes on as it is to host:port', conflicts: [...others('passthrough')] })
    .option('redirect', { type: 'string', describe: 'visitors are sent to this URL', conflicts: [...others('redirect')] })
    .option('dry-run', { type: 'boolean', describe: 'only say what would be done' })
    .example('sitegen add blog.example.com --image ghost:5 --port 2368 --volume content:/var/lib/ghost/content', ''),
  async handler(options) {
    if ((options.compose === undefined) !== (options.entrypoint === undefined)) throw usageError('--compose and --entrypoint belong together', 'sitegen add DOMAIN --compose FILE --entrypoint SERVICE:PORT');
    const request = {
      domain: options.domain,
      aliases: options.alias,
      app: options.app,
      image: options.image,
      port: options.port === undefined ? undefined : portOf(options.port),
      listen: options.listen?.map((text) => (/^\d+$/.test(text) ? Number(text) : text)),
      env: options.env === undefined ? undefined : Object.fromEntries(options.env.map((text) => pair(text))),
      volumes: options.volume,
      memoryMax: options.memory,
      static: options.git === undefined ? options.static : { directory: options.static, git: options.git },
      process: options.process === undefined ? undefined : { script: options.process },
      proxy: options.proxy,
      passthrough: options.passthrough,
      redirect: options.redirect,
      compose: options.compose === undefined ? undefined : { entrypoint: options.entrypoint ?? '', project: await (await import('../lib/usecases/services.ts')).readComposeFile(options.compose) },
    };
    const { add, backupWarning, planAdd, readRequest } = await import('../lib/usecases/add.ts');
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
    const { names, address, hasSocket, spec } = plan.want;
    const ports = (plan.loaded.site.workload?.listen ?? []).map((port) => port.public);
    if (spec !== undefined) print(`${names.domain} is asleep at ${[`${address.site}:80`, ...ports.map((port) => `port ${port}`)].join(', ')}; the first visit wakes it`);
    else print(`${names.domain} is served by the router`);
    const { app } = plan.loaded;
    for (const line of notesFor(app?.file.notes, names.domain)) report(line);
    if (app?.file.warning !== undefined) report(`warning: ${app.name}: ${app.file.warning}`);
    if (plan.secretsMade.length > 0) report(`made ${plan.secretsMade.join(', ')}: sitegen secrets ${names.domain}`);
    const warning = backupWarning(plan.loaded, plan.change.defaults);
    if (warning !== undefined) report(`warning: ${warning}`);
    report(`try it here:  curl --insecure --resolve ${names.domain}:443:127.0.0.1 https://${names.domain}/`);
    report(`look at it:   ${hasSocket ? `systemctl status ${names.id === names.domain ? `site-${names.domain}` : names.service}` : `sitegen status ${names.domain}`}`);
  },
};

function printPlan({ want, settings, images, loaded, change }: AddPlan): void {
  print(`create ${want.names.settingsFile}`);
  for (const line of settings.trimEnd().split('\n')) print(`    ${line}`);
  for (const directory of want.dataDirs) print(`make directory ${directory}`);
  const { app } = loaded;
  if (app?.file.warning !== undefined) print(`warning: ${app.name}: ${app.file.warning}`);
  const about = app?.file.size === undefined ? '' : `, about ${app.file.size}`;
  for (const { origin, bytes } of images) {
    if (bytes === undefined) print(`${{ build: 'build', tar: 'load', pull: 'pull' }[origin.way]} image ${origin.reference}${about}`);
    else print(`image ${origin.reference} is there, ${formatBytes(bytes)}`);
  }
  for (const line of describeWorkload(loaded.site, want)) print(line);
  if (want.process) print(`make user ${want.process.user}`);
  if (want.container) print(`create container ${want.names.container} at ${want.address.container}`);
  for (const { name } of want.project?.containers ?? []) if (name !== want.names.container) print(`create container ${name}`);
  for (const file of want.files) print(`create ${file.path}`);
  if (want.hasSocket) print(`enable and start ${want.names.socket}, listening on ${want.address.site}:80`);
  for (const { entries } of change.published) {
    for (const [name, map] of Object.entries(entries)) for (const [key, value] of map) print(`router: ${name}: ${key} ${value}`);
  }
}

/** Options that name another kind of site than one does. */
function others(kind: Kind): string[] {
  return kinds.filter((each) => each !== kind);
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
