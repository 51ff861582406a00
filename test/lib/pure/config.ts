import test from 'ava';
import { domainOfFile } from '../../../lib/pure/names.ts';
import { addToList, editYaml, keysAt, mayMention, parseApp, parseDefaults, parseSite } from '../../../lib/pure/config.ts';
import { SitegenError } from '../../../lib/pure/errors.ts';
import { siteSchema } from '../../../lib/pure/schema.ts';

const file = '/etc/sitegen/sites/example.com.yaml';
const readers = {
  site: (text: string) => parseSite(text, file),
  defaults: (text: string) => parseDefaults(text, file),
  app: (text: string) => parseApp(text, file),
};

/** Lines of the message that a text is refused with, without the file's path. */
function refusal(kind: keyof typeof readers, text: string): string[] {
  try {
    readers[kind](text);
  } catch (error) {
    if (!(error instanceof SitegenError)) throw error;
    return error.message.split('\n').map((line) => (line.startsWith(`${file}:`) ? line.slice(file.length + 1) : `without its file: ${line}`));
  }
  throw new Error(`was taken: ${text}`);
}

function refuses(what: string, kind: keyof typeof readers, text: string, ...lines: string[]): void {
  test(`${what} is refused with its place and what is allowed`, (t) => { t.deepEqual(refusal(kind, text), lines); });
}

/** The same for a site's settings, which follow in line 2. */
function refusesKey(text: string, ...lines: string[]): void {
  refuses(`a site with ${text.replaceAll('\n', ' ↵ ')}`, 'site', `domain: example.com\n${text}\n`, ...lines);
}

const siteKeys = 'domain, aliases, app, image, port, env, volumes, owners, readOnly, limits, ready, stop, idle, jobs, dump, hooks, exclude, process, compose, listen, egress, mail, secrets, backup, pin, update, static, proxy, passthrough, redirect, paths, www, redirects, http, certificate, hsts, auth, allow, maintenance, timeouts, maxBody, headers, probes, doctor, enabled, address';
const limitKeys = 'memoryMax, memoryHigh, cpuWeight, cpuQuota, ioWeight, tasksMax, disk';

test('all keys of a site are read', (t) => {
  t.deepEqual(readers.site(`domain: EXAMPLE.com.
aliases: [www.example.com, münchen.de]
image: ghcr.io/a/b@sha256:0123
port: 8080
env: {A: text, B: 5, C: true, _d: ""}
volumes: [a:/a, ./b/c:/b:ro, d:/d:rw]
limits: {memoryMax: 512M, memoryHigh: 20%, cpuWeight: 1, cpuQuota: 150%, ioWeight: 10000, tasksMax: infinity}
ready: {path: /health?x=1, timeout: 1min 30s}
stop: {timeout: 5}
enabled: false
address: 10.213.7.9
`), {
    domain: 'example.com',
    aliases: ['www.example.com', 'xn--mnchen-3ya.de'],
    image: 'ghcr.io/a/b@sha256:0123',
    port: 8080,
    env: { A: 'text', B: '5', C: 'true', _d: '' },
    volumes: ['a:/a', './b/c:/b:ro', 'd:/d:rw'],
    limits: { memoryMax: '512M', memoryHigh: '20%', cpuWeight: 1, cpuQuota: '150%', ioWeight: 10_000, tasksMax: 'infinity' },
    ready: { path: '/health?x=1', timeout: '1min 30s' },
    stop: { timeout: '5' },
    enabled: false,
    address: '10.213.7.9',
  });
});

test('a domain alone is a site, and an empty sitegen.yaml sets nothing', (t) => {
  t.deepEqual(readers.site('domain: example.com\n'), { domain: 'example.com' });
  for (const text of ['', '\n', '# only a comment\n', '---\n', '{}', 'null\n', '\ufeff']) t.deepEqual(readers.defaults(text), {}, JSON.stringify(text));
});

