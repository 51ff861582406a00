import test from 'ava';
import type { Desired } from '../../../lib/pure/desired.ts';
import { changedLines, describeStep, diffRemoved, diffSite, siteUnitFiles, type Actual, type Step } from '../../../lib/pure/diff.ts';
import { containerOf, desiredOf } from '../_site.ts';

const site = (more = '') => desiredOf({ site: `domain: example.com\nimage: x\n${more}` });
const want = site('volumes: [a:/a]\n');
const { names } = want;

const nothing: Actual = { files: new Map(), units: new Map(), enabled: new Set(), containers: new Map(), egress: new Map(), directories: new Set() };

/** A machine on which a site is set up; its units are loaded when their state is given. */
function machine(made: Desired, units: Record<string, string> = { [made.names.socket]: 'active' }): Actual {
  return {
    files: new Map(made.files.map(({ path, content }) => [path, content])),
    units: new Map(Object.entries(units)),
    enabled: new Set(made.enabled && made.hasSocket ? [made.names.socket] : []),
    containers: new Map(made.container ? [[made.names.container, { specHash: containerOf(made).Labels['sitegen.spec'] ?? '', domain: made.names.domain, running: false }]] : []),
    egress: new Map(),
    directories: new Set(made.dataDirs),
  };
}

const lines = (steps: readonly Step[]) => steps.map((step) => describeStep(step));
const awake = (made: Desired) => ({ [made.names.socket]: 'active', [made.names.service]: 'active', [made.names.slice]: 'active', [made.names.appSlice]: 'active' });

test('a site that is as it should be needs nothing', (t) => {
  t.deepEqual(diffSite(want, machine(want)), []);
  t.deepEqual(diffSite(want, machine(want, awake(want))), []);
});

const mail = site('listen: [143, "25:2525"]\n');
const ports = { 'sitegen-listen@example.com:25.socket': 'active', 'sitegen-listen@example.com:143.socket': 'active' };

test('public ports come with the site\'s own socket', (t) => {
  t.deepEqual(diffSite(mail, machine(mail, { ...awake(mail), ...ports })), []);
  t.deepEqual(lines(diffSite(mail, nothing)).slice(-5), [
    'create container site-example.com',
    'enable site-example.com.socket',
    'start site-example.com.socket',
    'start sitegen-listen@example.com:25.socket',
    'start sitegen-listen@example.com:143.socket',
  ]);
});

test('a port more, another one inside, or one that is not held, stops an awake site, as systemd takes no socket for a service that runs', (t) => {
  const fewer = site('listen: [143]\n');
  const other = site('listen: [143, "25:2626"]\n');
  const restart = ['stop site-example.com.socket', 'stop site-example.com.service', 'start site-example.com.socket', 'start sitegen-listen@example.com:25.socket', 'start sitegen-listen@example.com:143.socket'];
  for (const [before, units] of [[fewer, { ...ports, 'sitegen-listen@example.com:25.socket': 'inactive' }], [other, ports], [mail, { 'sitegen-listen@example.com:143.socket': 'active' }]] as const) {
    const steps = diffSite(mail, machine(before, { ...awake(mail), ...units }));
    t.deepEqual(lines(steps).filter((line) => /^(stop|start)/.test(line)), restart);
    t.false(steps.some((step) => step.do === 'close'));
  }
});

test('a port that is given up is free before another site opens it', (t) => {
  const fewer = site('listen: [143]\n');
  const steps = diffSite(fewer, machine(mail, { ...awake(mail), ...ports }));
  const closed = (all: readonly Step[]) => all.flatMap((step) => (step.do === 'close' ? [step.unit] : []));
  t.deepEqual(closed(steps), ['site-example.com.socket', 'sitegen-listen@example.com:25.socket', 'site-example.com.service']);
  t.deepEqual(lines(steps).slice(-3), ['remove /etc/systemd/system/sitegen-listen@example.com:25.socket', 'start site-example.com.socket', 'start sitegen-listen@example.com:143.socket']);
  const off = diffSite(site('listen: [143, "25:2525"]\nenabled: false\n'), machine(mail, { ...awake(mail), ...ports }));
  t.deepEqual(closed(off), ['site-example.com.socket', ...Object.keys(ports), 'site-example.com.service']);
  t.false(lines(off).some((line) => line.startsWith('start')));
  const gone = diffRemoved('example.com', machine(mail, { ...awake(mail), ...ports }));
  for (const unit of [...Object.keys(ports), 'site-example.com.socket', 'site-example.com.service']) t.true(closed(gone).includes(unit), unit);
  for (const unit of Object.keys(ports)) t.true(lines(gone).includes(`remove /etc/systemd/system/${unit}`), unit);
});

