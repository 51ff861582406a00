import type { DesiredProcess } from './process.ts';

/** What systemd knows of a site's program. */
export interface ProcessState {
  running: boolean;
  /** ActiveState: active, inactive, failed … */
  state: string;
  pid: number;
  /** 128 and the number of a signal that ended it; 0 before it ever ran. */
  exitCode: number;
  /** ISO 8601; undefined while it runs, and before it ever did. */
  finishedAt: string | undefined;
  outOfMemory: boolean;
}

/** Codes of waitid(2): the program has ended itself, or a signal has. */
const exited = '1';

/** Reads what "systemctl show --timestamp=unix" prints of units, a block each; by their names. */
export function parseShow(text: string): Map<string, ProcessState> {
  return new Map(text.split(/\n\n+/).flatMap((block) => {
    const fields = new Map(block.split('\n').flatMap((line) => {
      const at = line.indexOf('=');
      return at > 0 ? [[line.slice(0, at), line.slice(at + 1)] as const] : [];
    }));
    const id = fields.get('Id');
    if (id === undefined) return [];
    const [state = '', code = '0', status = 0] = [fields.get('ActiveState'), fields.get('ExecMainCode'), Number(fields.get('ExecMainStatus') ?? 0)];
    const running = ['active', 'activating', 'reloading', 'deactivating'].includes(state);
    const ended = Number(/^@(\d+)/.exec(fields.get('ExecMainExitTimestamp') ?? '')?.[1] ?? 0);
    return [[id, {
      running, state, pid: running ? Number(fields.get('MainPID') ?? 0) : 0,
      exitCode: code === '0' || code === exited ? status : 128 + status,
      finishedAt: running || ended === 0 ? undefined : new Date(ended * 1000).toISOString(),
      outOfMemory: fields.get('Result') === 'oom-kill',
    } satisfies ProcessState] as const];
  }));
}

/** Exit codes that are systemd's own, from before the program was there (systemd.exec(5)). */
const beforeStart: Readonly<Record<number, string>> = {
  200: 'its working directory is missing, or it may not enter it', 203: 'there is no such program, or it may not run it',
  209: 'its output has nowhere to go', 217: 'its user is missing', 226: 'what it may see could not be set up',
};

/** Why a program could not be started, by its exit code; undefined when it was started. */
export function startFault(exitCode: number): string | undefined {
  return beforeStart[exitCode];
}

/** A command that is run beside a site's program. */
export interface RunCommand {
  argv: readonly string[];
  env?: Readonly<Record<string, string>> | undefined;
  /** On the caller's terminal. */
  terminal?: boolean;
}

/**
 * Arguments of systemd-run for a command that may do and see what a site's program may, beside it: it
 * counts to the site's limits, is frozen with it, and ends with it.
 * @param unit its own name; systemd finds one unless given
 */
export function runArguments({ unit: program, sandbox, slice }: Pick<DesiredProcess, 'unit' | 'sandbox'> & { slice: string }, { argv, env = {}, terminal = false }: RunCommand, unit?: string): string[] {
  return [
    '--quiet', '--wait', '--collect', terminal ? '--pty' : '--pipe', `--slice=${slice}`,
    ...(unit === undefined ? [] : [`--unit=${unit}`]),
    ...sandbox.map(([name, value]) => `--property=${name}=${value}`),
    // Also while the machine goes down, when a last dump is made.
    '--property=DefaultDependencies=no', '--property=TimeoutStopSec=5s',
    // The same /tmp, and no longer than the program.
    `--property=JoinsNamespaceOf=${program}`, `--property=BindsTo=${program}`, `--property=After=${program}`,
    ...Object.entries(env).map(([name, value]) => `--setenv=${name}=${value}`),
    '--',
    // Expanded by systemd itself, which has only the program's environment for it (systemd.service(5)).
    ...argv.map((text) => text.replaceAll('$', '$$$$')),
  ];
}
