import path from 'node:path';
import test from 'ava';
import { build } from 'esbuild';

const repository = path.resolve(import.meta.dirname, '../..');

/** Packages that a program loads before it knows what it is to do. */
async function loadedAtOnce(entry: string): Promise<string[]> {
  const { metafile: { outputs } } = await build({
    entryPoints: [entry], absWorkingDir: repository, outdir: 'out', write: false, metafile: true, bundle: true, splitting: true, format: 'esm', platform: 'node', packages: 'external', define: { SITEGEN_VERSION: '""' },
  });
  const first = Object.keys(outputs).find((file) => outputs[file]?.entryPoint === entry) ?? '';
  const [seen, packages] = [new Set<string>(), new Set<string>()];
  const follow = (file: string) => {
    if (seen.has(file)) return;
    seen.add(file);
    for (const { path: imported, kind, external } of outputs[file]?.imports ?? []) {
      if (kind !== 'import-statement') continue;
      if (external) packages.add(imported);
      else follow(imported);
    }
  };
  follow(first);
  return [...packages].filter((name) => !name.startsWith('node:')).sort();
}

test('sitegen loads nothing at first but what reads its arguments, so that --help comes at once', async (t) => {
  t.deepEqual(await loadedAtOnce('cmd/sitegen.ts'), ['picocolors', 'yargs', 'yargs/helpers']);
});

test('what is loaded would be seen', async (t) => {
  t.true((await loadedAtOnce('lib/pure/schema.ts')).includes('zod'));
});
