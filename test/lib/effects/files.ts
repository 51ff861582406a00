import { execFileSync } from 'node:child_process';
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import test from 'ava';
import { remove } from '../../../lib/effects/files.ts';

test('a tree that is deeper than any path can say is removed, and what its links lead to stays', async (t) => {
  const root = await fs.mkdtemp(path.join(os.tmpdir(), 'sitegen-test-'));
  await fs.mkdir(`${root}/tree`);
  await fs.writeFile(`${root}/mine`, 'x');
  await fs.symlink('../mine', `${root}/tree/link`);
  execFileSync(process.execPath, ['--eval', "const fs = require('node:fs'); for (let n = 0; n < 60; n += 1) { fs.mkdirSync('d'.repeat(200)); process.chdir('d'.repeat(200)); }"], { cwd: `${root}/tree` });
  await remove(`${root}/tree`);
  t.deepEqual(await fs.readdir(root), ['mine']);
  await fs.rm(root, { recursive: true });
});
