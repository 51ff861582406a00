import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { guestTest, type Guest, type SiteJson } from './_guest.ts';

const readme = await readFile(path.resolve(import.meta.dirname, '../../README.md'), 'utf8');

/** What a reader types on a server, in order. The guest has no sudo, and root needs none. */
const commands = codeBlocks(readme).flatMap((block) => block.split('\n'))
  .map((line) => line.replace(/^sudo /, ''))
  .filter((line) => /^(sitegen|systemctl|journalctl|curl) /.test(line));

guestTest('what the README tells to type works, in its order', async (t, guest) => {
  t.true(commands.length > 8);
  const added = commands.flatMap((line) => /^sitegen add (\S+)/.exec(line)?.[1] ?? []);
  try {
    for (const line of commands) {
      await standIn(guest, line);
      const { code, stdout, stderr } = await guest.run(['bash', '-c', line]);
      t.is(code, 0, `${line}\n${stdout}${stderr}`);
      if (line.startsWith('curl')) t.regex(stdout, line.endsWith('/state') ? /^awake|^asleep/ : line.endsWith('/metrics') ? /^sitegen_site_/m : /This site works/, line);
    }
    const removed = commands.flatMap((line) => /^sitegen remove (\S+)/.exec(line)?.[1] ?? []);
    t.true(removed.length > 1);
    const left = JSON.parse((await guest.sitegen('list', '--json')).stdout) as SiteJson[];
    t.deepEqual(left.filter(({ domain }) => removed.includes(domain)), []);
  } finally {
    for (const domain of added) await guest.sitegen('remove', '--purge', '--backups', '--yes', domain);
  }
});

guestTest('the table of commands names every command, and no other', async (t, guest) => {
  const { stdout } = await guest.sitegen('--help');
  const known = [...stdout.matchAll(/^ {2}sitegen (\S+)/gm)].map(([, name]) => name);
  const table = await readFile(path.resolve(import.meta.dirname, '../../docs/commands.md'), 'utf8');
  const cells = [...table.matchAll(/^\| (`sitegen .*?) \|/gm)].map(([, cell = '']) => cell);
  const named = cells.flatMap((cell) => [...cell.matchAll(/`(?:sitegen )?(\w+)`/g)].map(([, name]) => name));
  t.deepEqual(named.sort(), known.sort());
});

function codeBlocks(text: string): string[] {
  return [...text.matchAll(/^```(\w*)\n(.*?)^```$/gms)].flatMap(([, language, block = '']) => (language === '' ? [block] : []));
}

/** No image can be pulled in the guest; another one takes its name. */
async function standIn(guest: Guest, line: string): Promise<void> {
  const image = / --image (\S+)/.exec(line)?.[1];
  if (image !== undefined) await guest.sh(`docker tag "$(docker images --quiet sitegen/welcome | head -n 1)" ${image}`);
}
