import yargs from 'yargs';
import { hideBin } from 'yargs/helpers';
import { usageError, type SitegenError } from '../lib/pure/errors.ts';
import { allDomains } from '../lib/usecases/domains.ts';
import { addCommand } from './add.ts';
import { adoptCommand } from './adopt.ts';
import { alarmsCommand } from './alarms.ts';
import { appsCommand } from './apps.ts';
import { applyCommand, diffCommand, validateCommand } from './apply.ts';
import { buddyCommand } from './buddy.ts';
import { backupCommand } from './backup.ts';
import { composeCommand } from './compose.ts';
import { certsCommand } from './certs.ts';
import { disableCommand, enableCommand, restartCommand, startCommand, stopCommand } from './control.ts';
import { doctorCommand } from './doctor.ts';
import { execCommand, shellCommand } from './exec.ts';
import { imageCommand } from './image.ts';
import { importCommand } from './import.ts';
import { initCommand } from './init.ts';
import { jobsCommand } from './jobs.ts';
import { logsCommand } from './logs.ts';
import { configureOutput, printError } from './output.ts';
import { mailCommand } from './mail.ts';
import { pullCommand } from './pull.ts';
import { moveCommand } from './move.ts';
import { maintenanceCommand } from './maintenance.ts';
import { passwordCommand } from './password.ts';
import { routerCommand } from './router.ts';
import { removeCommand } from './remove.ts';
import { cloneCommand, renameCommand } from './rename.ts';
import { restoreCommand } from './restore.ts';
import { secretsCommand } from './secrets.ts';
import { statsCommand } from './stats.ts';
import { listCommand, statusCommand } from './status.ts';
import { timelineCommand } from './timeline.ts';
import { topCommand } from './top.ts';
import { version } from './version.ts';

// Root's own may be strict, and the router and the static server read what is written here as other
// users. What nobody else may read is written with a mode of its own.
process.umask(0o022);

const parser = yargs(hideBin(process.argv))
  .scriptName('sitegen')
  .usage('sitegen: containers that exist only while somebody visits\n\nUsage: $0 COMMAND')
  .parserConfiguration({ 'populate--': true, 'duplicate-arguments-array': true, 'strip-aliased': true })
  .option('yes', { alias: 'y', type: 'boolean', describe: 'answer yes to every question', global: true })
  .option('quiet', { alias: 'q', type: 'boolean', describe: 'print results and errors only', global: true })
  .option('verbose', { alias: 'v', type: 'boolean', describe: 'show where an error came from', global: true })
  .option('color', { type: 'boolean', describe: 'colours on a terminal; --no-color turns them off', default: true, global: true })
  .middleware((options) => { configureOutput(options); }, true)
  .command(addCommand)
  .command(adoptCommand)
  .command(importCommand)
  .command(restoreCommand)
  .command(renameCommand)
  .command(cloneCommand)
  .command(maintenanceCommand)
  .command(routerCommand)
  .command(passwordCommand)
  .command(removeCommand)
  .command(listCommand)
  .command(statusCommand)
  .command(topCommand)
  .command(timelineCommand)
  .command(startCommand)
  .command(stopCommand)
  .command(restartCommand)
  .command(enableCommand)
  .command(disableCommand)
  .command(logsCommand)
  .command(statsCommand)
  .command(execCommand)
  .command(shellCommand)
  .command(composeCommand)
  .command(jobsCommand)
  .command(appsCommand)
  .command(secretsCommand)
  .command(imageCommand)
  .command(pullCommand)
  .command(applyCommand)
  .command(diffCommand)
  .command(validateCommand)
  .command(certsCommand)
  .command(backupCommand)
  .command(moveCommand)
  .command(buddyCommand)
  .command(mailCommand)
  .command(alarmsCommand)
  .command(doctorCommand)
  .command(initCommand)
  // Four parameters, by whose number yargs knows that its own proposals are wanted, too.
  .completion('completion', 'print a completion script for bash or zsh', (current: string, _: unknown, propose: (use: (error: Error | null, defaults?: string[]) => void) => void, done: (words: string[]) => void) => {
    propose((_error, defaults = []) => {
      allDomains().then((domains) => { done([...defaults, ...domains.filter((domain) => domain.startsWith(current))]); }, () => { done(defaults); });
    });
  })
  .demandCommand(1, 'no command given')
  .strict()
  .recommendCommands()
  .version(version)
  .help()
  .alias('help', 'h')
  .showHelpOnFail(false)
  .exitProcess(false)
  .wrap(Math.min(100, process.stdout.columns ?? 100))
  .fail((message: string | undefined, error: Error | undefined) => {
    // yargs throws some of its own faults and passes others as a message.
    if (error && error.name !== 'YError') throw error;
    throw misuse(message ?? error?.message ?? 'wrong usage');
  });

/** yargs' words for wrong arguments in ours. */
function misuse(message: string): SitegenError {
  const [command = ''] = hideBin(process.argv).filter((argument) => !argument.startsWith('-'));
  if (message.startsWith('Did you mean')) return usageError(`unknown command: ${command}`, `${message} See: sitegen --help`);
  const text = message.startsWith('Not enough non-option arguments') ? `${command}: a name is missing` : message;
  return usageError(text, `see: sitegen ${command === '' ? '' : `${command} `}--help`);
}

// Whoever reads our output may leave early, as head does; what is being done is done to its end.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
}

try {
  await parser.parseAsync();
} catch (error) {
  // A half-typed command is no fault, and its line on the terminal must stay as it is.
  if (!process.argv.includes('--get-yargs-completions')) process.exitCode = printError(error);
}
// The timers that simple-git leaves behind (see completion in lib/effects/git/run.ts) are waited for by nobody; yargs
// still finds words to complete.
if (!process.argv.includes('--get-yargs-completions')) process.exit();
