import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';
import { SitegenError } from '../pure/errors.ts';
import { parseShow, type ProcessState } from '../pure/process-state.ts';

const execute = promisify(execFile);

/** Programs that systemd runs for sites without a container, and what is run beside them. By systemctl, which knows root's own socket when D-Bus is gone. */

/** What systemd knows of the units of some programs, by name; one that it has not loaded counts as never run. */
export async function processStates(units: readonly string[]): Promise<Map<string, ProcessState>> {
  if (units.length === 0) return new Map();
  const { stdout } = await systemctl(['show', '--timestamp=unix', '--property=Id,ActiveState,MainPID,ExecMainCode,ExecMainStatus,ExecMainExitTimestamp,Result', '--', ...units]);
  return parseShow(stdout);
}

/** Starts a unit, and waits for it. @throws SitegenError with what systemctl said */
export async function startUnit(unit: string): Promise<void> {
  await systemctl(['--quiet', 'start', '--', unit]);
}

/** Stops a unit, and waits for it; one that systemd does not know is stopped. @throws SitegenError with what systemctl said */
export async function stopUnit(unit: string): Promise<void> {
  await systemctl(['--quiet', 'stop', '--', unit]).catch((error: unknown) => {
    if ((error as { cause?: { code?: unknown } }).cause?.code !== notLoaded) throw error;
  });
}

/** Exit code of systemctl for a unit that is not loaded, as the LSB has it for a program that is not installed (systemctl(1)). */
const notLoaded = 5;

async function systemctl(args: readonly string[]): Promise<{ stdout: string }> {
  try {
    return await execute('systemctl', args, { maxBuffer: 64 * 1024 * 1024, env: { ...process.env, LC_ALL: 'C' } });
  } catch (error) {
    const { stderr } = error as { stderr?: string };
    throw new SitegenError(`systemctl ${args.find((each) => !each.startsWith('-')) ?? ''} failed: ${stderr?.trim().split('\n', 1)[0] ?? String(error)}`, { cause: error });
  }
}

/** Makes the user of a site's program, if it is not there: one that nobody logs in to. */
export async function makeUser(user: string, uid: number, domain: string): Promise<void> {
  if (await userExists(user)) return;
  // A service has it for its time, which the files of accounts do not show.
  const number = existsSync(`/run/systemd/dynamic-uid/${uid}`) ? '-' : String(uid);
  try {
    await execute('systemd-sysusers', ['--inline', `u ${user} ${number} "program of the site ${domain}" / /usr/sbin/nologin`]);
  } catch (error) {
    throw new SitegenError(`cannot make the user ${user}: ${(error as { stderr?: string }).stderr?.trim() ?? String(error)}`, { hint: 'run it as root', cause: error });
  }
  if (!await userExists(user)) throw new SitegenError(`the user ${user} was made, and is not there`, { hint: `look at: getent passwd ${user}` });
}

/** Whether a user is there. */
export async function userExists(user: string): Promise<boolean> {
  return execute('getent', ['passwd', '--', user]).then(() => true, () => false);
}

/** Takes a user away, and the group of its name; one that is missing is no error. */
export async function removeUser(user: string): Promise<void> {
  if (!await userExists(user)) return;
  try {
    await execute('userdel', [user]);
  } catch (error) {
    throw new SitegenError(`cannot remove the user ${user}: ${(error as { stderr?: string }).stderr?.trim() ?? String(error)}`, { hint: `see what still runs as it: ps -u ${user}`, cause: error });
  }
}

/** Gives all below a directory to a user, links themselves and nothing behind them; its program must not run. */
export async function giveTree(directory: string, user: string): Promise<void> {
  try {
    await execute('chown', ['--recursive', '--no-dereference', '-P', '--', `${user}:${user}`, directory]);
  } catch (error) {
    throw new SitegenError(`cannot give ${directory} to ${user}: ${(error as { stderr?: string }).stderr?.trim() ?? String(error)}`, { hint: 'run it as root', cause: error });
  }
}

/** A program that runs in a unit of its own. */
export interface Run {
  child: ChildProcess;
  unit: string;
}

/** Runs a program with systemd-run, with pipes to its standard streams. @param argv as `runArguments` has it, without the unit */
export function runPiped(argumentsFor: (unit: string) => readonly string[], id: string): Run {
  // A unit's name: no program of another site may be meant.
  const unit = `sitegen-run-${randomBytes(8).toString('hex')}@${id}.service`;
  return { unit, child: spawn('systemd-run', argumentsFor(unit), { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, LC_ALL: 'C' } }) };
}

/** Ends what runs in such a unit, at once; one that has ended is no error. */
export async function killRun(unit: string): Promise<void> {
  await execute('systemctl', ['--quiet', 'kill', '--signal=SIGKILL', '--', unit]).catch(() => undefined);
  await execute('systemctl', ['--quiet', 'stop', '--', unit]).catch(() => undefined);
}