const served = desiredOf({ site: 'domain: example.com\nstatic: www\n' });
const spliced = desiredOf({ site: 'domain: example.com\nproxy: unix:/run/app.sock\n' });

test('a site without units needs its directories alone', (t) => {
  t.deepEqual(lines(diffSite(served, nothing)), ['make directory /var/lib/sitegen/sites/example.com/data', 'make directory /var/lib/sitegen/sites/example.com/data/www']);
  t.deepEqual(diffSite(served, machine(served, {})), []);
});

test('a site that is spliced to a socket has units and no container', (t) => {
  t.deepEqual(lines(diffSite(spliced, nothing)), [
    'make directory /var/lib/sitegen/sites/example.com/data',
    'create /etc/systemd/system/site-example.com.slice',
    'create /etc/systemd/system/site-example.com.service',
    'create /etc/systemd/system/site-example.com.socket',
    'enable site-example.com.socket',
    'start site-example.com.socket',
  ]);
  t.deepEqual(diffSite(spliced, machine(spliced)), []);
});

test('a site that needs no container any more loses its units and its container, and nothing listens for it', (t) => {
  t.deepEqual(lines(diffSite(served, { ...machine(want, awake(want)), directories: new Set(served.dataDirs) })), [
    'stop site-example.com.socket',
    'stop site-example.com.service',
    'remove container site-example.com',
    'disable site-example.com.socket',
    'stop site-example.com.slice',
    'stop site-example.com-app.slice',
    'remove /etc/systemd/system/site-example.com.slice',
    'remove /etc/systemd/system/site-example.com-app.slice',
    'remove /etc/systemd/system/site-example.com.service',
    'remove /etc/systemd/system/site-example.com.socket',
  ]);
});

test('a site that becomes a splice keeps its socket, but is stopped for it', (t) => {
  const steps = lines(diffSite(spliced, { ...machine(want, awake(want)), directories: new Set(spliced.dataDirs) }));
  for (const step of ['change /etc/systemd/system/site-example.com.service', 'stop site-example.com.service', 'remove container site-example.com', 'remove /etc/systemd/system/site-example.com-app.slice']) t.true(steps.includes(step), `${step} among ${steps.join(', ')}`);
  t.false(steps.some((step) => step.startsWith('create container') || step.startsWith('disable')), steps.join(', '));
});

test('units of somebody else\'s by a site\'s names are left where they are', (t) => {
  const theirs: Actual = { ...nothing, files: new Map([['/etc/systemd/system/site-example.com.socket', '[Socket]\n']]), directories: new Set(served.dataDirs) };
  t.deepEqual(diffSite(served, theirs), []);
});

test('a new site is made from nothing, without a reload', (t) => {
  t.deepEqual(lines(diffSite(want, nothing)), [
    'make directory /var/lib/sitegen/sites/example.com/data',
    'make directory /var/lib/sitegen/sites/example.com/data/a',
    'create /etc/systemd/system/site-example.com.slice',
    'create /etc/systemd/system/site-example.com-app.slice',
    'create /etc/systemd/system/site-example.com.service',
    'create /etc/systemd/system/site-example.com.socket',
    'create container site-example.com',
    'enable site-example.com.socket',
    'start site-example.com.socket',
  ]);
});

test('changed limits of a site that is awake need a reload and no stop', (t) => {
  const now = site('volumes: [a:/a]\nlimits: {memoryMax: 1G}\n');
  t.deepEqual(lines(diffSite(now, machine(want, awake(want)))), ['change /etc/systemd/system/site-example.com.slice', 'reload systemd, once for all', 'put the limits in force']);
});

