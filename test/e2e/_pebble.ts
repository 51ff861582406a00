import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { until, type Guest } from './_guest.ts';
import { write } from './_machine.ts';

const fixtures = path.resolve(import.meta.dirname, 'fixtures');

/** How a test wants its certificate authority. */
export interface PebbleOptions {
  /** Pebble's own settings, such as PEBBLE_WFE_NONCEREJECT. */
  env?: Record<string, string>;
  /** Lifetime of certificates in seconds; 90 days unless given. */
  validitySeconds?: number;
  /** Where it looks for http-01. */
  httpPort?: number;
  /** Accounts need one of these keys, by their name. */
  accountKeys?: Record<string, string>;
}

/** A row of `certs list --json`. */
export interface CertJson {
  domain: string;
  names: string[];
  issuer: string | null;
  notAfter: string | null;
  daysLeft: number | null;
  source: string;
  nextTry: string | null;
  lastError: string | null;
  refused: string | null;
  leftOut: Record<string, string>;
}

/** Writes a file of the fixtures into the guest. */
export async function copyFixture(guest: Guest, name: string, target: string): Promise<void> {
  await write(guest, target, await readFile(path.join(fixtures, name), 'utf8'));
}

/** Starts an ACME server with DNS around it, and has sitegen use it. Names have no address at first. */
export async function startPebble(guest: Guest, options: PebbleOptions = {}): Promise<void> {
  await stopPebble(guest);
  const validity = options.validitySeconds ?? 90 * 86_400;
  await guest.sh(`mkdir -p /run/pebble; cd /run/pebble; [ -e ca.pem ] || {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -subj '/CN=Pebble CA' -days 30
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out csr.pem -subj /CN=localhost
    printf 'subjectAltName=DNS:localhost,IP:127.0.0.1' > ext
    openssl x509 -req -in csr.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile ext -out cert.pem; } 2>/dev/null`);
  await write(guest, '/run/pebble/config.json', JSON.stringify({ pebble: {
    listenAddress: '127.0.0.1:14000', managementListenAddress: '127.0.0.1:15000', certificate: '/run/pebble/cert.pem', privateKey: '/run/pebble/key.pem',
    httpPort: options.httpPort ?? 80, tlsPort: 443, ocspResponderURL: '', externalAccountBindingRequired: options.accountKeys !== undefined, externalAccountMACKeys: options.accountKeys ?? {}, domainBlocklist: ['blocked.example.org'],
    certificateValidityPeriod: validity, profiles: { default: { description: 'for tests', validityPeriod: validity } }, retryAfter: { authz: 1, order: 1 },
  } }));
  const env = { PEBBLE_VA_NOSLEEP: '1', PEBBLE_WFE_NONCEREJECT: '0', PEBBLE_AUTHZREUSE: '100', ...options.env };
  await guest.sh(`systemctl is-active --quiet named && systemctl stop named || true
    doh=$(pebble-challtestsrv -h 2>&1 | grep -q -- -doh && echo '-doh=' || true)
    systemd-run --quiet --collect --unit pebble-dns pebble-challtestsrv -dns01 127.0.0.1:53 -http01 '' -https01 '' -tlsalpn01 '' -management 127.0.0.1:8055 -defaultIPv4 '' -defaultIPv6 '' $doh
    systemd-run --quiet --collect --unit pebble ${Object.entries(env).map(([name, value]) => `-E ${name}=${value}`).join(' ')} pebble -config /run/pebble/config.json -dnsserver 127.0.0.1:53
    for i in $(seq 100); do curl -sf --cacert /run/pebble/ca.pem https://127.0.0.1:14000/dir >/dev/null && curl -s http://127.0.0.1:8055/ >/dev/null && break; sleep 0.1; done
    curl -sf --cacert /run/pebble/ca.pem https://127.0.0.1:15000/roots/0 > /run/pebble/root.pem`);
  await useAcme(guest, 'https://127.0.0.1:14000/dir');
}

/** Has sitegen ask this directory, with more settings of `acme:` perhaps. */
export async function useAcme(guest: Guest, directory: string, more: Record<string, unknown> = {}): Promise<void> {
  await write(guest, '/etc/sitegen/sitegen.yaml', `acme: ${JSON.stringify({ directory, ca: '/run/pebble/ca.pem', email: 'admin@example.com', ...more })}\n`);
}

/** Takes the authority down, as an outage would. */
export async function stopPebble(guest: Guest): Promise<void> {
  await guest.sh('systemctl stop pebble pebble-dns 2>/dev/null || true; for i in $(seq 50); do ss -Hltn "sport = 14000 or sport = 53" | grep -q 127.0.0.1: || break; sleep 0.1; done');
}

/** Ends it all, and forgets its accounts. */
export async function endPebble(guest: Guest): Promise<void> {
  await stopPebble(guest);
  await guest.sh('systemctl stop acme-limited named 2>/dev/null || true; rm -rf /run/pebble /var/lib/sitegen/acme/account; cp /usr/src/sitegen/templates/sitegen.yaml /etc/sitegen/sitegen.yaml; systemctl reset-failed "sitegen-cert*" 2>/dev/null || true');
}

/** Gives names an address in the test's DNS. */
export async function point(guest: Guest, address: string, ...hosts: string[]): Promise<void> {
  for (const host of hosts) {
    await guest.sh(`curl -sf -d '${JSON.stringify({ host: `${host}.` })}' http://127.0.0.1:8055/clear-a >/dev/null; curl -sf -d '${JSON.stringify({ host: `${host}.`, addresses: [address] })}' http://127.0.0.1:8055/add-a`);
  }
}

/** What `certs list` says of a site. */
export async function certOf(guest: Guest, domain: string): Promise<CertJson> {
  const { stdout, stderr } = await guest.sitegen('certs', 'list', '--json', domain);
  const [row] = JSON.parse(stdout === '' ? '[]' : stdout) as CertJson[];
  if (!row) throw new Error(`certs list ${domain}: ${stderr}`);
  return row;
}

/** Waits until a site has a certificate from the authority. */
export async function untilCertified(guest: Guest, domain: string, timeoutMs = 60_000): Promise<CertJson> {
  await until(`${domain} has a certificate`, async () => (await certOf(guest, domain)).source === 'acme', timeoutMs, 300);
  return certOf(guest, domain);
}

/** Serial number and issuer of the certificate that a name gets. */
export async function servedFor(guest: Guest, name: string): Promise<{ serial: string; issuer: string; names: string }> {
  const text = await guest.sh(`openssl s_client -connect 127.0.0.1:443 -servername ${name} </dev/null 2>/dev/null | openssl x509 -noout -serial -issuer -ext subjectAltName 2>/dev/null || true`);
  return { serial: /serial=(.*)/.exec(text)?.[1] ?? '', issuer: /issuer=(.*)/.exec(text)?.[1] ?? '', names: [...text.matchAll(/DNS:([^,\s]+)/g)].map(([, each]) => each ?? '').sort().join(' ') };
}

/** Runs a site's certificate unit and gives its result and status. */
export async function runCertify(guest: Guest, domain: string): Promise<string> {
  return guest.sh(`systemctl start sitegen-certify@${domain}.service && echo done || systemctl show -P Result sitegen-certify@${domain}.service`);
}
