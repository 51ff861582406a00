import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { ExecutionContext } from 'ava';
import type { Docker } from '../../../lib/effects/docker.ts';
import type { Systemd } from '../../../lib/effects/systemd.ts';
import { paths, siteNames } from '../../../lib/pure/names.ts';
import { holdLock } from '../_lock.ts';
import { folder, group } from './_cgroup.ts';

export type Running = 'stopped' | 'running' | 'frozen';

/** What of a machine a test has otherwise. */
export interface Machine {
  runs?: Running;
  /** ActiveState of the site's service. */
  service?: string;
  /** Below the settings that every site has. */
  settings?: string;
  /** Undefined for a site whose container is not made yet. */
  container?: 'made' | undefined;
  exec?: Docker['exec'];
  /** In place of a dump that ends well. */
  dump?: () => Promise<void>;
  start?: () => Promise<void>;
}

/**
 * A machine in a folder, with one site that has the jobs "hello" and "bad", and one turn for all
 * that start. Its container does what it is told, and all that is done is written down.
 */
export function jobMachine(t: ExecutionContext, { runs = 'frozen', service = 'inactive', settings = '', exec, dump, start, ...rest }: Machine = {}) {
  const root = folder(t);
  const below = (name: string) => `${root}/${name}`;
  for (const name of ['sites', 'run/sites', 'run/starts', 'units', 'backup', 'bin', 'alarms']) mkdirSync(below(name), { recursive: true });
  Object.assign(paths, {
    defaultsFile: below('sitegen.yaml'), sitesDir: below('sites'), unitsDir: below('units'), stateDir: below('state'), backupDir: below('backup'), alarmsDir: below('alarms'),
    runDir: below('run'), startsDir: below('run/starts'), startsFile: below('slots'), budgetFile: below('run/budget'), cgroupRoot: below('cgroup'), dockerSocket: below('no.sock'),
  });
  process.env['SITEGEN_TEMPLATES'] = path.resolve(import.meta.dirname, '../../../templates');
  writeFileSync(below('slots'), '1\n');
  // What is meant for the journal of this very machine.
  const journal = below('journal');
  writeFileSync(journal, '');
  writeFileSync(below('bin/logger'), `#!/bin/sh\nexec cat >>${journal}\n`, { mode: 0o755 });
  writeFileSync(below('bin/systemd-notify'), '#!/bin/sh\n', { mode: 0o755 });
  if (!(process.env['PATH'] ?? '').startsWith(root)) process.env['PATH'] = `${below('bin')}${path.delimiter}${process.env['PATH'] ?? ''}`;

  const names = siteNames('example.com');
  writeFileSync(names.settingsFile, `domain: example.com\nimage: x\nbackup: false\n${settings}jobs:\n  hello: {calendar: daily, command: [hello], timeout: 300ms}\n  other: {calendar: daily, command: [other]}\n`);
  const done: string[] = [];
  const lives = { state: service };
  const run = (next: Running) => { group(names.appCgroup, { populated: next !== 'stopped', frozen: next === 'frozen' }); };
  run(runs);
  const step = async (what: string, effect: () => unknown = () => undefined) => {
    done.push(what);
    await effect();
  };
  const systemd: Partial<Systemd> = {
    list: () => Promise.resolve([{ name: names.service, activeState: lives.state, subState: '', loadState: 'loaded' }]),
    thaw: () => step('thaw', () => { run('running'); }),
    freeze: () => step('freeze', () => { run('frozen'); }),
    enqueue: (unit) => step(`enqueue ${unit}`),
    start: (unit) => step(`start ${unit}`, unit === names.dumpUnit ? dump : undefined),
  };
  const docker: Partial<Docker> = {
    find: () => Promise.resolve('container' in rest && rest.container === undefined ? undefined : { id: 'id', name: names.container, domain: 'example.com', specHash: '', running: false, status: '' }),
    start: () => step('docker start', start ?? (() => { run('running'); })),
    stop: () => step('docker stop', () => { run('stopped'); }),
    exec: async (container, command, streams) => {
      done.push(`run ${command.argv.join(' ')}`);
      return exec ? exec(container, command, streams) : { exitCode: 0, stderrTail: '' };
    },
  };
  /** Holds a lock as another process does. Gives what ends that. */
  const hold = (file: string) => holdLock(t, file);
  return {
    deps: { systemd: systemd as Systemd, docker: docker as Docker }, names, done, run, lives, hold,
    said: () => [...readFileSync(journal, 'utf8').matchAll(/^MESSAGE=(.*)$/gm)].map(([, line = '']) => line),
    journal: () => readFileSync(journal, 'utf8'),
  };
}
