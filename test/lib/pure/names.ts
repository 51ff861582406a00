import test from 'ava';
import { SitegenError } from '../../../lib/pure/errors.ts';
import { alarmUnit, isSiteUnit, parseDomain, paths, siteNames } from '../../../lib/pure/names.ts';

const label = 'a'.repeat(63);

function accepts(input: string, domain: string): void {
  test(`${JSON.stringify(input).slice(0, 60)} (${input.length} characters) is the domain ${domain.slice(0, 60)}`, (t) => {
    t.is(parseDomain(input), domain);
    t.is(parseDomain(domain), domain, 'what is parsed stays as it is');
  });
}

function refuses(input: string, why: RegExp): void {
  const shown = input.replaceAll(/[^!-~]/g, (char) => `<U+${char.charCodeAt(0).toString(16)}>`).slice(0, 60);
  test(`"${shown}" is no domain (${input.length} characters)`, (t) => {
    const error = t.throws(() => parseDomain(input), { instanceOf: SitegenError });
    t.is(error.exitCode, 2);
    t.true(error.message.startsWith(`${JSON.stringify(input)} is not a domain: `));
    t.regex(error.message, why);
    t.truthy(error.hint);
  });
}

accepts('example.com', 'example.com');
accepts('my-site.org', 'my-site.org');
accepts('EXAMPLE.com', 'example.com');
accepts('example.com.', 'example.com');
accepts('münchen.de', 'xn--mnchen-3ya.de');
accepts('MÜNCHEN.de', 'xn--mnchen-3ya.de');
accepts('xn--mnchen-3ya.de', 'xn--mnchen-3ya.de');
accepts('straße.de', 'xn--strae-oqa.de');
accepts('example。com', 'example.com');
accepts('ｅxample.com', 'example.com');
accepts('exam\u00adple.com', 'example.com');
accepts('ab--cd.com', 'ab--cd.com');
accepts('1.example.com', '1.example.com');
accepts(`${label}.com`, `${label}.com`);
accepts([label, label, label, 'a'.repeat(61)].join('.'), [label, label, label, 'a'.repeat(61)].join('.'));

refuses('', /it is empty/);
refuses('.', /it is empty/);
refuses('localhost', /one label only/);
refuses('a..b', /empty label/);
refuses('.example.com', /empty label/);
refuses('example.com..', /empty label/);
refuses('-a.com', /begins or ends with a hyphen/);
refuses('a-.com', /begins or ends with a hyphen/);
refuses('*.example.com', /wildcards/);
refuses(`a${label}.com`, /has 64 characters, 63 are allowed/);
refuses(`${'ü'.repeat(60)}.com`, /63 are allowed/);
refuses([label, label, label, 'a'.repeat(62)].join('.'), /has 254 characters, 253 are allowed/);
refuses('10.0.0.1', /ends in a number/);
refuses('0x7f.1', /ends in a number/);
refuses('1.2.3', /ends in a number/);
refuses('::1', /only letters/);
refuses('[2001:db8::1]', /only letters/);
refuses('xn--a.com', /only letters/);
refuses('a\u202eb.com', /only letters/);
for (const input of ['../../etc', '/etc/passwd', 'a/b.com', 'a%n.com', 'a\nb.com', 'a.com\n', 'a\rb.com', 'a b.com', ' example.com', 'example.com ', 'a\tb.com',
  'a\0b.com', 'a\u2028b.com', 'a\\b.com', 'a@b.com', 'example.com:80', 'http://example.com', 'example.com?x', 'example.com#x', 'a[b].com', 'a|b.com', 'a^b.com', 'a<b.com']) {
  refuses(input, /only letters, digits, hyphens and dots are allowed/);
}
for (const input of ['x;reboot', 'x;reboot.com', '$(reboot).com', 'a"b.com', "a'b.com", 'a_b.com', 'a,b.com', 'a+b.com', 'a!b.com', 'a=b.com', 'a{b}.com', 'a~b.com']) {
  refuses(input, /other characters than letters, digits and hyphens/);
}

/** A domain of a length, in labels that are as full of hyphens as they may be. */
function hyphenated(length: number): string {
  const full = `a${'-'.repeat(61)}b`;
  const rest = length - 3 * 64;
  return [full, full, full, `a${'-'.repeat(rest - 2)}b`].join('.');
}

const domains = ['example.com', 'my-site.org', [label, label, label, 'a'.repeat(61)].join('.'), hyphenated(253), `${`a${'-'.repeat(20)}b`}.com`,
  ...Array.from({ length: 120 }, (_, index) => `${'ab.'.repeat(40)}${'-'.repeat(index)}`.replace(/^-|-$/g, '').slice(0, 60 + index).replace(/[.-]+$/, '')).map((text) => `${text}.org`)];

