import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import test from 'ava';
import { isPartial, pairOf, readDrop } from '../../../lib/pure/drop.ts';

const domain = 'shop.example.com';
const directory = mkdtempSync(path.join(os.tmpdir(), 'sitegen-drop-'));
execFileSync(path.resolve(import.meta.dirname, '../../e2e/fixtures/make-certs.sh'), [directory, domain]);
const read = (name: string) => readFileSync(path.join(directory, name), 'utf8');
const file = (name: string, from: string) => ({ name, content: read(from) });

test.after.always(() => { rmSync(directory, { recursive: true }); });

test('fullchain and key make a certificate', (t) => {
  const drop = readDrop([file('key.pem', 'good.key'), file('fullchain.pem', 'good.fullchain.pem')], domain);
  t.deepEqual(drop?.files, ['fullchain.pem', 'key.pem']);
  t.deepEqual(drop && pairOf(drop), { chain: read('good.fullchain.pem'), key: read('good.key') });
});

for (const names of [['cert.pem', 'key.pem', 'ca.pem'], ['cert.crt', 'cert.key', 'ca.crt'], [`${domain}.crt`, `${domain}.key`, 'ca-bundle.crt'], ['cert.pem', 'privkey.pem', 'chain.pem']] as const) {
  test(`${names.join(', ')} make a certificate with its chain`, (t) => {
    const [cert, key, ca] = names;
    const drop = readDrop([file(ca, 'middle.pem'), file(cert, 'good.pem'), file(key, 'good.key')], domain);
    t.deepEqual(drop && pairOf(drop), { chain: read('good.fullchain.pem'), key: read('good.key') });
    t.false(drop && isPartial(drop));
  });
}

test('of several the latest certificate is meant, with the key that belongs to it', (t) => {
  const old = [file('key.pem', 'good.key'), file('fullchain.pem', 'good.fullchain.pem')];
  const drop = readDrop([file('cert.key', 'second.key'), file('ca.pem', 'middle.pem'), file('cert.pem', 'second.pem'), ...old], domain);
  t.deepEqual(drop && pairOf(drop), { chain: read('second.fullchain.pem'), key: read('second.key') });
  const reused = readDrop([file('other.key', 'second.key'), file('fullchain.pem', 'good.fullchain.pem'), file('key.pem', 'good.key')], domain);
  t.is(reused?.key, read('good.key'), 'another key beside it does not matter');
});

test('a certificate that came without its key is not mistaken for the one before', (t) => {
  const drop = readDrop([file('cert.pem', 'second.pem'), file('key.pem', 'good.key'), file('fullchain.pem', 'good.fullchain.pem')], domain);
  t.true(drop && isPartial(drop));
  t.is(drop?.chain.trim(), read('second.pem').trim());
});

test('a key alone, or a certificate alone, is one half', (t) => {
  for (const files of [[file('key.pem', 'good.key')], [file('fullchain.pem', 'good.fullchain.pem')]]) {
    const drop = readDrop(files, domain);
    t.true(drop && isPartial(drop));
  }
});

test('other files say nothing', (t) => {
  t.is(readDrop([], domain), undefined);
  t.is(readDrop([file('README.txt', 'good.pem'), file('.sitegen-1-ab.tmp', 'good.key'), file('other.example.org.crt', 'good.pem'), file('ca.pem', 'middle.pem')], domain), undefined);
});
