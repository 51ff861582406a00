import type { Argv, CommandModule } from 'yargs';
import { parseOwner } from '../lib/pure/buddy.ts';
import { SitegenError, usageError } from '../lib/pure/errors.ts';
import { parseDomain } from '../lib/pure/names.ts';
import { formatBytes, parseSize } from '../lib/pure/quantities.ts';
import { fingerprintOf } from '../lib/pure/ssh-key.ts';
import { colors, print, printJson, printTable, report } from './output.ts';

const use = () => import('../lib/usecases/buddy.ts');

interface Allow {
  name: string;
  key?: string | undefined;
  quota?: string | undefined;
  json?: boolean | undefined;
}

const allow: CommandModule<object, Allow> = {
  command: 'allow <name>',
  describe: 'let another server keep the backups of its sites here',
  builder: (yargs) => yargs
    .positional('name', { type: 'string', demandOption: true, describe: 'name of whoever it is; each has a folder' })
    .option('key', { type: 'string', requiresArg: true, describe: 'its public key, or a file with it; "sitegen backup key" prints it there' })
    .option('quota', { type: 'string', requiresArg: true, describe: 'how much may be kept, such as 20G, which it is unless given' })
    .option('json', { type: 'boolean', describe: 'print JSON' }),
  async handler({ name, key, quota, json }) {
    const owner = parseOwner(name);
    const bytes = quota === undefined ? undefined : parseSize(quota);
    if (quota !== undefined && bytes === undefined) throw usageError(`${JSON.stringify(quota)} is not a size`, 'write for example 500M or 20G');
    const { allowOwner } = await use();
    const introduction = await allowOwner(owner, { key: key === undefined ? undefined : await readKey(key), quota: bytes });
    if (json) {
      printJson(introduction);
      return;
    }
    report(`${owner} may keep ${formatBytes(introduction.quota)} here, with ${introduction.keys === 1 ? 'one key' : `${introduction.keys} keys`}; in sitegen.yaml there, if that is how this machine is reached:`);
    print(`backup:\n  servers:\n    - url: ${introduction.url}\n      hostKey: ${introduction.hostKey ?? 'what ssh-keyscan prints of this machine'}`);
  },
};

const list: CommandModule<object, { json?: boolean | undefined }> = {
  command: 'list',
  describe: 'show who keeps what here',
  builder: (yargs) => yargs.option('json', { type: 'boolean', describe: 'print JSON' }),
  async handler({ json }) {
    const { listOwners } = await use();
    const owners = await listOwners();
    if (json) {
      printJson(owners.map(({ keys, ...owner }) => ({ ...owner, keys: keys.map((key) => fingerprintOf(key)) })));
      return;
    }
    if (owners.length === 0) {
      report('nobody keeps backups here; let somebody in: sitegen buddy allow NAME --key FILE');
      return;
    }
    const { red } = colors();
    await printTable(['OWNER', 'SITE', 'DISK', 'QUOTA', 'LAST PUSH', 'CHECKED'], owners.flatMap(({ owner, quota, bytes, sites }) => [
      [owner, sites.length === 1 ? '1 site' : `${sites.length} sites`, formatBytes(bytes), quota === undefined ? 'no key' : formatBytes(quota), '', ''],
      ...sites.map(({ id, bytes: own, lastPush, inspection: { error, checkedAt } }) => ['', id, formatBytes(own), '', lastPush ?? 'never', error === null ? (checkedAt ?? 'not yet') : red(`damaged: ${error}`)]),
    ]));
    for (const { owner, keys } of owners) for (const key of keys) print(`${owner}: ${fingerprintOf(key)} ${key.split(' ').slice(2).join(' ')}`.trimEnd());
  },
};

const revoke: CommandModule<object, { name: string }> = {
  command: 'revoke <name>',
  describe: 'take all keys of another server back; what is kept stays',
  builder: (yargs) => yargs.positional('name', { type: 'string', demandOption: true, describe: 'whose' }),
  async handler({ name }) {
    const { revokeOwner } = await use();
    await revokeOwner(parseOwner(name));
    report(`${name} can neither push nor fetch here any more; what is kept stays: sitegen buddy list`);
  },
};

const erase: CommandModule<object, { name: string; domain: string; yes?: boolean }> = {
  command: 'erase <name> <domain>',
  describe: 'remove all backups of a site that are kept here, for good',
  builder: (yargs) => yargs
    .positional('name', { type: 'string', demandOption: true, describe: 'whose' })
    .positional('domain', { type: 'string', demandOption: true, describe: 'the site' }),
  async handler({ name, domain: named, yes }) {
    const owner = parseOwner(name);
    const domain = parseDomain(named);
    if (yes !== true) await confirm(owner, domain);
    const { eraseSite } = await use();
    await eraseSite(owner, domain);
    report(`nothing is kept of ${owner}'s ${domain} here any more`);
  },
};

const check: CommandModule<object, { due?: boolean | undefined }> = {
  command: 'check',
  describe: 'read all that is kept here in full; happens by itself once a week',
  // What the unit runs each day.
  builder: (yargs) => yargs.option('due', { type: 'boolean', hidden: true }),
  async handler({ due = false }) {
    const [{ lookAfterAll }, { loadDefaults }] = await Promise.all([use(), import('../lib/usecases/settings.ts')]);
    const well = await lookAfterAll(await loadDefaults(), !due);
    if (well && !due) report('all that is kept here is whole');
    if (!well) process.exitCode = 1;
  },
};

/** `sitegen buddy …`: keeps the backups of other servers on this machine. */
export const buddyCommand: CommandModule = {
  command: 'buddy <command>',
  describe: 'keep the backups of other servers here',
  builder: (yargs: Argv) => yargs.command(allow).command(list).command(revoke).command(erase).command(check).demandCommand(1, 'no command given'),
  handler: () => undefined,
};

async function confirm(owner: string, domain: string): Promise<void> {
  if (!process.stdin.isTTY) throw usageError(`all backups of ${domain} would be removed, and there is no terminal to ask on`, 'repeat it with --yes');
  const { createInterface } = await import('node:readline/promises');
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await prompt.question(`Remove all backups of ${owner}'s ${domain} from this machine? Type the domain to confirm: `);
    if (answer.trim() !== domain) throw new SitegenError('nothing was removed');
  } finally {
    prompt.close();
  }
}

/** A key as it was typed, or what the file of that name has. */
async function readKey(text: string): Promise<string> {
  if (/^(ssh-|ecdsa-|sk-)/.test(text)) return text;
  const { readIfThere } = await import('../lib/effects/files.ts');
  const content = await readIfThere(text);
  if (content === undefined) throw usageError(`there is no file ${text}`, 'give the public key itself, or a file with it');
  return content;
}
