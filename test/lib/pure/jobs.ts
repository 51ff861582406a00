import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import test from 'ava';
import { describeStep, diffRemoved, diffSite, siteUnitFiles, type Actual } from '../../../lib/pure/diff.ts';
import { desired, type Desired } from '../../../lib/pure/desired.ts';
import { SitegenError } from '../../../lib/pure/errors.ts';
import { calendarFault, type Job } from '../../../lib/pure/jobs.ts';
import { alarmUnit, bothUnits, enabledLink, isJobTimer, isJobUnit, isSiteUnit, jobPattern, jobUnits, parseJobInstance, paths, siteNames, timerStamp } from '../../../lib/pure/names.ts';
import { builtIn } from '../../../lib/pure/site.ts';
import { containerOf, desiredOf, repository, resolveTexts, templates, withWorkload, workloadOf } from '../_site.ts';
import { readUnit, valuesOf } from '../_systemd.ts';
import { folder } from '../usecases/_cgroup.ts';

const head = 'domain: example.com\nimage: x\n';
const one = (fields: string) => `${head}jobs:\n  hello: {${fields}}\n`;
const usual = 'calendar: daily, command: [run, it]';
const site = (jobs: string, more = '') => desiredOf({ site: `${head}${more}${jobs === '' ? '' : `jobs: {${jobs}}\n`}` });
const timer = 'sitegen-job@example.com:hello.timer';
const textOf = (want: Desired, unit = timer) => want.files.find(({ path }) => path === `${paths.unitsDir}/${unit}`)?.content ?? '';

test('units of a job are named by its site and by itself, and tell both', (t) => {
  const units = jobUnits(siteNames('my-site.org'), 'cron-2');
  t.deepEqual(units, { timer: 'sitegen-job@my-site.org:cron-2.timer', service: 'sitegen-job@my-site.org:cron-2.service' });
  for (const unit of Object.values(units)) {
    t.deepEqual(bothUnits(unit), units, unit);
    t.true(isJobUnit(unit), unit);
    t.false(isSiteUnit(unit), unit);
  }
  t.deepEqual(parseJobInstance('my-site.org:cron-2'), { id: 'my-site.org', job: 'cron-2' });
  t.is(timerStamp(units.timer), '/var/lib/systemd/timers/stamp-sitegen-job@my-site.org:cron-2.timer');
  t.is(enabledLink(units.timer), '/etc/systemd/system/timers.target.wants/sitegen-job@my-site.org:cron-2.timer');
});

test('what is no site and job is no instance', (t) => {
  for (const instance of ['', 'example.com', 'example.com:', ':hello', 'example.com:a:b', 'example.com:Hello', 'example.com:-a', '../example.com:hello', 'example.com:hello/..', `example.com:${'a'.repeat(32)}`]) t.is(parseJobInstance(instance), undefined, instance);
});

test('timers are told from other files, and from those of sites whose names begin alike', (t) => {
  t.true(isJobTimer(timer));
  t.true(isJobTimer(timer, siteNames('example.com')));
  t.false(isJobTimer(timer, siteNames('example.co')));
  t.false(isJobTimer('sitegen-job@www.example.com:hello.timer', siteNames('example.com')));
  for (const name of ['sitegen-job@.timer', 'sitegen-job@example.com.timer', 'sitegen-job@example.com:hello.service', 'sitegen-job@example.com:hello.timer.d', 'sitegen-dump@example.com.timer']) t.false(isJobTimer(name), name);
  t.is(jobPattern(siteNames('example.com'), 'service'), 'sitegen-job@example.com:*.service');
  t.deepEqual(siteUnitFiles([timer, 'other.timer']), [`${paths.unitsDir}/${timer}`]);
});

test('the longest job of the longest domain has an alarm whose name systemd takes', (t) => {
  const long = `${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(63)}.${'d'.repeat(50)}.com`;
  t.true(alarmUnit(jobUnits(siteNames(long), 'x'.repeat(31)).service).length <= 255);
});

const times = [
  'minutely', 'hourly', 'daily', 'weekly', 'monthly', 'quarterly', 'semiannually', 'yearly', 'annually', '*:0/15', '03:30', '3:30:15', '*-*-* 04:00:00', 'Mon 03:30', 'Mon,Wed 08:00', 'Mon..Fri 08:00',
  'Sat,Sun *-*-01..07 18:00', '*-*~01 23:00', '2026-12-24 18:00', '*:0/5:30', '*-1,4,7,10-1 0:00', 'daily UTC', '*-*-* 02:00 Europe/Berlin', '*:*:0/5',
];