test('one anchor may be used again', (t) => {
  t.deepEqual(readers.site('domain: example.com\nready: &times {timeout: 5s}\nstop: *times\n').stop, { timeout: '5s' });
});

for (const text of ['', '# only a comment\n', 'null\n']) refuses(`an empty site (${JSON.stringify(text)})`, 'site', text, '1: domain: is missing; allowed: text');
for (const [what, text, shown] of [['a list', '- domain: example.com\n', ''], ['an empty list', '[]', ''], ['a plain string', 'example.com\n', '"example.com" '], ['a number', '5', '5 ']] as const) {
  refuses(`${what} instead of a site`, 'site', text, `1: ${shown}is of the wrong type; allowed: keys with values`);
  refuses(`${what} instead of sitegen.yaml`, 'defaults', text, `1: ${shown}is of the wrong type; allowed: keys with values`);
}

refusesKey('bogus: 1', `2: bogus: unknown key; allowed: ${siteKeys}`);
refusesKey('1: 2', `2: 1: unknown key; allowed: ${siteKeys}`);
refusesKey('__proto__: {a: 1}', `2: __proto__: unknown key; allowed: ${siteKeys}`);
refusesKey('<<: {port: 80}', `2: <<: unknown key; allowed: ${siteKeys}`);
refusesKey('Port: 80', `2: Port: unknown key; allowed: ${siteKeys}`);
refusesKey('limits:\n  memory_max: 1G', `3: limits.memory_max: unknown key; allowed: ${limitKeys}`);
refusesKey('ready: {Path: /}', '2: ready.Path: unknown key; allowed: path, tcp, timeout');
refusesKey('stop:\n  signal: x', '3: stop.signal: unknown key; allowed: timeout');
refuses('an unknown key of sitegen.yaml', 'defaults', 'a: 1\n', '1: a: unknown key; allowed: network, defaults, machine, router, acme, mail, backup, adopt, alerts, doctor');
refuses('an unknown key of network', 'defaults', 'network:\n  site: x\n', '2: network.site: unknown key; allowed: sites, containers');
refuses('an unknown key of alerts', 'defaults', 'alerts:\n  mail: x\n', '2: alerts.mail: unknown key; allowed: command, webhook, email');
refuses('an unknown key of defaults', 'defaults', 'defaults:\n  image: x\n', '2: defaults.image: unknown key; allowed: app, limits, ready, stop, idle, egress');
refuses('an unknown key three levels down', 'defaults', 'defaults:\n  limits:\n    foo: 1\n', `3: defaults.limits.foo: unknown key; allowed: ${limitKeys}`);
refuses('an unknown key of defaults.ready', 'defaults', 'defaults:\n  ready: {path: /}\n', '2: defaults.ready.path: unknown key; allowed: timeout');
refuses('an unknown key of defaults.stop', 'defaults', 'defaults:\n  stop:\n    x: 1\n', '3: defaults.stop.x: unknown key; allowed: timeout');
refuses('an unknown key of an app', 'app', 'description: x\nimage: x\ndomain: x\n', '3: domain: unknown key; allowed: schema, description, tested, warning, upstream, notes, size, image, port, env, volumes, owners, readOnly, limits, ready, stop, idle, jobs, dump, hooks, exclude');
refuses('an unknown key of an app\'s build', 'app', 'description: x\nbuild:\n  x: 1\n', '3: build.x: unknown key; allowed: pull, build, base, hostFiles, tar, name');

test('every fault of a file is told at once', (t) => {
  t.deepEqual(refusal('site', 'domain: example.com\nport: 0\nready:\n  bogus: 1\n  other: 2\nenabled: 1\n'), [
    '2: port: 0 too small: expected number to be >=1',
    '4: ready.bogus: unknown key; allowed: path, tcp, timeout',
    '5: ready.other: unknown key; allowed: path, tcp, timeout',
    '6: enabled: 1 is of the wrong type; allowed: true or false',
  ]);
});