test('changed limits of a site whose slice is loaded and does not run are in force at the next wake', (t) => {
  const now = site('volumes: [a:/a]\nlimits: {memoryMax: 1G}\n');
  t.deepEqual(lines(diffSite(now, machine(want, { [names.slice]: 'inactive' }))).slice(0, 2), ['change /etc/systemd/system/site-example.com.slice', 'reload systemd, once for all']);
  t.false(diffSite(now, machine(want, { [names.slice]: 'inactive' })).some((step) => step.do === 'set limits'));
});

test('a changed unit that is not loaded needs no reload', (t) => {
  const now = site('volumes: [a:/a]\nlimits: {memoryMax: 1G}\n');
  t.deepEqual(lines(diffSite(now, machine(want))), ['change /etc/systemd/system/site-example.com.slice']);
});

test('a changed container of a site that is awake stops the site, and the socket stays', (t) => {
  const now = site('volumes: [a:/a]\nenv: {A: b}\n');
  t.deepEqual(lines(diffSite(now, machine(want, awake(want)))), ['stop site-example.com.service', 'remove container site-example.com', 'create container site-example.com']);
});

test('a changed container of a site that is asleep is only replaced', (t) => {
  const now = site('volumes: [a:/a]\nenv: {A: b}\n');
  t.deepEqual(lines(diffSite(now, machine(want))), ['remove container site-example.com', 'create container site-example.com']);
});

test('a new address changes the units first, and stops socket and service only to start the socket anew', (t) => {
  const now: Desired = { ...want, files: want.files.map((file) => ({ ...file, content: file.content.replaceAll('10.213.106.20', '10.213.7.9') })) };
  t.deepEqual(lines(diffSite(now, machine(want, awake(want)))), [
    'change /etc/systemd/system/site-example.com.service', 'change /etc/systemd/system/site-example.com.socket', 'reload systemd, once for all', 'stop site-example.com.socket', 'stop site-example.com.service', 'start site-example.com.socket',
  ]);
});

test('a site that is switched off is stopped and not started at boot; its container stays', (t) => {
  const off = site('volumes: [a:/a]\nenabled: false\n');
  t.deepEqual(lines(diffSite(off, machine(want, awake(want)))), ['stop site-example.com.socket', 'stop site-example.com.service', 'disable site-example.com.socket']);
  t.deepEqual(diffSite(off, machine(off, {})), []);
  t.deepEqual(lines(diffSite(want, machine(off, {}))), ['enable site-example.com.socket', 'start site-example.com.socket']);
});

test('what runs of a site that is switched off without its service, as a frozen one does, is stopped', (t) => {
  const off = site('volumes: [a:/a]\nenabled: false\n');
  const running = (made: Desired, units: Record<string, string>): Actual => {
    const machined = machine(made, units);
    return { ...machined, containers: new Map([...machined.containers].map(([name, container]) => [name, { ...container, running: true }])) };
  };
  t.deepEqual(lines(diffSite(off, running(off, {}))), ['stop container site-example.com']);
  t.deepEqual(lines(diffSite(off, running(want, { [names.socket]: 'active', [names.appSlice]: 'active' }))), ['stop site-example.com.socket', 'stop container site-example.com', 'disable site-example.com.socket']);
  t.deepEqual(lines(diffSite(off, running(off, awake(off)))), ['stop site-example.com.socket', 'stop site-example.com.service'], 'its service stops it');
  t.deepEqual(diffSite(want, running(want, { [names.socket]: 'active' })), [], 'one that is switched on stays frozen');
});

for (const state of ['failed', 'inactive', undefined]) {
  test(`a socket that is ${state ?? 'not loaded'} is started`, (t) => {
    t.deepEqual(lines(diffSite(want, machine(want, state === undefined ? {} : { [names.socket]: state }))), ['start site-example.com.socket']);
  });
}