test('times that systemd knows are taken', (t) => {
  for (const calendar of times) t.is(calendarFault(calendar), undefined, calendar);
  // Those that the tests take for known are known.
  t.notThrows(() => execFileSync('systemd-analyze', ['calendar', '--', ...times], { stdio: 'pipe' }));
});

const notTimes: [string, RegExp][] = [
  ['daily\\', /another form/], ['*:0/15 \\', /another form/], ['\\', /another form/], ['daily\nUnit=other.service', /another form/], ['daily\r', /spaces around|another form/],
  ['%H:00', /another form/], ['daily %i', /another form/], ['"daily"', /another form/], ['daily;hourly', /another form/], ['daily # x', /another form/], ['', /empty/], [' ', /empty/], [' daily', /spaces/],
  ['daily\t', /spaces/], [`*:${'1,'.repeat(120)}1`, /characters/], ['every day', /another form/], ['@daily', /another form/], ['0 3 * * *', /another form/],
];

test('a time that could be more than one setting, or is none, is refused', (t) => {
  for (const [calendar, fault] of notTimes) t.regex(calendarFault(calendar) ?? '', fault, JSON.stringify(calendar));
});

test('the settings refuse such times', (t) => {
  for (const [calendar] of notTimes) {
    const message = t.throws(() => resolveTexts({ site: one(`calendar: ${JSON.stringify(calendar)}, command: [a]`) }), { instanceOf: SitegenError }, calendar).message;
    t.regex(message, /jobs\.hello\.calendar/, calendar);
  }
});

const refused: [string, string, RegExp][] = [
  ['a command without a program', one('calendar: daily, command: []'), /jobs\.hello\.command/],
  ['a command that is empty', one('calendar: daily, command: [""]'), /jobs\.hello\.command/],
  ['a command as a shell has it', one('calendar: daily, command: run it'), /jobs\.hello\.command/],
  ['a command with a zero byte', one('calendar: daily, command: ["a\\0b"]'), /must not contain a zero byte/],
  ['a job without a command', one('calendar: daily'), /jobs\.hello/],
  ['a job without a time', one('command: [a]'), /jobs\.hello/],
  ['an unknown key', one(`${usual}, every: day`), /every/],
  ['a user with spaces', one(`${usual}, user: "a b"`), /is not a user/],
  ['an option in place of a user', one(`${usual}, user: "--privileged"`), /is not a user/],
  ['a timeout of nothing', one(`${usual}, timeout: 0`), /jobs\.hello/],
  ['a timeout of more than a day', one(`${usual}, timeout: 25h`), /out of range: write 1ms to 1day/],
  ['a timeout that is no time', one(`${usual}, timeout: soon`), /is not a time span/],
  ['a delay that is no time', one(`${usual}, delay: "1min\\nUnit=x"`), /is not a time span/],
  ['persistent in other words', one(`${usual}, persistent: "yes"`), /persistent/],
  ...['Hello', 'hello world', 'a.b', 'a:b', 'a_b', '-a', 'a/b', 'a%i', 'ä', 'x'.repeat(32)].map((name): [string, string, RegExp] => [`the name ${name}`, `${head}jobs: {${JSON.stringify(name)}: {${usual}}}\n`, /is not the name of a job/]),
  ['jobs of a site without a container', `domain: example.com\nstatic: www\njobs: {hello: {${usual}}}\n`, /belongs to a container/],
];

for (const [what, text, message] of refused) {
  test(`refused: ${what}`, (t) => {
    t.regex(t.throws(() => resolveTexts({ site: text }), { instanceOf: SitegenError }).message, message);
  });
}

test('what a job does not say is built in; jobs are in the order of their names', (t) => {
  const { jobs } = workloadOf(resolveTexts({ site: `${head}jobs: {b: {${usual}}, a: {${usual}, user: "33:33", timeout: 2h, persistent: false, delay: 5s}}\n` }));
  const plain: Omit<Job, 'name'> = { calendar: 'daily', argv: ['run', 'it'], user: undefined, timeoutMs: 600_000, persistent: true, delayMs: 60_000 };
  t.deepEqual(jobs, [{ ...plain, name: 'a', user: '33:33', timeoutMs: 7_200_000, persistent: false, delayMs: 5000 }, { ...plain, name: 'b' }]);
});

