import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import ts from 'typescript';

const root = path.resolve(import.meta.dirname, '..');

/** From the top down; a file imports from its own layer or one below it. */
const layers = ['cmd', 'lib/usecases', 'lib/effects', 'lib/pure'] as const;

/** Libraries that one file alone knows, and those of the folder called like it. */
const owners: Record<string, string> = {
  'acme-client': 'lib/effects/acme.ts',
  dockerode: 'lib/effects/docker.ts',
  'tar-stream': 'lib/effects/docker/images.ts',
  'dbus-next': 'lib/effects/systemd.ts',
  mustache: 'lib/pure/render.ts',
  'simple-git': 'lib/effects/git/run.ts',
  'ipaddr.js': 'lib/pure/addresses.ts',
  'age-encryption': 'lib/effects/age.ts',
  'smtp-server': 'lib/effects/smtp-intake.ts',
  nodemailer: 'lib/effects/smtp-send.ts',
};

/** Modules without input or output. */
const pureModules = ['node:crypto', 'node:path/posix', 'node:url', 'ipaddr.js', 'mustache', 'nodemailer/lib/addressparser/index.js', 'yaml', 'zod'];

interface Source {
  file: string;
  text: string;
  lines: number;
  /** Repository paths of imported files, and names of modules; types included. */
  files: string[];
  modules: string[];
}

async function readSources(): Promise<Source[]> {
  const found = await Promise.all(['cmd', 'lib'].map((top) => readdir(path.join(root, top), { recursive: true })
    .then((names) => names.map((name) => `${top}/${name}`))));
  return Promise.all(found.flat().filter((file) => /\.(ts|sh)$/.test(file)).sort().map((file) => readSource(file)));
}

async function readSource(file: string): Promise<Source> {
  const text = await readFile(path.join(root, file), 'utf8');
  const imported = file.endsWith('.ts') ? ts.preProcessFile(text, true, true).importedFiles.map(({ fileName }) => fileName) : [];
  return {
    file,
    text,
    lines: text.trimEnd().split('\n').length,
    files: imported.filter((name) => name.startsWith('.')).map((name) => path.join(path.dirname(file), name)),
    modules: imported.filter((name) => !name.startsWith('.')),
  };
}

const layerOf = (file: string) => layers.findIndex((layer) => file.startsWith(`${layer}/`));

/** Imports of a file that break the direction, as `file -> imported: why`. */
function wrongImports({ file, files }: Source): string[] {
  const own = layerOf(file);
  return files.flatMap((imported) => {
    const other = layerOf(imported);
    if (other === -1) return [`${file} -> ${imported}: not in a layer`];
    if (other < own) return [`${file} -> ${imported}: upwards`];
    // A folder of effects is one effect in several files; a file beside it may have its name and be its front.
    const folder = path.dirname(file) === 'lib/effects' ? file.replace(/\.ts$/, '') : path.dirname(file);
    if (layers[own] === 'lib/effects' && other === own && folder !== path.dirname(imported)) return [`${file} -> ${imported}: effects never import each other`];
    return [];
  });
}

/** A chain of imports that ends where it began, or undefined. */
function cycleIn(sources: readonly Source[]): string[] | undefined {
  const imports = new Map(sources.map(({ file, files }) => [file, files]));
  const done = new Set<string>();
  const search = (file: string, trail: readonly string[]): string[] | undefined => {
    if (trail.includes(file)) return [...trail.slice(trail.indexOf(file)), file];
    if (done.has(file)) return undefined;
    for (const next of imports.get(file) ?? []) {
      const cycle = search(next, [...trail, file]);
      if (cycle) return cycle;
    }
    done.add(file);
    return undefined;
  };
  for (const { file } of sources) {
    const cycle = search(file, []);
    if (cycle) return cycle;
  }
  return undefined;
}

const sources = await readSources();
const code = sources.filter(({ file }) => file.endsWith('.ts') && !file.endsWith('.d.ts'));

test('every layer is there and has imports to look at', (t) => {
  for (const layer of layers) t.true(code.some(({ file, files }) => file.startsWith(`${layer}/`) && files.length > 0), layer);
});

test('every file of lib is in a layer', (t) => {
  t.deepEqual(code.map(({ file }) => file).filter((file) => layerOf(file) === -1), []);
});

test('imports go from commands over use cases and effects to what is pure', (t) => {
  t.deepEqual(code.flatMap((source) => wrongImports(source)), []);
});

test('imports of missing files would be seen', (t) => {
  const known = new Set(sources.map(({ file }) => file));
  t.deepEqual(code.flatMap(({ file, files }) => files.filter((imported) => !known.has(imported)).map((imported) => `${file} -> ${imported}`)), []);
});

test('what is pure uses modules without input or output alone', (t) => {
  const pure = code.filter(({ file }) => file.startsWith('lib/pure/'));
  t.deepEqual(pure.flatMap(({ file, modules }) => modules.filter((name) => !pureModules.includes(name)).map((name) => `${file} -> ${name}`)), []);
});

test('what is pure asks neither clock nor chance nor environment', (t) => {
  const asks = /(?<![/-])\b(process\.|Date\.now\(|new Date\(\)|performance\.|Math\.random\(|randomBytes|fetch\()/;
  const pure = code.filter(({ file }) => file.startsWith('lib/pure/'));
  t.deepEqual(pure.flatMap(({ file, text }) => asks.exec(text)?.slice(0, 1).map((found) => `${file}: ${found}`) ?? []), []);
});

test('each larger library is known to one file and its own folder alone', (t) => {
  for (const [library, owner] of Object.entries(owners)) {
    const users = code.filter(({ modules }) => modules.includes(library)).map(({ file }) => file);
    t.deepEqual(users.filter((file) => file !== owner && !file.startsWith(owner.replace(/\.ts$/, '/'))), [], library);
    t.true(users.length > 0, library);
  }
});

test('no file imports itself, be it over others', (t) => {
  t.is(cycleIn(code)?.join(' -> '), undefined);
});

test('a cycle, an upward import and effects among themselves are found', (t) => {
  const source = (file: string, ...files: string[]): Source => ({ file, files, text: '', lines: 1, modules: [] });
  t.deepEqual(cycleIn([source('a', 'b'), source('b', 'c', 'd'), source('c'), source('d', 'b')]), ['b', 'd', 'b']);
  t.is(wrongImports(source('lib/pure/a.ts', 'lib/effects/b.ts')).length, 1);
  t.is(wrongImports(source('lib/effects/a.ts', 'lib/effects/b.ts')).length, 1);
  t.is(wrongImports(source('lib/effects/a.ts', 'lib/effects/b/c.ts', 'lib/effects/a/b.ts')).length, 1);
  t.is(wrongImports(source('lib/effects/a/b.ts', 'lib/effects/a.ts', 'lib/effects/c/d.ts', 'lib/effects/a/c.ts')).length, 2);
  t.is(wrongImports(source('lib/usecases/a.ts', 'cmd/b.ts', 'scripts/c.ts')).length, 2);
  t.is(wrongImports(source('cmd/a.ts', 'lib/usecases/b.ts', 'lib/pure/c.ts', 'cmd/d.ts')).length, 0);
});

test('no file is longer than 300 lines', (t) => {
  t.deepEqual(sources.filter(({ lines }) => lines > 300).map(({ file, lines }) => `${file}: ${lines}`), []);
});
