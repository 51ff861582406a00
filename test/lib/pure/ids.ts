import test from 'ava';
import { idIn, idOut, isMapped, rootIn } from '../../../lib/pure/ids.ts';

test('an id of a container and of the machine are each other\'s, where root of containers is another user', (t) => {
  t.is(idIn(100_033, 100_000), 33);
  t.is(idOut(33, 100_000), 100_033);
  t.is(idIn(165_535, 100_000), 65_535);
  t.is(idIn(33, 0), 33);
});

test('who is none of the containers\' has no id there', (t) => {
  t.is(idIn(0, 100_000), undefined);
  t.is(idIn(99_999, 100_000), undefined);
  t.is(idIn(165_536, 100_000), undefined);
  t.false(isMapped(65_535));
  t.true(isMapped(65_536));
});

test('Docker tells by its directory who root of containers is, and only when it maps users', (t) => {
  const mapped = ['name=seccomp,profile=builtin', 'name=userns', 'name=cgroupns'];
  t.deepEqual(rootIn({ SecurityOptions: mapped, DockerRootDir: '/var/lib/docker/100000.200000' }), { uid: 100_000, gid: 200_000 });
  t.deepEqual(rootIn({ SecurityOptions: ['name=cgroupns'], DockerRootDir: '/srv/docker/1.2' }), { uid: 0, gid: 0 });
  t.deepEqual(rootIn({ SecurityOptions: mapped, DockerRootDir: '/var/lib/docker' }), { uid: 0, gid: 0 });
  t.deepEqual(rootIn({ SecurityOptions: null }), { uid: 0, gid: 0 });
});
