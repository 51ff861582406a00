import { createHash } from 'node:crypto';
import { createTree, type TreeWriter } from '../effects/data-tree/write.ts';
import { headOf, openObjects, parseTree, treeOf, type Objects, type TreeEntry } from '../effects/git/objects.ts';
import { reasonOf, SitegenError } from '../pure/errors.ts';
import { dataPrefix, manifestName, metaPrefix, parseManifest, showPath, storedMode, storedPath, type Item } from '../pure/manifest.ts';
import { formatBytes } from '../pure/quantities.ts';

/** Brings what is in a commit of a site back to files; nothing in it is believed before it is checked. */

export interface ExtractOptions {
  repository: string;
  /** A commit, or a name such as `refs/heads/main`. */
  commit: string;
  /** Directory that does not exist yet: it gets `data/` and `meta/`. */
  into: string;
  /** These files and directories below the data alone, one character a byte; `meta/` always is whole. */
  paths?: readonly string[] | undefined;
  /** Called now and then with a stage, and how much of it is done in percent. */
  progress?: ((stage: string, percent: number) => void) | undefined;
}

export interface Extracted {
  /** Files of the data, and their bytes. */
  files: number;
  bytes: number;
}

const limits = { commit: 1024 * 1024, tree: 256 * 1024 * 1024, manifest: 1024 * 1024 * 1024, meta: 64 * 1024 * 1024 };

/**
 * A file below `meta/` of a commit: a small one, such as the settings.
 * @returns undefined when the commit does not have it
 * @throws SitegenError when there is no such commit, or the file is damaged or has more than 64 MB
 */
export async function readMeta(repository: string, commit: string, name: string): Promise<Buffer | undefined> {
  const id = await resolve(repository, commit);
  return withObjects(repository, async (objects) => {
    const blob = await lookUp(objects, id, `${metaPrefix}${name}`);
    return blob === undefined ? undefined : (await objects.read(blob, limits.meta))?.content;
  });
}

/**
 * Writes a commit's files into a new directory, with owners, modes, times and links as the
 * manifest says, and brings them to the disk. Every content is checked against the manifest's ids
 * as it is written, and the manifest against the commit.
 * @throws SitegenError that says what is damaged or cannot be written; then `into` is gone again
 */
export async function extractSite({ repository, commit, into, paths, progress }: ExtractOptions): Promise<Extracted> {
  const id = await resolve(repository, commit);
  return withObjects(repository, async (objects) => {
    const content = await readContent(objects, repository, id, paths);
    const tree = createTree(into);
    try {
      const done = await transfer({ objects, id, content, tree, progress });
      await tree.finish();
      return done;
    } catch (error) {
      tree.remove();
      throw error;
    }
  });
}

/** Checks a commit as `extractSite` does, without writing anything: every byte of it is read. */
export async function verifyCommit(repository: string, commit: string, progress?: ExtractOptions['progress']): Promise<Extracted & { commit: string }> {
  const id = await resolve(repository, commit);
  return withObjects(repository, async (objects) => ({ commit: id, ...await transfer({ objects, id, content: await readContent(objects, repository, id), tree: undefined, progress }) }));
}

async function resolve(repository: string, commit: string): Promise<string> {
  const id = await headOf(repository, commit);
  if (id !== undefined) return id;
  throw new SitegenError(`${repository} has no commit ${commit}`, { hint: 'is there a backup already? see "sitegen backup list"' });
}

async function withObjects<T>(repository: string, action: (objects: Objects) => Promise<T>): Promise<T> {
  const objects = openObjects(repository);
  try {
    return await action(objects);
  } finally {
    objects.close();
  }
}

/** What of a commit is written: entries of the data in order, and the blobs of `meta/`. */
interface Content {
  items: readonly Item[];
  meta: readonly TreeEntry[];
}

async function readContent(objects: Objects, repository: string, commit: string, paths?: readonly string[]): Promise<Content> {
  const manifest = await lookUp(objects, commit, `${metaPrefix}${manifestName}`);
  const text = manifest === undefined ? undefined : await objects.read(manifest, limits.manifest);
  if (!text) throw new SitegenError(`${commit} of ${repository} is no backup of sitegen: it has no manifest`, { hint: 'take another commit or another server' });
  const items = parseManifest(text.content.toString('latin1'));
  return { items: paths ? select(items, paths) : items, meta: await compareWithTree(repository, commit, items) };
}

/** Follows a path from a commit; every step is checked against its id. @returns the id of a file there */
async function lookUp(objects: Objects, commit: string, path: string): Promise<string | undefined> {
  const about = await objects.read(commit, limits.commit);
  let at = /^tree ([0-9a-f]{40})\n/.exec(about?.content.toString('latin1') ?? '')?.[1];
  const parts = path.split('/');
  for (const [index, part] of parts.entries()) {
    const tree = at === undefined ? undefined : await objects.read(at, limits.tree);
    const entry = tree?.type === 'tree' ? parseTree(tree.content).find(({ name }) => name === part) : undefined;
    const last = index === parts.length - 1;
    if (entry?.mode !== (last ? '100644' : '40000')) return undefined;
    at = entry.id;
  }
  return at;
}

