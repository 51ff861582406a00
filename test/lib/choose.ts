import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, truncateSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { headOf, isAncestor } from '../../lib/effects/git/objects.ts';
import { commitAt, commitFile, findCommit, joinHistories, moveMain } from '../../lib/effects/git/lineage.ts';
import { signatureOf } from '../../lib/effects/git/signature.ts';
import { openStore, type Store } from '../../lib/effects/git/store.ts';
import { thisMachine } from '../../lib/pure/choose.ts';
import { SitegenError } from '../../lib/pure/errors.ts';
import { chooseBackup, requireCommit, type Chosen, type Search } from '../../lib/usecases/choose.ts';

const id = 'example.com';

/** Two servers and a machine, with real repositories; commits are named by their subjects. */
class World {
  readonly root: string;
  readonly said: string[] = [];
  readonly commits = new Map<string, string>();
  private readonly work: string;

  constructor(t: ExecutionContext) {
    this.root = mkdtempSync(path.join(os.tmpdir(), 'choose-'));
    t.teardown(() => { rmSync(this.root, { recursive: true, force: true }); });
    this.work = path.join(this.root, 'work');
    execFileSync('git', ['init', '--quiet', '-b', 'main', this.work]);
    for (const server of ['one', 'two']) execFileSync('mkdir', [path.join(this.root, server)]);
  }

  git(directory: string, args: readonly string[], env: Record<string, string> = {}): string {
    return execFileSync('git', ['-c', 'user.name=x', '-c', 'user.email=x@x', ...args], { cwd: directory, encoding: 'utf8', env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] }).trim();
  }

  /** @param day of November on which it says that it was made */
  commit(name: string, parent?: string, day = 10): string {
    if (parent === undefined) this.git(this.work, ['checkout', '--quiet', '--orphan', name]);
    else this.git(this.work, ['checkout', '--quiet', '-B', name, this.at(parent)]);
    execFileSync('sh', ['-c', `echo ${name} > ${name}; head -c 3000 /dev/urandom > random`], { cwd: this.work });
    const date = `2026-11-${String(day).padStart(2, '0')}T12:00:00Z`;
    this.git(this.work, ['add', '-A']);
    this.git(this.work, ['commit', '--quiet', '-m', name], { GIT_AUTHOR_DATE: date, GIT_COMMITTER_DATE: date });
    const commit = this.git(this.work, ['rev-parse', 'HEAD']);
    this.commits.set(name, commit);
    return commit;
  }

  at(name: string): string {
    return this.commits.get(name) ?? '';
  }

  nameOf(commit: string): string | undefined {
    return [...this.commits].find(([, each]) => each === commit)?.[0];
  }

  repository(where: 'one' | 'two' | 'here'): string {
    return where === 'here' ? path.join(this.root, 'here.git') : path.join(this.root, where, `${id}.git`);
  }

  /** Makes a repository; with a commit, its branch ends there. */
  put(where: 'one' | 'two' | 'here', name?: string): void {
    execFileSync('git', ['init', '--quiet', '--bare', '-b', 'main', this.repository(where)]);
    if (name !== undefined) this.git(this.work, ['push', '--quiet', '--force', this.repository(where), `${this.at(name)}:refs/heads/main`]);
  }

  store(name: string): Store {
    return openStore({ url: path.join(this.root, name), hostKey: '' }, { local: true });
  }

  choose(more: Partial<Search> = {}): ReturnType<typeof chooseBackup> {
    return chooseBackup({ names: { id, domain: id, repository: this.repository('here') }, stores: [this.store('one'), this.store('two')], report: (line) => { this.said.push(line); }, ...more });
  }

  async chosen(more: Partial<Search> = {}): Promise<Chosen> {
    const found = await this.choose(more);
    if (found.kind !== 'chosen') throw new Error('none was chosen');
    return found;
  }
}

/** a - b - c, and b - x */
function history(world: World): void {
  world.commit('a');
  world.commit('b', 'a', 12);
  world.commit('c', 'b', 11);
  world.commit('x', 'b', 20);
}

test('the descendant is taken, though its clock is behind', async (t) => {
  const world = new World(t);
  history(world);
  world.put('one', 'c');
  world.put('two', 'b');
  const chosen = await world.chosen();
  t.is(world.nameOf(chosen.commit), 'c');
  t.deepEqual(chosen.from, [path.join(world.root, 'one')]);
  t.deepEqual([chosen.others, chosen.local], [[], undefined]);
  t.is(await headOf(world.repository('here'), chosen.commit), chosen.commit, 'it was fetched');
  t.is(await headOf(world.repository('here')), undefined, 'and no branch was moved');
});

