import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import test from 'ava';
import { run } from '../../../lib/effects/git/run.ts';

test('all that git writes is waited for, also what comes long after its end', async (t) => {
  const bin = await mkdtemp(path.join(os.tmpdir(), 'git-run-'));
  t.teardown(() => rm(bin, { recursive: true }));
  await writeFile(path.join(bin, 'git'), '#!/bin/sh\n{ sleep 0.5; echo late; } &\n');
  await chmod(path.join(bin, 'git'), 0o755);
  const said = await run({ what: 'listen', cwd: '/', environment: { PATH: `${bin}:${process.env['PATH']}` } }, (git) => git.raw(['ls-remote']));
  t.is(said, 'late');
});
