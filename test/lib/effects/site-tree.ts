import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { emptyDirectory, emptyMatching, hasOnlyDirectories, putInto, replaceTree, settleTree, type Places } from '../../../lib/effects/site-tree.ts';
import { SitegenError } from '../../../lib/pure/errors.ts';
import { makeDeep } from './_deep.ts';

function places(t: ExecutionContext): Places & { root: string } {
  const root = mkdtempSync(path.join(os.tmpdir(), 'site-tree-'));
  t.teardown(() => { rmSync(root, { recursive: true, force: true }); });
  return { root, current: `${root}/current`, next: `${root}/next`, former: `${root}/former` };
}

function tree(directory: string, content: string): void {
  mkdirSync(`${directory}/data`, { recursive: true });
  writeFileSync(`${directory}/data/file`, content);
}

const contentOf = (directory: string) => readFileSync(`${directory}/data/file`, 'utf8');

test('a tree is exchanged for another, and the former one is kept until it is given up', async (t) => {
  const all = places(t);
  tree(all.current, 'old');
  tree(all.next, 'new');
  await replaceTree(all);
  t.is(contentOf(all.current), 'new');
  t.is(contentOf(all.former), 'old');
  t.false(existsSync(all.next));
  t.false(await settleTree(all));
  t.is(contentOf(all.current), 'new');
  t.deepEqual(readdirSync(all.root), ['current']);
});

test('an exchange that was cut short leaves what was there', async (t) => {
  const all = places(t);
  tree(all.former, 'old');
  tree(all.next, 'new');
  t.true(await settleTree(all));
  t.is(contentOf(all.current), 'old');
  t.true(existsSync(all.next));
});

test('empty directories that somebody made in its place do not count', async (t) => {
  const all = places(t);
  tree(all.former, 'old');
  tree(all.next, 'new');
  mkdirSync(`${all.current}/data/uploads`, { recursive: true });
  t.true(await settleTree(all));
  t.is(contentOf(all.current), 'old');
});

test('files that somebody wrote in its place are kept, and so is what was there', async (t) => {
  const all = places(t);
  tree(all.former, 'old');
  tree(all.next, 'new');
  tree(all.current, 'newest');
  await t.throwsAsync(() => settleTree(all), { instanceOf: SitegenError, message: /are both there/ });
  t.is(contentOf(all.current), 'newest');
  t.is(contentOf(all.former), 'old');
});

test('what was there comes back though its successor is gone', async (t) => {
  const all = places(t);
  tree(all.former, 'old');
  t.true(await settleTree(all));
  t.is(contentOf(all.current), 'old');
  t.false(await settleTree(all), 'and once is enough');
});

test('only what patterns stand for is emptied, and no link is followed', async (t) => {
  const { root } = places(t);
  for (const directory of ['db', 'www/cache', 'www/cache-2/deep', 'www/kept', 'elsewhere']) tree(`${root}/${directory}`, directory);
  symlinkSync(`${root}/elsewhere`, `${root}/www/cache-3`);
  symlinkSync(`${root}/elsewhere`, `${root}/link`);
  await emptyMatching(root, ['db', 'www/cache*', 'link/data', 'missing/*', 'www.kept']);
  t.deepEqual(readdirSync(`${root}/db`), []);
  t.deepEqual(readdirSync(`${root}/www/cache`), []);
  t.deepEqual(readdirSync(`${root}/www/cache-2`), []);
  t.false(existsSync(`${root}/www/cache-3`), 'the link itself is gone');
  t.is(contentOf(`${root}/elsewhere`), 'elsewhere');
  t.is(contentOf(`${root}/www/kept`), 'www/kept');
});

test('directories alone are no data', async (t) => {
  const { root } = places(t);
  t.true(await hasOnlyDirectories(`${root}/missing`));
  mkdirSync(`${root}/a/b/c`, { recursive: true });
  t.true(await hasOnlyDirectories(root));
  symlinkSync('nowhere', `${root}/a/b/link`);
  t.false(await hasOnlyDirectories(root));
});

test('a file is put into a tree that is in use, and never through a link', async (t) => {
  const { root } = places(t);
  tree(`${root}/live`, 'changed');
  tree(`${root}/outside`, 'outside');
  writeFileSync(`${root}/good`, 'good');
  await putInto(`${root}/live`, 'data/file', `${root}/good`, `${root}/aside`);
  t.is(contentOf(`${root}/live`), 'good');
  t.is(readFileSync(`${root}/aside`, 'utf8'), 'changed');
  tree(`${root}/whole`, 'whole');
  await putInto(`${root}/live`, 'new/folder/of', `${root}/whole`, `${root}/aside-2`);
  t.is(contentOf(`${root}/live/new/folder/of`), 'whole');
  t.false(existsSync(`${root}/aside-2`));
  symlinkSync(`${root}/outside`, `${root}/live/trap`);
  writeFileSync(`${root}/good`, 'good');
  await t.throwsAsync(() => putInto(`${root}/live`, 'trap/data/file', `${root}/good`, `${root}/aside-3`), { instanceOf: SitegenError, message: /trap is no directory/ });
  t.is(contentOf(`${root}/outside`), 'outside');
});

test('a directory is emptied of trees whose paths are longer than a path may be, and stays', async (t) => {
  const { root, current } = places(t);
  tree(current, 'x');
  makeDeep(current);
  await emptyDirectory(current);
  t.deepEqual(readdirSync(root), ['current']);
  t.deepEqual(readdirSync(current), []);
  await emptyDirectory(`${root}/none`);
});