test('what this machine has counts as well', async (t) => {
  const world = new World(t);
  history(world);
  world.put('one', 'a');
  world.put('two', 'b');
  world.put('here', 'c');
  const chosen = await world.chosen();
  t.is(world.nameOf(chosen.commit), 'c');
  t.deepEqual(chosen.from, [thisMachine]);
  t.is(chosen.local, world.at('c'));
});

test('histories that have gone apart stop it, and both are shown, with how to choose', async (t) => {
  const world = new World(t);
  history(world);
  world.put('one', 'c');
  world.put('two', 'x');
  const error = await t.throwsAsync(() => world.choose(), { instanceOf: SitegenError });
  for (const [server, commit] of [['one', 'c'], ['two', 'x']] as const) t.regex(error.message, new RegExp(`/${server}: ${world.at(commit).slice(0, 7)}.* with 1 commit of its own \\(\\d files? changed`));
  t.regex(error.hint ?? '', /--from .*(one|two)/);
  const chosen = await world.chosen({ from: path.join(world.root, 'two') });
  t.is(world.nameOf(chosen.commit), 'x');
  t.deepEqual(chosen.others, [world.at('c')], 'and the other is not forgotten');
});

test('one that is behind can be chosen, too', async (t) => {
  const world = new World(t);
  history(world);
  world.put('one', 'c');
  world.put('two', 'b');
  const chosen = await world.chosen({ from: path.join(world.root, 'two') });
  t.is(world.nameOf(chosen.commit), 'b');
  t.deepEqual(chosen.others, []);
  await t.throwsAsync(() => world.choose({ from: 'local' }), { message: /this machine has no backup of it/ });
  await t.throwsAsync(() => world.choose({ from: 'nowhere' }), { message: /none of the backup servers/ });
});

test('no backup anywhere is told from one that cannot be had', async (t) => {
  const world = new World(t);
  t.deepEqual(await world.choose(), { kind: 'none', prepared: false });
  world.put('one');
  t.deepEqual(await world.choose(), { kind: 'none', prepared: true }, 'an empty repository');
  const broken: Store = { ...world.store('two'), look: () => Promise.reject(new SitegenError('no route to host')) };
  await t.throwsAsync(() => world.choose({ stores: [world.store('one'), broken] }), { instanceOf: SitegenError, message: /no backup could be had:\n.*no route to host/ });
});

test('a server that does not answer is reported, and the other is taken', async (t) => {
  const world = new World(t);
  history(world);
  world.put('two', 'c');
  const broken: Store = { ...world.store('one'), look: () => Promise.reject(new SitegenError('no route to host')) };
  const chosen = await world.chosen({ stores: [broken, world.store('two')] });
  t.is(world.nameOf(chosen.commit), 'c');
  t.true(world.said.some((line) => line.includes('warning') && line.includes('no route to host')), world.said.join('\n'));
});

test('of a server where a file was emptied the other is taken', async (t) => {
  const world = new World(t);
  history(world);
  world.put('one', 'c');
  world.put('two', 'b');
  // One that the other server does not have: that one would be enough to fetch the rest.
  const blob = world.git(world.repository('one'), ['rev-parse', `${world.at('c')}:random`]);
  const file = path.join(world.repository('one'), 'objects', blob.slice(0, 2), blob.slice(2));
  execFileSync('chmod', ['u+w', file]);
  truncateSync(file, 0);
  const chosen = await world.chosen();
  t.is(world.nameOf(chosen.commit), 'b');
  t.true(world.said.some((line) => line.includes('warning') && line.includes('/one')), world.said.join('\n'));
});

test('an earlier moment is found by commit and by time', async (t) => {
  const world = new World(t);
  world.commit('a', undefined, 1);
  world.commit('b', 'a', 2);
  world.commit('c', 'b', 3);
  world.put('one', 'c');
  const at = async (moment: Search['at']) => world.nameOf((await world.chosen({ at: moment })).commit);
  t.is(await at({ commit: world.at('a').slice(0, 8) }), 'a');
  t.is(await at({ time: '2026-11-02T23:59:59Z' }), 'b');
  t.is(await at({ time: '2026-12-01T00:00:00Z' }), 'c');
  await t.throwsAsync(() => at({ time: '2026-10-01T00:00:00Z' }), { message: /first backup is later/ });
  await t.throwsAsync(() => at({ commit: 'ffffffff' }), { message: /no commit ffffffff/ });
  t.is(await commitAt(world.repository('here'), world.at('c'), '2026-11-01T12:00:00Z'), world.at('a'));
  t.is(await findCommit(world.repository('here'), world.at('b'), [world.at('c')]), world.at('b'));
});

