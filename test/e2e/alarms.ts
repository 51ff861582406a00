import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { guestTest, until, type Guest } from './_guest.ts';
import { write } from './_machine.ts';

const domain = 'alarm.example.com';
const service = `site-${domain}.service`;

interface Open { unit: string; since: string; count: number; reason: string }

const open = async (guest: Guest) => (JSON.parse((await guest.sitegen('alarms', '--json')).stdout) as Open[]).find(({ unit }) => unit === service);

/** Collects what it gets in a file, and answers as the path says: /500 or /. */
const receiver = `
  import { appendFileSync } from 'node:fs';
  import http from 'node:http';
  http.createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => { body += chunk; });
    request.on('end', () => {
      appendFileSync('/run/alarm/webhook', JSON.stringify({ method: request.method, type: request.headers['content-type'], body: JSON.parse(body) }) + '\\n');
      response.writeHead(Number(request.url.slice(1)) || 200).end();
    });
  }).listen(8099, '127.0.0.1');`;

/** Stands for any program: writes down what it was called with and told. */
const recorder = (file: string) => `#!/bin/sh
{ printf '<%s>' "$@"; echo; cat; echo END; } >> ${file}
`;

async function prepare(guest: Guest, alerts: string): Promise<void> {
  await guest.sh('rm -rf /run/alarm /var/lib/sitegen/alarms /tmp/alarm-shell; mkdir -p /run/alarm; [ -e /root/sitegen.yaml ] || cp /etc/sitegen/sitegen.yaml /root/');
  await write(guest, '/run/alarm/receiver.mjs', receiver);
  await write(guest, '/run/alarm/record', recorder('/run/alarm/command'));
  await write(guest, '/usr/sbin/sendmail', recorder('/run/alarm/mail'));
  await write(guest, '/etc/sitegen/sitegen.yaml', alerts);
  await guest.sh(`chmod 755 /run/alarm/record /usr/sbin/sendmail
    systemctl reset-failed alarm-receiver 2>/dev/null || true; systemctl stop alarm-receiver 2>/dev/null || true
    systemd-run --quiet --collect --unit alarm-receiver node /run/alarm/receiver.mjs
    for i in $(seq 100); do ss -Hltn 'sport = 8099' | grep -q . && break; sleep 0.1; done`);
}

async function restore(guest: Guest): Promise<void> {
  await guest.sh('mv /root/sitegen.yaml /etc/sitegen/sitegen.yaml; rm -rf /usr/sbin/sendmail /run/alarm; systemctl stop alarm-receiver 2>/dev/null || true; systemctl reset-failed "sitegen-alarm@*" 2>/dev/null || true');
}

/** Kills the site's container, and waits for the alarm's end. */
async function fail(guest: Guest): Promise<void> {
  const last = async () => (await guest.run(['cat', `/var/lib/sitegen/alarms/${service}.json`])).stdout;
  const before = await last();
  await guest.sh(`docker kill site-${domain} >/dev/null`);
  await until('the alarm ran', async () => await last() !== before
    && (await guest.sh(`systemctl show -P ActiveState sitegen-alarm@${service}.service`)) !== 'activating');
}

const count = async (guest: Guest, file: string, pattern: string) => Number((await guest.run(['sh', '-c', `grep -c -- '${pattern}' /run/alarm/${file}`])).stdout);

