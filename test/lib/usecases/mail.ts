import { readdir, readFile, writeFile } from 'node:fs/promises';
import net from 'node:net';
import test from 'ava';
import { createTransport } from 'nodemailer';
import { askFlush } from '../../../lib/effects/mail-spool.ts';
import { connectSender } from '../../../lib/effects/smtp-send.ts';
import { readMailStats } from '../../../lib/usecases/mail-stats.ts';
import { deliver, deliverDeps, makeSpool, startIntake, startSink } from '../_mail.ts';

/** Hands a message in as an application does. */
function hand(port: number, message: Record<string, unknown> = {}) {
  const transport = createTransport({ host: '127.0.0.1', port, ignoreTLS: true });
  return transport.sendMail({ from: '"A shop" <info@example.com>', to: 'customer@example.net', subject: 'Grüße', text: 'Hello\n.\n..two\nbye', ...message }).finally(() => { transport.close(); });
}

const codeOf = (error: unknown) => (error as { responseCode?: number }).responseCode;

const statesOf = (told: readonly { fields: Readonly<Record<string, string>> }[]) => told.map(({ fields }) => fields['SITEGEN_MAIL']);

test('a message goes from an application through the queue to the smarthost', async (t) => {
  const { spool, directory } = await makeSpool(t);
  const intake = await startIntake(t, spool, directory);
  const sink = await startSink(t);
  const { response } = await hand(intake.port, { bcc: 'secret@example.net' });
  t.regex(response, /^250 queued as [0-9a-f]{28}$/);
  t.deepEqual(await readdir(spool.tmp), []);
  t.is((await readdir(spool.in)).length, 1);
  const deps = deliverDeps(spool, directory, sink.port);
  t.deepEqual(await deliver(deps), { left: 0, alarms: [] });
  const [got] = sink.got;
  t.is(sink.got.length, 1);
  t.is(got?.from, 'info@example.com');
  t.deepEqual(got?.to, ['customer@example.net', 'secret@example.net']);
  t.regex(got?.text ?? '', /^Received: from \S+ \(\[127\.0\.0\.1\]\)\r\n\tby mail\.sitegen\.internal with ESMTP id [0-9a-f]{28}; /);
  t.regex(got?.text ?? '', /\r\nFrom: A shop <info@example\.com>\r\n|\r\nFrom: "A shop" <info@example\.com>\r\n/);
  t.regex(got?.text ?? '', /\r\n\r\nHello\r\n\.\r\n\.\.two\r\nbye/);
  t.notRegex(got?.text ?? '', /secret@/);
  t.deepEqual([...await readdir(spool.in), ...await readdir(spool.queue)], []);
  t.deepEqual(statesOf(deps.told), ['taken', 'delivered']);
  t.is(deps.told[0]?.fields['OBJECT_SYSTEMD_UNIT'], 'site-example.com.service');
  t.deepEqual((await readMailStats(`${directory}/stats.json`)).get('example.com'), { taken: 1, delivered: 2, lost: 0, limited: 0, waiting: 0 });
  t.deepEqual(intake.faults, []);
});

test('a sender of another domain is replaced, in envelope and header, and stays where answers go', async (t) => {
  const { spool, directory } = await makeSpool(t);
  const sink = await startSink(t);
  const intake = await startIntake(t, spool, directory);
  const fixed = await startIntake(t, spool, directory, { from: 'post@host.example' });
  await hand(intake.port, { from: '"Bank" <ceo@bank.example>' });
  await hand(fixed.port);
  await deliver(deliverDeps(spool, directory, sink.port));
  t.deepEqual(sink.got.map(({ from }) => from).sort(), ['noreply@example.com', 'post@host.example']);
  const texts = sink.got.map(({ text }) => text).join('\n');
  t.regex(texts, /From: "Bank" <noreply@example\.com>\r\nReply-To: "Bank" <ceo@bank\.example>/);
  t.regex(texts, /From: "A shop" <post@host\.example>\r\nReply-To: "A shop" <info@example\.com>/);
  t.is(texts.match(/^From:/gm)?.length, 2);
});

