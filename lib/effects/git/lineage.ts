import os from 'node:os';
import { SitegenError } from '../../pure/errors.ts';
import { askGit } from './process.ts';

/** The histories in a site's repository: which commit somebody means, and where the branch of this machine goes on. */

/** A commit in a few words, for whoever has to choose. */
export interface Summary {
  commit: string;
  /** When it was made, by the clock of whoever made it; ISO 8601. */
  time: string;
  subject: string;
}

/** Time and subject of a commit. */
export async function summaryOf(repository: string, commit: string): Promise<Summary> {
  const [time = '', subject = ''] = (await askGit({ repository, what: `read ${commit}`, args: ['show', '--no-patch', '--no-show-signature', '--format=%cI%n%s', commit] })).split('\n');
  return { commit, time, subject };
}

/** What one commit has that others have not: how many commits, and how many files they changed. */
export async function ownChanges(repository: string, commit: string, others: readonly string[]): Promise<{ commits: number; files: string }> {
  const what = `compare ${commit}`;
  const commits = Number(await askGit({ repository, what, args: ['rev-list', '--count', commit, ...others.map((other) => `^${other}`)] }));
  const [base] = (await askGit({ repository, what, args: ['merge-base', '--octopus', commit, ...others] }).catch(() => '')).split('\n');
  const files = base === undefined || base === '' ? '' : await askGit({ repository, what, args: ['diff', '--shortstat', '--no-ext-diff', '--no-textconv', base, commit] });
  return { commits, files: /(\d+ files? changed)/.exec(files)?.[1] ?? 'nothing in common' };
}

/**
 * The commit that part of an id stands for, when it is in one of some histories.
 * @throws SitegenError when none or several are meant
 */
export async function findCommit(repository: string, part: string, tips: readonly string[]): Promise<string> {
  const what = `find the commit ${part}`;
  const all = await askGit({ repository, what, args: ['rev-list', ...tips] });
  const found = all.split('\n').filter((commit) => commit.startsWith(part));
  if (found.length === 1 && found[0] !== undefined) return found[0];
  throw new SitegenError(found.length === 0 ? `there is no commit ${part} of it` : `${part} stands for ${found.length} commits`, { hint: found.length === 0 ? undefined : 'write more of its id' });
}

/** The last commit of a history that was made by a time, ISO 8601; undefined when all are later. */
export async function commitAt(repository: string, tip: string, time: string): Promise<string | undefined> {
  const found = await askGit({ repository, what: `find the commit of ${time}`, args: ['rev-list', '--max-count=1', '--first-parent', `--before=${time}`, tip] });
  return found === '' ? undefined : found;
}

/** Moves this machine's branch. @param from where it is; undefined: there is none yet; `anywhere`: that does not matter. @throws SitegenError when it is elsewhere by now */
export async function moveMain(repository: string, to: string, from: string | undefined): Promise<void> {
  await askGit({ repository, what: `move the branch of ${repository}`, args: ['update-ref', 'refs/heads/main', to, ...(from === 'anywhere' ? [] : [from ?? '0'.repeat(to.length)])] });
}

/** Forgets what servers have had of a repository, as it has another name there from now on. */
export async function forgetServers(repository: string): Promise<void> {
  const what = `read ${repository}`;
  const refs = await askGit({ repository, what, args: ['for-each-ref', '--format=delete %(refname)', 'refs/remotes'] });
  if (refs !== '') await askGit({ repository, what, args: ['update-ref', '--stdin'] }, `${refs}\n`);
}

/**
 * Makes a commit with the files of one and the histories of several, which ends their being apart:
 * every server can go on from what it has.
 * @param of the commit whose files it has; first among its parents
 * @param signingKey private key that the commit is signed with
 * @returns the new commit; no branch is moved
 */
export async function joinHistories(repository: string, options: { of: string; with: readonly string[]; message: string; signingKey: string }): Promise<string> {
  return commitTree(repository, { tree: `${options.of}^{tree}`, parents: [options.of, ...options.with], ...options });
}

/**
 * Makes a commit that differs from another by one small file.
 * @param path in a directory at the top
 * @returns the new commit; no branch is moved
 */
export async function commitFile(repository: string, options: { parent: string; path: `${string}/${string}`; content: string; message: string; signingKey: string }): Promise<string> {
  const { parent, path } = options;
  const what = `write into ${repository}`;
  const [directory = '', name = ''] = path.split('/');
  const blob = await askGit({ repository, what, config: synced, args: ['hash-object', '-w', '--stdin'] }, options.content);
  const inner = await replaceEntry(repository, `${parent}:${directory}`, `100644 blob ${blob}`, name);
  return commitTree(repository, { tree: await replaceEntry(repository, `${parent}^{tree}`, `040000 tree ${inner}`, directory), parents: [parent], ...options });
}

const synced = ['core.fsync=all'];

/** The tree that another one is with one entry more, or another; its id. */
async function replaceEntry(repository: string, tree: string, entry: string, name: string): Promise<string> {
  const what = `read ${repository}`;
  const records = (await askGit({ repository, what, args: ['ls-tree', '-z', '--full-tree', tree] })).split('\0').filter((record) => record !== '' && !record.endsWith(`\t${name}`));
  return askGit({ repository, what, config: synced, args: ['mktree', '-z'] }, [...records, `${entry}\t${name}`].map((record) => `${record}\0`).join(''));
}

async function commitTree(repository: string, { tree, parents, message, signingKey }: { tree: string; parents: readonly string[]; message: string; signingKey: string }): Promise<string> {
  const who = { NAME: 'sitegen', EMAIL: `sitegen@${os.hostname()}` };
  return askGit({
    repository,
    what: `commit to ${repository}`,
    config: ['gpg.format=ssh', `user.signingKey=${signingKey}`, ...synced],
    environment: Object.fromEntries(['AUTHOR', 'COMMITTER'].flatMap((role) => Object.entries(who).map(([part, value]) => [`GIT_${role}_${part}`, value]))),
    args: ['commit-tree', '-S', ...parents.flatMap((commit) => ['-p', commit]), '-m', message, tree],
  });
}