test('no name of a site gets too long for systemd, cgroups or a file system', (t) => {
  for (const domain of domains) {
    const names = siteNames(domain);
    const units = [...names.units, names.certifyUnit, names.watchUnit, names.dropUnit, names.pullUnit, names.dumpUnit, names.dumpTimer, names.pushUnit];
    for (const unit of [...units, ...units.map((each) => alarmUnit(each))]) {
      if (!unit.includes('.slice.')) t.true(unit.length <= 255, `${unit.length}: ${unit}`);
    }
    t.is(alarmUnit(names.service), `sitegen-alarm@site-${names.id}.service.service`);
    const files = [names.settingsFile, names.siteDir, names.dataDir, names.cgroup, names.appCgroup,
      names.certDir, names.routerCert, names.acceptedCert, names.certState, names.certLock, names.checkoutDir, names.pullLock, names.metaDir, names.repository, names.backupState, names.backupCache, names.dumpLock, names.pushLock, names.pendingFile, names.nextDir, names.formerDir, names.fenceFile,
      ...units.flatMap((unit) => [`${paths.unitsDir}/${unit}`, `${paths.unitsDir}/${unit}.d`, `${paths.enabledDir}/${unit}`]),
      `${paths.alarmsDir}/${names.service}.json`, `${paths.alarmsDir}/${names.socket}.json`];
    for (const part of files.flatMap((file) => file.split('/'))) t.true(part.length <= 255, `${part.length}: ${part}`);
  }
});

test('names keep the domain as long as they fit, and have a hash from then on', (t) => {
  const lengths = Array.from({ length: 230 }, (_, index) => index + 10);
  const plain = (length: number) => `${'abcdefghi.'.repeat(25).slice(0, length - 4).replace(/\.$/, 'x')}.com`;
  const kept = lengths.filter((length) => siteNames(plain(length)).id === plain(length));
  t.is(kept.length, (kept.at(-1) ?? 0) - 9, 'one limit');
  // "sitegen-alarm@sitegen-job@", ":", a job's name of 31 and ".service.service" take 74 of 255.
  t.is(kept.at(-1), 181);
  t.regex(siteNames(hyphenated(253)).id, /^a-+_[0-9a-f]{16}$/);
});

test('long domains with the same beginning have different names', (t) => {
  const ids = ['com', 'org', 'net', 'de'].map((end) => siteNames(`${'abc-'.repeat(15)}d.${'abc-'.repeat(15)}d.${'x'.repeat(60)}.${end}`).id);
  t.true(ids.every((id) => id.includes('_')));
  t.is(new Set(ids).size, 4);
});

test('a short name is nobody\'s domain, and its own', (t) => {
  const { id, service } = siteNames(hyphenated(253));
  t.throws(() => parseDomain(id), { instanceOf: SitegenError });
  t.is(siteNames(id).service, service);
});

