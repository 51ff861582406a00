import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto';
import { isAddress } from './addresses.ts';
import { namesSaid, wwwCounterpart } from './entry.ts';
import type { SiteFile } from './schema.ts';

/** What is looked at of a certificate; never its key. */
export interface Certificate {
  /** Names that it is for, `*.example.com` among them. */
  names: readonly string[];
  /** Who has signed it, in a few words. */
  issuer: string;
  notBefore: Date;
  notAfter: Date;
  /** SHA-256 in upper-case hex, and the SHA-1 that the router tells. */
  fingerprint: string;
  sha1: string;
}

const sizeMax = 15_500;

const certificates = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;
const privateKey = /-----BEGIN ((?:[A-Z]+ )?)PRIVATE KEY-----[^-]+-----END \1PRIVATE KEY-----/;

/** The names of a site that a certificate is wanted for. @param taken whether another site has a name */
export function certificateNames(file: Pick<SiteFile, 'domain' | 'aliases' | 'redirects' | 'www'>, taken: (name: string) => boolean): { named: string[]; implied: string | undefined } {
  const named = [...new Set(namesSaid(file))];
  const other = (file.www ?? 'redirect') === 'none' ? undefined : wwwCounterpart(file.domain);
  return { named, implied: other === undefined || named.includes(other) || taken(other) ? undefined : other };
}

/** Both kinds together. */
export function withImplied({ named, implied }: ReturnType<typeof certificateNames>): string[] {
  return implied === undefined ? named : [...named, implied];
}

/** All names that some sites say are theirs. */
export function claimedBy(files: readonly Pick<SiteFile, 'domain' | 'aliases' | 'redirects'>[]): Set<string> {
  return new Set(files.flatMap((file) => namesSaid(file)));
}

/** The first certificate of a PEM, which is the site's own, or undefined when there is none that can be read. */
export function readCertificate(pem: string): Certificate | undefined {
  const [first] = pem.match(certificates) ?? [];
  try {
    return first === undefined ? undefined : factsOf(new X509Certificate(first));
  } catch {
    return undefined;
  }
}

/** Certificate with chain and key taken out of one PEM, or of several put together. */
export function splitPair(pem: string): { chain: string; key: string } {
  return { chain: (pem.match(certificates) ?? []).map((block) => `${block}\n`).join(''), key: `${privateKey.exec(pem)?.[0] ?? ''}\n` };
}

/** Whether a certificate and a key in PEM belong together; false when one cannot be read. */
export function isPair({ chain, key }: { chain: string; key: string }): boolean {
  try {
    return new X509Certificate(chain.match(certificates)?.[0] ?? '').checkPrivateKey(createPrivateKey(privateKey.exec(key)?.[0] ?? ''));
  } catch {
    return false;
  }
}

/** Whether a certificate is for a name; only `*.example.com` itself is for all of that form. */
export function covers(certificate: Pick<Certificate, 'names'>, name: string): boolean {
  return certificate.names.includes(name)
    || (!name.startsWith('*.') && certificate.names.includes(`*.${name.slice(name.indexOf('.') + 1)}`));
}

/**
 * Everything that has to be right before a certificate is served.
 * @param pair the certificate with its chain, and the key, as PEM
 * @returns the certificate, or in one sentence what is wrong; it says nothing of the key's content
 */
export function checkPair(pair: { chain: string; key: string }, domain: string, now: Date): Certificate | string {
  const blocks = pair.chain.match(certificates) ?? [];
  if (blocks.length === 0) return 'the certificate is no PEM: it has no part "BEGIN CERTIFICATE"';
  const chain: X509Certificate[] = [];
  for (const [index, block] of blocks.entries()) {
    try {
      chain.push(new X509Certificate(block));
    } catch {
      return `certificate ${index + 1} cannot be read: it is damaged`;
    }
  }
  const key = readKey(pair.key);
  if (typeof key === 'string') return key;
  const [leaf] = chain;
  if (!leaf) return 'there is no certificate';
  if (!leaf.checkPrivateKey(key)) {
    const at = chain.findIndex((certificate) => certificate.checkPrivateKey(key));
    return at === -1 ? 'the key does not belong to the certificate' : `the chain is out of order: the site's own certificate has to come first, and is number ${at + 1}`;
  }
  const facts = factsOf(leaf);
  if (!covers(facts, domain)) return `it is for ${facts.names.slice(0, 5).join(', ') || 'no name at all'}, and not for ${domain}`;
  return chainFault(chain) ?? timeFault(chain, now) ?? sizeFault(splitPair(`${pair.chain}\n${pair.key}`)) ?? facts;
}

