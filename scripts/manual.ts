import type { CommandModule } from 'yargs';
import yargs from 'yargs';

/** Man pages and the reference of the settings, from the commands and the schemas themselves. */

interface OptionFacts {
  name: string;
  aliases: readonly string[];
  describe: string;
  takesValue: boolean;
}

export interface CommandFacts {
  /** As it is typed, with its arguments. */
  usage: string;
  aliases: readonly string[];
  describe: string;
  positionals: readonly OptionFacts[];
  options: readonly OptionFacts[];
  commands: readonly CommandFacts[];
  /** The one of them that is meant when none is named. */
  byDefault: CommandFacts | undefined;
}

/** What yargs knows of commands, and does not tell in its types. */
interface Internals {
  getInternalMethods(): {
    getCommandInstance(): { getCommandHandlers(): Record<string, { original: string; description: string | false; builder: unknown }>; defaultCommand?: { original: string } };
    getUsageInstance(): { getDescriptions(): Record<string, string | undefined> };
  };
  getOptions(): { key: Record<string, unknown>; boolean: string[]; count: string[]; hiddenOptions: string[]; alias: Record<string, string[]> };
  getGroups(): Record<string, string[]>;
}

/** @param prefix the commands before it */
export function commandFacts(command: CommandModule, prefix = 'sitegen'): CommandFacts {
  const [first = '', ...aliases] = [command.command ?? ''].flat().filter((name) => name !== '$0');
  const instance = yargs([]).help(false).version(false);
  const usage = `${prefix} ${first}`.trim();
  if (typeof command.builder === 'function') void command.builder(instance);
  const internals = instance as unknown as Internals;
  const { key, boolean, count, hiddenOptions, alias } = internals.getOptions();
  const descriptions = internals.getInternalMethods().getUsageInstance().getDescriptions();
  const positional = new Set(internals.getGroups()['Positionals:'] ?? []);
  const other = new Set(Object.entries(alias).flatMap(([name, others]) => (Object.hasOwn(key, name) && descriptions[name] !== undefined ? others : [])));
  const facts = [...new Set([...positional, ...Object.keys(key)])].filter((name) => !hiddenOptions.includes(name) && !other.has(name)).map((name): OptionFacts => ({
    name,
    aliases: alias[name] ?? [],
    describe: (descriptions[name] ?? '').replace('__yargsString__:', ''),
    takesValue: !boolean.includes(name) && !count.includes(name),
  }));
  const instances = internals.getInternalMethods().getCommandInstance();
  const below = Object.values(instances.getCommandHandlers());
  const seen = new Set<unknown>();
  const commands = below.filter((each) => !seen.has(each.original) && seen.add(each.original)).map((each) => {
    const described = typeof each.description === 'string' ? { describe: each.description } : {};
    return { original: each.original, facts: commandFacts({ command: each.original, ...described, builder: each.builder, handler: () => undefined } as CommandModule, usage.replace(/ [<[].*$/, '')) };
  });
  return {
    usage,
    aliases: aliases.map((name) => `${prefix} ${name}`),
    describe: typeof command.describe === 'string' ? command.describe : '',
    positionals: facts.filter(({ name }) => positional.has(name)),
    options: facts.filter(({ name }) => !positional.has(name)),
    commands: commands.map(({ facts: each }) => each),
    byDefault: commands.find(({ original }) => original === instances.defaultCommand?.original)?.facts,
  };
}

export interface KeyFacts {
  /** Dotted; `*` stands for any name, `[]` for each of a list. */
  path: string;
  describe: string;
}

interface Schema {
  description?: string;
  shape?: Record<string, Schema>;
  def: { type: string; innerType?: Schema; in?: Schema; options?: readonly Schema[]; valueType?: Schema; element?: Schema };
}

/** All keys of a schema at all levels, in its order. */
export function keyFacts(schema: unknown, at = ''): KeyFacts[] {
  const found = new Map<string, string>();
  for (const { keys, within } of shapesOf(schema as Schema, at)) {
    for (const [key, inner] of Object.entries(keys)) {
      const path = within === '' ? key : `${within}.${key}`;
      // One form of a value may have keys that others lack.
      if (!found.has(path)) found.set(path, descriptionOf(inner) ?? '');
      for (const each of keyFacts(inner, path)) if (!found.has(each.path)) found.set(each.path, each.describe);
    }
  }
  return [...found].map(([path, describe]) => ({ path, describe }));
}

function shapesOf(schema: Schema, at: string): { keys: Record<string, Schema>; within: string }[] {
  const { def, shape } = schema;
  if (shape) return [{ keys: shape, within: at }];
  if (def.valueType) return shapesOf(def.valueType, `${at}.*`);
  if (def.element) return shapesOf(def.element, `${at}[]`);
  return (def.options ?? [def.innerType ?? def.in]).flatMap((option) => (option === undefined ? [] : shapesOf(option, at)));
}

function descriptionOf({ description, def }: Schema): string | undefined {
  return description ?? (def.innerType && descriptionOf(def.innerType));
}

/** Text for roff(7): nothing in it is a request or an escape; a hyphen can be searched for and copied; groff reads ASCII everywhere. */
function roff(text: string): string {
  return text.replaceAll('\\', '\\e').replaceAll('-', '\\-').replaceAll(/^([.'])/gm, '\\&$1')
    .replaceAll(/[^\0-\x7f]/gu, (character) => `\\[u${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}]`);
}

const entry = (head: string, text: string) => `.TP\n.B ${roff(head).replaceAll(' ', '\\ ')}\n${roff(text === '' ? '-' : text)}\n`;

const optionHead = ({ name, aliases, takesValue }: OptionFacts) => [...aliases.filter((alias) => alias.length === 1).map((alias) => `-${alias}`), `--${name}${takesValue ? ' VALUE' : ''}`].join(', ');

function commandText(facts: CommandFacts): string {
  const own = `.SS "${roff(facts.usage).replaceAll('"', '\\(dq')}"\n${roff(`${facts.describe.charAt(0).toUpperCase()}${facts.describe.slice(1)}.`)}\n${facts.aliases.length > 0 ? `Also: ${roff(facts.aliases.join(', '))}.\n` : ''}`
    + facts.positionals.map((each) => entry(each.name.toUpperCase(), each.describe)).join('') + facts.options.map((each) => entry(optionHead(each), each.describe)).join('');
  return own + facts.commands.map((command) => commandText(command)).join('');
}

const header = (name: string, section: number, version: string) => `.\\" Made when sitegen was built.\n.TH ${roff(name)} ${section} "" "sitegen ${roff(version)}"\n`;

/** `sitegen(8)`. @param global options that all commands have, by their help */
export function commandsPage(commands: readonly CommandFacts[], global: readonly (readonly [head: string, text: string])[], version: string): string {
  return `${header('sitegen', 8, version)}.SH NAME
sitegen \\- host many mostly idle sites on a small server
.SH SYNOPSIS
.B sitegen
.I COMMAND
[\\fIOPTION\\fR...]
.SH DESCRIPTION
systemd holds each site\\(aqs connections; its container exists only while somebody visits.
Settings are in /etc/sitegen; they are the only truth, and
.B sitegen apply
makes the machine equal to them.
.SH COMMANDS
${commands.map((command) => commandText(command)).join('')}.SH OPTIONS OF ALL COMMANDS
${global.map(([head, text]) => entry(head, text)).join('')}.SH EXIT STATUS
0 when all went well, 1 for a failure, 2 for wrong usage, and 3 from \\fBsitegen status\\fR when a named site is down.
\\fBsitegen doctor\\fR ends with 0 when all is well or ignored, with 1 for warnings and with 2 for errors.
.SH FILES
${[['/etc/sitegen/sitegen.yaml', 'settings of the machine: sitegen.yaml(5)'], ['/etc/sitegen/sites/DOMAIN.yaml', 'settings of a site: the same page'], ['/etc/sitegen/example-site.yaml', 'an example with all keys'], ['/var/lib/sitegen', 'data of sites, certificates, repositories']].map(([file = '', text = '']) => entry(file, text)).join('')}.SH SEE ALSO
.BR sitegen.yaml (5),
.BR systemd.resource\\-control (5),
.BR systemctl (1),
.BR journalctl (1)
`;
}

/** `sitegen.yaml(5)`. @param files their names, and their keys */
export function settingsPage(files: readonly { file: string; keys: readonly KeyFacts[] }[], version: string): string {
  return `${header('sitegen.yaml', 5, version)}.SH NAME
sitegen.yaml \\- settings of sitegen, of its sites and of its apps
.SH DESCRIPTION
Files in YAML. Unknown keys are refused.
.B sitegen validate
checks all of them, and
.B sitegen apply
carries changes out. In what follows a dot leads into a section, * stands for any name, and [] for each value of a list.
${files.map(({ file, keys }) => `.SH "${roff(file)}"\n${keys.map(({ path, describe }) => entry(path, describe)).join('')}`).join('')}.SH SEE ALSO
.BR sitegen (8)
`;
}

/** The same as a page of the documentation. */
export function settingsMarkdown(files: readonly { file: string; keys: readonly KeyFacts[] }[]): string {
  const cell = (text: string) => text.replaceAll('|', '\\|');
  return files.map(({ file, keys }) => `## \`${file}\`\n\n| key | |\n|---|---|\n${keys.map(({ path, describe }) => `| \`${path}\` | ${cell(describe)} |`).join('\n')}\n`).join('\n');
}
