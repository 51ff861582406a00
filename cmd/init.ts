import type { CommandModule } from 'yargs';
import { SitegenError, usageError } from '../lib/pure/errors.ts';
import type { Answers, BackupServer } from '../lib/pure/init.ts';
import { paths } from '../lib/pure/paths.ts';
import { print, report } from './output.ts';

interface Options {
  email?: string | undefined;
  'backup-server'?: string[] | undefined;
  'memory-share'?: string | undefined;
  yes?: boolean | undefined;
}

/** Asks a question; an empty answer is the default. */
type Ask = (question: string, given: string) => Promise<string>;

/** `sitegen init`: the few settings of the machine that matter at first. Everything works without it too. */
export const initCommand: CommandModule<object, Options> = {
  command: 'init',
  describe: 'ask for the settings of this machine that matter: e-mail for certificates, backup servers, memory',
  builder: (yargs) => yargs
    .option('email', { type: 'string', requiresArg: true, describe: 'told to the certificate authority' })
    .option('backup-server', { type: 'string', array: true, nargs: 1, describe: 'ssh://user@host/directory, with its host key behind it if you know it; give it twice' })
    .option('memory-share', { type: 'string', requiresArg: true, describe: 'what all sites may hold together, such as 70% or 3G' })
    .epilogue('What is given as an option is not asked for; --yes asks for nothing. What is there stays unless it is answered anew.'),
  async handler({ email, 'backup-server': servers, 'memory-share': memory, yes = false }) {
    const { presentAnswers, resolveServer, writeAnswers } = await import('../lib/usecases/init.ts');
    const { withAnswers } = await import('../lib/pure/init.ts');
    if (!yes && !process.stdin.isTTY) {
      throw usageError('there is no terminal to ask on', 'say what you want: sitegen init --yes --email ADDRESS --backup-server URL --backup-server URL --memory-share 70%; what is left out stays as it is');
    }
    const present = await presentAnswers();
    // What is wrong in what was given is said before the first question.
    withAnswers('', { email, servers: undefined, memory });
    const answers: Answers = { email, servers: undefined, memory };
    if (yes) {
      if (servers) answers.servers = await eachOf(servers, (text) => resolveServer(text, () => Promise.resolve(false)));
    } else {
      await withQuestions(async (ask) => {
        const accept = async (host: string, fingerprint: string) => /^y(es)?$/i.test(await ask(`Is ${fingerprint} the host key of ${host}? yes or no`, 'no'));
        if (email === undefined) answers.email = await untilValid(ask, 'E-mail address for the certificate authority', present.email ?? '', (text) => withAnswers('', { email: text, servers: undefined, memory: undefined }));
        if (servers) answers.servers = await eachOf(servers, (text) => resolveServer(text, accept));
        else answers.servers = await askServers(ask, present.servers, (text) => resolveServer(text, accept));
        if (memory === undefined) answers.memory = await untilValid(ask, 'What all sites may hold of the memory', present.memory, (text) => withAnswers('', { email: undefined, servers: undefined, memory: text }));
      });
    }
    const lines = await writeAnswers(withoutKnown(answers, present));
    if (lines.length === 0) {
      report(`${paths.defaultsFile} stays as it is`);
      return;
    }
    print(`${paths.defaultsFile}:`);
    for (const line of lines) print(`    ${line}`);
    report('now: sitegen apply; sitegen doctor tells what is still missing');
  },
};

async function eachOf(texts: readonly string[], resolve: (text: string) => Promise<BackupServer>): Promise<BackupServer[]> {
  const found: BackupServer[] = [];
  for (const text of texts) found.push(await resolve(text));
  return found;
}

async function withQuestions(body: (ask: Ask) => Promise<void>): Promise<void> {
  const { createInterface } = await import('node:readline');
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  // What is typed ahead, while a server is asked for its key, is not lost.
  const lines = prompt[Symbol.asyncIterator]();
  try {
    await body(async (question, given) => {
      prompt.setPrompt(`${question} [${given === '' ? 'none' : given}]: `);
      prompt.prompt();
      const line = await lines.next();
      // By Ctrl-C or Ctrl-D.
      if (line.done === true) throw new SitegenError('nothing was written');
      return line.value.trim() || given;
    });
  } finally {
    prompt.close();
  }
}

/** @returns undefined for what was left empty */
async function untilValid(ask: Ask, question: string, given: string, check: (text: string) => unknown): Promise<string | undefined> {
  for (;;) {
    const text = await ask(question, given);
    if (text === '') return undefined;
    try {
      check(text);
      return text;
    } catch (error) {
      if (!(error instanceof SitegenError)) throw error;
      report(error.message.replace(/^.*?:\d+: /, ''));
    }
  }
}

async function askServers(ask: Ask, present: readonly BackupServer[], resolve: (text: string) => Promise<BackupServer>): Promise<BackupServer[] | undefined> {
  const servers: BackupServer[] = [];
  for (let number = 0; number < Math.max(2, present.length); number++) {
    const known = present[number];
    for (;;) {
      const text = await ask(`Backup server ${number + 1} (ssh://user@host/directory)`, known?.url ?? '');
      if (text === '') return servers.length === 0 ? undefined : servers;
      try {
        servers.push(known?.url === text ? known : await resolve(text));
        break;
      } catch (error) {
        if (!(error instanceof SitegenError)) throw error;
        report(error.hint === undefined ? error.message : `${error.message} (${error.hint})`);
      }
    }
  }
  return servers;
}

/** Answers that say what holds anyway are not written. */
function withoutKnown(answers: Answers, present: { email: string | undefined; servers: readonly BackupServer[]; memory: string }): Answers {
  return {
    email: answers.email === present.email ? undefined : answers.email,
    servers: JSON.stringify(answers.servers) === JSON.stringify(present.servers) ? undefined : answers.servers,
    memory: answers.memory === present.memory ? undefined : answers.memory,
  };
}
