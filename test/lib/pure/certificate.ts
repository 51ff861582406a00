import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import test from 'ava';
import { certificateNames, checkPair, claimedBy, covers, isPair, leadsHere, readCertificate, renewalId, splitPair } from '../../../lib/pure/certificate.ts';

const domain = 'shop.example.com';
const directory = mkdtempSync(path.join(os.tmpdir(), 'sitegen-certs-'));
execFileSync(path.resolve(import.meta.dirname, '../../e2e/fixtures/make-certs.sh'), [directory, domain]);
const read = (name: string) => readFileSync(path.join(directory, name), 'utf8');
const now = new Date('2030-01-01T00:00:00Z');
const check = (chain: string, key: string, at = now) => checkPair({ chain, key }, domain, at);

test.after.always(() => { rmSync(directory, { recursive: true }); });

test('a certificate that is right is described', (t) => {
  const found = check(read('good.fullchain.pem'), read('good.key'));
  t.like(found, { names: [domain, `www.${domain}`], issuer: 'Test Test Middle', notAfter: new Date('2040-01-01T00:00:00Z') });
  t.deepEqual(found, readCertificate(read('good.pem')) ?? '');
  const sha1 = execFileSync('openssl', ['x509', '-noout', '-fingerprint', '-sha1', '-in', path.join(directory, 'good.pem')], { encoding: 'utf8' });
  t.is(typeof found === 'string' ? '' : found.sha1, sha1.trim().split('=')[1]?.replaceAll(':', '') ?? '?');
});

const wrong: [title: string, chain: () => string, key: () => string, reason: RegExp][] = [
  ['a key of another certificate', () => read('good.fullchain.pem'), () => read('second.key'), /^the key does not belong to the certificate$/],
  ['another site\'s certificate', () => read('other.fullchain.pem'), () => read('other.key'), /^it is for other\.example\.org, and not for shop\.example\.com$/],
  ['an expired one', () => read('expired.fullchain.pem'), () => read('expired.key'), /^it has expired on 2021-01-01T/],
  ['one of the future', () => read('later.fullchain.pem'), () => read('later.key'), /^it is not valid before 2039-01-01T/],
  ['a chain with a gap', () => read('good.pem') + read('root.pem'), () => read('good.key'), /^the chain is out of order: certificate 2 \(Test Test Root\) has not signed certificate 1/],
  ['a chain of the wrong order', () => read('good.pem') + read('root.pem') + read('middle.pem'), () => read('good.key'), /^the chain is out of order/],
  ['a chain that begins at the top', () => read('middle.pem') + read('good.pem'), () => read('good.key'), /own certificate has to come first, and is number 2$/],
  ['text that is no PEM', () => 'hello', () => read('good.key'), /^the certificate is no PEM/],
  ['a certificate in DER', () => Buffer.from(read('good.pem').replaceAll(/-----.*-----/g, ''), 'base64').toString('latin1'), () => read('good.key'), /^the certificate is no PEM/],
  ['a damaged certificate', () => read('good.pem').replace(/\n(.{20})/, '\nAAAA$1'), () => read('good.key'), /^certificate 1 cannot be read/],
  ['a damaged link of the chain', () => read('good.pem') + read('middle.pem').replace(/\n(.{20})/, '\nAAAA$1'), () => read('good.key'), /^certificate 2 cannot be read/],
  ['no key', () => read('good.pem'), () => '', /^the key is no PEM/],
  ['a damaged key', () => read('good.pem'), () => read('good.key').replace(/\n(.{20})/, '\nAAAA$1'), /^the key cannot be read: it is damaged$/],
  ['a key with a passphrase', () => read('good.pem'), () => execFileSync('openssl', ['pkey', '-aes256', '-passout', 'pass:x', '-in', path.join(directory, 'good.key')], { encoding: 'utf8' }), /has a passphrase/],
  ['a chain that is too long for the router', () => read('good.pem') + read('middle.pem') + read('root.pem').repeat(30), () => read('good.key'), /^with chain and key it has \d+ characters, and the router takes 15500/],
  ['a short RSA key', () => read('good.pem'), () => execFileSync('openssl', ['genrsa', '1024'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }), /^the key has 1024 bits/],
];
for (const [title, chain, key, reason] of wrong) {
  test(`${title} is refused, without a word of the key`, (t) => {
    const found = check(chain(), key());
    t.is(typeof found, 'string');
    if (typeof found !== 'string') return;
    t.regex(found, reason);
    for (const line of read('good.key').split('\n').filter((each) => each !== '' && !each.startsWith('---'))) t.false(found.includes(line));
  });
}

