import { execFileSync } from 'node:child_process';
import { mkdirSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import test from 'ava';
import { giveTree } from '../../../lib/effects/data-tree/give.ts';
import { folder } from '../usecases/_cgroup.ts';
import { makeDeep } from './_deep.ts';

const ids = (uid: number, gid = uid) => ({ uid, gid });
const own = ids(process.getuid?.() ?? 0, process.getgid?.() ?? 0);

/** Who would be given what; only root may give. */
async function given(root: string, from = own, to = ids(own.uid + 100_000, own.gid + 200_000)): Promise<string[]> {
  const calls: string[] = [];
  await giveTree(root, from, to, (at, uid, gid) => {
    const name = at.toString();
    const directory = readlinkSync(path.dirname(name));
    calls.push(`${path.relative(root, path.join(directory, path.basename(name))) || '.'} ${uid}:${gid}`);
  });
  return calls;
}

test('all that is in a tree is given, links themselves, and each directory after what is in it', async (t) => {
  const root = folder(t);
  mkdirSync(`${root}/a/b`, { recursive: true });
  writeFileSync(`${root}/a/b/file`, '');
  symlinkSync('/etc', `${root}/a/link`);
  const to = `${own.uid + 100_000}:${own.gid + 200_000}`;
  t.deepEqual(await given(root), [`a/b/file ${to}`, `a/b ${to}`, `a/link ${to}`, `a ${to}`, `. ${to}`]);
});

test('what is of nobody in containers stays, and a group goes without its user', async (t) => {
  const root = folder(t);
  writeFileSync(`${root}/file`, '');
  t.deepEqual(await given(root, ids(own.uid + 70_000, own.gid + 70_000)), []);
  t.deepEqual(await given(root, ids(own.uid + 70_000, own.gid), ids(own.uid, own.gid + 100_000)), [`file ${own.uid}:${own.gid + 100_000}`, `. ${own.uid}:${own.gid + 100_000}`]);
});

test('a tree whose paths are longer than a path may be is given, too', async (t) => {
  const root = folder(t);
  const { top, count: made } = makeDeep(root);
  // Node's own way to remove it would meet the same limit.
  t.teardown(() => execFileSync('rm', ['--recursive', '--force', top]));
  let count = 0;
  await giveTree(root, own, ids(own.uid + 100_000), () => { count += 1; });
  t.is(count, made + 1);
});

test('that it is not allowed is said, with what to do', async (t) => {
  const root = folder(t);
  writeFileSync(`${root}/file`, '');
  const refuse = () => { throw Object.assign(new Error('no'), { code: 'EPERM' }); };
  const error = await t.throwsAsync(giveTree(root, own, ids(own.uid + 100_000), refuse), { message: /cannot be given to the users .*: EPERM/ });
  t.is((error as Error & { hint?: string }).hint, 'run it as root');
});
