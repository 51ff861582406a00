import { createHash } from 'node:crypto';
import { encrypt } from '../effects/age.ts';
import { readIfThere, writeAtomic } from '../effects/files.ts';
import { makePrivate } from '../effects/folder.ts';
import { paths, type SiteNames } from '../pure/names.ts';
import type { MetaFile } from './commit.ts';

/**
 * What of a backup only its owner shall read. Encrypting the same text twice gives different
 * bytes, and a commit an hour of them; so the last result is kept and used until the text changes.
 */

type Kept = Record<string, { digest: string; content: string }>;

/**
 * Encrypts files of a backup to the admin's key.
 * @param recipient public key of age; without one the files stay as they are
 * @returns the files under the names that they have in the backup: `NAME.age`, or `NAME`
 */
export async function seal(names: SiteNames, files: Readonly<Record<string, string>>, recipient: string | undefined): Promise<MetaFile[]> {
  if (recipient === undefined) return Object.entries(files).map(([name, text]) => ({ name, content: Buffer.from(text) }));
  const before = await readKept(names);
  const kept: Kept = {};
  for (const [name, text] of Object.entries(files)) {
    const digest = createHash('sha256').update(`${recipient}\0${text}`).digest('hex');
    kept[name] = before[name]?.digest === digest ? before[name] : { digest, content: (await encrypt(Buffer.from(text), recipient)).toString('base64') };
  }
  if (JSON.stringify(kept) !== JSON.stringify(before)) {
    await makePrivate(paths.backupDir);
    await writeAtomic({ path: names.sealedFile, content: `${JSON.stringify(kept)}\n`, mode: 0o600 });
  }
  return Object.entries(kept).map(([name, { content }]) => ({ name: `${name}.age`, content: Buffer.from(content, 'base64') }));
}

async function readKept(names: SiteNames): Promise<Kept> {
  try {
    return JSON.parse((await readIfThere(names.sealedFile)) ?? '{}') as Kept;
  } catch {
    return {};
  }
}
