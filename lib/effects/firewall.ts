import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** Asks the firewalls of Debian and Ubuntu what they let in; what is not installed is silent. */

const execute = promisify(execFile);

async function said(program: string, args: readonly string[]): Promise<string | undefined> {
  return execute(program, args, { env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' }, timeout: 20_000, maxBuffer: 64 * 1024 ** 2 }).then(({ stdout }) => stdout, () => undefined);
}

/** `ufw status verbose`; undefined where there is no ufw. */
export async function ufwStatus(): Promise<string | undefined> {
  return said('ufw', ['status', 'verbose']);
}

/**
 * What firewalld lets in through a device: `firewall-cmd --list-all` of its zone.
 * @returns undefined where it does not run
 */
export async function firewalldZone(device: string | undefined): Promise<string | undefined> {
  if (await said('firewall-cmd', ['--state']) === undefined) return undefined;
  const zone = device === undefined ? undefined : (await said('firewall-cmd', [`--get-zone-of-interface=${device}`]))?.trim();
  return said('firewall-cmd', ['--list-all', ...(zone === undefined || zone === '' ? [] : [`--zone=${zone}`])]);
}

/** Chains of nftables, as JSON. */
export async function nftChains(): Promise<string | undefined> {
  return said('nft', ['--json', 'list', 'chains']);
}

/** A table as text. */
export async function nftTable(family: string, table: string): Promise<string> {
  return (await said('nft', ['list', 'table', family, table])) ?? '';
}
