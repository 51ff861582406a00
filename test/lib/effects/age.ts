import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import test from 'ava';
import { generateX25519Identity, identityToRecipient } from 'age-encryption';
import { decrypt, encrypt } from '../../../lib/effects/age.ts';
import { SitegenError } from '../../../lib/pure/errors.ts';

test('what is encrypted to a key is opened with its identity file, comments and all', async (t) => {
  const identity = await generateX25519Identity();
  const content = Buffer.from([0, 255, 10, 13, ...Buffer.from('secret')]);
  const sealed = await encrypt(content, await identityToRecipient(identity));
  t.true(sealed.toString('latin1').startsWith('age-encryption.org/v1\n'));
  t.false(sealed.includes('secret'));
  t.deepEqual(await decrypt(sealed, `# created: 2026\n# public key: age1…\n${identity}\n`), content);
});

test('another key, a damaged file and texts that are no keys are refused in words', async (t) => {
  const identity = await generateX25519Identity();
  const sealed = await encrypt(Buffer.from('secret'), await identityToRecipient(identity));
  const other = await generateX25519Identity();
  for (const attempt of [
    () => decrypt(sealed, other),
    () => decrypt(sealed.fill(0, sealed.length - 8), identity),
    () => decrypt(sealed, 'AGE-SECRET-KEY-1NONSENSE'),
    () => encrypt(Buffer.from('x'), 'age1nonsense'),
  ]) {
    const error = await t.throwsAsync(attempt, { instanceOf: SitegenError });
    t.truthy(error?.hint);
    t.notRegex(error?.message ?? '', /AGE-SECRET-KEY/);
  }
});

test('the same with nothing of the web\'s cryptography in the global scope, as in Node 18', async (t) => {
  const script = `
    const { generateX25519Identity, identityToRecipient } = await import('age-encryption');
    const identity = await generateX25519Identity();
    const recipient = await identityToRecipient(identity);
    delete globalThis.crypto;
    const { decrypt, encrypt } = await import('./lib/effects/age.ts');
    process.stdout.write(await decrypt(await encrypt(Buffer.from('kept'), recipient), identity));`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--import=tsx', '--input-type=module', '--eval', script]);
  t.is(stdout, 'kept');
});
