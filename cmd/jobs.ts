import type { CommandModule } from 'yargs';
import { selectDomains } from '../lib/usecases/domains.ts';
import { withSystemd } from './connect.ts';
import { colors, print, printFaults, printJson, printTable, report } from './output.ts';

interface ListOptions {
  domain?: string | undefined;
  json?: boolean | undefined;
}

const list: CommandModule<object, ListOptions> = {
  command: ['list [domain]', '$0'],
  describe: 'when each job runs, has run, and what became of it',
  builder: (yargs) => yargs
    .positional('domain', { type: 'string', describe: 'name of a site; all unless given' })
    .option('json', { type: 'boolean', describe: 'print JSON' }),
  async handler({ domain, json }) {
    const { listJobs } = await import('../lib/usecases/jobs.ts');
    const domains = domain === undefined ? undefined : await selectDomains([domain], false);
    const { jobs, faults } = await withSystemd((systemd) => listJobs(systemd, domains));
    if (json) {
      printJson(jobs);
    } else if (jobs.length === 0) {
      report('no jobs');
    } else {
      const { red } = colors();
      await printTable(['DOMAIN', 'JOB', 'CALENDAR', 'NEXT', 'LAST', 'RESULT'], jobs.map((job) => [job.domain, job.name, job.calendar, timeText(job.next), timeText(job.last),
        `${job.result === 'failed' ? red('failed') : (job.result ?? '-')}${job.reason === null ? '' : `: ${job.reason}`}`]));
    }
    process.exitCode = printFaults(faults);
  },
};

interface RunOptions {
  domain: string;
  name: string;
}

const run: CommandModule<object, RunOptions> = {
  command: 'run <domain> <name>',
  describe: 'run a job now, as its timer would, and wait for it',
  builder: (yargs) => yargs
    .positional('domain', { type: 'string', demandOption: true, describe: 'name of the site' })
    .positional('name', { type: 'string', demandOption: true, describe: 'name of the job' }),
  async handler({ domain: input, name }) {
    const { startJob } = await import('../lib/usecases/jobs.ts');
    const [domain = input] = await selectDomains([input], false);
    const skipped = await withSystemd((systemd) => startJob(systemd, domain, name));
    if (skipped === undefined) print(`${domain}: ${name} is done`);
    else process.exitCode = printFaults([{ domain, reason: `${name} was skipped: ${skipped}` }]);
  },
};

/** `sitegen jobs`: work of sites without visitors. */
export const jobsCommand: CommandModule = {
  command: 'jobs',
  describe: 'list the jobs of sites, or run one now',
  builder: (yargs) => yargs.command(list).command(run).demandCommand(0).strict(),
  handler: () => undefined,
};

function timeText(time: string | null): string {
  if (time === null) return '-';
  const date = new Date(time);
  const two = (value: number) => String(value).padStart(2, '0');
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}