test('a site has the jobs of its app, changes one by its name, and takes one away', (t) => {
  const app = `description: x\nimage: x\njobs: {cron: {${usual}}, sweep: {${usual}}}\n`;
  const jobsOf = (text: string) => workloadOf(resolveTexts({ site: `domain: example.com\napp: own\n${text}`, app })).jobs.map(({ name, calendar }) => [name, calendar]);
  t.deepEqual(jobsOf(''), [['cron', 'daily'], ['sweep', 'daily']]);
  t.deepEqual(jobsOf('jobs: {cron: {calendar: hourly, command: [a]}, sweep: false, own: {calendar: weekly, command: [b]}}\n'), [['cron', 'hourly'], ['own', 'weekly']]);
});

test('a timer has the time, whether missed runs are caught up, and how far runs are spread', (t) => {
  const want = site(`hello: {${usual}, persistent: false, delay: 1min 30s}, other: {calendar: "Mon..Fri *-*-* 08:00/30", command: [a]}`);
  t.deepEqual(want.timers, [timer, 'sitegen-job@example.com:other.timer']);
  const settings = readUnit(textOf(want));
  for (const [key, value] of [['OnCalendar', 'daily'], ['Persistent', 'no'], ['RandomizedDelaySec', '90000ms'], ['FixedRandomDelay', 'yes'], ['AccuracySec', '1s'], ['OnFailure', 'sitegen-alarm@%n.service'], ['WantedBy', 'timers.target']] as const) t.deepEqual(valuesOf(settings, key), [value], key);
  // It starts the service of the same name.
  t.deepEqual(valuesOf(settings, 'Unit'), []);
  const other = readUnit(textOf(want, 'sitegen-job@example.com:other.timer'));
  for (const [key, value] of [['OnCalendar', 'Mon..Fri *-*-* 08:00/30'], ['Persistent', 'yes'], ['RandomizedDelaySec', '60000ms']] as const) t.deepEqual(valuesOf(other, key), [value], key);
});

test('systemd has nothing to say about a timer', (t) => {
  const directory = folder(t);
  for (const [index, calendar] of times.entries()) writeFileSync(`${directory}/job-${index}.timer`, textOf(site(`hello: {calendar: ${JSON.stringify(calendar)}, command: [a]}`)).replace('sitegen-alarm@%n.service', ''));
  for (const index of times.keys()) writeFileSync(`${directory}/job-${index}.service`, '[Service]\nType=oneshot\nExecStart=/bin/true\n');
  t.notThrows(() => execFileSync('systemd-analyze', ['verify', '--man=no', ...[...times.keys()].map((index) => `${directory}/job-${index}.timer`)], { stdio: 'pipe' }));
});

test('a time that no schema has seen is not written into a unit either', (t) => {
  const resolved = resolveTexts({ site: one(usual) });
  for (const calendar of ['daily\\', 'daily\nUnit=other.service', '%i', '']) {
    const [job] = workloadOf(resolved).jobs;
    const changed = withWorkload(resolved, { jobs: job ? [{ ...job, calendar }] : [] });
    t.throws(() => desired(changed, { site: '10.213.1.1', container: '10.214.1.1' }, 'x', templates), { instanceOf: SitegenError, message: /cannot be written into a unit/ }, calendar);
  }
});

test('jobs change nothing of the container, nor of the other units', (t) => {
  const [without, having] = [site(''), site(`hello: {${usual}}`)];
  t.deepEqual(having.container, without.container);
  t.deepEqual(having.files.filter(({ path }) => !path.endsWith('.timer')), without.files);
});

/** A machine on which a site is set up. */
function machine(made: Desired, more: Partial<Actual> = {}): Actual {
  const up = made.enabled ? [made.names.socket, ...made.timers] : [];
  return {
    files: new Map(made.files.map(({ path, content }) => [path, content])),
    units: new Map(up.map((unit) => [unit, 'active'])),
    enabled: new Set(up),
    containers: new Map([[made.names.container, { specHash: containerOf(made).Labels['sitegen.spec'] ?? '', domain: made.names.domain, running: false }]]),
    egress: new Map(),
    directories: new Set(made.dataDirs),
    ...more,
  };
}

const steps = (want: Desired, actual: Actual) => diffSite(want, actual).map((step) => describeStep(step));
const [bare, having] = [site(''), site(`hello: {${usual}}`)];

test('a job that is as it should be needs nothing', (t) => {
  t.deepEqual(steps(having, machine(having)), []);
});

