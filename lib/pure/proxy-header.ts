/**
 * Finds the end of a PROXY protocol header, version 2, which the router puts before a connection.
 * Source: HAProxy's doc/proxy-protocol.txt, section 2.2.
 */
export type ProxyResult =
  | { kind: 'more' }
  | { kind: 'bad'; why: string }
  /** Where the client's own bytes begin. */
  | { kind: 'header'; length: number };

const signature = [13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10];

/** Bytes of a header at most: addresses of unix sockets, and some room for extensions. */
export const proxyHeaderMax = 1024;

/** Looks for a header at the beginning of some bytes, which may be cut anywhere. */
export function readProxyHeader(bytes: Uint8Array): ProxyResult {
  for (const [index, byte] of signature.entries()) {
    if (index >= bytes.length) return { kind: 'more' };
    if (bytes[index] !== byte) return { kind: 'bad', why: 'no PROXY header' };
  }
  if (bytes.length < 16) return { kind: 'more' };
  const command = bytes[12] ?? 0;
  if (command !== 0x20 && command !== 0x21) return { kind: 'bad', why: 'a PROXY header of another version' };
  const length = 16 + 256 * (bytes[14] ?? 0) + (bytes[15] ?? 0);
  if (length > proxyHeaderMax) return { kind: 'bad', why: 'a PROXY header that is too long' };
  return bytes.length < length ? { kind: 'more' } : { kind: 'header', length };
}
