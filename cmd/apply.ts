import type { CommandModule } from 'yargs';
import { noSuchSite, selectDomains } from '../lib/usecases/domains.ts';
import { withMachine, withMachineLocked } from './connect.ts';
import { print, printFaults, printJson, report } from './output.ts';

interface Options {
  domains?: string[] | undefined;
  json?: boolean | undefined;
  'dry-run'?: boolean | undefined;
  instance?: string | undefined;
}

const which = async (named: readonly string[] | undefined) => (named && named.length > 0 ? selectDomains(named, false) : undefined);

async function ofInstance(id: string): Promise<string[]> {
  const { siteOfId } = await import('../lib/usecases/read-sites.ts');
  const file = await siteOfId(id);
  if (!file) throw noSuchSite(id);
  return [file.domain];
}

/** `sitegen apply`: makes the machine equal to the settings. */
export const applyCommand: CommandModule<object, Options> = {
  command: 'apply [domains..]',
  describe: 'make units, containers and network equal to the settings',
  builder: (yargs) => yargs
    .positional('domains', { type: 'string', array: true, describe: 'names of sites; all when none is given' })
    .option('dry-run', { type: 'boolean', describe: 'the same as sitegen diff' })
    // What a unit names its site by.
    .option('instance', { type: 'string', hidden: true }),
  async handler({ domains: named, 'dry-run': dryRun, instance }) {
    const domains = instance === undefined ? await which(named) : await ofInstance(instance);
    if (dryRun) {
      await showDiff(domains, false);
      return;
    }
    const { apply } = await import('../lib/usecases/apply.ts');
    const result = await withMachineLocked((deps) => apply(deps, domains));
    for (const line of result.done) print(line);
    for (const domain of result.changed) print(`${domain}: applied`);
    if (result.done.length + result.changed.length + result.faults.length === 0) report('nothing to do');
    process.exitCode = printFaults(result.faults);
  },
};

/** `sitegen diff`: what apply would do. */
export const diffCommand: CommandModule<object, Options> = {
  command: 'diff [domains..]',
  describe: 'print what apply would do',
  builder: (yargs) => yargs
    .positional('domains', { type: 'string', array: true, describe: 'names of sites; all when none is given' })
    .option('json', { type: 'boolean', describe: 'print JSON' }),
  handler: async ({ domains, json }) => showDiff(await which(domains), json ?? false),
};

/** `sitegen validate`: reads all settings and changes nothing; needs neither root nor Docker. */
export const validateCommand: CommandModule<object, Options> = {
  command: 'validate [domains..]',
  describe: 'check the settings without touching anything',
  builder: (yargs) => yargs
    .positional('domains', { type: 'string', array: true, describe: 'names of sites; all when none is given' })
    .option('json', { type: 'boolean', describe: 'print JSON' }),
  async handler({ domains, json }) {
    const { loadSettings, nameClashes } = await import('../lib/usecases/settings.ts');
    const { jobFaults } = await import('../lib/usecases/jobs.ts');
    const { claimFaults } = await import('../lib/usecases/listen.ts');
    const some = await which(domains);
    const settings = await loadSettings(some);
    const clashes = await nameClashes(settings.sites, some === undefined);
    const wrong = [...clashes, ...await jobFaults(settings.sites.map(({ site }) => site)), ...await claimFaults(settings.sites, some === undefined)];
    const faults = [...settings.faults, ...wrong];
    const sites = settings.sites.filter(({ site }) => !wrong.some(({ domain }) => domain === site.domain));
    if (json) printJson({ valid: sites.map(({ site }) => site.domain), faults });
    else report(sites.length === 1 ? '1 site is valid' : `${sites.length} sites are valid`);
    process.exitCode = json ? (faults.length > 0 ? 1 : 0) : printFaults(faults);
  },
};

async function showDiff(domains: string[] | undefined, json: boolean): Promise<void> {
  const { describeDiff } = await import('../lib/usecases/plan.ts');
  const { lines, plans, faults } = await withMachine((deps) => describeDiff(deps, domains));
  if (json) {
    const changes = plans.filter(({ steps, newSettings }) => steps.length > 0 || newSettings !== undefined);
    printJson({ lines, sites: changes.map(({ domain, steps }) => ({ domain, steps })), faults });
  } else {
    for (const line of lines) print(line);
    if (lines.length === 0 && faults.length === 0) report('nothing to do');
  }
  process.exitCode = json ? (faults.length > 0 ? 1 : 0) : printFaults(faults);
}
