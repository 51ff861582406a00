import { readdir, readFile } from 'node:fs/promises';
import test from 'ava';
import type { CommandFacts } from '../../scripts/manual.ts';
import { allCommands } from './_commands.ts';
import { repository } from './_site.ts';

const global = ['yes', 'y', 'quiet', 'q', 'verbose', 'v', 'color', 'no-color', 'help', 'h', 'version'];

/** What is typed after `sitegen` in blocks of code and in code among text, up to what belongs to a shell or another program. */
function commandsIn(text: string): string[] {
  const blocks = [...text.matchAll(/^```\w*\n([^]*?)^```/gm)].flatMap(([, block = '']) => block.split('\n').flatMap((line) => /^\s*(?:sudo )?sitegen (.*)/.exec(line)?.[1] ?? []));
  const spans = [...text.replaceAll(/^```[^]*?^```/gm, '').matchAll(/`(?:sudo )?sitegen ([^`]+)`/g)].map(([, words = '']) => words.replaceAll('\n', ' '));
  return [...blocks, ...spans].map((words) => words.replace(/\s(--\s|[#|>&;]).*$/, '').trim());
}

/** @returns what is wrong with it, or undefined */
function wrongWith(words: string, commands: readonly CommandFacts[]): string | undefined {
  let [at, below] = [undefined as CommandFacts | undefined, commands];
  const tokens = words.match(/'[^']*'|"[^"]*"|\S+/g) ?? [];
  for (const token of tokens) {
    if (token.startsWith('-')) {
      const name = token.replace(/^--?(no-)?/, '').replace(/=.*$/, '');
      const known = [at, at?.byDefault].flatMap((each) => [...each?.options ?? [], ...each?.positionals ?? []]).flatMap((each) => [each.name, ...each.aliases]);
      if (!known.includes(name) && !global.includes(name)) return `${at?.usage ?? 'sitegen'} has no ${token}`;
      continue;
    }
    const next = below.find(({ usage, aliases }) => [usage, ...aliases].some((each) => each.replace(/ [<[].*$/, '').endsWith(` ${token}`)));
    if (next) [at, below] = [next, next.commands];
    else if (!at) return `there is no command ${token}`;
    else {
      if (at.commands.length > 0) at = at.byDefault ?? at;
      if (at.positionals.length === 0) return `${at.usage} has no ${token}`;
      below = [];
    }
  }
  return undefined;
}

test('each command in the documentation is one, with options that it has', async (t) => {
  const commands = await allCommands();
  const files = ['README.md', 'SECURITY.md', ...(await readdir(`${repository}/docs`)).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`)];
  let count = 0;
  for (const file of files) {
    for (const words of commandsIn(await readFile(`${repository}/${file}`, 'utf8'))) {
      if (words.startsWith('COMMAND') || words.startsWith('completion')) continue;
      count += 1;
      t.is(wrongWith(words, commands), undefined, `${file}: sitegen ${words}`);
    }
  }
  t.true(count > 100, `${count} were found`);
});

test('a command that is none, and an option that it has not, would be seen', async (t) => {
  const commands = await allCommands();
  for (const words of ['adds example.com', 'add example.com --statics www', 'image lists', 'certs renew --soon']) t.not(wrongWith(words, commands), undefined, words);
  for (const words of ['add example.com --static www', 'backup list example.com', 'backup example.com --wait', '--help']) t.is(wrongWith(words, commands), undefined, words);
  t.deepEqual(commandsIn('Text `sudo sitegen a b -- c` and\n```\nsudo sitegen d e # f\nother\n```\n'), ['d e', 'a b']);
});