test('a wildcard stands for one label, and for itself', (t) => {
  const wild = readCertificate(read('wild.pem')) ?? { names: [] };
  t.true(covers(wild, `www.${domain}`));
  t.true(covers(wild, `*.${domain}`));
  t.true(covers(wild, domain));
  t.false(covers(wild, `a.b.${domain}`));
  t.false(covers(readCertificate(read('good.pem')) ?? wild, `*.${domain}`));
  t.false(covers({ names: ['*.com'] }, '*.example.com'));
});

test('chain and key can be taken out of one file again', (t) => {
  const pair = splitPair(`Bag Attributes\n${read('good.key')}noise\n${read('good.fullchain.pem')}`);
  t.is(pair.chain, read('good.fullchain.pem'));
  t.is(pair.key, read('good.key'));
  t.true(isPair(pair));
  t.false(isPair({ ...pair, key: read('second.key') }));
  t.false(isPair({ chain: '', key: '' }));
});

test('a certificate has the name that RFC 9773 gives it', (t) => {
  const text = execFileSync('openssl', ['x509', '-noout', '-ext', 'authorityKeyIdentifier', '-serial', '-in', path.join(directory, 'good.pem')], { encoding: 'utf8' });
  const key = Buffer.from(/([0-9A-F]{2}(:[0-9A-F]{2}){19})/.exec(text)?.[1]?.replaceAll(':', '') ?? '', 'hex').toString('base64url');
  const serial = /serial=([0-9A-F]+)/.exec(text)?.[1] ?? '';
  t.is(renewalId(read('good.fullchain.pem')), `${key}.${Buffer.from(/^[89A-F]/.test(serial) ? `00${serial}` : serial, 'hex').toString('base64url')}`);
  t.is(renewalId(read('root.pem')), undefined);
  t.is(renewalId('nothing'), undefined);
});

test('the example of RFC 9773 comes out as it is printed there', (t) => {
  const pem = `-----BEGIN CERTIFICATE-----
MIIBQzCB66ADAgECAgUAh2VDITAKBggqhkjOPQQDAjAVMRMwEQYDVQQDEwpFeGFt
cGxlIENBMCIYDzAwMDEwMTAxMDAwMDAwWhgPMDAwMTAxMDEwMDAwMDBaMBYxFDAS
BgNVBAMTC2V4YW1wbGUuY29tMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEeBZu
7cbpAYNXZLbbh8rNIzuOoqOOtmxA1v7cRm//AwyMwWxyHz4zfwmBhcSrf47NUAFf
qzLQ2PPQxdTXREYEnKMjMCEwHwYDVR0jBBgwFoAUaYhba4dGQEHhs3uEe6CuLN4B
yNQwCgYIKoZIzj0EAwIDRwAwRAIge09+S5TZAlw5tgtiVvuERV6cT4mfutXIlwTb
+FYN/8oCIClDsqBklhB9KAelFiYt9+6FDj3z4KGVelYM5MdsO3pK
-----END CERTIFICATE-----
`;
  t.is(renewalId(pem), 'aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE');
});

test('a name leads here when one of its addresses is ours, and may do so where ours are not known', (t) => {
  t.is(leadsHere(['203.0.113.5', '2001:db8::1'], ['203.0.113.5']), 'yes');
  t.is(leadsHere(['203.0.113.6'], ['203.0.113.5']), 'no');
  t.is(leadsHere(['203.0.113.6'], []), 'maybe');
  t.is(leadsHere(['203.0.113.6'], ['2001:db8::1']), 'maybe', 'IPv6 is known, and IPv4 translated');
  t.is(leadsHere([], ['203.0.113.5']), 'no');
  t.is(leadsHere(undefined, ['203.0.113.5']), 'maybe');
});

test('a certificate is wanted for all names of a site, and for www unless it says otherwise', (t) => {
  const none = () => false;
  t.deepEqual(certificateNames({ domain: 'example.com', aliases: ['*.example.com', 'b.example.com'], redirects: ['old.example.com', 'b.example.com'] }, none), { named: ['example.com', '*.example.com', 'b.example.com', 'old.example.com'], implied: 'www.example.com' });
  t.is(certificateNames({ domain: 'example.com', www: 'none' }, none).implied, undefined);
  t.is(certificateNames({ domain: 'example.com', aliases: ['www.example.com'] }, none).implied, undefined);
  const claimed = claimedBy([{ domain: 'example.com' }, { domain: 'b.example.com', redirects: ['www.example.com'] }]);
  t.is(certificateNames({ domain: 'example.com' }, (name) => claimed.has(name)).implied, undefined);
});
