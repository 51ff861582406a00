import test from 'ava';
import { formatUsers, idIn, idOut, overlaps, parseUsers, rootIn } from '../../../lib/pure/ids.ts';

test('an id of a container and of the machine are each other\'s, where root of containers is another user', (t) => {
  t.is(idIn(100_033, 100_000), 33);
  t.is(idOut(33, 100_000), 100_033);
  t.is(idIn(165_535, 100_000), 65_535);
  t.is(idIn(33, 0), 33);
  t.is(idOut(100_033, 100_000), 100_033, 'one that is meant to be of the machine');
});

test('who is none of the containers\' has no id there', (t) => {
  t.is(idIn(0, 100_000), undefined);
  t.is(idIn(99_999, 100_000), undefined);
  t.is(idIn(165_536, 100_000), undefined);
});

test('Docker tells by its directory who root of containers is, and only when it maps users', (t) => {
  const mapped = ['name=seccomp,profile=builtin', 'name=userns', 'name=cgroupns'];
  t.deepEqual(rootIn({ SecurityOptions: mapped, DockerRootDir: '/var/lib/docker/100000.200000' }), { uid: 100_000, gid: 200_000 });
  t.deepEqual(rootIn({ SecurityOptions: ['name=cgroupns'], DockerRootDir: '/srv/docker/1.2' }), { uid: 0, gid: 0 });
  t.throws(() => rootIn({ SecurityOptions: mapped, DockerRootDir: '/var/lib/docker' }), { message: /does not say to whom/ });
  for (const of of ['1000.1000', '100000.1000']) t.throws(() => rootIn({ SecurityOptions: mapped, DockerRootDir: `/var/lib/docker/${of}` }), { message: /this machine's own/ });
  t.deepEqual(rootIn({ SecurityOptions: null }), { uid: 0, gid: 0 });
});

test('ranges that have an id in common are told, and equal ones are no fault', (t) => {
  const ids = (uid: number, gid = uid) => ({ uid, gid });
  t.false(overlaps(ids(0), ids(65_536)));
  t.false(overlaps(ids(100_000), ids(100_000)));
  t.true(overlaps(ids(100_000), ids(100_001)));
  t.true(overlaps(ids(0, 100_000), ids(100_000, 165_535)));
});

test('whose data is, and is to be, is kept in a line', (t) => {
  for (const users of [{ root: { uid: 1, gid: 2 }, next: undefined }, { root: { uid: 0, gid: 0 }, next: { uid: 100_000, gid: 200_000 } }]) t.deepEqual(parseUsers(formatUsers(users)), users);
  for (const text of ['', '1\n', '1 2 3\n', 'a b\n', '1 2 3 4 5\n', '-1 2\n']) t.is(parseUsers(text), undefined, text);
});