refusesKey('port: "80"', '2: port: "80" is of the wrong type; allowed: a number');
refusesKey('port: 1.5', '2: port: 1.5 is of the wrong type; allowed: a whole number');
refusesKey('port: 70000', '2: port: 70000 too big: expected number to be <=65535');
refusesKey('port: .nan', '2: port: NaN is of the wrong type; allowed: a number');
refusesKey('enabled: yes', '2: enabled: "yes" is of the wrong type; allowed: true or false');
refusesKey('aliases: www.example.com', '2: aliases: "www.example.com" is of the wrong type; allowed: a list');
refusesKey('aliases:\n  - www.example.com\n  - 5', '4: aliases.1: 5 is of the wrong type; allowed: text');
refusesKey('aliases:\n  - a_b.com', '3: aliases.0: "a_b.com" is not a domain: the label "a_b" has other characters than letters, digits and hyphens');
refusesKey('aliases: [a.com, b.com, A.com]', '2: aliases.2: "a.com" is a name of the site already');
refusesKey('aliases: [example.com]', '2: aliases.0: "example.com" is a name of the site already');
refusesKey('limits: []', '2: limits: is of the wrong type; allowed: keys with values');
refusesKey('stop: 5s', '2: stop: "5s" is of the wrong type; allowed: keys with values');
refusesKey('env: [A=1]', '2: env: is of the wrong type; allowed: names with values');
refusesKey('env:\n  A: [1]', '3: env.A: is not a value: write text, a number, true or false');
refusesKey('env:\n  A-B: 1', '3: env.A-B: is not a variable\'s name: use letters, digits and _');
refusesKey('env: {A: "x\\0y"}', '2: env.A: "x\\u0000y" must not contain a zero byte');
refusesKey('image: "a b"', '2: image: "a b" is not an image: write name, name:tag or name@sha256:…');
refusesKey('app: ../x', '2: app: "../x" is not the name of an app: use small letters, digits and hyphens');
refusesKey('image: x\napp: y', '2: image: "x" has both app and image: keep one');
refusesKey('address: 10.1', '2: address: 10.1 is of the wrong type; allowed: text');
refusesKey('address: ::1', '2: address: "::1" invalid IPv4 address');
for (const value of ['lots', '0M', '512MB', '120%', '-1M', '99999E']) {
  refusesKey(`limits: {memoryMax: ${value}}`, `2: limits.memoryMax: "${value}" is not a size: write a number with K, M, G or T, a percentage of the machine such as 20%, or infinity`);
}
for (const value of ['lots', '0M', '20%', '1GB']) {
  refusesKey(`limits: {disk: ${value}}`, `2: limits.disk: "${value}" is not a size: write a number with K, M, G or T, or infinity`);
}
refusesKey('limits: {memoryMax: -5}', '2: limits.memoryMax: -5 too small: expected number to be >0');
refusesKey('limits: {cpuWeight: 0}', '2: limits.cpuWeight: 0 too small: expected number to be >=1');
refusesKey('limits: {ioWeight: 10001}', '2: limits.ioWeight: 10001 too big: expected number to be <=10000');
refusesKey('limits: {cpuQuota: 50}', '2: limits.cpuQuota: 50 is of the wrong type; allowed: text');
refusesKey('limits: {cpuQuota: "50"}', '2: limits.cpuQuota: "50" is not a quota: write a percentage of one CPU such as 150%');
refusesKey('limits: {tasksMax: lots}', '2: limits.tasksMax: "lots" is not a number of tasks: write a whole number above 0, or infinity');
refusesKey('ready: {path: health}', '2: ready.path: "health" must begin with /, without spaces; other characters than ASCII as %XX');
refusesKey('ready: {path: /é}', '2: ready.path: "/é" must begin with /, without spaces; other characters than ASCII as %XX');
refusesKey('ready: {tcp: false}', '2: ready.tcp: false invalid input: expected true');
refusesKey('ready: {path: /, tcp: true}', '2: ready: has both path and tcp: keep one');
refusesKey('ready: {timeout: soon}', '2: ready.timeout: "soon" is not a time span: write for example 30s, 1min 30s or 500ms');
for (const value of ['0s', '100us', '2d', '999999999999w']) refusesKey(`stop: {timeout: ${value}}`, `2: stop.timeout: "${value}" is out of range: write 1ms to 1day`);

