import { guestTest } from './_guest.ts';
import { changes, inventory, write } from './_machine.ts';

/** 253 characters, as many of them hyphens as can be: systemd's escape makes four of each. */
const longest = `${['a', 'b', 'c'].map((letter) => `${letter}${'-'.repeat(61)}${letter}`).join('.')}.x${'-'.repeat(59)}x`;

guestTest('a domain of 253 characters, full of hyphens, is added, visited, shown and removed', async (t, guest) => {
  t.is(longest.length, 253);
  const before = await inventory(guest);
  const address = await guest.site(longest);
  const cold = await guest.get(address);
  t.is(cold.status, 200);
  const status = await guest.status(longest);
  t.is(status.domain, longest);
  t.is(status.state, 'awake');
  for (const unit of Object.keys(status.units)) t.true(unit.length <= 255, `${unit.length}`);
  t.is(Number(await guest.sh(`systemctl show -P MemoryMax -- $(systemctl list-units --plain --no-legend 'site-a*.slice' | awk '!/-app/ { print $1 }')`)), 512 * 1024 * 1024);
  t.regex((await guest.sitegen('list')).stdout, new RegExp(`^${longest} +awake`, 'm'));
  t.is((await guest.sitegen('stop', longest)).code, 0);
  t.is((await guest.sitegen('diff')).stdout, '');
  t.is((await guest.sitegen('remove', '--purge', '--backups', '--yes', longest)).code, 0);
  t.deepEqual(changes(before, await inventory(guest)), []);
});

guestTest('a domain with a stand-in for its name goes with its settings, too', async (t, guest) => {
  const before = await inventory(guest);
  await guest.site(longest);
  await guest.sh('rm /etc/sitegen/sites/a-*.yaml; sitegen apply --quiet; rm -rf /var/lib/sitegen/sites/a-* /var/lib/sitegen/acme/a-*');
  t.deepEqual(changes(before, await inventory(guest)), []);
});

guestTest('international and sloppily written names are one and the same site', async (t, guest) => {
  const address = await guest.site('München.DE.');
  const status = await guest.status('münchen.de');
  t.is(status.domain, 'xn--mnchen-3ya.de');
  t.is(status.address, address);
  t.is((await guest.get(address, { host: 'xn--mnchen-3ya.de' })).status, 200);
  t.is((await guest.status('XN--MNCHEN-3YA.de')).state, 'awake');
  t.is((await guest.sitegen('add', 'xn--mnchen-3ya.de')).code, 1);

  t.is((await guest.sitegen('add', 'EXAMPLE.com.')).code, 0);
  t.is((await guest.status('example.com')).domain, 'example.com');
  t.is((await guest.sitegen('add', 'example.com')).code, 1);
  t.is((await guest.sitegen('remove', '--purge', '--backups', '-y', 'Example.COM')).code, 0);
});

guestTest('what is no domain is refused as wrong usage, and leaves nothing', async (t, guest) => {
  const before = await inventory(guest);
  const refused = ['a..b', '-a.com', 'a-.com', '*.example.com', '../../etc', 'x;reboot', 'a%n.com', `${'l'.repeat(64)}.com`, `x.${longest}`, '', '.', 'localhost',
    '10.1.2.3', '::1', '[::1]', 'a b.com', 'a\nb.com', 'a_b.com', 'http://example.com', 'example.com:80', 'example.com/x', '$(reboot).com', "a'b.com", 'a\\x2db.com'];
  const { stdout } = await guest.run(['node', '--input-type=module', '-e', `
    import { spawnSync } from 'node:child_process';
    const answers = ${JSON.stringify(refused)}.map((domain) => {
      const { status, stdout, stderr } = spawnSync('sitegen', ['add', '--', domain], { encoding: 'utf8' });
      return [domain, status, stdout, stderr];
    });
    console.log(JSON.stringify(answers));`]);
  for (const [domain, status, out, err] of JSON.parse(stdout) as [string, number, string, string][]) {
    t.is(status, 2, `${JSON.stringify(domain)}: ${out}${err}`);
    t.is(out, '', domain);
    t.regex(err, /^sitegen: error: .*\n(sitegen: hint: .*\n)?$/, domain);
  }
  t.deepEqual(changes(before, await inventory(guest)), []);
});

guestTest('systemd finds no fault with any unit of ours, whatever the settings say', async (t, guest) => {
  const domains = [longest, 'my-site.org', 'hostile.example.com'];
  try {
    await guest.site('my-site.org', '--memory', '20%');
    await guest.site(longest);
    await write(guest, '/etc/sitegen/sites/hostile.example.com.yaml', JSON.stringify({
      domain: 'hostile.example.com',
      env: { A: 'x\nExecStartPre=/bin/false', B: '%n %H %%', C: '"\' \\', D: '$(touch /tmp/hostile) ${HOME}', E: '漢🙂', F: '' },
      volumes: ['a.b/c-d_e:/data with spaces/%n'],
      limits: { memoryMax: '33.33%', memoryHigh: '1G', cpuWeight: 50, cpuQuota: '150%', ioWeight: 20, tasksMax: 300 },
      ready: { path: '/%n"$(x)\'\\{{x}}', timeout: '1min 500ms' },
      stop: { timeout: '1s' },
    }));
    t.is((await guest.sitegen('apply')).stderr, '');
    const { stdout, stderr, code } = await guest.run(['sh', '-c', 'systemd-analyze verify --man=no /etc/systemd/system/site-* /usr/lib/systemd/system/sitegen-network.service /usr/lib/systemd/system/sitegen-shutdown.service /usr/lib/systemd/system/sitegen-alarm@.service']);
    // Ours only: the distribution's units have complaints of their own.
    t.deepEqual(`${stdout}${stderr}`.split('\n').filter((line) => line.includes('site')), []);
    t.is(code, 0);
    const { address } = await guest.status('hostile.example.com');
    t.is((await guest.get(address)).status, 200);
    const { stdout: environment } = await guest.sitegen('exec', 'hostile.example.com', '--', '/bin/busybox', 'env');
    for (const line of ['A=x\nExecStartPre=/bin/false', 'B=%n %H %%', 'C="\' \\', 'D=$(touch /tmp/hostile) ${HOME}', 'E=漢🙂']) t.true(`\n${environment}`.includes(`\n${line}\n`), line);
    t.is((await guest.run(['test', '-e', '/tmp/hostile'])).code, 1);
    t.is((await guest.sitegen('diff')).stdout, '');
  } finally {
    for (const domain of domains) await guest.sitegen('remove', '--purge', '--backups', '--yes', domain);
  }
});
