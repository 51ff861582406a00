#!/usr/bin/env node
// Bundles the programs that run on a server into dist/ or the folder given, for the oldest Node that is supported there.
import { execFile } from 'node:child_process';
import { chmod, copyFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
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
const { metafile } = await build({
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
  metafile: true,
  // The licences are in a file of their own.
  legalComments: 'none',
  logLevel: 'warning',
  // CommonJS dependencies call require() for Node's own modules.
  banner: { js: "import{createRequire as _cr}from'node:module';const require=_cr(import.meta.url);" },
});
await mkdir(`${out}/buddy-hooks`);
await mkdir(`${out}/bin`);
const scripts = ['buddy', 'push', 'wake', 'drain', 'dump-at-stop', 'sleep', 'stop-all', 'guard', 'let-in', 'listened'].map((name) => [`cmd/${name}.sh`, name]);
for (const [from, to] of [...scripts, ['cmd/buddy-pre-receive.sh', 'buddy-hooks/pre-receive'], ['cmd/command.sh', 'bin/sitegen'], ['scripts/setup.sh', 'setup']]) {
  await copyFile(from, `${out}/${to}`);
  await chmod(`${out}/${to}`, 0o755);
}
await writeFile(`${out}/VERSION`, `${version}\n`);
await writeFile(`${out}/LICENSES`, await licences(Object.keys(metafile.inputs)));
const { stdout: completion } = await promisify(execFile)(process.execPath, [`${out}/sitegen.mjs`, 'completion']);
await writeFile(`${out}/completion`, completion);

/** What the licences of the bundled packages want passed on, of each package whose files are in the bundle. */
async function licences(inputs) {
  const folders = new Set(inputs.map((input) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0]).filter((folder) => folder !== undefined));
  const packages = await Promise.all([...folders].map(async (folder) => {
    const { name, version: its, license } = JSON.parse(await readFile(path.join(folder, 'package.json'), 'utf8'));
    const files = (await readdir(folder)).filter((file) => /^(licen[cs]e|copying|notice)/i.test(file)).sort();
    const texts = await Promise.all(files.map((file) => readFile(path.join(folder, file), 'utf8')));
    return `${name} ${its} (${typeof license === 'string' ? license : license?.type ?? 'see its licence'})\n\n${texts.map((text) => text.trim()).join('\n\n')}\n`;
  }));
  return packages.sort().join(`\n${'-'.repeat(72)}\n\n`);
}
