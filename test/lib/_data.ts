import { execFile } from 'node:child_process';
import { createServer, type Server } from 'node:net';
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import type { ExecutionContext } from 'ava';
import { commitSite, type CommitOptions, type CommitResult } from '../../lib/usecases/commit.ts';

/** A site's directories in a folder of their own, and what tests do with them. */
export interface TestSite {
  root: string;
  data: string;
  repository: string;
  cache: string;
  commit(more?: Partial<CommitOptions>): Promise<CommitResult>;
  git(...args: string[]): Promise<string>;
}

/** Removed when the test ends. */
export async function testSite(t: ExecutionContext): Promise<TestSite> {
  const root = await fs.mkdtemp(path.join(os.tmpdir(), 'sitegen-test-'));
  t.teardown(() => fs.rm(root, { recursive: true, force: true }));
  const data = `${root}/site/data`;
  await fs.mkdir(data, { recursive: true });
  const names = { domain: 'x.example.com', dataDir: data, repository: `${root}/x.git`, backupCache: `${root}/x.cache`, usersFile: `${root}/x.users` };
  return {
    root, data, repository: names.repository, cache: names.backupCache,
    commit: (more = {}) => commitSite({ names, exclude: [], meta: [], message: 'x.example.com: backup', date: new Date(), signingKey: undefined, report: () => undefined, settled: 0n, ...more }),
    git: (...args) => run('git', ['--git-dir', names.repository, ...args]),
  };
}

export async function run(program: string, args: readonly string[], cwd = '/'): Promise<string> {
  const { stdout } = await promisify(execFile)(program, args, { cwd, maxBuffer: 256 * 1024 * 1024, encoding: 'latin1', env: { ...process.env, LC_ALL: 'C', GIT_CONFIG_NOSYSTEM: '1', GIT_CONFIG_GLOBAL: '/dev/null' } });
  return stdout;
}

/** Everything that can be seen of a tree: kinds, modes, owners, sizes, times to the microsecond, targets, names, contents. */
export async function listing(directory: string): Promise<string[]> {
  const entries = await run('find', ['.', '(', '-type', 'f', '-printf', '%p %y %m %U %G %s %T@\\0', ')', '-o', '(', '-type', 'l', '-printf', '%p %y %U %G %l\\0', ')', '-o', '(', '-type', 'd', '-printf', '%p %y %m %U %G\\0', ')'], directory);
  const sums = await run('sh', ['-c', 'find . -type f -print0 | sort -z | xargs -0 --no-run-if-empty sha256sum -z --'], directory);
  return [...entries.replaceAll(/(\.\d{6})\d+\0/g, '$1\0').split('\0').sort(), ...sums.split('\0')];
}

/** Names that git, its fsck, or a system that git runs on, takes for something else than names; one character a byte. */
export const trickyNames = [
  '.git', '.GIT', '.Git ', '.git.', '.git::$INDEX_ALLOCATION', 'git~1', 'GIT~2', '.gitmodules', '.GITMODULES', 'gitmod~1', 'gi7eba~1', 'gi~1000000', '~1000000', 'maildi~1',
  '.gitattributes', '.gitignore', '.mailmap', 'a\\.git', 'a\\..\\.git\\config', '.g\xe2\x80\x8cit', '.git\xe2\x80\x8d', '\xef\xbb\xbf.git', '.gi\xe2\x81\xaat',
  '%', '%2e', '%%2egit', '-rf', '--help', '"quoted"', "'", ' ', ' leading', 'trailing ', '\t', '\n', 'new\nline', 'back\\slash', '\x01', '\x7f', '\xff', 'bad\xff\xfe', 'caf\xc3\xa9', '...', '..a', '*', '?', '$(id)', '`id`', 'con', 'a'.repeat(255),
];

const bytes = (...parts: string[]) => Buffer.from(parts.join('/'), 'latin1');

/**
 * Fills a directory with what a hostile site may have.
 * @param marker a file that any program of the site's would make, were it run
 */
