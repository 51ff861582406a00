import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'ava';
import { isEnabledAtBoot, isStanding, judgeAlarms, judgeAlerts, judgeFailed, judgeLocks, judgeModes, judgeReload, judgeSettings, judgeUnits } from '../../../../lib/pure/doctor/units.ts';
import { judges } from './_verdicts.ts';

const folder = path.resolve(import.meta.dirname, '../../../../units');
const installed = readdirSync(folder).filter((name) => /\.(service|socket|timer|path|slice)$/.test(name));

test('what is looked for is among the units that are installed, and can be enabled', (t) => {
  const standing = installed.filter((name) => isStanding(name));
  for (const name of ['sitegen-network.service', 'sitegen-shutdown.service', 'sitegen-certs.path', 'sitegen-renew.timer', 'sitegen-static.socket']) t.true(standing.includes(name), name);
  for (const name of ['sitegen-router.socket', 'sitegen-idle.timer', 'sitegen-dump@.timer', 'sitegen-renew.service', 'sitegen-mail-deliver.path', 'sitegen-mail-deliver.timer']) t.false(standing.includes(name), name);
  for (const name of installed.filter((each) => isEnabledAtBoot(each))) t.regex(readFileSync(`${folder}/${name}`, 'utf8'), /^WantedBy=\S+$/m, name);
});

const unit = { name: 'sitegen-renew.timer', installed: 'a', present: 'a', override: undefined, wantedBy: 'timers.target', linked: true, active: 'active', masked: false };
const units = (change: Partial<Omit<typeof unit, 'present' | 'override'>> & { present?: string | undefined; override?: string | undefined }) => judgeUnits([{ ...unit, ...change }], '/etc/systemd/system');
judges('units as installed', units({}), ['ok', /^1 /]);
judges('nothing installed', judgeUnits([], '/etc/systemd/system'), ['error', /cannot be told/]);
judges('a unit that is gone', units({ present: undefined }), ['error', /is missing/, 'install']);
judges('a unit that somebody has edited', units({ present: 'b' }), ['warning', /not as it was installed/]);
judges('a unit that stands in for ours', units({ override: 'b' }), ['warning', /another sitegen-renew\.timer stands in/]);
judges('a masked unit', units({ masked: true, active: 'inactive' }), ['error', /masked/]);
judges('a timer that does not run, and would not after a boot', units({ active: 'inactive', linked: false }), ['error', /is inactive/, 'start'], ['error', /not started at boot/, 'enable']);
judges('a timer that is failed', units({ active: 'failed' }), ['error', /is failed/, 'start']);
judges('a service that runs when it is asked', units({ name: 'sitegen-renew.service', active: 'inactive' }), ['ok', /^1 /]);

judges('nothing to reload', judgeReload([]), ['ok', /all/]);
judges('two units to reload', judgeReload(['a.service', 'b.socket']), ['warning', /a\.service and 1 more/, 'reload']);
judges('no failed units', judgeFailed([]), ['ok', /none/]);
judges('failed units', judgeFailed([{ name: 'sitegen-push@a.service', gone: false }, { name: 'site-b.socket', gone: true }]), ['error', /push@a/], ['warning', /gone since/, 'reset']);
judges('no alarms', judgeAlarms([]), ['ok', /none/]);
judges('an alarm', judgeAlarms([{ unit: 'a.service', since: '2026-11-27T12:00:00Z', reason: 'exit code 1' }]), ['warning', /a\.service since 2026-11-27 12:00: exit code 1/]);
judges('nobody is told', judgeAlerts({ ways: [], missing: [] }), ['warning', /nobody is told/]);
judges('somebody is told', judgeAlerts({ ways: ['email', 'webhook'], missing: [] }), ['ok', /email, webhook/]);
judges('ways that cannot work', judgeAlerts({ ways: ['email', 'command'], missing: [{ way: 'email', program: '/usr/sbin/sendmail' }, { way: 'command', program: '/opt/x' }] }), ['error', /sendmail is missing/], ['error', /\/opt\/x is missing/]);

const file = { path: '/etc/sitegen/keys/server', uid: 0, most: 0o600 };
judges('a key of root\'s alone', judgeModes([{ ...file, mode: 0o600 }, { ...file, mode: 0o400 }]), ['ok', /^2 /]);
judges('a key for all', judgeModes([{ ...file, mode: 0o644 }]), ['error', /mode 644/, 'mode']);
judges('a key of somebody else', judgeModes([{ ...file, mode: 0o600, uid: 1000 }]), ['error', /user 1000/]);
test('a mode is narrowed, and never widened', (t) => {
  t.deepEqual(judgeModes([{ ...file, mode: 0o446 }])[0]?.fix, { do: 'mode', path: file.path, mode: 0o400 });
});

const lock = { file: '/run/sitegen/sites/a.lock', marked: false, held: true, heldMs: 1000, pid: 7 };
judges('a lock at work', judgeLocks([lock, { ...lock, marked: true }]), ['ok', /none/]);
judges('a lock that a killed process has left', judgeLocks([{ ...lock, marked: true, held: false, heldMs: undefined, pid: undefined }]), ['error', /nobody does/, 'unlock']);
judges('a lock of long', judgeLocks([{ ...lock, heldMs: 8 * 3_600_000 }]), ['warning', /for 8 h, by process 7/]);
judges('a lock of somebody unknown', judgeLocks([{ ...lock, heldMs: undefined, pid: undefined }]), ['ok', /none/]);

judges('right settings', judgeSettings([], 1), ['ok', /^1 site$/]);
judges('wrong settings', judgeSettings([{ domain: undefined, reason: 'sitegen.yaml:1: x' }, { domain: 'a.com', reason: 'a.com.yaml:1: x' }], 0), ['error', /sitegen\.yaml/], ['error', /a\.com/]);
