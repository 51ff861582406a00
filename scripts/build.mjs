#!/usr/bin/env node
// Bundles the programs that run on a server into dist/ or the folder given, for the oldest Node that is supported there.
import { chmod, copyFile, mkdir, readFile, rm } from 'node:fs/promises';
import { build } from 'esbuild';

// Parts of dependencies that sitegen never reaches: descriptors over D-Bus, D-Bus over X11,
// BuildKit sessions, Docker over ssh.
const unreached = /^(usocket|x11|@grpc\/grpc-js|@grpc\/proto-loader|protobufjs|ssh2|cpu-features)$/;
const leaveOut = {
  name: 'leave-out',
  setup(bundle) {
    bundle.onResolve({ filter: unreached }, ({ path }) => ({ path, namespace: 'left-out' }));
    bundle.onLoad({ filter: /./, namespace: 'left-out' }, () => ({ contents: 'module.exports = {};' }));
  },
};

const { version } = JSON.parse(await readFile('package.json', 'utf8'));
const out = process.argv[2] ?? 'dist';
await rm(out, { recursive: true, force: true });
await build({
  entryPoints: ['sitegen', 'wake', 'drain', 'sleep', 'alarm', 'responder', 'adopter', 'collect', 'certify', 'buddy-serve', 'push', 'repack', 'dump', 'watch', 'rehearse', 'idle', 'stop-quiet', 'job', 'mail-intake', 'mail-deliver'].map((name) => `cmd/${name}.ts`),
  outdir: out,
  outExtension: { '.js': '.mjs' },
  bundle: true,
  splitting: true,
  minify: true,
  keepNames: true,
  format: 'esm',
  platform: 'node',
  target: 'node18',
  define: { SITEGEN_VERSION: JSON.stringify(version) },
  plugins: [leaveOut],
  legalComments: 'none',
  logLevel: 'warning',
  // CommonJS dependencies call require() for Node's own modules.
  banner: { js: "import{createRequire as _cr}from'node:module';const require=_cr(import.meta.url);" },
});
await mkdir(`${out}/buddy-hooks`);
const scripts = ['buddy', 'push', 'wake', 'drain', 'dump-at-stop', 'sleep', 'stop-all', 'guard', 'let-in', 'listened'].map((name) => [name, name]);
for (const [from, to] of [...scripts, ['buddy-pre-receive', 'buddy-hooks/pre-receive']]) {
  await copyFile(`cmd/${from}.sh`, `${out}/${to}`);
  await chmod(`${out}/${to}`, 0o755);
}
