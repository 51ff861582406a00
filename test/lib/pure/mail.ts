import test from 'ava';
import { accountFor, addressFault, builtInMail, isLocalHost, isOwnAddress, parseRelay, readSenderSite, relayText, renderSenderSite, senderFor, virtualMap, type SenderSite } from '../../../lib/pure/mail.ts';
import { endOfHeader, rewriteHeader, type Trace } from '../../../lib/pure/mail-headers.ts';
import { fairOrder, isDue, judge, messageName, siteOfMessage, type Envelope } from '../../../lib/pure/mail-queue.ts';
import { admit, giveBack, nothingSent, readSent, roomLeft, tellLimit } from '../../../lib/pure/mail-rate.ts';

const site: SenderSite = {
  id: 'example.com', domain: 'example.com', service: 'site-example.com.service', names: ['example.com', 'shop.example.org', '*.many.example'], address: '10.214.3.4',
  relay: { tls: 'smtps', host: 'smtp.example.net', port: 465 }, from: undefined, perHour: 5, maxBytes: 1000, otherEmail: 'person@example.net',
};

test('relays have a port of their kind, and come back as text', (t) => {
  for (const [text, full] of [['smtps://a.example', 'smtps://a.example:465'], ['starttls://a.example/', 'starttls://a.example:587'], ['smtp://127.0.0.1', 'smtp://127.0.0.1:25'], ['smtp://[2001:db8::1]', 'smtp://[2001:db8::1]:25'], ['smtp://[::1]:2500', 'smtp://[::1]:2500'], ['smtps://a:1', 'smtps://a:1']] as const) {
    const relay = parseRelay(text);
    t.is(relay && relayText(relay), full, text);
  }
  for (const text of ['', 'a.example', 'http://a.example', 'smtp://', 'smtp://a:0', 'smtp://u@a', 'smtp://a/b', 'smtp://a b', 'smtp://a\nb', 'smtp://a:1:2', 'smtp://::1']) t.is(parseRelay(text), undefined, text);
});

test('addresses are those of RFC 5321 without quotes', (t) => {
  for (const address of ['a@b.example', 'a.b+c@x.example', "o'neil@b.example", `${'a'.repeat(64)}@b.example`]) t.is(addressFault(address), undefined, address);
  for (const address of ['', 'a', '@b.example', 'a@', 'a@localhost', 'a b@c.example', 'a..b@c.example', '.a@c.example', '"a"@c.example', 'a@b@c.example', 'a@c.example.', 'a@münchen.example', 'a\r\n@c.example', 'a@c.example\n', 'a@c example', '<a@b.example>', 'a@[1.2.3.4]', `${'a'.repeat(65)}@b.example`]) t.not(addressFault(address), undefined, JSON.stringify(address));
});

test('a site sends from its own names, and from what lies below its domain', (t) => {
  for (const address of ['a@example.com', 'a@EXAMPLE.com', 'a@mail.example.com', 'a@shop.example.org', 'a@x.many.example']) t.true(isOwnAddress(site, address), address);
  for (const address of ['a@example.org', 'a@notexample.com', 'a@example.com.evil.example', 'a@many.example', 'a@x.y.many.example', 'x']) t.false(isOwnAddress(site, address), address);
  t.is(senderFor(site, 'a@bank.example'), 'noreply@example.com');
  t.is(senderFor(site, ''), '');
  t.is(senderFor({ ...site, from: 'b@c.example' }, 'a@example.com'), 'b@c.example');
});

test('what the relay knows of a site comes back as it was written', (t) => {
  t.deepEqual(readSenderSite(renderSenderSite(site)), site);
  const bare = { ...site, relay: undefined, from: 'x@y.example', address: undefined, otherEmail: undefined };
  t.deepEqual(readSenderSite(renderSenderSite(bare)), bare);
  t.is(readSenderSite('x'), undefined);
});

test('the map for Postfix has each name as a domain, and all of its addresses', (t) => {
  t.is(virtualMap([site, { ...site, domain: 'b.example', names: ['b.example'], otherEmail: undefined }]),
    '# Made by sitegen; "sitegen apply" writes it again.\n' + 'example.com sitegen\n@example.com person@example.net\n' + 'shop.example.org sitegen\n@shop.example.org person@example.net\n');
});

