import { rmSync } from 'node:fs';
import path from 'node:path';
import test from 'ava';
import { cutHistory, oldestToKeep } from '../../../lib/effects/git/retain.ts';
import { openStore, type StoreServer } from '../../../lib/effects/git/store.ts';
import type { Epoch } from '../../../lib/pure/backup.ts';
import { readState } from '../../../lib/usecases/backup-state.ts';
import { pushAll, type PushDeps } from '../../../lib/usecases/push.ts';
import { makeServers, patience, type Servers } from './_servers.ts';

const epoch = (number: number): Epoch => ({ epoch: number, server: 'web2', key: `SHA256:${number}`, address: 'web2.example.com' });

/** What a push needs, with everything that it would do to the machine written down. */
function deps({ directory }: Servers, servers: readonly StoreServer[], given: Partial<PushDeps> = {}): PushDeps & { fenced: string[] } {
  const fenced: string[] = [];
  return {
    servers, fenced, now: () => new Date('2026-11-21T19:00:00Z'), report: () => undefined,
    localEpoch: () => Promise.resolve(epoch(1)), epochOf: () => Promise.resolve(epoch(1)), trusted: () => Promise.resolve(true),
    fence: (_names, by, commit) => { fenced.push(`${by.server} ${by.epoch} ${commit}`); return Promise.resolve(); },
    open: (server) => openStore(server, { keyFile: path.join(directory, 'key'), hostsDir: path.join(directory, 'hosts'), limits: patience }),
    ...given,
  };
}

test.serial('each server gets the commit, and one that is down keeps no other', async (t) => {
  const servers = makeServers();
  const { names, commit } = servers;
  const one = servers.server('one');
  const down = { url: 'ssh://x@down', hostKey: one.server.hostKey };
  t.deepEqual(await pushAll(names, deps(servers, [one.server])), { done: true, lines: ['there is no backup of it yet'] });
  const first = commit('one');
  const result = await pushAll(names, deps(servers, [down, one.server]));
  t.false(result.done);
  t.regex(result.lines[0] ?? '', /^ssh:\/\/x@down: cannot ask ssh:\/\/x@down for example\.com: /);
  t.is(result.lines[1], `${one.server.url}: has ${first.slice(0, 10)}`);
  const state = await readState(names);
  t.like(state.servers[one.server.url], { commit: first, acknowledged: true, error: null });
  t.like(state.servers[down.url], { commit: null, acknowledged: false, since: '2026-11-21T19:00:00.000Z' });
  t.is(result.commit, first);
  t.is(await one.store.head('example.com'), first);
  // Back again, and up to date.
  const two = servers.server('two');
  const second = commit('two');
  t.true((await pushAll(names, deps(servers, [one.server, two.server]))).done);
  t.is(await two.store.head('example.com'), second);
  t.true((await pushAll(names, deps(servers, [one.server, two.server]))).done);
  t.is((await readState(names)).servers[two.server.url]?.since, undefined);
});

test.serial('a repository that was emptied is an alarm, with or without what was written down, until somebody says that it was meant', async (t) => {
  const servers = makeServers();
  const { names, commit } = servers;
  const one = servers.server('one');
  const first = commit('one');
  t.true((await pushAll(names, deps(servers, [one.server]))).done);
  rmSync(one.repository, { recursive: true });
  for (let round = 0; round < 2; round += 1) {
    const { done, lines } = await pushAll(names, deps(servers, [one.server]));
    t.false(done);
    t.regex(lines[0] ?? '', /it has lost this backup: its repository is empty or gone; ask its admin; if that was on purpose: /);
    t.like((await readState(names)).servers[one.server.url], { commit: null, acknowledged: true });
    rmSync(names.backupState);
  }
  t.true((await pushAll(names, deps(servers, [one.server], { refill: true }))).done);
  t.is(await one.store.head('example.com'), first);
});

test.serial('another history stays, ours goes beside it once, and that is an error until it is settled', async (t) => {
  const servers = makeServers();
  const { names, commit, git } = servers;
  const one = servers.server('one');
  const first = commit('one');
  t.true((await pushAll(names, deps(servers, [one.server]))).done);
  const theirs = commit('theirs', { on: first, branch: 'theirs' });
  await one.store.push(names.repository, 'example.com', theirs);
  git(['update-ref', '-d', 'refs/heads/theirs']);
  const ours = commit('ours');
  const { done, lines } = await pushAll(names, deps(servers, [one.server]));
  t.false(done);
  t.regex(lines[0] ?? '', new RegExp(`the two histories differ: it has ${theirs.slice(0, 10)}, and this server ${ours.slice(0, 10)}; ours went to its branch recover/\\S+-2026-11-21T19-00-00-000Z; choose one of them: `));
  t.is(await one.store.head('example.com'), theirs);
  await pushAll(names, deps(servers, [one.server], { now: () => new Date('2026-11-21T20:00:00Z') }));
  t.is(git(['for-each-ref', '--format=%(objectname)', 'refs/heads/recover'], one.repository), ours);
  t.like((await readState(names)).servers[one.server.url], { commit: theirs, since: '2026-11-21T19:00:00.000Z', aside: ours });
  // Settled by a commit that comes after both.
  const both = git(['commit-tree', '-m', 'both', '-p', ours, '-p', theirs, git(['rev-parse', `${ours}^{tree}`])]);
  git(['update-ref', 'refs/heads/main', both]);
  t.true((await pushAll(names, deps(servers, [one.server]))).done);
});

