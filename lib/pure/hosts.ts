import { isAddress } from './addresses.ts';

/** True for a name that DNS may know, and for an IPv4 address. */
export function isHost(host: string): boolean {
  return host.length <= 253 && host.split('.').every((label) => /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/.test(label))
    && (!/(^|\.)\d+$/.test(host) || isAddress(host) === 4);
}

/** Name servers in the text of resolv.conf(5), but for those on this machine itself. */
export function resolversIn(text: string): string[] {
  return [...text.matchAll(/^\s*nameserver\s+(\S+)/gm)].map(([, address = '']) => address.replace(/%.*$/, '')).filter((address) => isAddress(address) !== 0 && !/^(127\.|::1$)/.test(address));
}