test('each missing thing is made again', (t) => {
  t.deepEqual(lines(diffSite(want, { ...machine(want), containers: new Map() })), ['create container site-example.com']);
  t.deepEqual(lines(diffSite(want, { ...machine(want), enabled: new Set() })), ['enable site-example.com.socket']);
  t.deepEqual(lines(diffSite(want, { ...machine(want), directories: new Set([names.dataDir]) })), ['make directory /var/lib/sitegen/sites/example.com/data/a']);
  const files = new Map(machine(want).files);
  files.delete(`/etc/systemd/system/${names.service}`);
  t.deepEqual(lines(diffSite(want, { ...machine(want), files })), ['create /etc/systemd/system/site-example.com.service']);
});

test('a container of other make is replaced', (t) => {
  const containers = new Map([[names.container, { specHash: '', domain: 'example.com', running: false }]]);
  t.deepEqual(lines(diffSite(want, { ...machine(want), containers })), ['remove container site-example.com', 'create container site-example.com']);
});

test('a quota is set where the disk has such, and differs from what is wanted', (t) => {
  const limited = site('limits: {disk: 20M}\n');
  const MiB = 1024 ** 2;
  const steps = (made: Desired, facts?: { limitBytes: number | undefined; diskBytes: number }) => lines(diffSite(made, { ...machine(made), ...(facts && { quotas: new Map([[names.id, facts]]) }) }));
  const disk = (limitBytes: number | undefined) => ({ limitBytes, diskBytes: 400 * MiB });
  t.deepEqual(steps(limited), [], 'a limit that is watched needs nothing');
  t.deepEqual(steps(limited, disk(undefined)), ['set the disk quota of its data to 20.0M']);
  t.deepEqual(steps(limited, disk(10 * MiB)), ['set the disk quota of its data to 20.0M']);
  t.deepEqual(steps(limited, disk(20 * MiB)), []);
  t.deepEqual(steps(site('limits: {disk: 20000001}\n'), disk(4096 * 4882)), [], 'limits are whole blocks');
  t.deepEqual(steps(want, disk(20 * MiB)), ['take the disk quota of its data away']);
  t.deepEqual(steps(want, disk(undefined)), []);
  t.deepEqual(steps(site('limits: {disk: 1T}\n'), disk(undefined)), [], 'more than the disk has cannot be told from none');
});

test('a change keeps the old content for showing it', (t) => {
  const now = site('volumes: [a:/a]\nlimits: {memoryMax: 1G}\n');
  const [step] = diffSite(now, machine(want));
  t.true(step?.do === 'write' && step.before !== undefined);
  if (step?.do === 'write') t.deepEqual(changedLines(step.before ?? '', step.file.content), ['- MemoryMax=512M', '+ MemoryMax=1G']);
});

test('a site whose settings are gone is taken off from the outside in, and its data stays', (t) => {
  t.deepEqual(lines(diffRemoved('example.com', machine(want, awake(want)))), [
    'stop site-example.com.socket', 'stop site-example.com.service', 'disable site-example.com.socket', 'remove container site-example.com',
    'stop site-example.com-app.slice', 'stop site-example.com.slice',
    'remove /etc/systemd/system/site-example.com.slice', 'remove /etc/systemd/system/site-example.com-app.slice',
    'remove /etc/systemd/system/site-example.com.service', 'remove /etc/systemd/system/site-example.com.socket',
  ]);
});

test('of a removed site only what is still there is removed', (t) => {
  t.deepEqual(diffRemoved('example.com', nothing), []);
  t.deepEqual(lines(diffRemoved('example.com', { ...nothing, containers: machine(want).containers })), ['remove container site-example.com']);
  t.deepEqual(diffRemoved('example.org', machine(want)), [], 'another site is left alone');
});

test('changed lines are shown with their sign', (t) => {
  t.deepEqual(changedLines('a\nb\nc\n', 'a\nc\nd\n'), ['- b', '+ d']);
  t.deepEqual(changedLines('a\n', 'a\n'), []);
});

test('unit files of sites are picked from a listing', (t) => {
  t.deepEqual(siteUnitFiles(['site-a.com.socket', 'ssh.service', 'site.slice', 'sitegen-network.service', 'sockets.target.wants', 'site-a.com.service.d']), ['/etc/systemd/system/site-a.com.socket']);
});