for (const volume of ['data', '/etc:/etc', '../x:/x', 'a/../../x:/x', 'a:/x/../y', 'a:relative', 'a:/', 'a://x', 'a:/x:z', 'a:/x:ro:ro', '.hidden:/x', 'a//b:/x', '-a:/x', 'a b:/x', '~:/x', '$HOME:/x']) {
  refusesKey(`volumes: [${JSON.stringify(volume)}]`, `2: volumes.0: "${volume}" is not a volume: write directory:/path/in/the/container, the directory below the site's data`);
}
refusesKey('volumes:\n  - a:/a\n  - b:/b\n  - a/c:/c', '5: volumes.2: "a/c" lies inside "a": use directories beside each other');
refusesKey('volumes:\n  - a/c:/c\n  - ./a:/a', '3: volumes.0: "a/c" lies inside "a": use directories beside each other');
refusesKey('volumes:\n  - .:/all\n  - a:/a', '4: volumes.1: "a" lies inside ".": use directories beside each other');
refusesKey('volumes:\n  - a:/a\n  - b:/a', '4: volumes.1: /a has a volume already');

test('directories that only begin alike are beside each other', (t) => {
  t.is(readers.site('domain: example.com\nvolumes: [a:/a, ab:/b, a-b/c:/c, b/a:/d]\n').volumes?.length, 4);
});

test('volumes of an app are checked like a site\'s', (t) => {
  t.deepEqual(refusal('app', 'description: x\nimage: x\nvolumes:\n  - a:/a\n  - a/b:/b\n'), ['5: volumes.1: "a/b" lies inside "a": use directories beside each other']);
});

refuses('an app without image and build', 'app', 'description: x\n', '1: needs image');
refuses('an app with image and build', 'app', 'description: x\nimage: x\nbuild: {}\n', '3: build: stands beside image: keep one');
refuses('an app without a description', 'app', 'image: x\n', '1: description: is missing; allowed: text');
refuses('a host file that is not absolute', 'app', 'description: x\nbuild:\n  hostFiles:\n    a: bin/a\n', '4: build.hostFiles.a: "bin/a" is not an absolute path');

refuses('a range that is none', 'defaults', 'network:\n  sites: x\n', '2: network.sites: "x" is not an IPv4 range; write an IPv4 range such as 10.213.0.0/16');
refuses('a range with host bits', 'defaults', 'network: {containers: 10.1.2.3/16}\n', '1: network.containers: "10.1.2.3/16" has host bits set: write 10.1.0.0/16; write an IPv4 range such as 10.213.0.0/16');
refuses('a webhook over ftp', 'defaults', 'alerts: {webhook: "ftp://example.com"}\n', '1: alerts.webhook: "ftp://example.com" is not a URL: write http://… or https://…');
refuses('an e-mail address that is an option', 'defaults', 'alerts: {email: -x@example.com}\n', '1: alerts.email: "-x@example.com" is not an e-mail address');
refuses('a command that is no list', 'defaults', 'alerts: {command: logger -p x}\n', '1: alerts.command: "logger -p x" is of the wrong type; allowed: a list');
refuses('a command without a program', 'defaults', 'alerts: {command: []}\n', '1: alerts.command: too small: expected array to have >=1 items');

refuses('a file for another domain', 'site', 'port: 80\ndomain: example.org\n', '2: domain: "example.org" belongs into example.org.yaml: rename the file or correct the domain');