guestTest('a failing unit tells command, webhook and mail, once an hour, and its alarm closes by itself', async (t, guest) => {
  const address = await guest.site(domain);
  try {
    await prepare(guest, `alerts:
  command: [/run/alarm/record, 'two words', '$(touch /tmp/alarm-shell)', '; touch /tmp/alarm-shell', '%n', '']
  webhook: http://127.0.0.1:8099/
  email: admin@example.com
`);
    t.is((await guest.get(address)).status, 200);
    await fail(guest);

    const command = await guest.sh('cat /run/alarm/command');
    t.is(command.split('\n')[0], '<two words><$(touch /tmp/alarm-shell)><; touch /tmp/alarm-shell><%n><>');
    t.is((await guest.run(['test', '-e', '/tmp/alarm-shell'])).code, 1);
    t.regex(command, new RegExp(`${service} on .* has failed: `));
    t.regex(command, /awake: woken by a visitor/, 'the journal\'s last lines');
    t.regex(command, /ended by itself with exit code 1\d\d/);

    const hook = JSON.parse(await guest.sh('cat /run/alarm/webhook')) as { method: string; type: string; body: { unit: string; host: string; time: string; reason: string; journal: string[] } };
    t.is(hook.method, 'POST');
    t.is(hook.type, 'application/json');
    t.is(hook.body.unit, service);
    t.is(hook.body.host, await guest.sh('hostname'));
    t.true(Math.abs(Date.parse(hook.body.time) - Date.now()) < 60_000);
    t.true(hook.body.journal.some((line) => line.includes('woken by a visitor')));

    const mail = await guest.sh('cat /run/alarm/mail');
    t.regex(mail, /^<-i><--><admin@example\.com>\nTo: admin@example\.com\nSubject: \[.*\] site-alarm\.example\.com\.service has failed\n/);
    t.regex(mail, /\n\nsite-alarm\.example\.com\.service on .* has failed: [^]*woken by a visitor/);

    const first = await open(guest);
    t.is(first?.count, 1);
    t.regex((await guest.sitegen('alarms')).stdout, new RegExp(`^UNIT .*\n${service} .* 1 `));

    // It works in between, so the alarm closes; the next failure within the hour stays in the journal.
    t.is((await guest.get(address)).status, 200);
    t.is(await open(guest), undefined);
    t.deepEqual(await guest.sitegen('alarms'), { code: 0, stdout: '', stderr: 'no open alarms\n' });
    await fail(guest);
    t.is((await open(guest))?.count, 1);
    t.is(await count(guest, 'command', 'END'), 1);
    t.is(await count(guest, 'webhook', 'POST'), 1);
    t.is(await count(guest, 'mail', 'END'), 1);

    // After an hour it goes out again.
    await guest.sh(`sed -i "s/\\"sent\\": \\"[^\\"]*\\"/\\"sent\\": \\"$(date -u -d '61 minutes ago' +%FT%TZ)\\"/" /var/lib/sitegen/alarms/${service}.json`);
    t.is((await guest.get(address)).status, 200);
    await fail(guest);
    t.is(await count(guest, 'command', 'END'), 2);
    t.is(await count(guest, 'webhook', 'POST'), 2);
  } finally {
    await restore(guest);
  }
});

guestTest('a webhook that fails keeps nobody else from hearing, and the journal says so', async (t, guest) => {
  const address = await guest.site(domain);
  try {
    for (const [webhook, said] of [['http://127.0.0.1:8099/500', /alerts\.webhook failed: 127\.0\.0\.1:8099 answered 500/], ['http://127.0.0.1:1/', /alerts\.webhook failed: .*(refused|bad port)/i]] as const) {
      await prepare(guest, `alerts: {webhook: '${webhook}', email: admin@example.com, command: [/run/alarm/record]}\n`);
      t.is((await guest.get(address)).status, 200);
      const since = await guest.sh('date +%s.%N');
      await fail(guest);
      t.is(await count(guest, 'command', 'END'), 1);
      t.is(await count(guest, 'mail', 'END'), 1);
      t.regex(await guest.sh(`journalctl -u sitegen-alarm@${service}.service -o cat --since @${since} --no-pager -p err`), said);
    }
  } finally {
    await restore(guest);
  }
});

guestTest('settings with a fault do not silence the journal\'s alarm', async (t, guest) => {
  const address = await guest.site(domain);
  try {
    await prepare(guest, '');
    t.is((await guest.get(address)).status, 200);
    await write(guest, '/etc/sitegen/sitegen.yaml', 'alerts: {bogus: 1}\n');
    const since = await guest.sh('date +%s.%N');
    await fail(guest);
    const journal = await guest.sh(`journalctl -u sitegen-alarm@${service}.service -o cat --since @${since} --no-pager -p err`);
    t.regex(journal, /alarm: site-alarm\.example\.com\.service has failed: /);
    t.regex(journal, /sitegen\.yaml:1: alerts\.bogus: unknown key/);
  } finally {
    await restore(guest);
  }
});

guestTest('every unit of ours raises the alarm but the alarm itself', async (t, guest) => {
  await guest.site(domain);
  const units = path.resolve(import.meta.dirname, '../../units');
  const shipped = (await readdir(units)).filter((name) => /\.(service|socket|timer|path|target|mount)$/.test(name));
  t.true(shipped.length >= 3);
  for (const name of shipped) {
    const text = await readFile(path.join(units, name), 'utf8');
    // Room is made under another name each time, so an alarm of it would never close; the wake tells what came of it.
    if (/^sitegen-(alarm|room)@/.test(name)) t.notRegex(text, /^OnFailure/m);
    else t.regex(text, /^OnFailure=sitegen-alarm@%n\.service$/m, name);
  }
  const rendered = (await guest.sh(`cd /etc/systemd/system; ls site-${domain}*`)).split('\n');
  t.true(rendered.length >= 4);
  for (const name of rendered) {
    const text = await guest.sh(`cat /etc/systemd/system/${name}`);
    // A slice cannot fail.
    if (name.endsWith('.slice')) t.notRegex(text, /^OnFailure/m);
    else t.regex(text, /^OnFailure=sitegen-alarm@%n\.service$/m, name);
  }
  t.is(await guest.sh(`systemctl show -P OnFailure site-${domain}.socket`), `sitegen-alarm@site-${domain}.socket.service`);
});
