import test from 'ava';
import { cutOff, formatAllowed, notInspected, parseAllowed, parseKey, parseOwner, parseRequest, receiveConfig, roomFor } from '../../../lib/pure/buddy.ts';

const key = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ9Qe0eVtQ1cX3yWJm0Jb2m0m0m0m0m0m0m0m0m0m0m0 sitegen@web1';

test('git asks in one form, and everything else is refused', (t) => {
  t.deepEqual(parseRequest('git-receive-pack \'/example.com.git\'', 'anna'), { service: 'receive-pack', id: 'example.com' });
  t.deepEqual(parseRequest('git-upload-pack \'anna/example.com.git\'', 'anna'), { service: 'upload-pack', id: 'example.com' });
  t.deepEqual(parseRequest('git-upload-pack \'/anna/xn--bcher-kva.example.git\'', 'anna'), { service: 'upload-pack', id: 'xn--bcher-kva.example' });
  const long = `${'a'.repeat(39)}b_0123456789abcdef`;
  t.is(parseRequest(`git-upload-pack '/${long}.git'`, 'anna')?.id, long);
  for (const command of [
    undefined, '', 'git-receive-pack', 'git-receive-pack example.com.git', 'git receive-pack \'/example.com.git\'', 'git-upload-archive \'/example.com.git\'',
    'git-receive-pack \'/bert/example.com.git\'', 'git-receive-pack \'/../anna/example.com.git\'', 'git-receive-pack \'/anna/../bert/example.com.git\'',
    'git-receive-pack \'/anna/anna/example.com.git\'', 'git-receive-pack \'//example.com.git\'', 'git-receive-pack \'/example.com\'', 'git-receive-pack \'/.git\'',
    'git-receive-pack \'/..git\'', 'git-receive-pack \'/...git\'', 'git-receive-pack \'/Example.com.git\'', 'git-receive-pack \'/example.com.git\' x',
    'git-receive-pack \'/example.com.git\'; id', 'git-receive-pack \'/example.com.git\'\nid', 'git-receive-pack \'/exa\'mple.com.git\'', 'git-receive-pack \'/$(id).com.git\'',
    'git-receive-pack --upload \'/example.com.git\'', 'git-receive-pack \'/-x.com.git\'', 'bash', 'scp -t /tmp', 'git-receive-pack \'/..a_0123456789abcdef.git\'',
  ]) t.is(parseRequest(command, 'anna'), undefined, command);
});

test('a key is let in with nothing but one program', (t) => {
  const line = formatAllowed({ owner: 'anna', quota: 1024, key });
  t.is(line, `restrict,command="/usr/lib/sitegen/buddy anna 1024" ${key}\n`);
  t.deepEqual(parseAllowed(`# x\n${line}command="/bin/sh" ${key}\n`), [{ owner: 'anna', quota: 1024, key }]);
});

test('options in front of a key, several keys and private ones are refused', (t) => {
  t.is(parseKey(`# of web1\n${key}\n`), key);
  t.is(parseKey(key.split(' ').slice(0, 2).join(' ')), key.split(' ').slice(0, 2).join(' '));
  for (const text of ['', `command="sh" ${key}`, `${key}\n${key}`, '-----BEGIN OPENSSH PRIVATE KEY-----', 'ssh-ed25519', `${key}\u0000`, `${key}é`, 'ssh-dss AAAAB3NzaC1kc3MAAACBAKxxxxxxxxx']) {
    t.throws(() => parseKey(text), { message: /not one public key/ }, text);
  }
});

test('names of owners are names of folders', (t) => {
  t.is(parseOwner('web-1_b'), 'web-1_b');
  for (const name of ['', '.ssh', '-x', 'a/b', 'lost+found', 'A', 'a b']) t.throws(() => parseOwner(name), { message: /not a name of an owner/ }, name);
});

test('a push may bring what quota and disk leave, and is refused in words when that is nothing', (t) => {
  const G = 1024 ** 3;
  t.deepEqual(roomFor('anna', { quota: 20 * G, used: 5 * G, free: 50 * G, size: 100 * G }), { bytes: 15 * G, refusal: undefined });
  t.deepEqual(roomFor('anna', { quota: 20 * G, used: 5 * G, free: 5 * G, size: 100 * G }), { bytes: 3 * G, refusal: undefined });
  t.deepEqual(roomFor('anna', { quota: 20 * G, used: 20 * G, free: 50 * G, size: 100 * G }), { bytes: 0, refusal: 'the quota of anna is used up: 20.0G of 20.0G' });
  t.deepEqual(roomFor('anna', { quota: 20 * G, used: 0, free: G, size: 10 * G }).bytes, G / 2);
  t.is(roomFor('anna', { quota: 20 * G, used: 0, free: G / 4, size: 10 * G }).refusal, 'the disk is full but for 256.0M, which stay free');
});

test('no push is without a limit', (t) => {
  t.true(receiveConfig(0).includes('receive.maxInputSize=1'));
  t.true(receiveConfig(10.7).includes('receive.maxInputSize=10'));
});

test('history is cut off by a month at a time, and never by a clock that has jumped', (t) => {
  const day = 86_400_000;
  const now = Date.parse('2026-11-21T00:00:00Z');
  const given = { nowMs: now, keepMs: 365 * day, before: notInspected };
  t.is(cutOff({ ...given, firstMs: undefined }), undefined);
  t.is(cutOff({ ...given, firstMs: now - 364 * day }), undefined);
  t.is(cutOff({ ...given, firstMs: now - 372 * day }), now - 365 * day);
  t.is(cutOff({ ...given, firstMs: now - 1000 * day }), now - 969 * day);
  const before = { ...notInspected, keptSince: new Date(now - 969 * day).toISOString() };
  t.is(cutOff({ ...given, before, firstMs: now - 970 * day }), now - 938 * day);
  // Ten years ahead for a day.
  t.is(cutOff({ ...given, nowMs: now + 3650 * day, firstMs: now - 100 * day }), now - 69 * day);
  t.is(cutOff({ ...given, nowMs: 0, firstMs: now - 100 * day }), undefined);
});