function brokenYaml(what: string, text: string, line: number, message: string): void {
  test(`${what} is no valid YAML, with its line`, (t) => { t.deepEqual(refusal('site', text), [`${line}: is not valid YAML: ${message}`]); });
}

brokenYaml('a key twice', 'domain: example.com\nport: 80\nport: 81\n', 3, 'Map keys must be unique');
brokenYaml('a key twice further down', 'domain: example.com\nenv:\n  A: 1\n  A: 2\n', 4, 'Map keys must be unique');
brokenYaml('a tab', 'domain: example.com\nlimits:\n\tmemoryMax: 1G\n', 3, 'Tabs are not allowed as indentation');
brokenYaml('an alias without an anchor', 'domain: example.com\nimage: *x\n', 2, 'Unresolved alias (the anchor must be set before the alias): x');
brokenYaml('a second document', 'domain: example.com\n---\nport: 80\n', 2, 'Source contains multiple documents; please use YAML.parseAllDocuments()');
brokenYaml('a list as a key', 'domain: example.com\n? [a]\n: b\n', 2, 'With stringKeys, all keys must be strings');

test('a bomb of aliases is refused at once', (t) => {
  const levels = Array.from({ length: 12 }, (_, index) => `k${index}: &k${index} [${Array.from({ length: 10 }, () => (index === 0 ? 'x' : `*k${index - 1}`)).join(', ')}]`);
  const began = performance.now();
  const [line = '', ...others] = refusal('site', `domain: example.com\n${levels.join('\n')}\n`);
  t.regex(line, /^\d+: is not valid YAML: Excessive alias count/);
  t.deepEqual(others, []);
  t.true(performance.now() - began < 15_000);
});

test('thousands of nested lists are refused, not followed', (t) => {
  t.throws(() => readers.site(`domain: example.com\nenv: ${'['.repeat(3000)}\n`), { instanceOf: SitegenError });
});

test('a refusal says where keys are explained', (t) => {
  const error = t.throws(() => readers.site('domain: example.com\nbogus: 1\n'), { instanceOf: SitegenError });
  t.regex(error.hint ?? '', /\/etc\/sitegen\/example-site\.yaml/);
  t.is(error.exitCode, 1);
});

test('keys of a schema are found at any path, and none where it has none', (t) => {
  t.deepEqual(keysAt(siteSchema, ['ready']), ['path', 'tcp', 'timeout']);
  t.deepEqual(keysAt(siteSchema, ['env']), []);
  t.deepEqual(keysAt(siteSchema, ['nowhere', 'at', 'all']), []);
});

const commented = `# The shop.
domain: example.com # main name
# Names that moved here.
aliases: [www.example.com, old.example.com]

# Off since spring.
enabled: false # until autumn
env:
  # for the shop
  A: "1"

# the end
`;

test('an edit keeps comments, order and quotes of everything else', (t) => {
  t.is(editYaml(commented, { enabled: true, address: '10.213.7.9' }), commented.replace('enabled: false', 'enabled: true').replace('\n# the end\n', 'address: 10.213.7.9\n\n# the end\n'));
});

test('an edit takes a key out', (t) => {
  const edited = editYaml(commented, { enabled: undefined, address: undefined });
  t.notRegex(edited, /^enabled/m);
  for (const comment of ['# The shop.', '# main name', '# Names that moved here.', '# for the shop', '# the end']) t.true(edited.includes(comment), comment);
  t.deepEqual(parseSite(edited, file), { domain: 'example.com', aliases: ['www.example.com', 'old.example.com'], env: { A: '1' } });
});

test('an edit of an empty file gives the new keys, and long lines are not folded', (t) => {
  t.is(editYaml('', { enabled: false }), 'enabled: false\n');
  const long = `domain: example.com\nenv:\n  A: ${'word '.repeat(60)}end\n`;
  t.is(editYaml(long, { port: 80 }), `${long}port: 80\n`);
});

