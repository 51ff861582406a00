import { createHash } from 'node:crypto';
import { SitegenError } from '../../pure/errors.ts';
import { askGit, recordsOf, startGit } from './process.ts';

/** Reads commits of a site's repository; contents are streamed and checked against their ids. */

/** An entry of a commit's tree. */
export interface TreeEntry {
  mode: string;
  type: string;
  id: string;
  /** One character a byte. */
  path: string;
}

/** What can be read at once, from one process of git; one call after the other. */
export interface Objects {
  /**
   * Content of an object.
   * @param limit bytes beyond which it is an error
   * @returns undefined when the repository does not have it
   * @throws SitegenError when it is not what its id says
   */
  read(id: string, limit: number): Promise<{ type: string; content: Buffer } | undefined>;
  /** The same in parts, of one content; the check comes after the last part. */
  stream(id: string): AsyncGenerator<Buffer, void>;
  close(): void;
}

/** The commit at the end of the repository's branch, or of another revision; undefined where there is none. */
export async function headOf(repository: string, revision = 'refs/heads/main'): Promise<string | undefined> {
  const found = await askGit({ repository, what: `read ${repository}`, args: ['rev-parse', '--verify', '--quiet', '--end-of-options', `${revision}^{commit}`] }).catch((error: unknown) => {
    // Said without a word when there is no such revision, or no repository.
    if (error instanceof SitegenError && /git ended with 1$|not a git repository/i.test(error.message)) return undefined;
    throw error;
  });
  return found?.split('\n').at(-1);
}

/** All files and links of a commit, in git's order. */
export async function* treeOf(repository: string, commit: string): AsyncGenerator<TreeEntry> {
  for await (const record of recordsOf({ repository, what: `read ${commit} of ${repository}`, args: ['ls-tree', '-r', '-z', '--full-tree', commit] })) {
    const match = /^(\d+) (\w+) ([0-9a-f]+)\t(.*)$/s.exec(record);
    if (!match) throw new SitegenError(`${repository} is damaged: git lists ${JSON.stringify(record)} in ${commit}`, { hint: 'take another server\'s repository' });
    const [, mode = '', type = '', id = '', path = ''] = match;
    yield { mode, type, id, path };
  }
}

