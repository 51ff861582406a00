import test from 'ava';
import { shouldSend, stillOpen, type AlarmRecord } from '../../../lib/pure/alarms.ts';

const noon = new Date('2030-01-01T12:00:00Z');
const after = (ms: number) => new Date(noon.getTime() + ms);
const record = (fields: Partial<AlarmRecord> = {}): AlarmRecord =>
  ({ unit: 'site-example.com.service', since: noon.toISOString(), last: noon.toISOString(), sent: noon.toISOString(), count: 1, reason: 'exit code 1', ...fields });

test('the first failure goes out', (t) => {
  t.true(shouldSend(undefined, noon));
});

test('a failure that never went out goes out', (t) => {
  t.true(shouldSend(record({ sent: null }), noon));
});

test('a failure goes out once an hour at most', (t) => {
  t.false(shouldSend(record(), noon));
  t.false(shouldSend(record(), after(3_599_999)));
  t.true(shouldSend(record(), after(3_600_000)));
});

test('neither a clock that was set back nor a damaged record silences a unit', (t) => {
  t.true(shouldSend(record(), after(-1)));
  t.true(shouldSend(record({ sent: 'yesterday' }), noon));
});

const unit = (fields: Partial<Parameters<typeof stillOpen>[1]>) => ({ loadState: 'loaded', activeState: 'inactive', activeEnteredMs: 0, inactiveEnteredMs: 0, ...fields });

test('an alarm stands until its unit has worked after the last failure', (t) => {
  t.true(stillOpen(record(), unit({})), 'never active');
  t.true(stillOpen(record(), unit({ activeEnteredMs: noon.getTime() - 1 })), 'active before');
  t.false(stillOpen(record(), unit({ activeEnteredMs: noon.getTime() + 1 })), 'active since');
  t.false(stillOpen(record(), unit({ activeState: 'active', activeEnteredMs: noon.getTime() + 1 })));
});

test('an alarm stands while its unit is failed, and ends with its unit', (t) => {
  t.true(stillOpen(record(), unit({ activeState: 'failed', activeEnteredMs: noon.getTime() + 1 })));
  t.false(stillOpen(record(), unit({ loadState: 'not-found', activeState: 'failed' })));
});

const oneshot = (fields: Partial<Parameters<typeof stillOpen>[1]>) => unit({ type: 'oneshot', result: 'success', exitStatus: 0, inactiveEnteredMs: noon.getTime() + 1, ...fields });

test('the alarm of a oneshot unit ends when it has ended well', (t) => {
  t.false(stillOpen(record(), oneshot({})));
  t.true(stillOpen(record(), oneshot({ inactiveEnteredMs: noon.getTime() - 1 })), 'before the failure');
  t.true(stillOpen(record(), oneshot({ inactiveEnteredMs: 0 })), 'not run since the start of the machine');
  t.true(stillOpen(record(), oneshot({ result: 'exit-code', exitStatus: 1, activeState: 'failed' })));
  t.true(stillOpen(record(), oneshot({ exitStatus: 75 })), 'the fault goes on, and has been told');
  t.true(stillOpen(record(), oneshot({ activeState: 'activating' })));
  t.true(stillOpen(record(), unit({ result: 'success', exitStatus: 0, inactiveEnteredMs: noon.getTime() + 1, type: 'notify' })), 'a service that was only stopped');
});

test('an alarm ends when the program says so, until it fails again', (t) => {
  t.false(stillOpen(record({ worked: after(1).toISOString() }), unit({})));
  t.true(stillOpen(record({ worked: after(-1).toISOString() }), unit({})));
});
