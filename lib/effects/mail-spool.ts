import { constants } from 'node:fs';
import fs, { type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import type { Readable } from 'node:stream';
import { siteOfMessage, type Envelope, type Progress, type Queued } from '../pure/mail-queue.ts';

/**
 * Mail on the disk, below one directory:
 * `tmp` what is being taken; `in` what was taken, and notes, put there whole by a rename and synced, so
 * that it is there after a crash; `queue` what delivery has looked at. The intake, which strangers talk
 * to, can write to the first two only. A message's file has its envelope in the first line; what became
 * of it since is in a file of its own beside it.
 */

const message = '.mail';
const progress = '.json';
const note = '.note';

/** An envelope of a hundred recipients is far shorter. */
const envelopeMax = 128 * 1024;

export interface Spool {
  tmp: string;
  in: string;
  queue: string;
  /** There when all of the queue is to be tried at once. */
  flush: string;
}

export function spoolAt(directory: string): Spool {
  return { tmp: `${directory}/tmp`, in: `${directory}/in`, queue: `${directory}/queue`, flush: `${directory}/flush` };
}

/** A message that is being taken. */
export interface Incoming {
  write(chunk: Buffer): Promise<void>;
  /** Returns once it survives a crash. */
  commit(): Promise<void>;
  /** Leaves nothing of it; no error after `commit`, when it changes nothing. */
  abort(): Promise<void>;
}

/** Begins a message; readable by the group alone. */
export async function beginMessage(spool: Spool, name: string, envelope: Envelope): Promise<Incoming> {
  const temporary = `${spool.tmp}/${name}`;
  const handle = await fs.open(temporary, 'wx', 0o640);
  let open = true;
  const close = async () => {
    if (open) await handle.close();
    open = false;
  };
  try {
    await handle.writeFile(`${JSON.stringify(envelope)}\n`);
  } catch (error) {
    await close();
    await fs.rm(temporary, { force: true });
    throw error;
  }
  return {
    async write(chunk) {
      await handle.writeFile(chunk);
    },
    async commit() {
      await handle.sync();
      await close();
      await fs.rename(temporary, `${spool.in}/${name}${message}`);
      await sync(spool.in);
    },
    async abort() {
      await close();
      await fs.rm(temporary, { force: true });
    },
  };
}

/** Leaves a line for the journal of a site, which only root can write into. */
export async function leaveNote(spool: Spool, name: string, text: string): Promise<void> {
  await fs.writeFile(`${spool.tmp}/${name}`, text, { mode: 0o640, flag: 'wx' });
  await fs.rename(`${spool.tmp}/${name}`, `${spool.in}/${name}${note}`);
}

/** Removes what an intake that was killed has left; the one there is calls it before it takes anything. */
export async function sweepTemporary(spool: Spool): Promise<void> {
  for (const name of await fs.readdir(spool.tmp)) await fs.rm(`${spool.tmp}/${name}`, { force: true });
}

/** Bytes that a site has in the queue. */
export async function bytesOf(spool: Spool, id: string): Promise<number> {
  let sum = 0;
  for (const directory of [spool.tmp, spool.in, spool.queue]) {
    for (const name of await namesIn(directory)) {
      if (siteOfMessage(path.basename(name, message)) === id) sum += (await fs.stat(`${directory}/${name}`).catch(() => undefined))?.size ?? 0;
    }
  }
  return sum;
}

/** Bytes that the disk has left. */
export async function bytesFree(spool: Spool): Promise<number> {
  const { bavail, bsize } = await fs.statfs(spool.tmp);
  return bavail * bsize;
}

/**
 * Moves what was taken into the queue.
 * @returns the names of new messages, and the notes, which are gone then
 */
export async function takeIn(spool: Spool): Promise<{ messages: string[]; notes: { id: string; text: string }[] }> {
  const messages: string[] = [];
  const notes: { id: string; text: string }[] = [];
  for (const file of await namesIn(spool.in)) {
    const [name, ending] = [file.slice(0, file.lastIndexOf('.')), file.slice(file.lastIndexOf('.'))];
    const id = siteOfMessage(name);
    if (id !== undefined && ending === message) {
      await fs.rename(`${spool.in}/${file}`, `${spool.queue}/${file}`);
      messages.push(name);
    } else {
      if (id !== undefined && ending === note) notes.push({ id, text: (await readPlain(`${spool.in}/${file}`, 2000)).toString('utf8') });
      // Whatever else is there would have this called again and again.
      await fs.rm(`${spool.in}/${file}`, { force: true, recursive: true });
    }
  }
  await sync(spool.queue);
  return { messages, notes };
}

/** All of the queue, the oldest first. A file that is no message is left out, and reported. */
export async function listQueue(spool: Spool, report: (line: string) => void): Promise<Queued[]> {
  const queued: Queued[] = [];
  for (const file of await namesIn(spool.queue)) {
    const name = path.basename(file, message);
    const id = file.endsWith(message) ? siteOfMessage(name) : undefined;
    if (id === undefined) continue;
    try {
      const { envelope, size } = await readEnvelope(spool, name);
      queued.push({ name, id, envelope, progress: await readProgress(spool, name), bytes: size });
    } catch (error) {
      // Delivered or removed by somebody else just now.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') continue;
      report(`${spool.queue}/${file} is no message: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return queued;
}

/** The message as it goes out. */
export async function openContent(spool: Spool, name: string): Promise<Readable> {
  const { bodyAt } = await readEnvelope(spool, name);
  const handle = await openPlain(`${spool.queue}/${name}${message}`);
  return handle.createReadStream({ start: bodyAt });
}

/** Writes down what became of a message so far. */
export async function saveProgress(spool: Spool, name: string, value: Progress): Promise<void> {
  const file = `${spool.queue}/${name}${progress}`;
  const handle = await fs.open(`${file}.new`, 'w', 0o640);
  try {
    await handle.writeFile(JSON.stringify(value));
    await handle.sync();
  } finally {
    await handle.close();
  }
  await fs.rename(`${file}.new`, file);
  await sync(spool.queue);
}

/** Takes a message out of the queue, so that it stays out after a crash. @returns false when there is none */
export async function dropMessage(spool: Spool, name: string): Promise<boolean> {
  const there = await fs.unlink(`${spool.queue}/${name}${message}`).then(() => true, (error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  });
  await fs.rm(`${spool.queue}/${name}${progress}`, { force: true });
  await sync(spool.queue);
  return there;
}

/** Asks for all of the queue to be tried; `takeFlush` tells whether somebody did, once. */
export async function askFlush(spool: Spool): Promise<void> {
  await fs.writeFile(spool.flush, '');
}

export async function takeFlush(spool: Spool): Promise<boolean> {
  return fs.unlink(spool.flush).then(() => true, () => false);
}

async function readProgress(spool: Spool, name: string): Promise<Progress | undefined> {
  const text = await fs.readFile(`${spool.queue}/${name}${progress}`, 'utf8').catch(() => undefined);
  return text === undefined ? undefined : JSON.parse(text) as Progress;
}

async function readEnvelope(spool: Spool, name: string): Promise<{ envelope: Envelope; bodyAt: number; size: number }> {
  const file = `${spool.queue}/${name}${message}`;
  const start = await readPlain(file, envelopeMax);
  const end = start.indexOf(10);
  if (end === -1) throw new Error('it has no envelope');
  const envelope = JSON.parse(start.subarray(0, end).toString('utf8')) as Partial<Envelope>;
  const { domain, service, from, to, at, relay } = envelope;
  if (![domain, service, from, relay].every((each) => typeof each === 'string') || typeof at !== 'number' || !Array.isArray(to) || to.length === 0 || !to.every((each) => typeof each === 'string')) throw new Error('its envelope is not complete');
  return { envelope: envelope as Envelope, bodyAt: end + 1, size: (await fs.stat(file)).size };
}

async function readPlain(file: string, most: number): Promise<Buffer> {
  const handle = await openPlain(file);
  try {
    const buffer = Buffer.alloc(most);
    const { bytesRead } = await handle.read(buffer, 0, most, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

/** Files of the intake, which may have been broken into: a link could lead to what it may not read itself. */
async function openPlain(file: string): Promise<FileHandle> {
  const handle = await fs.open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  const status = await handle.stat();
  if (status.isFile() && status.nlink === 1) return handle;
  await handle.close();
  throw new Error('it is not a plain file');
}

async function namesIn(directory: string): Promise<string[]> {
  return (await fs.readdir(directory)).sort();
}

async function sync(directory: string): Promise<void> {
  const handle = await fs.open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