/** How RFC 9773 names a certificate: the issuer's key and the serial number; undefined when the first is not in it. */
export function renewalId(pem: string): string | undefined {
  const [first] = pem.match(certificates) ?? [];
  if (first === undefined) return undefined;
  const { raw, serialNumber } = new X509Certificate(first);
  // The extension's number, then an OCTET STRING, a SEQUENCE, and in it [0] with the key's hash.
  const at = raw.indexOf(Buffer.from('0603551d23', 'hex'));
  if (at === -1 || raw[at + 5] !== 0x04 || raw[at + 7] !== 0x30 || raw[at + 9] !== 0x80) return undefined;
  const hash = raw.subarray(at + 11, at + 11 + (raw[at + 10] ?? 0));
  const hex = serialNumber.length % 2 === 0 ? serialNumber : `0${serialNumber}`;
  const serial = Buffer.from(/^[89A-F]/i.test(hex) ? `00${hex}` : hex, 'hex');
  return `${hash.toString('base64url')}.${serial.toString('base64url')}`;
}

/**
 * Where a name leads, as far as this machine can tell: behind address translation it knows none of
 * its public addresses, and then a name that resolves may lead here.
 * @param found addresses of the name; undefined when DNS gave no answer
 * @param own the machine's addresses that the internet can reach
 */
export function leadsHere(found: readonly string[] | undefined, own: readonly string[]): 'yes' | 'maybe' | 'no' {
  if (found === undefined) return 'maybe';
  if (found.some((address) => own.includes(address))) return 'yes';
  const known = new Set(own.map((address) => isAddress(address)));
  return found.some((address) => !known.has(isAddress(address))) ? 'maybe' : 'no';
}

function readKey(pem: string): KeyObject | string {
  const block = privateKey.exec(pem)?.[0];
  if (block === undefined) return 'the key is no PEM: it has no part "BEGIN PRIVATE KEY"';
  if (/BEGIN ENCRYPTED|Proc-Type: 4,ENCRYPTED/.test(pem)) return 'the key has a passphrase: take it off with "openssl pkey -in OLD -out NEW"';
  try {
    const key = createPrivateKey(block);
    const bits = key.asymmetricKeyDetails?.modulusLength;
    if (key.asymmetricKeyType === 'rsa' && bits !== undefined && bits < 2048) return `the key has ${bits} bits, and browsers want 2048`;
    return key;
  } catch {
    // What was thrown may quote the key.
    return 'the key cannot be read: it is damaged';
  }
}

function chainFault(chain: readonly X509Certificate[]): string | undefined {
  for (const [index, certificate] of chain.entries()) {
    const issuer = chain[index + 1];
    if (issuer && !(certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey))) {
      return `the chain is out of order: certificate ${index + 2} (${commonName(issuer.subject)}) has not signed certificate ${index + 1} (${commonName(certificate.subject)})`;
    }
  }
  return undefined;
}

/** HAProxy takes a certificate while it runs only as far as it fits into one of its buffers. */
function sizeFault({ chain, key }: { chain: string; key: string }): string | undefined {
  const size = chain.length + key.length;
  return size > sizeMax ? `with chain and key it has ${size} characters, and the router takes ${sizeMax}: take the root out of the chain, or an ECDSA key` : undefined;
}

function timeFault(chain: readonly X509Certificate[], now: Date): string | undefined {
  for (const [index, certificate] of chain.entries()) {
    const { notBefore, notAfter } = factsOf(certificate);
    const which = index === 0 ? 'it' : `certificate ${index + 1} of the chain (${commonName(certificate.subject)})`;
    if (notAfter <= now) return `${which} has expired on ${notAfter.toISOString()}`;
    if (notBefore > now) return `${which} is not valid before ${notBefore.toISOString()}`;
  }
  return undefined;
}

function factsOf(certificate: X509Certificate): Certificate {
  return {
    names: [...(certificate.subjectAltName ?? '').matchAll(/DNS:([^,"\s]+)/g)].map(([, name = '']) => name.toLowerCase()),
    issuer: commonName(certificate.issuer),
    notBefore: new Date(certificate.validFrom),
    notAfter: new Date(certificate.validTo),
    fingerprint: certificate.fingerprint256.replaceAll(':', ''),
    sha1: certificate.fingerprint.replaceAll(':', ''),
  };
}

/** The name of a subject or issuer in a few words: organisation and common name, as far as they are there. */
function commonName(subject: string): string {
  const part = (name: string) => new RegExp(`^${name}=(.+)$`, 'm').exec(subject)?.[1];
  return [part('O'), part('CN')].filter((text) => text !== undefined).join(' ') || 'nameless';
}
