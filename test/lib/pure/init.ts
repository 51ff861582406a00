import { readFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import { parseDefaults, setInSections } from '../../../lib/pure/config.ts';
import { parseServer, scannedKey, withAnswers } from '../../../lib/pure/init.ts';

const none = { email: undefined, servers: undefined, memory: undefined };
const key = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl';

test('answers come into the file as it is installed, and all its comments stay', async (t) => {
  const text = await readFile(path.resolve(import.meta.dirname, '../../../templates/sitegen.yaml'), 'utf8');
  const answers = { email: 'admin@example.com', servers: [{ url: 'ssh://a@one.example', hostKey: key }, { url: 'ssh://b@two.example/x', hostKey: key }], memory: '60%' };
  const edited = withAnswers(text, answers);
  const { acme, backup, machine } = parseDefaults(edited, 'sitegen.yaml');
  t.deepEqual([acme, backup, machine], [{ email: answers.email }, { servers: answers.servers }, { memory: '60%' }]);
  for (const line of text.split('\n')) t.true(edited.includes(line), line);
  t.is(withAnswers(edited, answers), edited, 'twice is as good as once');
});

test('what stands in a section stays, with its comments', (t) => {
  const text = 'acme:\n  # Ours.\n  directory: https://acme.example/dir # private\nbackup: # servers: []\nrouter: {log: off}\n';
  t.is(withAnswers(text, { ...none, email: 'a@b.example' }), 'acme:\n  # Ours.\n  directory: https://acme.example/dir # private\n  email: a@b.example\nbackup: # servers: []\nrouter: {log: off}\n');
  t.deepEqual(parseDefaults(withAnswers(text, { ...none, servers: [{ url: 'ssh://a@one.example', hostKey: key }] }), 'f').backup?.servers?.length, 1);
  t.is(setInSections('machine: {starts: 2}\n', [['machine', 'memory', '1G']]), 'machine: {starts: 2, memory: 1G}\n');
});

test('without answers nothing changes', (t) => { t.is(withAnswers('a:   [1,2]\n', none), 'a:   [1,2]\n'); });

test('answers that are not valid are refused with their key', (t) => {
  t.throws(() => withAnswers('', { ...none, email: 'nobody' }), { message: /acme\.email: "nobody" is not an e-mail address/ });
  t.throws(() => withAnswers('', { ...none, memory: 'much' }), { message: /machine\.memory: "much" is not a size/ });
  t.throws(() => withAnswers('', { ...none, servers: [{ url: 'ssh://a@b.example', hostKey: 'x' }] }), { message: /backup\.servers\.0\.hostKey/ });
});

test('backup servers are read with and without their key', (t) => {
  t.deepEqual(parseServer('ssh://backup@one.example/srv'), { url: 'ssh://backup@one.example/srv', hostKey: undefined, host: 'one.example', port: 22 });
  t.deepEqual(parseServer(` ssh://[2001:db8::1]:2222   ${key} `), { url: 'ssh://[2001:db8::1]:2222', hostKey: key, host: '2001:db8::1', port: 2222 });
  for (const text of ['', 'one.example', 'https://one.example', 'ssh://', 'ssh://-oProxyCommand=x', 'ssh://a@b.example two three four']) t.throws(() => parseServer(text), { message: /is not a backup server/ }, text);
});

test('the key is taken out of what ssh-keyscan prints', (t) => {
  t.is(scannedKey(`# one.example:22 SSH-2.0-OpenSSH_9.2\none.example ${key}\n`), key);
  t.is(scannedKey(`[one.example]:2222 ${key}\n`), key);
  t.is(scannedKey('# one.example:22 SSH-2.0-OpenSSH\n'), undefined);
  t.is(scannedKey(''), undefined);
});