/** Checks that a commit has just what its manifest says. @returns the entries of `meta/` */
async function compareWithTree(repository: string, commit: string, items: readonly Item[]): Promise<TreeEntry[]> {
  const refuse = (why: string) => new SitegenError(`the backup ${commit} in ${repository} is damaged: ${why}`, { hint: 'take another commit or another server; "sitegen backup verify" checks them' });
  const expected = new Map<string, Item>();
  for (const item of items) if (item.kind !== 'directory') expected.set(storedPath(item.path), item);
  const meta: TreeEntry[] = [];
  for await (const entry of treeOf(repository, commit)) {
    if (entry.path.startsWith(metaPrefix)) {
      if (entry.mode !== '100644' || !/^meta(\/[A-Za-z0-9_][A-Za-z0-9_.-]*)+$/.test(entry.path)) throw refuse(`${showPath(entry.path)} does not belong there`);
      meta.push(entry);
      continue;
    }
    const item = expected.get(entry.path);
    if (!item) throw refuse(`${showPath(entry.path)} is not in its manifest`);
    expected.delete(entry.path);
    const id = item.kind === 'link' ? idOfText(item.target ?? '') : item.blob;
    if (entry.mode !== storedMode(item) || entry.id !== id) throw refuse(`${showPath(entry.path)} is not what its manifest says`);
  }
  const [missing] = expected.keys();
  if (missing !== undefined) throw refuse(`${showPath(missing)} is missing`);
  return meta;
}

function idOfText(text: string): string {
  const content = Buffer.from(text, 'latin1');
  return createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex');
}

/** Some entries, with what is in them and the directories that they are in. */
function select(items: readonly Item[], paths: readonly string[]): Item[] {
  const wanted = paths.map((path) => path.replaceAll(/^\/+|\/+$/g, ''));
  const missing = wanted.find((path) => !items.some((item) => item.path === path));
  if (missing !== undefined) throw new SitegenError(`there is no ${showPath(missing)} in the backup`, { hint: 'paths begin below the site\'s data' });
  return items.filter(({ path }) => wanted.some((want) => path === want || path.startsWith(`${want}/`) || path === '' || want.startsWith(`${path}/`) || want === ''));
}

interface Transfer {
  objects: Objects;
  id: string;
  content: Content;
  /** Undefined: everything is read and checked alone. */
  tree: TreeWriter | undefined;
  progress: ExtractOptions['progress'];
}

async function transfer({ objects, id, content: { items, meta }, tree, progress }: Transfer): Promise<Extracted> {
  const files = items.filter(({ kind }) => kind === 'file');
  const bytes = files.reduce((sum, { size = 0 }) => sum + size, 0);
  let done = 0;
  const write = async (item: Item, blob: string, size?: number) => {
    const content = counted(objects.stream(blob), size, (count) => {
      done += count;
      progress?.(tree ? 'restoring' : 'checking', bytes === 0 ? 100 : Math.min(100, Math.floor(done / bytes * 100)));
    });
    try {
      if (tree) await tree.file(item, content);
      else for await (const _ of content);
    } catch (error) {
      throw new SitegenError(`the backup ${id} cannot be ${tree ? 'restored' : 'read'} at ${showPath(item.path)}: ${reasonOf(error)}`, { hint: error instanceof SitegenError ? error.hint : undefined, cause: error });
    }
  };
  const root: Omit<Item, 'path'> = { kind: 'directory', mode: 0o700, uid: 0, gid: 0 };
  tree?.directory({ ...root, path: metaPrefix.slice(0, -1) });
  const made = new Set([metaPrefix.slice(0, -1)]);
  for (const { path, id: blob } of meta) {
    for (const directory of parentsOf(path)) {
      if (!made.has(directory)) tree?.directory({ ...root, path: directory });
      made.add(directory);
    }
    await write({ path, kind: 'file', mode: 0o600, uid: 0, gid: 0 }, blob);
  }
  for (const item of items) {
    const placed = { ...item, path: item.path === '' ? dataPrefix.slice(0, -1) : dataPrefix + item.path };
    if (item.kind === 'directory') tree?.directory(placed);
    else if (item.kind === 'link') tree?.link(placed);
    else await write(placed, item.blob ?? '', item.size);
  }
  return { files: files.length, bytes };
}

function parentsOf(path: string): string[] {
  const parts = path.split('/').slice(0, -1);
  return parts.map((_, index) => parts.slice(0, index + 1).join('/'));
}

async function* counted(parts: AsyncIterable<Buffer>, size: number | undefined, count: (bytes: number) => void): AsyncGenerator<Buffer> {
  let all = 0;
  for await (const part of parts) {
    all += part.length;
    count(part.length);
    yield part;
  }
  if (size !== undefined && all !== size) throw new SitegenError(`it has ${formatBytes(all)}, not ${formatBytes(size)}`);
}
