import test from 'ava';
import { parseShow, runArguments, startFault } from '../../../lib/pure/process-state.ts';

const block = (fields: Record<string, string>) => `${Object.entries({ Id: 'a.service', ActiveState: 'inactive', MainPID: '0', ExecMainCode: '0', ExecMainStatus: '0', ExecMainExitTimestamp: '', Result: 'success', ...fields }).map(([name, value]) => `${name}=${value}`).join('\n')}\n`;
const stateOf = (fields: Record<string, string>) => parseShow(block(fields)).get('a.service');

test('what systemd says of several units is read', (t) => {
  const states = parseShow(`${block({ Id: 'a.service', ActiveState: 'active', MainPID: '12' })}\n${block({ Id: 'b.service' })}`);
  t.deepEqual(states.get('a.service'), { running: true, state: 'active', pid: 12, exitCode: 0, finishedAt: undefined, outOfMemory: false });
  t.deepEqual(states.get('b.service'), { running: false, state: 'inactive', pid: 0, exitCode: 0, finishedAt: undefined, outOfMemory: false });
  t.is(parseShow('').size, 0);
});

test('how a program ended is told by code, signal or lack of memory', (t) => {
  t.is(stateOf({ ActiveState: 'failed', ExecMainCode: '1', ExecMainStatus: '3', Result: 'exit-code' })?.exitCode, 3);
  const killed = stateOf({ ActiveState: 'failed', ExecMainCode: '2', ExecMainStatus: '9', Result: 'oom-kill', ExecMainExitTimestamp: '@1700000000' });
  t.deepEqual([killed?.exitCode, killed?.outOfMemory, killed?.finishedAt], [137, true, '2023-11-14T22:13:20.000Z']);
});

test('a program that was never there is told from one that failed', (t) => {
  t.regex(startFault(203) ?? '', /no such program/);
  t.is(startFault(1), undefined);
});

test('a command beside a program has its sandbox, ends with it, and gets its arguments as they are', (t) => {
  const args = runArguments({ unit: 'sitegen-process@a.org.service', slice: 'site-a.org-app.slice', sandbox: [['User', 'sg-a'], ['CapabilityBoundingSet', '']] }, { argv: ['sh', '-c', 'echo $HOME $$'], env: { SITEGEN_HOOK: 'launch' } }, 'run.service');
  for (const each of ['--slice=site-a.org-app.slice', '--unit=run.service', '--property=User=sg-a', '--property=CapabilityBoundingSet=', '--property=BindsTo=sitegen-process@a.org.service', '--setenv=SITEGEN_HOOK=launch', '--pipe']) t.true(args.includes(each), each);
  t.deepEqual(args.slice(args.indexOf('--') + 1), ['sh', '-c', 'echo $$HOME $$$$']);
  t.true(runArguments({ unit: 'u', slice: 's', sandbox: [] }, { argv: ['x'], terminal: true }).includes('--pty'));
});