test('a backup that lacks what the former server says it had is refused, known here or not', async (t) => {
  const world = new World(t);
  world.commit('first');
  world.commit('second', 'first');
  world.commit('late', 'second');
  world.put('here', 'second');
  const require = (commit: string | undefined) => requireCommit({ domain: id, repository: world.repository('here') }, { commit: world.at('second') }, commit);
  for (const commit of [undefined, world.at('first'), world.at('second')]) await t.notThrowsAsync(require(commit));
  const unknown = await t.throwsAsync(require(world.at('late')), { instanceOf: SitegenError });
  t.is(unknown.message, `example.com: the backup servers have ${world.at('second').slice(0, 10)}, without the last commit ${world.at('late').slice(0, 10)} of its former server`);
  world.git(world.repository('here'), ['fetch', '--quiet', path.join(world.root, 'work'), `${world.at('late')}:refs/heads/late`]);
  await t.throwsAsync(require(world.at('late')), { message: unknown.message });
});

test('a commit can differ by one file, without a look at the others', async (t) => {
  const world = new World(t);
  const work = path.join(world.root, 'work');
  execFileSync('sh', ['-c', 'mkdir -p meta data; echo old > meta/epoch.json; echo other > meta/other; printf x > data/file'], { cwd: work });
  const parent = world.commit('a');
  world.put('here', 'a');
  const repository = world.repository('here');
  const key = path.join(world.root, 'key');
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key]);
  const commit = await commitFile(repository, { parent, path: 'meta/epoch.json', content: 'new\n', message: 'told', signingKey: key });
  t.is(world.git(repository, ['diff', '--name-only', parent, commit]), 'meta/epoch.json');
  t.is(world.git(repository, ['show', `${commit}:meta/epoch.json`]), 'new');
  t.is(world.git(repository, ['rev-parse', `${commit}^`]), parent);
  t.is(world.git(repository, ['fsck', '--strict', '--no-dangling']), '');
});

test('a signature says whose a commit is, and of which histories it makes one', async (t) => {
  const world = new World(t);
  history(world);
  world.put('here', 'c');
  world.git(path.join(world.root, 'work'), ['push', '--quiet', world.repository('here'), `${world.at('x')}:refs/heads/x`]);
  const keys = ['own', 'other'].map((name) => {
    const file = path.join(world.root, name);
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file]);
    return { file, publicKey: execFileSync('cat', [`${file}.pub`], { encoding: 'utf8' }) };
  });
  const [own, other] = keys;
  if (!own || !other) throw new Error('no keys');
  const repository = world.repository('here');
  t.is((await signatureOf(repository, world.at('c'), [own.publicKey])).state, 'none');
  const joined = await joinHistories(repository, { of: world.at('x'), with: [world.at('c')], message: 'one again', signingKey: own.file });
  t.true(await isAncestor(repository, world.at('c'), joined));
  t.true(await isAncestor(repository, world.at('x'), joined));
  t.is(world.git(repository, ['rev-parse', `${joined}^{tree}`]), world.git(repository, ['rev-parse', `${world.at('x')}^{tree}`]));
  t.is((await signatureOf(repository, joined, [other.publicKey, own.publicKey])).state, 'good');
  const stranger = await signatureOf(repository, joined, [other.publicKey]);
  t.is(stranger.state, 'unknown key');
  t.regex(stranger.key ?? '', /^SHA256:/);
  t.is((await signatureOf(repository, joined, [])).state, 'unknown key');
  // The same signature over something else.
  const forged = world.git(repository, ['cat-file', 'commit', joined]).replace('one again', 'one forged');
  const id2 = execFileSync('git', ['hash-object', '-t', 'commit', '-w', '--stdin'], { cwd: repository, input: `${forged}\n`, encoding: 'utf8' }).trim();
  t.is((await signatureOf(repository, id2, [own.publicKey])).state, 'bad');
  const told = await commitFile(repository, { parent: joined, path: 'meta/epoch.json', content: '{}\n', message: 'told', signingKey: own.file }).catch((error: unknown) => error);
  t.true(told instanceof SitegenError, 'there is no such directory');
  await moveMain(repository, joined, world.at('c'));
  t.is(await headOf(repository), joined);
  await t.throwsAsync(() => moveMain(repository, world.at('x'), world.at('c')), { instanceOf: SitegenError }, 'it is elsewhere by now');
});