test('an hour has no more recipients than are allowed, and the limit is said once', async (t) => {
  const { spool, directory } = await makeSpool(t);
  let now = Date.now();
  const start = () => startIntake(t, spool, directory, { perHour: 3 }, { now: () => now });
  const intake = await start();
  await hand(intake.port, { to: ['a@example.net', 'b@example.net'] });
  // Those that fit are taken, as SMTP has it.
  const third = await hand(intake.port, { to: ['c@example.net', 'd@example.net'] });
  t.deepEqual(third.rejected, ['d@example.net']);
  t.is(codeOf(await t.throwsAsync(hand(intake.port))), 451);
  await intake.close();
  const again = await start();
  t.is(codeOf(await t.throwsAsync(hand(again.port))), 451, 'a process that ends forgets nothing');
  const sink = await startSink(t);
  const deps = deliverDeps(spool, directory, sink.port);
  await deliver(deps);
  t.deepEqual(sink.got.flatMap(({ to }) => to).sort(), ['a@example.net', 'b@example.net', 'c@example.net']);
  const limits = deps.told.filter(({ fields }) => fields['SITEGEN_MAIL'] === 'limited');
  t.is(limits.length, 1);
  t.regex(limits[0]?.lines[0] ?? '', /limit of 3 recipients an hour/);
  now += 3_600_001;
  await t.notThrowsAsync(hand(again.port));
});

test('at once, too, no more are taken than are allowed', async (t) => {
  const { spool, directory } = await makeSpool(t);
  const intake = await startIntake(t, spool, directory, { perHour: 4 });
  const results = await Promise.allSettled(Array.from({ length: 8 }, () => hand(intake.port)));
  t.is(results.filter(({ status }) => status === 'fulfilled').length, 4);
  t.is((await readdir(spool.in)).filter((name) => name.endsWith('.mail')).length, 4);
});

test('a message that is refused counts for nothing and leaves nothing', async (t) => {
  const { spool, directory } = await makeSpool(t);
  const intake = await startIntake(t, spool, directory, { perHour: 2, maxBytes: 20_000 });
  t.is(codeOf(await t.throwsAsync(hand(intake.port, { text: 'x'.repeat(30_000) }))), 552);
  t.is(codeOf(await t.throwsAsync(hand(intake.port, { to: 'root@localhost' }))), 553);
  t.deepEqual([...await readdir(spool.tmp), ...await readdir(spool.in)], []);
  await hand(intake.port, { to: ['a@example.net', 'b@example.net'] });
  t.pass('both were left');
});

test('who is no site, may not send or sends from too many connections is turned away', async (t) => {
  const { spool, directory } = await makeSpool(t);
  const unknown = await startIntake(t, spool, directory, {}, { siteAt: () => undefined });
  t.is(codeOf(await t.throwsAsync(hand(unknown.port))), 550);
  const mute = await startIntake(t, spool, directory, { relay: undefined });
  t.is(codeOf(await t.throwsAsync(hand(mute.port))), 550);
  const intake = await startIntake(t, spool, directory);
  const greetings = await Promise.all(Array.from({ length: 10 }, () => new Promise<string>((resolve, reject) => {
    const socket = net.connect(intake.port, '127.0.0.1');
    t.teardown(() => { socket.destroy(); });
    socket.once('data', (data) => { resolve(String(data).slice(0, 3)); });
    socket.once('error', reject);
  })));
  t.deepEqual(greetings.sort(), [...Array.from({ length: 8 }, () => '220'), '421', '421']);
});