test.serial('a higher epoch fences this server when it is signed by one that is trusted, and no other does', async (t) => {
  const servers = makeServers();
  const { names, commit, git } = servers;
  const one = servers.server('one');
  const first = commit('one');
  await pushAll(names, deps(servers, [one.server]));
  const theirs = commit('theirs', { on: first, branch: 'theirs' });
  await one.store.push(names.repository, 'example.com', theirs);
  git(['update-ref', '-d', 'refs/heads/theirs']);
  const taken = { epochOf: () => Promise.resolve(epoch(2)) };
  const forged = deps(servers, [one.server], { ...taken, trusted: () => Promise.resolve(false) });
  t.regex((await pushAll(names, forged)).lines[0] ?? '', /it has [0-9a-f]{10}, which is newer|which is older|signed by nobody whom this server trusts/);
  t.deepEqual(forged.fenced, []);
  // What this server itself has signed as its own leads to no other.
  const own = deps(servers, [one.server], { epochOf: () => Promise.resolve({ ...epoch(2), key: epoch(1).key }) });
  t.false((await pushAll(names, own)).done);
  t.deepEqual(own.fenced, []);
  // We have nothing that the other one lacks.
  const behind = deps(servers, [one.server], taken);
  t.deepEqual(await pushAll(names, behind), { done: true, lines: [`${one.server.url}: web2 has the site now`] });
  t.deepEqual(behind.fenced, [`web2 2 ${theirs}`]);
  t.is(git(['for-each-ref', 'refs/heads/recover'], one.repository), '');
  // Written here after the other one took over.
  const late = commit('late');
  const diverged = deps(servers, [one.server], taken);
  t.true((await pushAll(names, diverged)).done);
  t.deepEqual(diverged.fenced, [`web2 2 ${theirs}`]);
  t.is(git(['for-each-ref', '--format=%(objectname)', 'refs/heads/recover'], one.repository), late);
  t.is(await one.store.head('example.com'), theirs);
});

test.serial('a server that is ahead of us is not pushed to, and nothing goes aside', async (t) => {
  const servers = makeServers();
  const { names, commit, git } = servers;
  const one = servers.server('one');
  const first = commit('one');
  commit('two');
  await pushAll(names, deps(servers, [one.server]));
  git(['update-ref', 'refs/heads/main', first]);
  const { done, lines } = await pushAll(names, deps(servers, [one.server]));
  t.false(done);
  t.regex(lines[0] ?? '', /which is older; bring the newer one here: sitegen restore example\.com/);
  t.is(git(['for-each-ref', 'refs/heads/recover'], one.repository), '');
});

test.serial('a local history that was cut off is pushed to who has the rest, and to who has nothing', async (t) => {
  const servers = makeServers();
  const { names, commit, git } = servers;
  const [one, two] = [servers.server('one'), servers.server('two')];
  const day = 86_400_000;
  const commits = [60, 50, 40, 20, 10].map((age) => commit(`age ${age}`, { time: new Date(Date.now() - age * day).toISOString() }));
  await pushAll(names, deps(servers, [one.server]));
  const keep = await oldestToKeep(names.repository, Date.now() - 30 * day);
  t.is(keep, commits[3]);
  t.true(await cutHistory(names.repository, keep ?? '', undefined));
  t.false(await cutHistory(names.repository, keep ?? '', undefined));
  t.is(git(['rev-list', '--count', 'main']), '2');
  t.throws(() => git(['cat-file', '-e', commits[2] ?? '']));
  git(['fsck', '--full', '--strict']);
  const last = commit('last');
  t.true((await pushAll(names, deps(servers, [one.server, two.server]))).done);
  t.is(git(['rev-list', '--count', 'main'], one.repository), '6', 'the first server keeps all of it');
  t.is(git(['rev-list', '--count', 'main'], two.repository), '3');
  for (const { repository } of [one, two]) git(['fsck', '--full', '--strict'], repository);
  // Whoever has nothing gets what the server has.
  const fresh = path.join(servers.directory, 'fresh.git');
  t.is(await two.store.fetch(fresh, 'example.com'), last);
});

test.serial('nothing is cut off locally that a server still has as its last one', async (t) => {
  const servers = makeServers();
  const { names, commit } = servers;
  const one = servers.server('one');
  const day = 86_400_000;
  const at = (age: number) => ({ time: new Date(Date.now() - age * day).toISOString() });
  commit('60', at(60));
  const there = commit('50', at(50));
  await pushAll(names, deps(servers, [one.server]));
  commit('20', at(20));
  commit('10', at(10));
  t.is(await oldestToKeep(names.repository, Date.now() - 15 * day), there);
  await cutHistory(names.repository, there, undefined);
  t.true((await pushAll(names, deps(servers, [one.server]))).done);
});

test('merges keep the side that stays, and ends of other branches stay whatever their age', async (t) => {
  const { names, commit, git } = makeServers();
  const root = commit('root');
  const left = commit('left');
  const right = commit('right', { on: root, branch: 'right' });
  const tree = git(['rev-parse', `${left}^{tree}`]);
  const merge = git(['commit-tree', '-m', 'merge', '-p', left, '-p', right, tree]);
  git(['update-ref', 'refs/heads/main', merge]);
  git(['update-ref', 'refs/heads/recover/old', root]);
  git(['update-ref', '-d', 'refs/heads/right']);
  const last = commit('last');
  t.true(await cutHistory(names.repository, left, undefined));
  t.deepEqual(git(['rev-list', 'main']).split('\n').sort(), [last, merge, left, right].sort());
  t.is(git(['rev-parse', 'refs/heads/recover/old']), root);
  git(['fsck', '--full', '--strict']);
  t.true(await cutHistory(names.repository, last, undefined));
  t.is(git(['rev-list', '--count', 'main']), '1');
  git(['fsck', '--full', '--strict']);
});
