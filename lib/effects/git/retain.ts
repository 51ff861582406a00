import fs from 'node:fs/promises';
import { SitegenError } from '../../pure/errors.ts';
import { askGit } from './process.ts';

/**
 * Old history is given up by a shallow boundary (gitformat-shallow): the commits at it are taken for
 * the first ones from then on, so ids stay what they are and what is kept can still be compared with
 * other repositories, pushed and fetched. Whoever calls holds the repository's lock, as what is cut
 * off is deleted at once.
 */

/**
 * Cuts off all that came before a commit, which becomes the oldest one. Ends of other branches stay,
 * whatever their age. Does nothing when there is nothing before it.
 * @param reflogMs entries of reflogs before this time, ms since 1970, are given up too; they would keep what they name
 * @returns whether anything was cut off
 * @throws SitegenError when the repository is damaged; its history is whole then
 */
export async function cutHistory(repository: string, commit: string, reflogMs: number | undefined): Promise<boolean> {
  const what = `shorten the history of ${repository}`;
  const ask = (...args: string[]) => askGit({ repository, what, args });
  const tips = lines(await ask('for-each-ref', '--format=%(objectname)'));
  if (lines(await ask('rev-list', '--max-count=2', commit)).length < 2) return false;
  // What is left when the commit's parents and all before them are taken away.
  const kept = new Map(lines(await ask('rev-list', '--parents', ...tips, '--not', `${commit}^@`)).map((line) => {
    const [id = '', ...parents] = line.split(' ');
    return [id, parents] as const;
  }));
  if (!kept.has(commit)) throw new SitegenError(`cannot ${what}: no branch has ${commit}`);
  const boundary = new Set(tips.filter((tip) => !kept.has(tip)));
  for (const [id, parents] of kept) {
    const gone = parents.filter((parent) => !kept.has(parent));
    if (gone.length === 0) continue;
    if (gone.length === parents.length) boundary.add(id);
    // A boundary has no parents at all, and one of this merge's stays: so the others are the boundary.
    else for (const parent of gone) boundary.add(parent);
  }
  const before = lines(await fs.readFile(`${repository}/shallow`, 'utf8').catch(() => ''));
  await writeShallow(repository, [...before.filter((id) => kept.has(id)), ...boundary]);
  if (reflogMs !== undefined) await ask('reflog', 'expire', `--expire=${Math.floor(reflogMs / 1000)}`, `--expire-unreachable=${Math.floor(reflogMs / 1000)}`, '--all');
  await ask('repack', '-a', '-d', '-q');
  await ask('prune', '--expire=now');
  return true;
}

/**
 * The commit that a local repository keeps as its oldest one, so that all since a time stays. By the
 * dates of the commits, which are this machine's own; one that has a wrong date keeps what came
 * before it. Never later than what any server has, or a push could not be compared with it.
 * @param sinceMs ms since 1970
 * @returns undefined when nothing can go
 */
export async function oldestToKeep(repository: string, sinceMs: number): Promise<string | undefined> {
  const ask = (...args: string[]) => askGit({ repository, what: `read ${repository}`, args });
  const dated = lines(await ask('log', '--first-parent', '--format=%H %ct', 'refs/heads/main')).map((line) => line.split(' '));
  const ids = dated.map(([id = '']) => id);
  const servers = lines(await ask('for-each-ref', '--format=%(objectname)', 'refs/remotes')).map((id) => ids.indexOf(id));
  if (servers.includes(-1)) return undefined;
  const last = dated.reduce((found, [, seconds], index) => (Number(seconds) * 1000 >= sinceMs ? index : found), 0);
  const index = Math.max(last, ...servers);
  return index < ids.length - 1 ? ids[index] : undefined;
}

/** An entry of a branch's log: what it was moved to, and when, by the clock of this machine. */
export interface LogLine {
  commit: string;
  atMs: number;
}

/** The log of a branch, the oldest entry first; none without one. */
export async function reflogOf(repository: string, ref: string): Promise<LogLine[]> {
  const text = await fs.readFile(`${repository}/logs/${ref}`, 'utf8').catch(() => '');
  return lines(text).flatMap((line) => {
    const match = /^[0-9a-f]+ ([0-9a-f]+) .*> (\d+) [+-]\d{4}(\t|$)/.exec(line);
    return match ? [{ commit: match[1] ?? '', atMs: Number(match[2]) * 1000 }] : [];
  });
}

/** Git has no command that writes it; it takes the same lock. */
async function writeShallow(repository: string, ids: readonly string[]): Promise<void> {
  const lock = `${repository}/shallow.lock`;
  try {
    const handle = await fs.open(lock, 'wx');
    try {
      await handle.writeFile([...new Set(ids)].sort().map((id) => `${id}\n`).join(''));
      await handle.sync();
    } finally {
      await handle.close();
    }
    await fs.rename(lock, `${repository}/shallow`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') await fs.rm(lock, { force: true });
    throw new SitegenError(`cannot write ${repository}/shallow: ${(error as NodeJS.ErrnoException).code ?? String(error)}`, { hint: 'is there room? df -h', cause: error });
  }
}

const lines = (text: string) => text.split('\n').filter((line) => line !== '');