test('a connection that is lost in the middle of a message leaves nothing', async (t) => {
  const { spool, directory } = await makeSpool(t);
  const intake = await startIntake(t, spool, directory, { perHour: 1 });
  const socket = net.connect(intake.port, '127.0.0.1');
  const lines = ['EHLO me', 'MAIL FROM:<a@example.com>', 'RCPT TO:<b@example.net>', 'DATA'];
  await new Promise<void>((resolve) => {
    socket.on('data', (data) => {
      if (String(data).startsWith('354')) {
        socket.write('Subject: x\r\n\r\nhalf of it');
        setTimeout(() => { socket.destroy(); resolve(); }, 200);
      } else if (/^\d{3} /m.test(String(data))) socket.write(`${lines.shift() ?? 'NOOP'}\r\n`);
    });
  });
  for (let tries = 0; tries < 100 && (await readdir(spool.tmp)).length > 0; tries++) await new Promise((resolve) => setTimeout(resolve, 20));
  t.deepEqual([...await readdir(spool.tmp), ...await readdir(spool.in)], []);
  await t.notThrowsAsync(hand(intake.port), 'it does not count');
  t.deepEqual(intake.faults, []);
});

test('mail waits for a server that is away, longer each time, and a flush tries it at once', async (t) => {
  const { spool, directory } = await makeSpool(t);
  const intake = await startIntake(t, spool, directory);
  await hand(intake.port);
  await hand(intake.port);
  let now = Date.now();
  let away = true;
  const sink = await startSink(t, { refuse: (step) => (away && step === 'mail' ? { code: 421, text: 'closing for a while' } : undefined) });
  const deps = deliverDeps(spool, directory, sink.port, { now: () => now });
  t.deepEqual(await deliver(deps), { left: 2, alarms: [] });
  t.is(statesOf(deps.told).filter((state) => state === 'deferred').length, 2);
  // Not due yet.
  t.deepEqual(await deliver(deps), { left: 2, alarms: [] });
  now += 16 * 60_000;
  const { left, alarms } = await deliver(deps);
  t.is(left, 2);
  t.is(alarms.length, 1);
  t.regex(alarms[0] ?? '', /^smtp:\/\/127\.0\.0\.1:\d+ does not take mail: .*421/);
  away = false;
  t.is((await deliver(deps)).left, 2);
  await askFlush(spool);
  t.deepEqual(await deliver(deps), { left: 0, alarms: [] });
  t.is(sink.got.length, 2);
});

test('recipients that are refused for good are told and kept, and the others get it once', async (t) => {
  const { spool, directory } = await makeSpool(t);
  const intake = await startIntake(t, spool, directory);
  await hand(intake.port, { to: ['good@example.net', 'bad@example.net', 'later@example.net'] });
  let busy = true;
  const sink = await startSink(t, { refuse: (_step, address) => {
    if (address.startsWith('bad')) return { code: 550, text: 'no such user' };
    return busy && address.startsWith('later') ? { code: 451, text: 'greylisted' } : undefined;
  } });
  let now = Date.now();
  const deps = deliverDeps(spool, directory, sink.port, { now: () => now });
  const first = await deliver(deps);
  t.is(first.left, 1);
  t.regex(first.alarms.join('\n'), /^example\.com: mail [0-9a-f]{28} to bad@example\.net was not delivered: .*no such user/);
  t.regex(deps.told.find(({ fields }) => fields['SITEGEN_MAIL'] === 'lost')?.lines[0] ?? '', /^alarm: /);
  busy = false;
  now += 61_000;
  t.is((await deliver(deps)).left, 0);
  t.deepEqual(sink.got.map(({ to }) => to), [['good@example.net'], ['later@example.net']]);
});

