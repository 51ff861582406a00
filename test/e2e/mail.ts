import { type Guest, guestTest, longTest, until } from './_guest.ts';
import { buildImage } from './_images.ts';
import { message, sinkUrl, speak, startSink, stopSink } from './_mail.ts';

const domain = 'mail.example.com';
const service = `site-${domain}.service`;
const settings = '/etc/sitegen/sitegen.yaml';

async function setUp(guest: Guest, more = ''): Promise<string> {
  await startSink(guest);
  await guest.sh(`cp ${settings} /tmp/sitegen.yaml.before; printf 'mail: {relay: "${sinkUrl}"}\\n' >> ${settings}`);
  await buildImage(guest, 'test/mail:1', { Dockerfile: 'FROM scratch\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox", "--install", "/bin"]\nSTOPSIGNAL SIGKILL\nCMD ["/bin/busybox", "httpd", "-f", "-p", "80", "-h", "/bin"]\n' });
  const address = await guest.site(domain, '--image', 'test/mail:1');
  if (more !== '') await guest.sh(`printf '%s\\n' '${more}' >> /etc/sitegen/sites/${domain}.yaml`);
  await guest.sh('sitegen apply --quiet');
  return address;
}

async function tearDown(guest: Guest): Promise<void> {
  await guest.sh(`
    mv /tmp/sitegen.yaml.before ${settings}
    rm -f /etc/sitegen/keys/mail
    sitegen apply --quiet || true`);
  await stopSink(guest);
}

const got = (guest: Guest) => guest.sh('cat /tmp/sink.txt 2>/dev/null || true');
const journal = (guest: Guest) => guest.sh(`journalctl -u ${service} -o cat --no-pager`);

guestTest('without a relay nothing listens, and no unit of it is enabled', async (t, guest) => {
  await guest.site(domain, '--app', 'welcome');
  t.is(await guest.sh("ss -Hltn 'sport = :2525'"), '');
  t.is(await guest.sh("find /etc/systemd/system -name 'sitegen-mail*' -path '*.wants*'"), '');
  t.is(await guest.sh("systemctl list-units --plain --no-legend 'sitegen-mail*' | grep -v '^sitegen-mail-deliver.service\\|inactive' || true"), '');
  t.is(await guest.sh(`docker inspect --format '{{json .HostConfig.ExtraHosts}}' site-${domain} | tr -d '\\n'`), 'null');
});

guestTest('a container sends, is frozen, and its mail is delivered; the relay ends by itself', async (t, guest) => {
  try {
    const address = await setUp(guest);
    await guest.get(address);
    // Its smarthost is away while the site is awake.
    await guest.sh('systemctl stop sitegen-test-sink');
    const said = await speak(guest, domain, message('first'));
    t.regex(said, /^250 queued as [0-9a-f]{28}/m);
    await guest.sh(`
      for i in $(seq 100); do [[ $(systemctl is-active ${service}) == active ]] && break; sleep 0.1; done
      echo "$(systemctl show --value -P InvocationID ${service}) idle" > /run/sitegen/sites/${domain}.freeze
      systemctl stop ${service}`);
    const waiting = await guest.sitegen('mail', '--json');
    const rows = JSON.parse(waiting.stdout) as { domain: string; to: string[]; state: string; tries: number }[];
    t.deepEqual(rows.map(({ domain: of, to, state }) => [of, to, state]), [[domain, ['somebody@example.net'], 'waiting']]);
    await until('its timer runs', async () => (await guest.run(['systemctl', 'is-active', 'sitegen-mail-deliver.timer'])).code === 0);
    await guest.sh('systemd-run --quiet --collect --unit sitegen-test-sink node /tmp/sink.mjs; sleep 2');
    t.is((await guest.sitegen('mail', 'flush')).stdout, 'delivered all that waited\n');
    const text = await got(guest);
    t.regex(text, /^MAIL FROM:<info@mail\.example\.com>/m);
    t.regex(text, /^Subject: first$/m);
    t.regex(await guest.sh(`cat /sys/fs/cgroup/site.slice/site-${domain}.slice/site-${domain}-app.slice/cgroup.events`), /^frozen 1$/m);
    t.regex(await journal(guest), /mail [0-9a-f]{28} to somebody@example\.net: delivered to smtp:\/\/127\.0\.0\.1:2500/);
    await until('the timer is stopped', async () => (await guest.run(['systemctl', 'is-active', 'sitegen-mail-deliver.timer'])).code !== 0);
    await until('nothing of it runs', async () => await guest.sh('systemctl show -P ActiveState sitegen-mail.service sitegen-mail-deliver.service | sort -u | grep -v "^$"') === 'inactive', 60_000, 1000);
    t.is(await guest.sh('systemctl is-active sitegen-mail.socket'), 'active');
  } finally {
    await tearDown(guest);
  }
});