export async function makeHostile(t: ExecutionContext, directory: string, marker: string): Promise<void> {
  const touch = `#!/bin/sh\ntouch ${marker}\n`;
  // A repository that would run programs, were git ever to look at it.
  await fs.mkdir(`${directory}/app/.git/hooks`, { recursive: true });
  await run('git', ['init', '-q', directory]);
  for (const folder of [directory, `${directory}/app`]) {
    await fs.writeFile(`${folder}/.git/config`, `[core]\n\tfsmonitor = "touch ${marker}; false"\n\thooksPath = hooks\n[filter "evil"]\n\tclean = touch ${marker}\n\tsmudge = touch ${marker}\n\trequired = true\n[diff "evil"]\n\ttextconv = touch ${marker}\n`);
    for (const hook of ['pre-commit', 'post-commit', 'post-index-change', 'reference-transaction']) await fs.writeFile(`${folder}/.git/hooks/${hook}`, touch, { mode: 0o755 });
    await fs.writeFile(`${folder}/.gitattributes`, '* filter=evil diff=evil ident eol=crlf working-tree-encoding=UTF-16\n*.secret export-ignore\n');
    await fs.writeFile(`${folder}/.gitignore`, '*\n');
    await fs.writeFile(`${folder}/text.secret`, '$Id$\r\nline\n');
  }
  await fs.mkdir(`${directory}/names/below`, { recursive: true });
  for (const name of trickyNames) {
    await fs.writeFile(bytes(directory, 'names', name), name.toLowerCase().includes('modules') || name.startsWith('gi7') ? '[submodule "../../evil"]\n\tpath = -evil\n\turl = --upload-pack=evil\n' : name, 'latin1');
    await fs.mkdir(bytes(directory, 'names/below', name));
    await fs.writeFile(bytes(directory, 'names/below', name, 'config'), name, 'latin1');
  }
  await fs.mkdir(`${directory}/links`);
  for (const [name, target] of [['shadow', '/etc/shadow'], ['.gitmodules', '/etc/passwd'], ['.gitattributes', '../names/%'], ['up', '../../../..'], ['loop', 'loop'], ['nothing', 'a\nb\xff'], ['-rf', '-rf']] as const) await fs.symlink(bytes(target), bytes(directory, 'links', name));
  await fs.mkdir(`${directory}/kinds/empty`, { recursive: true });
  await run('mkfifo', [`${directory}/kinds/fifo`]);
  const server = await listen(`${directory}/kinds/socket`);
  t.teardown(() => { server.close(); });
  await fs.writeFile(`${directory}/kinds/nothing`, '');
  await fs.writeFile(`${directory}/kinds/one`, '1');
  await fs.link(`${directory}/kinds/one`, `${directory}/kinds/the-same`);
  await fs.writeFile(`${directory}/kinds/suid`, touch);
  await fs.writeFile(`${directory}/kinds/closed`, 'x');
  await fs.writeFile(`${directory}/kinds/old`, 'x');
  await fs.utimes(`${directory}/kinds/old`, 0, 981_173_106.789012);
  const sparse = await fs.open(`${directory}/kinds/sparse`, 'w');
  await sparse.write('in the middle', 100 * 1024 * 1024);
  await sparse.truncate(200 * 1024 * 1024);
  await sparse.close();
  if (process.getuid?.() === 0) {
    await fs.chown(`${directory}/kinds/suid`, 33, 65_534);
    await fs.chown(`${directory}/kinds/empty`, 1000, 33);
    await fs.lchown(`${directory}/links/up`, 33, 33);
    await fs.chown(directory, 33, 33);
  }
  await fs.chmod(`${directory}/kinds/suid`, 0o6711);
  await fs.chmod(`${directory}/kinds/closed`, 0);
  await fs.chmod(`${directory}/kinds/empty`, 0o1777);
  await run('sh', ['-c', 'mkdir many && cd many && seq 10000 | xargs mkdir'], directory);
  await fs.writeFile(`${directory}/many/77/file`, 'x');
}

async function listen(socket: string): Promise<Server> {
  const server = createServer();
  await new Promise<void>((resolve) => { server.listen(socket, resolve); });
  return server;
}
