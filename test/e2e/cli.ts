import { guestTest, longTest, type SiteJson, until, type Guest } from './_guest.ts';
import { changes, inventory, write } from './_machine.ts';

const color = /\u001B\[/;
const stack = /\n\s+at |node:internal|Error:/;

/** What a shell line gives, as people type it. */
const shell = (guest: Guest, line: string, input?: string) => guest.run(['bash', '-c', line], input === undefined ? {} : { input });

/** One error, perhaps with a hint, and no stack. */
const refusal = /^sitegen: error: [^\n]+\n(sitegen: hint: [^\n]+\n)?$/;

guestTest('--dry-run of add, remove and stop changes nothing and says what it would do', async (t, guest) => {
  await guest.site('dry.example.com');
  const before = await inventory(guest);
  const added = await guest.sitegen('add', 'new.example.com', '--dry-run', '--alias', 'www.new.example.com', '--volume', 'uploads:/u', '--memory', '64M');
  t.is(added.code, 0, added.stderr);
  for (const line of [/^create \/etc\/sitegen\/sites\/new\.example\.com\.yaml$/m, /^ {4}domain: new\.example\.com$/m, /^ {2,}memoryMax: 64M$/m,
    /^make directory \/var\/lib\/sitegen\/sites\/new\.example\.com\/data\/uploads$/m, /^create container site-new\.example\.com at 10\.214\./m,
    /^create \/etc\/systemd\/system\/site-new\.example\.com\.socket$/m, /^enable and start site-new\.example\.com\.socket, listening on 10\.213\.[\d.]+:80$/m]) t.regex(added.stdout, line);
  t.is((await guest.sitegen('remove', '--purge', '--dry-run', 'dry.example.com')).stdout.split('\n').filter((line) => line.startsWith('remove ')).length, 7);
  t.is((await guest.sitegen('stop', '--all', '--dry-run')).stdout, 'stop dry.example.com\n');
  t.is((await guest.sitegen('disable', '--dry-run', 'dry.example.com')).stdout, 'disable dry.example.com\n');
  t.is((await guest.sitegen('apply', '--dry-run')).stdout, '');
  t.deepEqual(changes(before, await inventory(guest)), []);
});

guestTest('an add that cannot work is refused in one line and leaves nothing', async (t, guest) => {
  await guest.site('here.example.com', '--alias', 'www.here.example.com');
  await write(guest, '/etc/systemd/system/site-mine.example.com.service', '[Service]\nExecStart=/bin/true\n');
  await guest.sh('docker create --name site-foreign.example.com $(docker image ls -q sitegen/welcome | head -1) >/dev/null');
  const before = await inventory(guest);
  try {
    for (const [args, code, error] of [
      [['here.example.com'], 1, /here\.example\.com: the site exists already/],
      [['www.here.example.com'], 1, /www\.here\.example\.com belongs to the site here\.example\.com/],
      [['other.example.com', '--alias', 'www.here.example.com'], 1, /www\.here\.example\.com belongs to the site here/],
      [['other.example.com', '--alias', 'here.example.com'], 1, /here\.example\.com belongs to the site here/],
      [['other.example.com', '--app', 'nonexistent'], 1, /there is no app "nonexistent"; there are: .*welcome/],
      [['other.example.com', '--image', 'registry.example/nothing:1'], 1, /Docker would not pull image registry\.example\/nothing:1: /],
      [['other.example.com', '--port', 'abc'], 2, /--port abc: /],
      [['other.example.com', '--volume', 'a:/proc'], 1, /\/proc is the kernel's/],
      [['other.example.com', '--env', 'A'], 2, /--env A: is not NAME=VALUE/],
      [['mine.example.com'], 1, /site-mine\.example\.com\.service exists already/],
      [['foreign.example.com'], 1, /a container called site-foreign\.example\.com exists and is not sitegen's/],
    ] as const) {
      const refused = await guest.sitegen('add', '--quiet', ...args);
      t.is(refused.code, code, `${args.join(' ')}: ${refused.stderr}`);
      t.is(refused.stdout, '');
      t.regex(refused.stderr, error);
      t.regex(refused.stderr, refusal);
    }
    t.deepEqual(changes(before, await inventory(guest)), []);
    t.is((await guest.sitegen('remove', 'mine.example.com')).code, 1);
    t.deepEqual(changes(before, await inventory(guest)), [], 'a unit of the admin\'s own is no site');
    t.regex((await guest.sitegen('add', '-v', 'here.example.com')).stderr, stack, 'where it came from, when asked for');
  } finally {
    await guest.sh('rm -f /etc/systemd/system/site-mine.example.com.service; docker rm -f site-foreign.example.com >/dev/null');
  }
});

const late: [what: string, broken: string, mended: string, error: RegExp][] = [
  ['the links of sockets cannot be made', 'cd /etc/systemd/system/sockets.target.wants && mount --bind . . && mount -o remount,bind,ro "$PWD"', 'umount /etc/systemd/system/sockets.target.wants', /the file system is read-only/],
  ['the socket cannot listen', 'mkdir -p /etc/systemd/system/site-late.example.com.socket.d; printf "[Socket]\\nListenStream=/proc/nothing/socket\\n" > /etc/systemd/system/site-late.example.com.socket.d/x.conf',
    'rm -r /etc/systemd/system/site-late.example.com.socket.d', /site-late\.example\.com\.socket could not be started/],
  ['a link stands where data belong', 'mkdir -p /var/lib/sitegen/sites/late.example.com/data; ln -s /etc /var/lib/sitegen/sites/late.example.com/data/sub',
    'rm -r /var/lib/sitegen/sites/late.example.com', /data\/sub is a link and will not be mounted/],
  ['Docker has the container\'s address in use', 'docker run --detach --name squatter --network sitegen --ip "$(sitegen add late.example.com --dry-run | sed -n "s/^create container .* at //p")" $(docker image ls -q sitegen/welcome | head -1) >/dev/null',
    'docker rm -f squatter >/dev/null', /./],
];

guestTest('an add that fails late undoes what it did', async (t, guest) => {
  await guest.site('neighbour.example.com');
  for (const [what, broken, mended, error] of late) {
    await guest.sh(broken);
    try {
      const before = await inventory(guest);
      const failed = await guest.sitegen('add', '--quiet', 'late.example.com', '--volume', 'sub:/sub');
      if (what.startsWith('Docker') && failed.code === 0) {
        // Docker looks at addresses only when a container starts; then the visitor is told.
        await guest.sitegen('remove', '--purge', '--backups', '--yes', 'late.example.com');
        continue;
      }
      t.is(failed.code, 1, `${what}: ${failed.stdout}${failed.stderr}`);
      t.regex(failed.stderr, error, what);
      t.notRegex(failed.stderr, /while undoing/);
      t.notRegex(failed.stderr, stack);
      t.deepEqual(changes(before, await inventory(guest)), [], what);
      t.is((await guest.sitegen('diff')).stdout, '', what);
    } finally {
      await guest.sh(mended);
    }
  }
});

guestTest('remove leaves nothing but the data, which adding again finds; --purge asks first', async (t, guest) => {
  const domain = 'gone.example.com';
  const before = await inventory(guest);
  const address = await guest.site(domain, '--volume', 'www:/www');
  await guest.sh(`echo kept > /var/lib/sitegen/sites/${domain}/data/www/index.html
    mkdir -p /etc/systemd/system/site-${domain}.service.d; printf '[Service]\\nNice=5\\n' > /etc/systemd/system/site-${domain}.service.d/x.conf`);
  t.is((await guest.get(address)).body, 'kept\n');
  // Nobody can be asked for its certificate here; that is written down after ten seconds, and stays with the data.
  const asked = await guest.sh(`systemctl stop sitegen-renew.service sitegen-certify@${domain}.service; ls /var/lib/sitegen/acme/${domain}.json 2>/dev/null || true`) !== '';
  const removed = await guest.sitegen('remove', domain);
  t.is(removed.code, 0);
  t.regex(removed.stderr, /its data stays in \/var\/lib\/sitegen\/sites\/gone\.example\.com; sitegen add/);
  t.is(await guest.sh(`systemctl list-units --all --plain --no-legend 'site-${domain}*'`), '', 'no unit is loaded any more');
  t.true(changes(before, await inventory(guest)).every((line) => ['sites', 'git', 'backup', ...(asked ? ['acme'] : [])].some((folder) => line.includes(` /var/lib/sitegen/${folder}/${domain}`))), changes(before, await inventory(guest)).join('\n'));
  t.is((await guest.get(address, { timeoutS: 3 })).status, 0);

  t.is((await guest.sitegen('add', domain, '--volume', 'www:/www')).code, 0);
  t.is((await guest.get(address)).body, 'kept\n');

  const refused = await guest.sitegen('remove', '--purge', domain);
  t.is(refused.code, 2);
  t.regex(refused.stderr, /there is no terminal to ask on\nsitegen: hint: repeat it with --yes/);
  t.is((await guest.get(address)).body, 'kept\n');
  const typed = await shell(guest, `script -qec 'sitegen remove --purge ${domain}' /dev/null <<< no`);
  t.regex(typed.stdout, /Type the domain to confirm/);
  t.regex(typed.stdout, /nothing was removed/);
  t.is((await guest.get(address)).status, 200);
  t.is((await shell(guest, `script -qec 'sitegen remove --purge --backups ${domain}' /dev/null <<< ${domain}`)).code, 0);
  t.deepEqual(changes(before, await inventory(guest)), []);
  t.is((await guest.sitegen('remove', domain)).code, 1);
});

guestTest('list and status tell people and programs the same', async (t, guest) => {
  const address = await guest.site('told.example.com', '--memory', '64M', '--alias', 'www.told.example.com');
  await guest.get(address);
  const [site] = JSON.parse((await guest.sitegen('status', '--json', 'told.example.com')).stdout) as SiteJson[];
  t.like(site, { domain: 'told.example.com', state: 'awake', address, units: { 'site-told.example.com.socket': 'active', 'site-told.example.com.service': 'active', 'site-told.example.com.slice': 'active', 'site-told.example.com-app.slice': 'active' } });
  t.is(site?.container.name, 'site-told.example.com');
  t.is(site?.container.status, 'running');
  t.regex(site?.container.id ?? '', /^[0-9a-f]{12}$/);
  t.is(site?.containerAddress, await guest.sh("docker inspect -f '{{.NetworkSettings.Networks.sitegen.IPAddress}}' site-told.example.com"));
  t.true(site !== undefined && 'current' in site.memory && 'max' in site.memory);
  t.true(Math.abs(Date.parse(site?.since ?? '') - Date.parse(await guest.sh('date -Is'))) < 60_000, String(site?.since));
  t.deepEqual((JSON.parse((await guest.sitegen('list', '--json')).stdout) as SiteJson[]).map(({ domain }) => domain), ['told.example.com']);
  const list = await guest.sitegen('ls');
  t.regex(list.stdout, new RegExp(`^SITE +STATE +KIND +ADDRESS +MEMORY +BACKUP\ntold\\.example\\.com +awake +container +${address} +\\S+ +not backed up\n$`));
  const text = await guest.sitegen('status', 'told.example.com');
  for (const line of ['told.example.com', '     state: awake since ', '   aliases: www.told.example.com', `   address: ${address}:80 → container 10.214.`, ' container: site-told.example.com ', '      unit: site-told.example.com.socket active']) {
    t.true(`\n${text.stdout}`.includes(`\n${line}`), `${line} in ${text.stdout}`);
  }
  // Colours for people on a terminal alone, and only if they want them.
  for (const { stdout, stderr } of [list, text, await guest.sitegen('add', 'told.example.com')]) t.notRegex(stdout + stderr, color);
  t.regex((await shell(guest, "TERM=xterm script -qec 'sitegen list' /dev/null")).stdout, color);
  t.notRegex((await shell(guest, "TERM=xterm script -qec 'sitegen list --no-color' /dev/null")).stdout, color);
  t.notRegex((await shell(guest, "TERM=xterm NO_COLOR=1 script -qec 'sitegen list' /dev/null")).stdout, color);

  t.is((await guest.sitegen('status', 'told.example.com')).code, 0);
  t.is((await guest.sitegen('status', 'nobody.example.com')).code, 1);
  t.is((await guest.sitegen('status', 'not a domain')).code, 2);
  t.is((await guest.sitegen('status', '--bogus')).code, 2);
  const quiet = await guest.sitegen('restart', '-q', 'told.example.com');
  t.deepEqual(quiet, { code: 0, stdout: '', stderr: '' });
  // Whoever closes the pipe early gets no stack.
  const { stderr: broken } = await shell(guest, "for command in list 'status --json' --help completion diff; do sitegen $command > >(exec 1>&-); sitegen $command | head -c 0; done");
  t.notRegex(broken, /EPIPE|\n\s+at /);
  const interrupted = await shell(guest, 'sitegen logs -f told.example.com >/dev/null & sleep 2; kill -INT -- $!; pkill -INT -P $! journalctl; wait $!; echo code $?');
  t.regex(interrupted.stdout, /code 130/);
  t.is(interrupted.stderr, '');
});

longTest('status names the first thing that is missing', async (t, guest) => {
  const domain = 'states.example.com';
  const service = `site-${domain}.service`;
  const file = `/etc/sitegen/sites/${domain}.yaml`;
  const is = async (state: string, code: number, reason?: RegExp) => {
    const site = await guest.status(domain);
    t.is(site.state, state);
    if (reason) t.regex(site.reason ?? '', reason);
    const { code: exit } = await guest.sitegen('status', domain);
    t.is(exit, code, state);
  };
  await write(guest, file, `domain: ${domain}\napp: welcome\nvolumes: [www:/www]\nready: {timeout: 3s}\n`);
  try {
    await is('configured', 3, /sitegen apply/);
    t.is((await guest.sitegen('apply', domain)).code, 0);
    await is('asleep', 0);
    const { address } = await guest.status(domain);
    await guest.sh(`echo works > /var/lib/sitegen/sites/${domain}/data/www/index.html`);
    await guest.sh(`mv /var/lib/sitegen/sites/${domain} /root/data`);
    await is('data', 3, /data directory is missing/);
    t.is((await guest.get(address)).status, 503, 'an empty directory in place of lost data would look like a new site');
    await guest.sh(`systemctl stop ${service}; mv /root/data /var/lib/sitegen/sites/${domain}; docker rm -f site-${domain} >/dev/null`);
    await guest.sh(`systemctl reset-failed ${service} || true`);
    await is('created', 0, /container is missing/);
    t.is((await guest.get(address)).status, 200);
    await is('awake', 0);
    t.is((await guest.sitegen('stop', domain)).code, 0);
    await is('asleep', 0);

    await guest.sh(`sed -i 's/^app:.*/image: nobody.example\\/gone:1/' ${file}; docker rm -f site-${domain} >/dev/null`);
    await is('image', 3, /image is missing/);
    await guest.sh(`sed -i 's/^image:.*/app: welcome\\nport: 81/' ${file}; sitegen apply --quiet`);
    const visit = guest.get(address);
    await until('waking', async () => (await guest.status(domain)).state === 'waking');
    t.is((await visit).status, 503);
    await until('broken', async () => (await guest.status(domain)).state === 'broken', 15_000);
    await is('broken', 3, /the next visit tries again/);
    await guest.sh(`sed -i '/^port/d' ${file}; sitegen apply --quiet`);
    t.is((await guest.get(address)).status, 200);

    await write(guest, file, `domain: ${domain}\n# Until they pay.\nenabled: true # ask Ann\n`);
    t.is((await guest.sitegen('disable', domain)).code, 0);
    t.is(await guest.sh(`cat ${file}`), `domain: ${domain}\n# Until they pay.\nenabled: false # ask Ann`);
    await is('disabled', 3, /disabled/);
    t.is((await guest.get(address, { timeoutS: 3 })).status, 0);
    t.is((await guest.sitegen('apply')).code, 0);
    t.is((await shell(guest, `curl --silent --max-time 3 http://${address}/`)).code, 7, 'refused');
    t.is(await guest.sh(`systemctl is-enabled site-${domain}.socket || true`), 'disabled');
    const { code, stderr } = await guest.sitegen('start', domain);
    t.is(code, 1, stderr);
    t.regex(stderr, /it is disabled/);
    t.is((await guest.sitegen('exec', domain, '--', '/bin/busybox', 'true')).code, 1);
    t.is((await guest.sitegen('enable', domain)).code, 0);
    t.is(await guest.sh(`cat ${file}`), `domain: ${domain}\n# Until they pay.\nenabled: true # ask Ann`);
    t.is((await guest.get(address)).status, 200);

    await write(guest, file, `domain: ${domain}\nbogus: 1\n`);
    await is('broken', 3, /yaml:2: bogus: unknown key/);
  } finally {
    await guest.sitegen('remove', '--purge', '--backups', '--yes', domain);
    await guest.sh('rm -rf /root/data');
  }
});

guestTest('start, stop and restart act on several, and one that fails keeps nobody else', async (t, guest) => {
  await guest.site('one.example.com');
  await guest.site('two.example.com');
  await guest.site('bad.example.com');
  await guest.sh('printf "port: 81\\nready: {timeout: 1s}\\n" >> /etc/sitegen/sites/bad.example.com.yaml; sitegen apply --quiet');
  const states = async (): Promise<Record<string, string>> => Object.fromEntries((JSON.parse((await guest.sitegen('list', '--json')).stdout) as SiteJson[]).map(({ domain, state }) => [domain.split('.')[0] ?? '', state]));
  const all = await guest.sitegen('start', '--all');
  t.is(all.code, 1);
  t.regex(all.stderr, /^sitegen: error: bad\.example\.com: site-bad\.example\.com\.service could not be started/m);
  t.deepEqual(await states(), { bad: 'broken', one: 'awake', two: 'awake' });
  t.is((await guest.sitegen('stop', 'one.example.com', 'two.example.com')).code, 0);
  t.like(await states(), { one: 'asleep', two: 'asleep' });
  t.is((await guest.sitegen('restart', 'two.example.com')).code, 0);
  t.like(await states(), { one: 'asleep', two: 'awake' });
  t.is((await guest.sitegen('start', 'one.example.com', 'nobody.example.com')).code, 1);
  t.like(await states(), { one: 'asleep' }, 'a name that is wrong is found first');
  t.is((await guest.sitegen('stop', '--all')).code, 0);
  t.is((await guest.sitegen('stop')).code, 2);
});

guestTest('logs show what shim and container say; exec passes everything through and wakes', async (t, guest) => {
  const domain = 'logs.example.com';
  await guest.site(domain);
  const exec = await guest.run(['sitegen', 'exec', domain, '--', '/bin/busybox', 'sh', '-c', 'cat; echo "<$1>" "$2" >&2; exit 7', 'sh', 'two words', '--help'], { input: 'sent\n' });
  t.deepEqual(exec, { code: 7, stdout: 'sent\n', stderr: '<two words> --help\n' });
  t.is((await guest.status(domain)).state, 'awake');
  t.is((await guest.sitegen('exec', domain)).code, 2);

  // What process 1 writes is the container's log.
  await guest.sitegen('exec', domain, '--', '/bin/busybox', 'sh', '-c', 'echo from the container > /proc/1/fd/1');
  const logs = async (...args: string[]) => (await guest.sitegen('logs', domain, ...args)).stdout;
  await until('the line is in the journal', async () => (await logs()).includes('from the container'));
  t.regex(await logs(), /awake: woken by systemctl start/);
  t.regex(await guest.sh(`journalctl -u site-${domain} -o cat --no-pager`), /from the container/);
  t.is((await logs('-n', '1')).trimEnd().split('\n').length, 1);
  const found = await logs('--grep', 'from the cont');
  t.regex(found, /from the container/);
  t.notRegex(found, /woken/);
  t.notRegex(await logs('--since', '+1h'), /woken/);
  t.regex(await logs('--since', '1 hour ago'), /woken/);
  t.true((await logs('--json', '-n', '2')).trim().split('\n').every((line) => 'MESSAGE' in (JSON.parse(line) as object)));
});

guestTest('the completion works in bash', async (t, guest) => {
  await guest.site('complete.example.com');
  const complete = (...words: string[]) => guest.sh(`source <(sitegen completion)
    function_name=$(complete -p sitegen | grep -o -- '-F [^ ]*' | cut -d' ' -f2)
    COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; COMP_LINE="\${COMP_WORDS[*]}"; COMP_POINT=\${#COMP_LINE}
    "$function_name" sitegen "\${COMP_WORDS[COMP_CWORD]}" '' || true; printf '%s\\n' "\${COMPREPLY[@]}"`);
  t.deepEqual((await complete('sitegen', 'sta')).split('\n').sort(), ['start', 'stats', 'status']);
  t.regex(await complete('sitegen', 'status', 'comp'), /^complete\.example\.com$/m);
  t.regex(await complete('sitegen', 'add', '--mem'), /^--memory$/m);
});
