import type { CommandModule } from 'yargs';

interface Options {
  all?: boolean | undefined;
  once?: boolean | undefined;
  json?: boolean | undefined;
}

/** `sitegen top`: which sites run, what they use, and when they fall asleep. */
export const topCommand: CommandModule<object, Options> = {
  command: 'top',
  describe: 'watch the sites that run: what they use, and when they fall asleep',
  builder: (yargs) => yargs
    .option('all', { alias: 'a', type: 'boolean', describe: 'sleeping sites too' })
    .option('once', { type: 'boolean', describe: 'print it once, as is done where there is no terminal' })
    .option('json', { type: 'boolean', describe: 'print JSON, once' }),
  async handler({ all = false, once = false, json = false }) {
    const { runTop } = await import('./top-run.ts');
    await runTop({ all, once, json });
  },
};
