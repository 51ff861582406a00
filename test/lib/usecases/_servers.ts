import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { openStore, type Store, type StoreServer } from '../../../lib/effects/git/store.ts';
import { siteNames, type SiteNames } from '../../../lib/pure/names.ts';

const root = path.resolve(import.meta.dirname, '../../..');
const hostKey = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ9Qe0eVtQ1cX3yWJm0Jb2m0m0m0m0m0m0m0m0m0m0m0';

/** Machines that run tests can be so busy that a server takes half a minute to answer. */
export const patience = { askMs: 300_000 };

/** A site with a repository, and receiving sides of sitegen for it, all in one temporary directory. */
export interface Servers {
  directory: string;
  names: SiteNames;
  /** Real git, in the site's repository unless another is given. */
  git: (args: readonly string[], repository?: string) => string;
  /** A commit on top of the branch, or of another one. @returns its id */
  commit: (content: string, options?: { on?: string | undefined; branch?: string; time?: string }) => string;
  /** A receiving side. Its ssh is a script that runs the forced command, as sshd would. */
  server: (name: string, quota?: number, silentMs?: number) => { server: StoreServer; store: Store; dir: string; repository: string };
}

const made: string[] = [];
process.once('exit', () => { for (const directory of made) rmSync(directory, { recursive: true, force: true }); });

export function makeServers(): Servers {
  const directory = mkdtempSync(path.join(tmpdir(), 'sitegen-servers-'));
  made.push(directory);
  const at = (name: string) => path.join(directory, name);
  const names: SiteNames = {
    ...siteNames('example.com'), repository: at('local.git'), backupState: at('state/example.com.json'), stateLock: at('run/state'), pushLock: at('run/push'), fenceFile: at('state/fence'),
  };
  const git = (args: readonly string[], repository = names.repository) => execFileSync('git', args, {
    encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], HOME: directory, GIT_DIR: repository, GIT_AUTHOR_NAME: 'a', GIT_AUTHOR_EMAIL: 'a', GIT_COMMITTER_NAME: 'a', GIT_COMMITTER_EMAIL: 'a', ...time },
  }).trim();
  let time: Record<string, string> = {};
  execFileSync('git', ['init', '--quiet', '--bare', '-b', 'main', names.repository]);
  mkdirSync(at('hooks'));
  copyFileSync(path.join(root, 'cmd/buddy-pre-receive.sh'), at('hooks/pre-receive'));
  chmodSync(at('hooks/pre-receive'), 0o755);
  mkdirSync(at('bin'));
  return {
    directory, names, git,
    commit(content, { on, branch = 'main', time: when } = {}) {
      time = when === undefined ? {} : { GIT_AUTHOR_DATE: when, GIT_COMMITTER_DATE: when };
      const parent = on ?? git(['for-each-ref', '--format=%(objectname)', `refs/heads/${branch}`]);
      writeFileSync(at('content'), content);
      const blob = git(['hash-object', '-w', at('content')]);
      const tree = execFileSync('git', ['mktree'], { input: `100644 blob ${blob}\tfile\n`, encoding: 'utf8', env: { ...process.env, GIT_DIR: names.repository } }).trim();
      const commit = git(['commit-tree', '-m', content.slice(0, 20), ...(parent === '' ? [] : ['-p', parent]), tree]);
      git(['update-ref', `refs/heads/${branch}`, commit]);
      time = {};
      return commit;
    },
    server(name, quota = 1024 ** 3, silentMs = 600_000) {
      const dir = at(name);
      mkdirSync(path.join(dir, 'anna'), { recursive: true });
      // In front of the real one; which server is meant is told by the host.
      writeFileSync(at(`bin/${name}`), `#!/bin/sh\nexec '${process.execPath}' --import tsx '${root}/test/lib/usecases/_buddy-serve.ts' '${dir}' '${at('hooks')}' ${quota} ${silentMs}\n`, { mode: 0o755 });
      writeFileSync(at('bin/ssh'), `#!/bin/sh\necho "$@" >>'${at('ssh.log')}'\nfor last; do before=$host host=$command command=$last; done\ncd '${root}'\nexport SSH_ORIGINAL_COMMAND="$last"\nexec '${at('bin')}'/"\${host#*@}"\n`, { mode: 0o755 });
      process.env['PATH'] = `${at('bin')}:${(process.env['PATH'] ?? '').replace(/^[^:]*sitegen-servers-[^:]*:/, '')}`;
      const server = { url: `ssh://sitegen-buddy@${name}`, hostKey };
      return { server, store: openStore(server, { keyFile: at('key'), hostsDir: at('hosts'), limits: patience }), dir, repository: path.join(dir, 'anna/example.com.git') };
    },
  };
}