guestTest('mail goes at once; foreign senders are replaced, and what is refused is an alarm', async (t, guest) => {
  try {
    const address = await setUp(guest);
    await guest.get(address);
    await speak(guest, domain, message('spoofed', 'somebody@example.net', 'ceo@bank.example'));
    await until('it is there', async () => (await got(guest)).includes('Subject: spoofed'));
    t.regex(await got(guest), /^MAIL FROM:<noreply@mail\.example\.com>/m);
    t.regex(await got(guest), /^From: noreply@mail\.example\.com$/m);
    await speak(guest, domain, message('wrong', 'refused@example.net'));
    await until('its alarm is in the journal', async () => /^alarm: mail [0-9a-f]{28} to refused@example\.net was not delivered: .*no such user/m.test(await journal(guest)));
    await until('the alarm is raised', async () => (await guest.sitegen('alarms', '--json')).stdout.includes('sitegen-mail-deliver.service'), 30_000);
    const [failed] = JSON.parse((await guest.sitegen('mail', 'queue', domain, '--json')).stdout) as { key: string; state: string }[];
    t.is(failed?.state, 'failed');
    t.is((await guest.sitegen('mail', 'remove', failed?.key ?? '')).code, 0);
    // The next one that works closes it.
    await speak(guest, domain, message('fine'));
    await until('the alarm is over', async () => !(await guest.sitegen('alarms', '--json')).stdout.includes('sitegen-mail-deliver.service'), 30_000);
    t.regex(await guest.sh('curl --silent --unix-socket /run/sitegen/metrics.sock http://localhost/metrics'), /^sitegen_site_mail_total\{site="mail\.example\.com",outcome="lost"\} 1$/m);
  } finally {
    await tearDown(guest);
  }
});

longTest('the limit of an hour is kept over the end of the relay, and said in the journal', async (t, guest) => {
  try {
    const address = await setUp(guest, 'mail: {perHour: 2}');
    await guest.get(address);
    for (const subject of ['one', 'two']) t.regex(await speak(guest, domain, message(subject)), /^250 queued/m);
    await guest.sh('systemctl stop sitegen-mail.service');
    t.regex(await speak(guest, domain, message('three')), /^451 /m);
    await until('it is said', async () => (await journal(guest)).includes('the limit of 2 recipients an hour is reached'));
    t.notRegex(await got(guest), /Subject: three/);
  } finally {
    await tearDown(guest);
  }
});

guestTest('nobody but containers reaches the relay, and its account is kept from others', async (t, guest) => {
  try {
    await setUp(guest);
    t.is(await guest.sh("ss -Hltn 'sport = :2525' | awk '{print $4}'"), '10.214.0.1:2525');
    // The host itself is no container either.
    t.not((await guest.run(['nc', '-w', '3', '-z', '10.214.0.1', '2525'])).code, 0);
    await guest.sh('printf "127.0.0.1 me:secret\\n" > /etc/sitegen/keys/mail; chmod 644 /etc/sitegen/keys/mail');
    t.regex((await guest.sitegen('mail', 'check')).stderr, /others than root may read it/);
    await guest.sh('rm /etc/sitegen/keys/mail');
    t.regex((await guest.sitegen('mail', 'check')).stdout, /^smtp:\/\/127\.0\.0\.1:2500: works, for 1 site$/m);
  } finally {
    await tearDown(guest);
  }
});

longTest('mail that waits outlives a restart of the machine', async (t, guest) => {
  try {
    const address = await setUp(guest);
    await guest.get(address);
    await guest.sh('systemctl stop sitegen-test-sink');
    await speak(guest, domain, message('before the boot'));
    await guest.sh('cp /tmp/sink.mjs /tmp/sitegen.yaml.before /var/tmp/');
    await guest.reboot();
    await guest.sh('cp /var/tmp/sink.mjs /var/tmp/sitegen.yaml.before /tmp/; systemd-run --quiet --collect --unit sitegen-test-sink node /tmp/sink.mjs');
    t.is(await guest.sh('systemctl is-active sitegen-mail.socket sitegen-mail-deliver.path | sort -u'), 'active');
    await until('the timer has delivered it', async () => (await got(guest)).includes('Subject: before the boot'), 240_000, 2000);
  } finally {
    await tearDown(guest);
  }
});

guestTest('forwarding addresses are in Postfix\'s map while their sites are there', async (t, guest) => {
  const map = async () => `${await guest.sh('cat /var/lib/sitegen/mail/virtual')}\n`;
  await guest.site('forward.example.com', '--redirect', 'https://example.org');
  await guest.sh("printf 'aliases: [forward.example.org]\\nmail: {otherEmail: person@example.net}\\n' >> /etc/sitegen/sites/forward.example.com.yaml; sitegen apply --quiet forward.example.com");
  for (const name of ['forward.example.com', 'forward.example.org']) {
    t.true((await map()).includes(`\n@${name} person@example.net\n`), name);
    if ((await guest.run(['test', '-x', '/usr/sbin/postmap'])).code === 0) t.is(await guest.sh(`postmap -q @${name} /var/lib/sitegen/mail/virtual`), 'person@example.net');
  }
  // No site sends.
  t.is(await guest.sh("ss -Hltn 'sport = :2525'"), '');
  t.is((await guest.sitegen('diff')).stdout, '');
  await guest.sitegen('remove', '--purge', '--yes', 'forward.example.com');
  t.notRegex(await map(), /forward/);
});
