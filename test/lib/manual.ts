import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import test from 'ava';
import { appSchema, defaultsSchema, siteSchema } from '../../lib/pure/schema.ts';
import { commandsPage, keyFacts, settingsMarkdown, settingsPage, type CommandFacts } from '../../scripts/manual.ts';
import { allCommands } from './_commands.ts';
import { repository } from './_site.ts';

const files = [
  { file: '/etc/sitegen/sitegen.yaml', keys: keyFacts(defaultsSchema) },
  { file: '/etc/sitegen/sites/DOMAIN.yaml', keys: keyFacts(siteSchema) },
  { file: '/etc/sitegen/apps/NAME/app.yaml', keys: keyFacts(appSchema) },
];

test('docs/configuration.md has every key of every file, with what it is for', async (t) => {
  const file = `${repository}/docs/configuration.md`;
  const present = existsSync(file) ? await readFile(file, 'utf8') : '';
  const [head = ''] = present.split(/^## /m, 1);
  if (process.env['UPDATE_EXPECTED'] === '1') await writeFile(file, head + settingsMarkdown(files));
  t.is(present.slice(head.length), settingsMarkdown(files), 'after a change of the schema: UPDATE_EXPECTED=1 npx ava test/lib/manual.ts');
});

test('keys are found at all levels, in lists and under any name', (t) => {
  const [machine, site] = files.map(({ keys }) => keys.map(({ path }) => path));
  for (const key of ['acme.eab.kid', 'backup.servers[].hostKey', 'doctor.ignore', 'router.unknown.https']) t.true(machine?.includes(key), key);
  for (const key of ['limits.memoryMax', 'paths.*.proxy.host', 'jobs.*.calendar', 'image.pull']) t.true(site?.includes(key), key);
  for (const { keys } of files) for (const { path, describe } of keys) t.not(describe, '', path);
});

test('the manual names every command with its options, and each says what it is for', async (t) => {
  const commands = await allCommands();
  const told = [...(await readFile(`${repository}/cmd/sitegen.ts`, 'utf8')).matchAll(/^ {2}\.command\(\w+\)$/gm)];
  t.is(commands.length, told.length, 'those that sitegen has');
  const text = commandsPage(commands, [['-y, --yes', 'answer yes']], '1.2.3');
  const said = (facts: CommandFacts): void => {
    t.not(facts.describe, '', facts.usage);
    for (const each of [...facts.positionals, ...facts.options]) t.not(each.describe, '', `${facts.usage} ${each.name}`);
    facts.commands.forEach((each) => { said(each); });
  };
  commands.forEach((each) => { said(each); });
  for (const part of ['.SS "sitegen add <domain>"', '.SS "sitegen backup verify', '.B \\-\\-dry\\-run\n', '.B DOMAIN\n', '.B \\-y,\\ \\-\\-yes\n', '.SS "sitegen doctor [domain]"']) t.true(text.includes(part), part);
  t.notRegex(text, /--instance|--automatic|\\-\\-instance/, 'what units alone use is hidden');
});

test('what a settings page says is text, never a request or an escape of roff', (t) => {
  const text = settingsPage([{ file: '/x', keys: [{ path: 'a-b', describe: '.so /etc/shadow\\n\n\'x…' }] }], '1');
  t.true(text.includes('.B a\\-b\n\\&.so /etc/shadow\\en\n\\&\'x\\[u2026]\n'));
});
