import { execFile, spawn } from 'node:child_process';
import fs from 'node:fs/promises';
import { promisify } from 'node:util';
import { SitegenError } from '../pure/errors.ts';

const execute = promisify(execFile);

/** An account of the machine. */
export interface Account {
  uid: number;
  gid: number;
}

/** An account by its name; undefined when there is none. */
export async function findAccount(user: string): Promise<Account | undefined> {
  const { stdout } = await execute('getent', ['passwd', user]).catch(() => ({ stdout: '' }));
  const [, , uid, gid] = stdout.trim().split(':');
  return uid === undefined || gid === undefined ? undefined : { uid: Number(uid), gid: Number(gid) };
}

/**
 * Makes an account that nobody logs in to with a password, and whose home is root's.
 * The password is "*" and not "!", with which sshd takes an account for locked where it does not use
 * PAM (sshd(8)); the shell is one, as it is what sshd runs forced commands with.
 */
export async function makeAccount(user: string, home: string): Promise<Account> {
  const found = await findAccount(user);
  if (found) return found;
  try {
    await execute('useradd', ['--system', '--user-group', '--home-dir', home, '--no-create-home', '--shell', '/bin/sh', '--password', '*', user]);
  } catch (error) {
    throw new SitegenError(`cannot make the account ${user}: ${(error as { stderr?: string }).stderr?.trim() ?? String(error)}`, { hint: 'run it as root', cause: error });
  }
  const made = await findAccount(user);
  if (!made) throw new SitegenError(`the account ${user} was made, and is not there`, { hint: `look at: getent passwd ${user}` });
  return made;
}

/** Makes a folder for an account that nobody else may look into. One that is there stays as it is. */
export async function giveFolder(folder: string, { uid, gid }: Account): Promise<void> {
  try {
    await fs.mkdir(folder, { mode: 0o700 });
    await fs.chown(folder, uid, gid);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EEXIST') throw new SitegenError(`cannot make ${folder}: ${code ?? String(error)}`, { hint: 'run it as root', cause: error });
  }
}

/**
 * Runs a program as an account, with nothing of root's own environment.
 * @param options passOn: what it says goes to this process's own standard streams
 * @returns its exit code and, unless passed on, what it wrote to standard output
 */
export async function runAs({ uid, gid }: Account, argv: readonly string[], { passOn = false }: { passOn?: boolean } = {}): Promise<{ code: number; stdout: string }> {
  const [program = '', ...args] = argv;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { uid, gid, cwd: '/', env: { PATH: process.env['PATH'] ?? '/usr/sbin:/usr/bin', HOME: '/' }, stdio: ['ignore', passOn ? 'inherit' : 'pipe', 'inherit'] });
    let stdout = '';
    child.stdout?.on('data', (chunk: Buffer) => { stdout += chunk.toString('utf8'); });
    child.once('error', (error) => { reject(new SitegenError(`cannot run ${program}: ${error.message}`, { hint: 'run install.sh again', cause: error })); });
    child.once('close', (code) => { resolve({ code: code ?? 1, stdout }); });
  });
}
