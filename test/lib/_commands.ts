import { readdir, readFile } from 'node:fs/promises';
import type { CommandModule } from 'yargs';
import { commandFacts, type CommandFacts } from '../../scripts/manual.ts';
import { repository } from './_site.ts';

/** What `sitegen` can be told, from the programs themselves. */
export async function allCommands(): Promise<CommandFacts[]> {
  const found: CommandFacts[] = [];
  for (const name of (await readdir(`${repository}/cmd`)).filter((each) => each.endsWith('.ts')).sort()) {
    const text = await readFile(`${repository}/cmd/${name}`, 'utf8');
    for (const [, exported = ''] of text.matchAll(/^export const (\w+Command): CommandModule/gm)) {
      const module = await import(`../../cmd/${name}`) as Record<string, CommandModule>;
      if (module[exported]) found.push(commandFacts(module[exported]));
    }
  }
  return found;
}
