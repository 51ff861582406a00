#!/usr/bin/env node
// Bundles the programs that run on a server into dist/ or the folder given, for the oldest Node that is supported there.
import { execFileSync } from 'node:child_process';
import { chmod, copyFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';

// Parts of dependencies that sitegen never reaches: descriptors over D-Bus, D-Bus over X11,
// BuildKit sessions, Docker over ssh, colours of messages for debugging, which some may have where it is built.
const unreached = /^(supports-color|usocket|x11|@grpc\/grpc-js|@grpc\/proto-loader|protobufjs|ssh2|cpu-features)$/;
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
  entryPoints: ['sitegen', 'wake', 'drain', 'sleep', 'alarm', 'responder', 'adopter', 'collect', 'certify', 'buddy-serve', 'push', 'repack', 'dump', 'watch', 'disk', 'rehearse', 'idle', 'stop-quiet', 'job', 'mail-intake', 'mail-deliver'].map((name) => `cmd/${name}.ts`),
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
for (const [from, to] of [...scripts, ['cmd/buddy-pre-receive.sh', 'buddy-hooks/pre-receive'], ['cmd/command.sh', 'bin/sitegen'], ['scripts/setup.sh', 'setup'], ['scripts/setup-files.sh', 'setup-files.sh']]) {
  await copyFile(from, `${out}/${to}`);
  await chmod(`${out}/${to}`, 0o755);
}
await writeFile(`${out}/VERSION`, `${version}\n`);
await writeFile(`${out}/LICENSES`, await licences(Object.keys(metafile.inputs)));

// Man pages, and completion for shells, from what was just built; nothing of that is kept in the repository.
const sources = await Promise.all((await readdir('cmd')).filter((name) => name.endsWith('.ts')).sort().map(async (name) => [name, await readFile(`cmd/${name}`, 'utf8')]));
const exported = sources.flatMap(([name, text]) => [...text.matchAll(/^export const (\w+Command): CommandModule/gm)].map(([, command]) => `export { ${command} } from './cmd/${name}';`));
const manual = path.resolve(out, 'manual.mjs');
await build({
  stdin: { contents: [...exported, "export * as manual from './scripts/manual.ts';", "export * as schemas from './lib/pure/schema.ts';"].join('\n'), resolveDir: '.', loader: 'ts' },
  outfile: manual, bundle: true, format: 'esm', platform: 'node', target: 'node18', plugins: [leaveOut], logLevel: 'warning', define: { SITEGEN_VERSION: JSON.stringify(version) },
  banner: { js: "import{createRequire as _cr}from'node:module';const require=_cr(import.meta.url);" },
});
const { manual: pages, schemas, ...commands } = await import(pathToFileURL(manual).href);
await rm(manual);
const sitegen = (args, environment = {}) => execFileSync(process.execPath, [`${out}/sitegen.mjs`, ...args], { encoding: 'utf8', env: { ...process.env, ...environment, NO_COLOR: '1' } });
const facts = Object.values(commands).map((command) => pages.commandFacts(command)).sort((a, b) => (a.usage < b.usage ? -1 : 1));
const global = [...sitegen(['--help']).matchAll(/^ {2}(-\w, --[\w-]+| {4}--[\w-]+) +(.*?)(?: +\[.*)?$/gm)].map(([, head, text]) => [head.trim(), text]);
await mkdir(`${out}/man`);
await writeFile(`${out}/man/sitegen.8`, pages.commandsPage(facts, global, version));
await writeFile(`${out}/man/sitegen.yaml.5`, pages.settingsPage([
  { file: '/etc/sitegen/sitegen.yaml', keys: pages.keyFacts(schemas.defaultsSchema) },
  { file: '/etc/sitegen/sites/DOMAIN.yaml', keys: pages.keyFacts(schemas.siteSchema) },
  { file: '/etc/sitegen/apps/NAME/app.yaml', keys: pages.keyFacts(schemas.appSchema) },
], version));
await mkdir(`${out}/completion`);
for (const shell of ['bash', 'zsh']) await writeFile(`${out}/completion/${shell}`, sitegen(['completion'], { SHELL: `/bin/${shell}`, ZSH_NAME: shell === 'zsh' ? 'zsh' : '' }));

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