test('accounts are found by host and port, or by the host', (t) => {
  const text = '# mine\nsmtp.example.net me@example.net:pass:word \nsmtp.example.net:465 other:x y\n[2001:db8::1] six:6\nbroken\n';
  t.deepEqual(accountFor(text, { host: 'smtp.example.net', port: 587 }), { user: 'me@example.net', password: 'pass:word' });
  t.deepEqual(accountFor(text, { host: 'smtp.example.net', port: 465 }), { user: 'other', password: 'x y' });
  t.deepEqual(accountFor(text, { host: '2001:db8::1', port: 25 }), { user: 'six', password: '6' });
  t.is(accountFor(text, { host: 'broken', port: 25 }), undefined);
  t.true(isLocalHost('127.0.0.1'));
  t.false(isLocalHost('127.0.0.1.example'));
});

const trace: Trace = { site, key: '0123', address: '10.214.3.4', helo: 'me\r\nBcc: x', relayHost: 'relay', now: new Date('2026-11-27T20:15:00Z') };
const rewrite = (header: string, more: Partial<Trace> = {}) => rewriteHeader(header.replaceAll('\n', '\r\n'), { ...trace, ...more })?.replaceAll('\r\n', '\n') ?? '';

test('a header that is in order gets what is missing alone', (t) => {
  t.is(rewrite('From: Me <me@example.com>\nTo: a@b.example\nX-Long: one\n two\n'),
    'Received: from meBcc:x ([10.214.3.4])\n\tby relay with ESMTP id 0123; Fri, 27 Nov 2026 20:15:00 +0000\nFrom: Me <me@example.com>\nTo: a@b.example\nX-Long: one\n two\nDate: Fri, 27 Nov 2026 20:15:00 +0000\nMessage-ID: <0123@example.com>\n');
  t.notRegex(rewrite('From: me@example.com\nDate: x\nMessage-ID: <y>\n').slice(100), /0123|2026/);
});

for (const [what, header] of Object.entries({
  'two From fields': 'From: me@example.com\nFrom: ceo@bank.example\n',
  'two addresses': 'From: me@example.com, ceo@bank.example\n',
  'an address in the name': 'From: "ceo@bank.example" <ceo@bank.example>\n',
  'a group': 'From: friends: ceo@bank.example;\n',
  'a folded field': 'From:\n ceo@bank.example\n',
  'a space before the colon': 'From : ceo@bank.example\n',
  'other letters': 'fRoM: ceo@bank.example\n',
  'a Sender': 'From: me@example.com\nSender: ceo@bank.example\n',
  'nothing': '',
})) {
  test(`a header with ${what} shows the site as its sender, once`, (t) => {
    const lines = rewrite(header).split('\n').filter((line) => /^(from|sender)\s*:/i.test(line));
    t.is(lines.length, 1);
    t.regex(lines[0] ?? '', /[< ](noreply|me)@example\.com>?$/);
    t.notRegex(lines[0] ?? '', /<ceo@/);
  });
}

test('a bare line break cannot smuggle a field in, and Bcc goes', (t) => {
  const header = rewriteHeader('Subject: x\rFrom: ceo@bank.example\r\nno field\r\nBcc: a@b.example,\r\n c@d.example\r\nFrom: "x\\"\ry" <me@bank.example>\r\n', trace) ?? '';
  t.notRegex(header, /\r(?!\n)/);
  t.notRegex(header, /^bcc|c@d\.example|^no field/im);
  t.regex(header, /^Reply-To: .*<me@bank\.example>\r$/m);
});

test('names that are encoded stay so, and Reply-To of the message stays alone', (t) => {
  t.regex(rewrite('From: =?utf-8?q?Gr=C3=BC=C3=9Fe?= <a@bank.example>\nReply-To: b@b.example\n'), /^From: =\?utf-8\?q\?Gr=C3=BC=C3=9Fe\?= <noreply@example\.com>$/m);
  t.is(rewrite('From: a@bank.example\nReply-To: b@b.example\n').match(/^Reply-To:.*$/gm)?.join(), 'Reply-To: b@b.example');
});