test('all names of a domain', (t) => {
  const slice = String.raw`site-my\x2dsite.org.slice`;
  const appSlice = String.raw`site-my\x2dsite.org-app.slice`;
  const entrySlice = appSlice.replace(/\.slice$/, '-entry.slice');
  t.deepEqual(siteNames('my-site.org'), {
    domain: 'my-site.org',
    id: 'my-site.org',
    socket: 'site-my-site.org.socket',
    lockFile: '/run/sitegen/sites/my-site.org.lock',
    freezeFile: '/run/sitegen/sites/my-site.org.freeze',
    failedFile: '/run/sitegen/sites/my-site.org.failed',
    egressFile: '/var/lib/sitegen/egress/my-site.org.nft',
    egressUnit: 'sitegen-egress@my-site.org.service',
    jobLock: '/run/sitegen/sites/my-site.org.job',
    oomFile: '/run/sitegen/sites/my-site.org.oom',
    memoryFile: '/run/sitegen/sites/my-site.org.memory',
    workFile: '/run/sitegen/sites/my-site.org.work',
    diskFile: '/run/sitegen/sites/my-site.org.disk',
    fullFile: '/run/sitegen/sites/my-site.org.full',
    diskUnit: 'sitegen-disk@my-site.org.service',
    service: 'site-my-site.org.service',
    slice,
    appSlice,
    units: [slice, appSlice, 'site-my-site.org.service', 'site-my-site.org.socket'],
    processUnit: 'sitegen-process@my-site.org.service',
    processSocket: 'sitegen-process@my-site.org.socket',
    environmentFile: '/var/lib/sitegen/processes/my-site.org',
    moreUnits: [entrySlice, 'sitegen-process@my-site.org.service', 'sitegen-process@my-site.org.socket'],
    container: 'site-my-site.org',
    cidFile: '/var/lib/sitegen/containers/my-site.org',
    settingsFile: '/etc/sitegen/sites/my-site.org.yaml',
    siteDir: '/var/lib/sitegen/sites/my-site.org',
    dataDir: '/var/lib/sitegen/sites/my-site.org/data',
    metaDir: '/var/lib/sitegen/sites/my-site.org/meta',
    secretsFile: '/var/lib/sitegen/sites/my-site.org/meta/made-secrets.json',
    imageFile: '/var/lib/sitegen/sites/my-site.org/meta/image',
    usersFile: '/var/lib/sitegen/sites/my-site.org/meta/users',
    repository: '/var/lib/sitegen/git/my-site.org.git',
    backupState: '/var/lib/sitegen/backup/my-site.org.json',
    backupCache: '/var/lib/sitegen/backup/my-site.org.cache',
    pendingFile: '/var/lib/sitegen/sites/my-site.org/meta/pending',
    nextDir: '/var/lib/sitegen/sites/_next_my-site.org',
    restoreLock: '/run/sitegen/sites/my-site.org.restore',
    formerDir: '/var/lib/sitegen/sites/_former_my-site.org',
    fenceFile: '/var/lib/sitegen/backup/my-site.org.fence',
    epochFile: '/var/lib/sitegen/backup/my-site.org.epoch',
    sealedFile: '/var/lib/sitegen/backup/my-site.org.sealed',
    watchBackupUnit: 'sitegen-watch@my-site.org.service',
    rehearseUnit: 'sitegen-rehearse@my-site.org.service',
    fenceUnit: 'sitegen-fence@my-site.org.service',
    adoptUnit: 'sitegen-adopt@my-site.org.service',
    dumpLock: '/run/sitegen/sites/my-site.org.dump',
    pushLock: '/run/sitegen/sites/my-site.org.push',
    pushedFile: '/run/sitegen/sites/my-site.org.pushed',
    dumpUnit: 'sitegen-dump@my-site.org.service',
    dumpTimer: 'sitegen-dump@my-site.org.timer',
    pushUnit: 'sitegen-push@my-site.org.service',
    pushTimer: 'sitegen-push@my-site.org.timer',
    stateLock: '/run/sitegen/sites/my-site.org.state',
    cgroup: `/sys/fs/cgroup/site.slice/${slice}`,
    appCgroup: `/sys/fs/cgroup/site.slice/${slice}/${appSlice}`,
    entrySlice,
    entryCgroup: `/sys/fs/cgroup/site.slice/${slice}/${appSlice}/${entrySlice}`,
    certDir: '/var/lib/sitegen/certs/my-site.org',
    routerCert: '/var/lib/sitegen/router/certs/my-site.org.pem',
    acceptedCert: '/var/lib/sitegen/acme/my-site.org.pem',
    certState: '/var/lib/sitegen/acme/my-site.org.json',
    certLock: '/run/sitegen/certs/my-site.org.lock',
    certifyUnit: 'sitegen-certify@my-site.org.service',
    watchUnit: 'sitegen-certs@my-site.org.path',
    dropUnit: 'sitegen-certs@my-site.org.service',
    pullUnit: 'sitegen-pull@my-site.org.service',
    checkoutDir: '/var/lib/sitegen/checkouts/my-site.org',
    pullLock: '/run/sitegen/sites/my-site.org.pull',
  });
});

test('no two sites share a name, whatever hyphens and dots their domains have', (t) => {
  const similar = ['a-b.c', 'a.b-c', 'a.b.c', 'a-b-c.d', 'a-app.b', 'a.b-app', 'a.b', 'a.b.app', 'x2d.b', 'a-x2d.b', 'axx2d.b'];
  const names = similar.map((domain) => siteNames(domain));
  for (const key of ['socket', 'service', 'slice', 'appSlice', 'container', 'settingsFile', 'dataDir', 'appCgroup',
    'certDir', 'routerCert', 'acceptedCert', 'certState', 'certLock', 'certifyUnit', 'watchUnit', 'dropUnit', 'pullUnit', 'checkoutDir', 'pullLock'] as const) {
    t.is(new Set(names.map((each) => each[key])).size, similar.length, key);
  }
  const slices = names.flatMap(({ slice, appSlice }) => [slice, appSlice]);
  t.is(new Set(slices).size, slices.length);
});

test('a slice\'s parents by its name are the site\'s and the one of all', (t) => {
  for (const domain of ['my-site.org', 'a--b.c-d.e', 'example.com']) {
    const { slice, appSlice } = siteNames(domain);
    t.deepEqual(slice.split('-').length, 2, slice);
    t.is(`${appSlice.split('-').slice(0, -1).join('-')}.slice`, slice);
  }
});

test('units of sites are told from others', (t) => {
  for (const name of siteNames('my-site.org').units) t.true(isSiteUnit(name), name);
  for (const name of ['site.slice', 'site-.socket', 'sitegen-network.service', 'site-example.com.timer', 'site-example.com.service.d', 'my-site-a.service', 'site-a.socket.tmp']) t.false(isSiteUnit(name), name);
});
