import type { CommandModule } from 'yargs';
import { usageError } from '../lib/pure/errors.ts';
import { siteNames } from '../lib/pure/names.ts';
import { formatBytes } from '../lib/pure/quantities.ts';
import { selectDomains } from '../lib/usecases/domains.ts';
import { withMachine, withMachineLocked } from './connect.ts';
import { print, printFaults, printJson, printTable, report, showProgress } from './output.ts';

interface ListOptions {
  json?: boolean | undefined;
}

const list: CommandModule<object, ListOptions> = {
  command: ['list', '$0'],
  describe: 'images of sites, and those that sitegen has fetched',
  builder: (yargs) => yargs.option('json', { type: 'boolean', describe: 'print JSON' }),
  async handler({ json }) {
    const { listImages } = await import('../lib/usecases/images.ts');
    const { images, faults } = await withMachine(({ docker }) => listImages(docker));
    if (json) {
      printJson(images);
    } else {
      await printTable(['IMAGE', 'FROM', 'SIZE', 'SITES'], images.map(({ reference, way, bytes, present, sites, ours }) => [
        reference, way === undefined ? '-' : { pull: 'registry', build: 'built here', tar: 'file' }[way], present && bytes !== null ? formatBytes(bytes) : 'missing',
        sites.length > 0 ? sites.join(' ') : ours ? 'none: prune removes it' : 'none',
      ]));
    }
    process.exitCode = printFaults(faults);
  },
};

interface UpdateOptions {
  domains?: string[] | undefined;
  all?: boolean | undefined;
  check?: boolean | undefined;
  json?: boolean | undefined;
  daily?: boolean | undefined;
}

const update: CommandModule<object, UpdateOptions> = {
  command: 'update [domains..]',
  describe: 'give sites newer images, each after a backup of it',
  builder: (yargs) => yargs
    .positional('domains', { type: 'string', array: true, describe: 'names of sites' })
    .option('all', { type: 'boolean', describe: 'all sites' })
    .option('check', { type: 'boolean', describe: 'only say what would change' })
    .option('json', { type: 'boolean', describe: 'with --check: print JSON', implies: 'check' })
    // What the unit runs: takes what sites want to have taken, and tells of the rest.
    .option('daily', { type: 'boolean', hidden: true }),
  async handler({ domains: named = [], all = false, check = false, json = false, daily = false }) {
    if (all && named.length > 0) throw usageError('give domains or --all, not both');
    if (!all && !daily && named.length === 0 && !check) throw usageError('image update: a name is missing', 'give domains, or --all; what there is: sitegen image update --check');
    const [{ findNewer }, { updateImage }] = await Promise.all([import('../lib/usecases/images.ts'), import('../lib/usecases/image-update.ts')]);
    const domains = named.length > 0 ? await selectDomains(named, false) : undefined;
    await withMachine(async (deps) => {
      const { newer, faults } = await findNewer(deps.docker, new Date(), domains);
      if (json) printJson(newer);
      const failed: { domain: string; reason: string }[] = [];
      for (const { domain, what, updates, pin } of newer) {
        if (!json) print(`${domain}: ${what}`);
        if (check || (daily && updates !== 'auto')) continue;
        if (pin === undefined) {
          report(`${domain}: not changed: its images are named in compose.project; change them in ${siteNames(domain).settingsFile}`);
          continue;
        }
        try {
          await updateImage({ ...deps, progress: showProgress(domain), now: () => new Date() }, { domain, pin });
          print(`${domain}: has its new image`);
        } catch (error) {
          failed.push({ domain, reason: error instanceof Error ? error.message : String(error) });
        }
      }
      if (newer.length === 0 && !json) report('no newer images');
      const code = printFaults(faults);
      // A registry that does not answer one day is no alarm.
      process.exitCode = printFaults(failed) || (daily ? 0 : code);
    });
  },
};

interface PruneOptions {
  'dry-run'?: boolean | undefined;
}

const prune: CommandModule<object, PruneOptions> = {
  command: 'prune',
  describe: 'remove images that sitegen has fetched and that no site has any more',
  builder: (yargs) => yargs.option('dry-run', { type: 'boolean', describe: 'only say what would be done' }),
  async handler({ 'dry-run': dryRun = false }) {
    const { pruneImages } = await import('../lib/usecases/images.ts');
    // A site that is being added has an image and no settings yet.
    const { removed, faults } = await withMachineLocked(({ docker }) => pruneImages(docker, dryRun));
    for (const { reference, bytes } of removed) print(`${dryRun ? 'remove' : 'removed'} ${reference}${bytes === null ? '' : `, ${formatBytes(bytes)}`}`);
    if (removed.length === 0) report('nothing to remove');
    process.exitCode = printFaults(faults);
  },
};

/** `sitegen image`: what sites are run from. */
export const imageCommand: CommandModule = {
  command: 'image',
  describe: 'list, update and remove images',
  builder: (yargs) => yargs.command(list).command(update).command(prune).demandCommand(0).strict(),
  handler: () => undefined,
};