test('a message in circles is none, and the end of a header is found', (t) => {
  t.is(rewriteHeader('Received: x\r\n'.repeat(51), trace), undefined);
  t.deepEqual(endOfHeader(Buffer.from('a: b\r\n\r\nc')), { end: 6, body: 8 });
  t.deepEqual(endOfHeader(Buffer.from('a: b\n\nc\r\n\r\n')), { end: 5, body: 6 });
  t.deepEqual(endOfHeader(Buffer.from('\r\nc')), { end: 0, body: 2 });
  t.is(endOfHeader(Buffer.from('a: b\r\n')), undefined);
});

test('the window slides, and takes back what was not sent', (t) => {
  const hour = 3_600_000;
  const once = admit(nothingSent, 1000, 3, 5);
  t.truthy(once);
  t.is(admit(once ?? nothingSent, 2000, 3, 5), undefined);
  const twice = admit(once ?? nothingSent, 2000, 2, 5) ?? nothingSent;
  t.is(roomLeft(twice, 3000, 5), 0);
  t.is(roomLeft(twice, 1000 + hour, 5), 3);
  t.is(roomLeft(giveBack(twice, 1000, 2), 3000, 5), 2);
  // A clock that was set back far locks nobody out for longer than an hour.
  t.is(roomLeft({ ...nothingSent, times: [1e12] }, 1000, 5), 4);
  t.deepEqual(readSent('{"times":[1,"x"],"told":3}'), { times: [1], told: 3 });
  t.deepEqual(readSent('nonsense'), nothingSent);
  const told = tellLimit(nothingSent, 2 * hour) ?? nothingSent;
  t.is(tellLimit(told, 2 * hour + 1), undefined);
  t.truthy(tellLimit(told, 4 * hour));
});

test('tries come later and later, for three days', (t) => {
  const envelope: Envelope = { domain: 'example.com', service: 's', from: '', to: ['a@b.example', 'c@d.example'], at: 0, relay: '' };
  const busy = { taken: [], refused: [], reason: 'busy', serverFault: false };
  let { progress } = judge(envelope, undefined, busy, 0);
  const waits: number[] = [];
  for (let now = 0; progress && progress.failed === undefined && waits.length < 100;) {
    const { next } = progress;
    waits.push((next - now) / 60_000);
    ({ progress } = judge(envelope, progress, busy, next));
    now = next;
  }
  t.deepEqual(waits.slice(0, 9), [1, 3, 7, 15, 30, 60, 120, 240, 240]);
  t.true(waits.length > 15 && waits.length < 30, `${waits.length}`);
  t.is(progress?.failed !== undefined, true);
  t.deepEqual(progress?.left, ['a@b.example', 'c@d.example']);
  t.true(builtInMail.triesMs < (progress?.failed ?? 0));
});

test('what was taken is not sent again, and what was refused is kept', (t) => {
  const envelope: Envelope = { domain: 'example.com', service: 's', from: '', to: ['a@b.example', 'c@d.example', 'e@f.example'], at: 0, relay: '' };
  const part = judge(envelope, undefined, { taken: ['a@b.example'], refused: [{ address: 'c@d.example', reason: 'no' }], reason: 'busy', serverFault: false }, 0);
  t.deepEqual(part.progress?.left, ['e@f.example']);
  t.deepEqual(part.lost, [{ address: 'c@d.example', reason: 'no' }]);
  t.deepEqual(judge(envelope, part.progress, { taken: ['e@f.example'], refused: [], reason: '', serverFault: false }, 0), { progress: undefined, lost: [] });
  t.false(isDue({ progress: { left: [], tries: 1, next: 10, reason: '', failed: 1 } }, 20));
  t.true(isDue({ progress: { left: [], tries: 1, next: 1e13, reason: '' } }, 20), 'after the clock was set back');
});

test('one message of each site goes first, and names say whose they are', (t) => {
  const order = fairOrder([{ name: '1', id: 'a' }, { name: '2', id: 'a' }, { name: '3', id: 'a' }, { name: '4', id: 'b' }]);
  t.deepEqual(order.map(({ name }) => name), ['1', '4', '2', '3']);
  t.is(siteOfMessage(messageName(1, 'ab'.repeat(8), 'example.com')), 'example.com');
  for (const name of ['', 'x@example.com', `${'a'.repeat(24)}@../x`, `${'a'.repeat(24)}@a b`]) t.is(siteOfMessage(name), undefined, name);
});
