import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { gitEnvironment, safeConfig, toSitegenError } from './run.ts';

/** A run of git on a repository of a site: with streams, which simple-git does not have. */
export interface Call {
  repository: string;
  /** What it is about, for errors: `read the backup …`. */
  what: string;
  args: readonly string[];
  /** `name=value` lines of configuration, over those that hold for every run. */
  config?: readonly string[];
  environment?: Readonly<Record<string, string>>;
}

export interface Started {
  child: ChildProcessWithoutNullStreams;
  /** Settles when it has ended and its output was read; rejects with a SitegenError unless it was 0. */
  ended: Promise<void>;
}

/** How much of what git says on stderr is kept for the error, characters. */
const saidMax = 8192;

/** Starts git; whoever calls reads its output to the end, or kills it. */
export function startGit({ repository, what, args, config = [], environment = {} }: Call): Started {
  const child = spawn('git', [...[...safeConfig, ...config].flatMap((line) => ['-c', line]), ...args], {
    cwd: '/', env: { ...gitEnvironment(), ...environment, GIT_DIR: repository }, stdio: ['pipe', 'pipe', 'pipe'],
  });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => { said = (said + chunk.toString('utf8')).slice(-saidMax); });
  // A broken pipe is told better by the exit.
  child.stdin.on('error', () => undefined);
  const ended = new Promise<void>((resolve, reject) => {
    child.once('error', (error) => { reject(toSitegenError({ what }, error)); });
    child.once('close', (code, signal) => {
      if (code === 0) resolve();
      else reject(toSitegenError({ what }, new Error(said.trim() === '' ? `git ended with ${signal ?? code}` : said)));
    });
  });
  ended.catch(() => undefined);
  return { child, ended };
}

/**
 * Runs git to its end.
 * @param input what it reads from its standard input
 * @returns what it wrote, trimmed: for short answers alone
 * @throws SitegenError with git's own reason
 */
export async function askGit(call: Call, input = ''): Promise<string> {
  const { child, ended } = startGit(call);
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => { chunks.push(chunk); });
  child.stdin.end(input);
  await ended;
  return Buffer.concat(chunks).toString('utf8').trim();
}

/** The records that a run of git writes, each ended by a zero byte; latin1. */
export async function* recordsOf(call: Call): AsyncGenerator<string> {
  const { child, ended } = startGit(call);
  child.stdin.end();
  child.stdout.setEncoding('latin1');
  let rest = '';
  try {
    for await (const chunk of child.stdout) {
      const parts = (rest + (chunk as string)).split('\0');
      rest = parts.pop() ?? '';
      yield* parts;
    }
    await ended;
    if (rest !== '') yield rest;
  } finally {
    child.kill('SIGKILL');
  }
}
