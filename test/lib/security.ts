import { access, readFile } from 'node:fs/promises';
import test from 'ava';

test('each test that SECURITY.md names is there', async (t) => {
  const names = [...(await readFile('SECURITY.md', 'utf8')).matchAll(/`((?:test\/)?[\w/-]+\.ts)`/g)].map(([, name = '']) => (name.startsWith('test/') ? name : `test/e2e/${name}`));
  t.true(names.length > 20);
  for (const name of new Set(names)) await t.notThrowsAsync(access(name), name);
});