test('a value is added to a list once, wherever the list is missing, and comments stay', (t) => {
  const path = ['router', 'proxies'] as const;
  const added = 'router:\n  proxies:\n    - 192.0.2.7\n';
  for (const empty of ['', 'router:\n', 'router: {}\n', 'router:\n  proxies: []\n']) {
    t.deepEqual(readers.defaults(addToList(empty, path, '192.0.2.7')), readers.defaults(added), empty);
  }
  const text = '# The machine.\nrouter:\n  log: off # nothing\n  proxies: [192.0.2.7] # old\n';
  t.is(addToList(text, path, '192.0.2.7'), text);
  t.is(addToList(text, path, '192.0.2.8'), text.replace('.7]', '.7, 192.0.2.8]'));
  t.regex(addToList('# all\n#router:\n#  log: off\n', path, '192.0.2.7'), /#router:\n#  log: off/);
});

test('hostile text that is set stays text', (t) => {
  for (const value of ['a: b', '*x', '- a', '# x', 'yes\nport: 1', '"', "'", '!!int 5', '{', '\u2028']) {
    t.deepEqual(parseSite(editYaml('domain: example.com\n', { env: { A: value } }), file).env, { A: value }, value);
  }
});

test('a file that may mention a domain is never skipped', (t) => {
  for (const text of ['domain: example.com', 'aliases: [a.example.com]', 'domain: EXAMPLE.com', 'domain: münchen.de', String.raw`domain: "ex\x61mple.com"`]) t.true(mayMention(text, 'example.com'), text);
  t.false(mayMention('domain: example.org\n', 'example.com'));
});

test('a settings file is known by its name', (t) => {
  t.is(domainOfFile('example.com.yaml'), 'example.com');
  for (const name of ['example.com', 'example.com.yml', '.example.com.yaml', 'notes.yaml', 'example.com.yaml~', '.yaml', 'a_b.com.yaml']) t.is(domainOfFile(name), undefined, name);
});

const toItself = 'is the router itself: let the server listen on another port than 80 and 443';
for (const [text, key] of [
  ['proxy: http://localhost', 'proxy: "http://localhost"'], ['proxy: http://127.0.0.1:80/base', 'proxy: "http://127.0.0.1:80/base"'], ['proxy: http://0.0.0.0', 'proxy: "http://0.0.0.0"'],
  ['proxy: http://[::1]:443', 'proxy: "http://[::1]:443"'], ['proxy: {to: http://127.1.2.3}', 'proxy.to: "http://127.1.2.3"'],
  ['passthrough: localhost:443', 'passthrough: "localhost:443"'], ['passthrough: {to: 127.0.0.1:8443, http: 127.0.0.1:80}', 'passthrough.http: "127.0.0.1:80"'],
] as const) refusesKey(text, `2: ${key} ${toItself}`);
const unknown = (value: string, fault: string) => {
  test(`names that no site has cannot go to ${value}`, (t) => {
    t.throws(() => readers.defaults(`router: {unknown: ${value}}\n`), { message: `${file}:1: router.unknown: ${JSON.stringify(value)} ${fault}` });
  });
};
unknown('localhost:443', toItself);
unknown('127.0.0.1:8443', 'leads port 80 back to the router itself: write https and http, each with a port');
test('other ports of this machine, and the same ports of others, are upstreams', (t) => {
  t.deepEqual(readers.defaults('router: {unknown: {https: 127.0.0.1:8443, http: 127.0.0.1:8080}}').router?.unknown, { https: { host: '127.0.0.1', port: 8443 }, http: { host: '127.0.0.1', port: 8080 } });
  for (const text of ['proxy: http://127.0.0.1:8080', 'proxy: http://localhost:3000', 'proxy: http://192.0.2.1', 'passthrough: 192.0.2.1:443', 'passthrough: localhost:8443']) t.truthy(readers.site(`domain: example.com\n${text}\n`), text);
});
