import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import test from 'ava';
import { markUse, usesOf } from '../../../../lib/effects/cgroup/in-use.ts';
import { folder } from '../../usecases/_cgroup.ts';

test('whoever works in a container is counted until the end of that', (t) => {
  const root = folder(t);
  t.deepEqual(usesOf(`${root}/none`), new Map());
  const unmark = markUse('my-site.example.com', `${root}/uses`);
  t.deepEqual(usesOf(`${root}/uses`), new Map([['my-site.example.com', 1]]));
  unmark();
  t.deepEqual(usesOf(`${root}/uses`), new Map());
  unmark();
});

test('what a process has left that was killed counts for nothing and goes, be its number used again', (t) => {
  const root = folder(t);
  markUse('a.example.com', root);
  writeFileSync(`${root}/b.example.com:4194304`, '1');
  writeFileSync(`${root}/c.example.com:${process.pid}`, '1');
  writeFileSync(`${root}/other`, '');
  t.deepEqual(usesOf(root), new Map([['a.example.com', 1]]));
  t.deepEqual(readdirSync(root).sort(), [`a.example.com:${process.pid}`, 'other']);
  t.true(existsSync(`${root}/other`));
});