/** Opens a repository for reading objects by their ids. */
export function openObjects(repository: string): Objects {
  const what = `read ${repository}`;
  const { child, ended } = startGit({ repository, what, args: ['cat-file', '--batch'], config: ['core.bigFileThreshold=1m'] });
  const chunks = child.stdout[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  let rest: Buffer = Buffer.alloc(0);
  const more = async () => {
    const next = await chunks.next();
    if (next.done !== true) return next.value;
    await ended;
    throw new SitegenError(`cannot ${what}: git ended too early`);
  };
  /** The next bytes, at least one and at most `most`. */
  const take = async (most: number) => {
    if (rest.length === 0) rest = await more();
    const part = rest.subarray(0, most);
    rest = rest.subarray(part.length);
    return part;
  };
  const takeLine = async () => {
    let line = '';
    for (;;) {
      if (rest.length === 0) rest = await more();
      const end = rest.indexOf(10);
      line += rest.subarray(0, end === -1 ? rest.length : end).toString('latin1');
      rest = end === -1 ? Buffer.alloc(0) : rest.subarray(end + 1);
      if (end !== -1) return line;
    }
  };
  const begin = async (id: string) => {
    if (!/^[0-9a-f]{40}$/.test(id)) throw new Error(`${id} is no id`);
    child.stdin.write(`${id}\n`);
    const match = /^[0-9a-f]{40} (\w+) (\d+)$/.exec(await takeLine());
    return match === null ? undefined : { type: match[1] ?? '', size: Number(match[2]) };
  };
  /** Parts of the object that `begin` has found. */
  async function* content(id: string, { type, size }: { type: string; size: number }): AsyncGenerator<Buffer, void> {
    const hash = createHash('sha1').update(`${type} ${size}\0`);
    for (let left = size; left > 0;) {
      const part = await take(left);
      left -= part.length;
      hash.update(part);
      yield part;
    }
    await take(1);
    if (hash.digest('hex') !== id) throw damaged(repository, id);
  }
  return {
    async read(id, limit) {
      const found = await begin(id);
      if (!found) return undefined;
      if (found.size > limit) throw new SitegenError(`${id} of ${repository} has ${found.size} bytes, more than the ${limit} that are expected`, { hint: 'take another commit' });
      const parts: Buffer[] = [];
      for await (const part of content(id, found)) parts.push(part);
      return { type: found.type, content: Buffer.concat(parts) };
    },
    async *stream(id) {
      const found = await begin(id);
      if (found?.type !== 'blob') throw damaged(repository, id);
      yield* content(id, found);
    },
    close() {
      child.stdin.end();
      child.kill('SIGKILL');
    },
  };
}

function damaged(repository: string, id: string): SitegenError {
  return new SitegenError(`${repository} is damaged: the object ${id} is missing or not what it should be`, { hint: 'take another server\'s repository, or another commit' });
}

/** Entries of a tree object; one character a byte. */
export function parseTree(content: Buffer): { mode: string; name: string; id: string }[] {
  const entries: { mode: string; name: string; id: string }[] = [];
  for (let at = 0; at < content.length;) {
    const space = content.indexOf(32, at);
    const zero = content.indexOf(0, space);
    if (space === -1 || zero === -1 || zero + 21 > content.length) throw new SitegenError('a tree of the repository is damaged', { hint: 'take another server\'s repository' });
    entries.push({ mode: content.toString('latin1', at, space), name: content.toString('latin1', space + 1, zero), id: content.toString('hex', zero + 1, zero + 21) });
    at = zero + 21;
  }
  return entries;
}

/** A commit as people look for it. */
export interface LogEntry {
  commit: string;
  date: Date;
  subject: string;
  /** Bytes that the repository keeps for what it changed. */
  bytes: number;
}

/** The latest commits up to a revision, at most `count`, the latest first; none where there is no such revision. */
export async function log(repository: string, revision: string, count: number): Promise<LogEntry[]> {
  if (await headOf(repository, revision) === undefined) return [];
  const entries: (LogEntry & { ids: string[] })[] = [];
  const args = ['log', `--max-count=${count}`, '--first-parent', '--raw', '--root', '--no-abbrev', '--no-renames', '-z', '--format=commit %H %ct %s', '--end-of-options', revision];
  for await (const record of recordsOf({ repository, what: `read ${repository}`, args })) {
    const begin = /^\n?commit ([0-9a-f]{40}) (\d+) (.*)$/s.exec(record);
    const change = /^\n?:\d+ \d+ [0-9a-f]+ ([0-9a-f]+) /.exec(record);
    if (begin) entries.push({ commit: begin[1] ?? '', date: new Date(Number(begin[2]) * 1000), subject: Buffer.from(begin[3] ?? '', 'latin1').toString('utf8'), bytes: 0, ids: [] });
    else if (change) entries.at(-1)?.ids.push(change[1] ?? '');
  }
  const sizes = await sizesOf(repository, entries.flatMap(({ ids }) => ids).filter((id) => !/^0+$/.test(id)));
  return entries.map(({ ids, ...entry }) => ({ ...entry, bytes: ids.reduce((sum, id) => sum + (sizes.get(id) ?? 0), 0) }));
}

async function sizesOf(repository: string, ids: readonly string[]): Promise<Map<string, number>> {
  const answer = await askGit({ repository, what: `read ${repository}`, args: ['cat-file', '--batch-check=%(objectname) %(objectsize:disk)'] }, ids.map((id) => `${id}\n`).join(''));
  return new Map(answer.split('\n').map((line) => [line.slice(0, 40), Number(line.slice(41)) || 0]));
}

/** True when the first commit is the second one or comes before it; false too when one of them is unknown here. */
export async function isAncestor(repository: string, ancestor: string, commit: string): Promise<boolean> {
  if (await headOf(repository, ancestor) === undefined || await headOf(repository, commit) === undefined) return false;
  return askGit({ repository, what: `compare commits of ${repository}`, args: ['merge-base', '--is-ancestor', ancestor, commit] }).then(() => true, (error: unknown) => {
    if (error instanceof SitegenError && error.message.endsWith('git ended with 1')) return false;
    throw error;
  });
}
