import { existsSync, mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import test from 'ava';
import { eraseHeld, listHeld, lookAfter } from '../../../lib/usecases/buddy-held.ts';
import { makeServers } from './_servers.ts';

const care = { keepMs: 365 * 86_400_000, now: new Date(), all: true, report: () => undefined };

test.serial('a repository is made by the first push, and says missing, empty and what it has apart', async (t) => {
  const { names, commit, server, git } = makeServers();
  const { store, repository, dir } = server('one');
  t.deepEqual(await store.look('example.com'), { state: 'missing' });
  t.false(existsSync(repository));
  const first = commit('one');
  t.is(await store.push(names.repository, 'example.com', first), 'pushed');
  t.deepEqual(await store.look('example.com'), { state: 'commit', commit: first });
  t.is(git(['symbolic-ref', 'HEAD'], repository), 'refs/heads/main');
  mkdirSync(path.join(dir, 'anna/empty.example.git'));
  git(['init', '--quiet', '--bare', '-b', 'main', path.join(dir, 'anna/empty.example.git')]);
  t.deepEqual(await store.look('empty.example'), { state: 'empty' });
  t.is(await store.known(names.repository), first);
  t.is((await listHeld(dir)).length, 2);
});

test.serial('main goes forward alone, other commits go beside it, and nothing that is there goes', async (t) => {
  const { names, commit, server, git } = makeServers();
  const { store, repository } = server('one');
  const push = (...specs: string[]) => {
    try {
      git(['-c', 'core.sshCommand=ssh', '-c', 'ssh.variant=ssh', 'push', '--force', 'ssh://x@one/example.com.git', ...specs]);
      return '';
    } catch (error) {
      return (error as { stderr: string }).stderr;
    }
  };
  const first = commit('one');
  const second = commit('two');
  await store.push(names.repository, 'example.com', second);
  const beside = commit('beside', { on: first, branch: 'beside' });
  const refs = () => git(['for-each-ref', '--format=%(refname) %(objectname)'], repository);
  t.is(await store.push(names.repository, 'example.com', beside), 'diverged');
  t.regex(push(`${beside}:refs/heads/main`), /main only goes forward/);
  t.regex(push(`${first}:refs/heads/main`), /main only goes forward/);
  t.regex(push(':refs/heads/main'), /not deleted here|deletion prohibited|denying ref deletion/);
  t.regex(push(`${beside}:refs/tags/v1`), /only "main" and new branches/);
  t.regex(push(`${beside}:refs/heads/other`), /only "main" and new branches/);
  t.regex(push(`${beside}:refs/replace/${first}`), /only "main" and new branches/);
  t.is(refs(), `refs/heads/main ${second}`);
  // What was refused has left nothing, be it for nobody to see.
  t.throws(() => git(['cat-file', '-e', beside], repository));
  await store.pushAside(names.repository, 'example.com', beside, 'recover/web1-1');
  t.is(refs(), `refs/heads/main ${second}\nrefs/heads/recover/web1-1 ${beside}`);
  t.regex(push(`${second}:refs/heads/recover/web1-1`), /is there already/);
  t.regex(push(`${commit('three', { on: beside, branch: 'beside' })}:refs/heads/recover/web1-1`), /is there already/);
  t.regex(push(':refs/heads/recover/web1-1'), /not deleted here|deletion prohibited|denying ref deletion/);
  // One wrong thing refuses all that came with it.
  t.regex(push(`${commit('three', { on: second })}:refs/heads/main`, `${beside}:refs/tags/v2`), /only "main" and new branches/);
  t.is(refs(), `refs/heads/main ${second}\nrefs/heads/recover/web1-1 ${beside}`);
  t.is(git(['count-objects'], repository).split(' ')[0], '0', 'what comes in packs stays in packs');
});

test.serial('a repository cannot loosen what it is received with', async (t) => {
  const { names, commit, server, git, directory } = makeServers();
  const { store, repository } = server('one');
  const first = commit('one');
  const second = commit('two');
  await store.push(names.repository, 'example.com', second);
  for (const [key, value] of [['receive.denyNonFastForwards', 'false'], ['receive.denyDeletes', 'false'], ['core.hooksPath', path.join(directory, 'none')], ['receive.maxInputSize', '0']] as const) git(['config', key, value], repository);
  mkdirSync(path.join(repository, 'hooks'), { recursive: true });
  writeFileSync(path.join(repository, 'hooks/post-receive'), `#!/bin/sh\ntouch ${directory}/executed\n`, { mode: 0o755 });
  t.throws(() => git(['-c', 'core.sshCommand=ssh', 'push', '--force', 'ssh://x@one/example.com.git', `${first}:refs/heads/main`]), { message: /main only goes forward/ });
  await store.push(names.repository, 'example.com', commit('three'));
  t.false(existsSync(path.join(directory, 'executed')));
});

test.serial('a quota holds for all sites of an owner, and says so', async (t) => {
  const { names, commit, server, directory } = makeServers();
  const { store, dir } = server('one', 3_000_000);
  await store.push(names.repository, 'example.com', commit(randomBytes(1_000_000).toString('base64')));
  const big = commit(randomBytes(3_000_000).toString('base64'));
  await t.throwsAsync(store.push(names.repository, 'example.com', big), { message: /pack exceeds maximum allowed size|quota/ });
  await t.throwsAsync(store.push(names.repository, 'other.example', big), { message: /pack exceeds maximum allowed size|quota/ });
  writeFileSync(path.join(dir, 'anna/ballast'), randomBytes(2_500_000));
  const error = await t.throwsAsync(store.push(names.repository, 'example.com', big));
  t.regex(error.message, /cannot push to ssh:\/\/sitegen-buddy@one\/example\.com\.git: the quota of anna is used up/);
  t.deepEqual(readdirSync(path.join(dir, 'anna/example.com.git/objects')).filter((name) => name.startsWith('tmp') || name.startsWith('incoming')), []);
  t.true(readFileSync(path.join(directory, 'ssh.log'), 'utf8').includes('StrictHostKeyChecking=yes'));
});

test.serial('what a killed push has left is removed by the next one', async (t) => {
  const { names, commit, server } = makeServers();
  const { store, repository } = server('one');
  await store.push(names.repository, 'example.com', commit('one'));
  mkdirSync(path.join(repository, 'objects/tmp_objdir-incoming-a1b2/pack'), { recursive: true });
  writeFileSync(path.join(repository, 'objects/tmp_objdir-incoming-a1b2/pack/tmp_pack_x'), 'x');
  for (const lock of ['refs/heads/main.lock', 'HEAD.lock', 'packed-refs.lock', 'shallow.lock', 'objects/pack/tmp_idx_1']) writeFileSync(path.join(repository, lock), '');
  const second = commit('two');
  t.is(await store.push(names.repository, 'example.com', second), 'pushed');
  t.is(await store.head('example.com'), second);
  t.deepEqual(readdirSync(path.join(repository, 'objects')).sort(), ['info', 'pack']);
  t.false(existsSync(path.join(repository, 'shallow.lock')));
});

test.serial('a client that falls silent is ended, and the next one is served', async (t) => {
  const { names, commit, server, directory } = makeServers();
  const { store, repository } = server('one', 1024 ** 3, 2000);
  await store.push(names.repository, 'example.com', commit('one'));
  const began = Date.now();
  t.throws(() => execFileSync('sh', ['-c', `sleep 9 | SSH_ORIGINAL_COMMAND="git-receive-pack '/example.com.git'" '${directory}/bin/one'`], { cwd: path.resolve(import.meta.dirname, '../../..'), stdio: ['ignore', 'pipe', 'pipe'], timeout: 120_000 }), { message: /nothing came for/ });
  t.true(Date.now() - began < 60_000);
  t.is(await store.push(names.repository, 'example.com', commit('two')), 'pushed');
  t.true(existsSync(repository));
});

test.serial('an emptied file is found by the look at all of it, and the repository refuses from then on', async (t) => {
  const { names, commit, server } = makeServers();
  const { store, dir, repository } = server('one');
  const first = commit('one');
  await store.push(names.repository, 'example.com', first);
  t.deepEqual(await lookAfter({ ...care, dir }), []);
  const [pack = ''] = readdirSync(path.join(repository, 'objects/pack')).filter((name) => name.endsWith('.pack'));
  execFileSync('chmod', ['u+w', path.join(repository, 'objects/pack', pack)]);
  truncateSync(path.join(repository, 'objects/pack', pack));
  t.is(await store.head('example.com'), first, 'asking for the commit does not find it');
  const [fault = ''] = await lookAfter({ ...care, dir });
  t.regex(fault, /^anna: example\.com: damaged: /);
  await t.throwsAsync(store.head('example.com'), { message: /this repository is damaged, as found on/ });
  await t.throwsAsync(store.push(names.repository, 'example.com', commit('two')), { message: /this repository is damaged/ });
  t.not((await listHeld(dir))[0]?.inspection.error, null);
  t.true(await eraseHeld('anna', 'example.com', dir));
  t.false(await eraseHeld('anna', 'example.com', dir));
  t.deepEqual(await store.look('example.com'), { state: 'missing' });
});

test.serial('branches that are gone are damage', async (t) => {
  const { names, commit, server } = makeServers();
  const { store, dir, repository } = server('one');
  await store.push(names.repository, 'example.com', commit('one'));
  truncateSync(path.join(repository, 'refs/heads/main'));
  t.regex((await lookAfter({ ...care, dir }))[0] ?? '', /damaged: /);
});

test.serial('what is older than history is kept goes, by the receiver\'s own log and whatever dates commits have', async (t) => {
  const { names, commit, server, git } = makeServers();
  const { store, dir, repository } = server('one');
  const commits: string[] = [];
  for (const [index, content] of ['one', 'two', 'three', 'four', 'five'].entries()) {
    // Dates of commits that would say the reverse.
    commits.push(commit(`${content} ${randomBytes(3000).toString('hex')}`, { time: `20${40 - index}-01-01T00:00:00Z` }));
    await store.push(names.repository, 'example.com', commits.at(-1) ?? '');
  }
  await store.pushAside(names.repository, 'example.com', commits[1] ?? '', 'recover/web1-old');
  const day = 86_400;
  const now = Math.floor(Date.now() / 1000);
  const log = path.join(repository, 'logs/refs/heads/main');
  const ages = [400, 390, 380, 100, 1];
  // HEAD has a log of its own.
  for (const file of [log, path.join(repository, 'logs/HEAD')]) {
    writeFileSync(file, readFileSync(file, 'utf8').trimEnd().split('\n').map((line, index) => `${line.replace(/> \d+ /, `> ${now - (ages[index] ?? 0) * day} `)}\n`).join(''));
  }
  const aside = path.join(repository, 'logs/refs/heads/recover/web1-old');
  writeFileSync(aside, readFileSync(aside, 'utf8').replace(/> \d+ /, `> ${now - 390 * day} `));
  t.deepEqual(await lookAfter({ ...care, dir }), []);
  // A year ago the third one was the backup.
  const left = git(['rev-list', 'refs/heads/main'], repository).split('\n');
  t.deepEqual(left, [commits[4], commits[3], commits[2]]);
  for (const gone of commits.slice(0, 2)) t.throws(() => git(['cat-file', '-e', gone], repository));
  t.is(git(['for-each-ref', '--format=%(refname)'], repository), 'refs/heads/main');
  git(['fsck', '--full', '--strict'], repository);
  const cloned = path.join(dir, 'clone.git');
  git(['clone', '--quiet', '--bare', `file://${repository}`, cloned], undefined);
  t.is(git(['rev-list', '--count', 'main'], cloned), '3');
  // It goes on as before: pushes, fetches into whole and new repositories, and another look.
  const sixth = commit('six');
  t.is(await store.push(names.repository, 'example.com', sixth), 'pushed');
  const fresh = path.join(dir, 'fresh.git');
  t.is(await store.fetch(fresh, 'example.com'), sixth);
  git(['fsck', '--full'], fresh);
  t.is(await store.fetch(names.repository, 'example.com'), sixth);
  t.is(git(['rev-list', '--count', 'main']), '6', 'the owner\'s own history stays whole');
  t.deepEqual(await lookAfter({ ...care, dir }), []);
});

test.serial('a stolen key cannot cut history off by calling its own shallow', async (t) => {
  const { names, commit, server, git, directory } = makeServers();
  const { store, repository } = server('one');
  const commits = ['one', 'two', 'three'].map((content) => commit(content));
  await store.push(names.repository, 'example.com', commits[2] ?? '');
  const thief = path.join(directory, 'thief.git');
  git(['clone', '--quiet', '--bare', '--depth=1', `file://${names.repository}`, thief]);
  const tree = git(['rev-parse', `${commits[2] ?? ''}^{tree}`]);
  const on = git(['commit-tree', '-m', 'x', '-p', commits[2] ?? '', tree], thief);
  git(['-c', 'core.sshCommand=ssh', 'push', 'ssh://x@one/example.com.git', `${on}:refs/heads/main`], thief);
  t.is(git(['rev-list', '--count', 'main'], repository), '4');
  // With a second commit called shallow that the receiver does not have.
  const rootless = git(['commit-tree', '-m', 'y', tree], thief);
  t.throws(() => git(['-c', 'core.sshCommand=ssh', 'push', '--force', 'ssh://x@one/example.com.git', `${rootless}:refs/heads/main`], thief), { message: /main only goes forward/ });
  writeFileSync(path.join(thief, 'shallow'), `${on}\n`);
  const over = git(['commit-tree', '-m', 'z', '-p', on, tree], thief);
  try {
    git(['-c', 'core.sshCommand=ssh', 'push', 'ssh://x@one/example.com.git', `${over}:refs/heads/main`], thief);
  } catch {
    // Refused is as good.
  }
  t.true(Number(git(['rev-list', '--count', 'main'], repository)) >= 4);
  t.false(existsSync(path.join(repository, 'shallow')) && readFileSync(path.join(repository, 'shallow'), 'utf8') !== '');
  t.is(commits.length, 3);
});