test('a new job gets a timer, without a reload, and nothing of the site is stopped', (t) => {
  t.deepEqual(steps(having, machine(bare)), [`create /etc/systemd/system/${timer}`, `enable ${timer}`, `start ${timer}`]);
});

test('a job with another time needs a reload, after which its timer goes by it', (t) => {
  t.deepEqual(steps(site('hello: {calendar: hourly, command: [run, it]}'), machine(having)), [`change /etc/systemd/system/${timer}`, 'reload systemd, once for all']);
});

test('another command or time limit is in force without any change of units', (t) => {
  t.deepEqual(steps(site('hello: {calendar: daily, command: [other], timeout: 1h, user: "1"}'), machine(having)), []);
});

test('a job that is gone loses its timer, be it running or only left as a file', (t) => {
  t.deepEqual(steps(bare, machine(having)), [`stop ${timer}`, `disable ${timer}`, `remove /etc/systemd/system/${timer}`]);
  t.deepEqual(steps(bare, machine(having, { units: new Map([[bare.names.socket, 'active']]), enabled: new Set([bare.names.socket]) })), [`remove /etc/systemd/system/${timer}`]);
});

test('timers of a site that is switched off do not run, and keep their files', (t) => {
  const off = site(`hello: {${usual}}`, 'enabled: false\n');
  t.deepEqual(steps(off, machine(having)), [`stop ${timer}`, 'stop site-example.com.socket', 'disable site-example.com.socket', `disable ${timer}`]);
  t.deepEqual(steps(off, machine(off)), []);
  t.deepEqual(steps(having, machine(off)), ['enable site-example.com.socket', 'start site-example.com.socket', `enable ${timer}`, `start ${timer}`]);
});

test('a timer that somebody stopped, or disabled, comes back', (t) => {
  t.deepEqual(steps(having, machine(having, { units: new Map([[having.names.socket, 'active']]) })), [`start ${timer}`]);
  t.deepEqual(steps(having, machine(having, { enabled: new Set([having.names.socket]) })), [`enable ${timer}`]);
});

test('timers of other sites, and those that somebody wrote, are left alone', (t) => {
  const theirs: [string, string][] = [[`${paths.unitsDir}/sitegen-job@www.example.com:hello.timer`, textOf(having)], [`${paths.unitsDir}/${timer}`, '[Timer]\nOnCalendar=daily\n']];
  t.deepEqual(steps(bare, machine(bare, { files: new Map([...machine(bare).files, ...theirs]) })), []);
});

test('a site that needs no container any more loses its jobs', (t) => {
  const served = desiredOf({ site: 'domain: example.com\nstatic: www\n' });
  const all = steps(served, machine(having, { directories: new Set(served.dataDirs) }));
  for (const step of [`stop ${timer}`, `disable ${timer}`, `remove /etc/systemd/system/${timer}`]) t.true(all.includes(step), `${step} among ${all.join(', ')}`);
});

test('of a site whose settings are gone, the timers are stopped first of all', (t) => {
  const all = diffRemoved('example.com', machine(having)).map((step) => describeStep(step));
  t.is(all[0], `stop ${timer}`);
  for (const step of [`disable ${timer}`, `remove /etc/systemd/system/${timer}`]) t.true(all.includes(step), `${step} among ${all.join(', ')}`);
});

test('the example in the documentation is valid, and what it says is built in is', async (t) => {
  const text = await readFile(`${repository}/docs/jobs.md`, 'utf8');
  const [, example = ''] = /^```yaml\n(.*?)^```$/ms.exec(text) ?? [];
  t.deepEqual(workloadOf(resolveTexts({ site: example })).jobs.map(({ name }) => name), ['cron', 'report']);
  const rows = [...text.matchAll(/^\| `(\w+)` \|(.*?)\|/gm)].map(([, key, value]) => [key, value?.trim()]);
  t.deepEqual(rows, [['calendar', ''], ['command', ''], ['user', 'the container\'s own'], ['service', 'the entrypoint'], ['timeout', builtIn.jobTimeout], ['persistent', 'true'], ['delay', builtIn.jobDelay]]);
  const [, calendars = ''] = /## Times\n(.*?)^```$/ms.exec(text) ?? [];
  for (const [, cell = ''] of calendars.matchAll(/^\| (`.*?`) \|/gm)) for (const [, calendar = ''] of cell.matchAll(/`(.*?)`/g)) t.is(calendarFault(calendar), undefined, calendar);
});