test('a message that is refused as a whole is kept for two weeks, and what is too old is given up', async (t) => {
  const { spool, directory } = await makeSpool(t);
  const intake = await startIntake(t, spool, directory);
  await hand(intake.port);
  let now = Date.now();
  let answer = { code: 554, text: 'spam' };
  const sink = await startSink(t, { refuse: (step) => (step === 'data' ? answer : undefined) });
  const deps = deliverDeps(spool, directory, sink.port, { now: () => now });
  const refused = await deliver(deps);
  t.is(refused.left, 0);
  t.regex(refused.alarms[0] ?? '', /was not delivered: .*spam/);
  t.is((await readdir(spool.queue)).length, 2);
  t.deepEqual(await deliver(deps), { left: 0, alarms: [] });
  now += 15 * 86_400_000;
  await deliver(deps);
  t.deepEqual(await readdir(spool.queue), []);

  now = Date.now();
  answer = { code: 451, text: 'busy' };
  await hand(intake.port);
  t.is((await deliver(deps)).left, 1);
  now += 3 * 86_400_000 + 60_000;
  const old = await deliver(deps);
  t.is(old.left, 0);
  t.regex(old.alarms[0] ?? '', /not delivered within 3 days: .*busy/);
});

test('a wrong password is no fault of the message', async (t) => {
  const { spool, directory } = await makeSpool(t);
  const intake = await startIntake(t, spool, directory);
  await hand(intake.port);
  const sink = await startSink(t, { user: { name: 'hoster', password: 'right' } });
  let password = 'wrong';
  const deps = deliverDeps(spool, directory, sink.port, { senderTo: (relay) => Promise.resolve(connectSender({ relay, account: { user: 'hoster', password }, name: 'host.example' })) });
  t.is((await deliver(deps)).left, 1);
  password = 'right';
  await askFlush(spool);
  t.is((await deliver(deps)).left, 0);
  t.deepEqual([sink.logins, sink.got.length], [['hoster', 'hoster'], 1]);
});

test('TLS that is required is not done without, and its certificate is checked', async (t) => {
  const plain = await startSink(t);
  const starttls = connectSender({ relay: { tls: 'starttls', host: '127.0.0.1', port: plain.port }, account: undefined, name: 'h' });
  t.teardown(() => { starttls.close(); });
  await t.throwsAsync(starttls.verify(), { message: /STARTTLS|tls/i });
  // The library's own certificate, which nobody has signed.
  const secure = await startSink(t, { secure: true });
  const smtps = connectSender({ relay: { tls: 'smtps', host: '127.0.0.1', port: secure.port }, account: undefined, name: 'h' });
  t.teardown(() => { smtps.close(); });
  await t.throwsAsync(smtps.verify(), { message: /self.signed|expired|certificate|altnames/i });
});

test('what is no message in the queue is told, and holds nothing up', async (t) => {
  const { spool, directory } = await makeSpool(t);
  const intake = await startIntake(t, spool, directory);
  await hand(intake.port);
  await writeFile(`${spool.in}/0000000000001111111111111111@example.com.mail`, 'no envelope\nSubject: x\n\n');
  await writeFile(`${spool.in}/strange`, '');
  const sink = await startSink(t);
  const { alarms } = await deliver(deliverDeps(spool, directory, sink.port));
  t.regex(alarms[0] ?? '', /is no message/);
  t.is(sink.got.length, 1);
  t.deepEqual(await readdir(spool.in), []);
});

test('a message is stored as it came, but for its header', async (t) => {
  const { spool, directory } = await makeSpool(t);
  const intake = await startIntake(t, spool, directory);
  const body = Buffer.from(Array.from({ length: 70_000 }, (_, index) => (index % 60 === 59 ? 10 : 128 + (index % 100))));
  await hand(intake.port, { raw: Buffer.concat([Buffer.from('From: info@example.com\r\nSubject: raw\r\n\r\n'), body]), envelope: { from: 'info@example.com', to: 'a@example.net' } });
  const [file = ''] = await readdir(spool.in);
  const stored = await readFile(`${spool.in}/${file}`);
  const start = stored.indexOf('\r\n\r\n') + 4;
  t.true(Buffer.from(stored.subarray(start).toString('latin1').replaceAll('\r\n', '\n'), 'latin1').subarray(0, body.length).equals(body));
});
