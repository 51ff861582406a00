/**
 * Reads the name that a TLS client asks for out of its first bytes, without ending TLS. All of it
 * is chosen by strangers: a length is believed only when it ends exactly where its container does.
 * Sources: RFC 8446, sections 4.1.2 and 5.1; RFC 6066, section 3.
 */
export type HelloResult =
  /** Not all of it has come yet. */
  | { kind: 'more' }
  /** This is no ClientHello. */
  | { kind: 'bad'; why: string }
  /** The name in lower case, without a dot at its end; undefined when the client asks for none. */
  | { kind: 'hello'; name: string | undefined };

/** Bytes of a hello at most, with the headers of the records that it comes in. */
export const helloMax = 16 * 1024;

/** A fatal alert "unrecognized_name" in a record of its own. */
export const unrecognizedName = Uint8Array.of(21, 3, 3, 0, 2, 2, 112);

const handshakeRecord = 22;
const clientHello = 1;
const recordMax = 16 * 1024;

/** Reads a ClientHello from the first bytes of a connection, which may be cut anywhere. */
export function readClientHello(bytes: Uint8Array): HelloResult {
  const message: number[] = [];
  let at = 0;
  // A hello may be spread over several records.
  while (at < bytes.length) {
    if (bytes[at] !== handshakeRecord) return bad('not a TLS handshake');
    if (at + 1 < bytes.length && bytes[at + 1] !== 3) return bad('not a version of TLS');
    if (at + 5 > bytes.length) break;
    const length = two(bytes, at + 3);
    if (length === 0 || length > recordMax) return bad('a record of a wrong length');
    for (const byte of bytes.subarray(at + 5, Math.min(at + 5 + length, helloMax))) message.push(byte);
    if (message.length > 0 && message[0] !== clientHello) return bad('a handshake that begins with something else');
    const whole = message.length >= 4 ? 4 + two(message, 2) + 65_536 * (message[1] ?? 0) : undefined;
    if (whole !== undefined && whole > helloMax) return bad('a hello that is too long');
    if (whole !== undefined && message.length >= whole) return readBody(message.slice(4, whole));
    at += 5 + length;
  }
  return bytes.length >= helloMax ? bad('a hello that is too long') : { kind: 'more' };
}

function readBody(body: readonly number[]): HelloResult {
  const reader = new Reader(body);
  reader.skip(2 + 32);
  reader.block(1);
  reader.block(2);
  reader.block(1);
  if (reader.failed) return bad('a hello that ends too early');
  if (reader.atEnd) return { kind: 'hello', name: undefined };
  const extensions = reader.block(2);
  if (!reader.atEnd) return bad('a hello with a wrong length of its extensions');
  let name: string | undefined;
  while (!extensions.atEnd && !extensions.failed) {
    const type = extensions.number(2);
    const content = extensions.block(2);
    if (extensions.failed) return bad('an extension of a wrong length');
    if (type !== 0) continue;
    if (name !== undefined) return bad('two lists of names');
    name = readName(content);
    if (name === undefined) return bad('a name that is none');
  }
  return extensions.failed ? bad('an extension of a wrong length') : { kind: 'hello', name };
}

/** The one host name of the extension server_name; undefined for everything else. */
function readName(content: Reader): string | undefined {
  const list = content.block(2);
  const type = list.number(1);
  const text = list.block(2);
  if (!content.atEnd || !list.atEnd || text.failed || type !== 0) return undefined;
  const name = String.fromCharCode(...text.rest()).toLowerCase().replace(/\.$/, '');
  return name.length <= 253 && /^[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*$/.test(name) ? name : undefined;
}

/** Walks over bytes; what reads past the end marks it as failed and gives nothing. */
class Reader {
  private at = 0;
  failed = false;
  private readonly bytes: readonly number[];

  constructor(bytes: readonly number[], failed = false) {
    this.bytes = bytes;
    this.failed = failed;
  }

  /** True when all was read, and nothing beyond. */
  get atEnd(): boolean {
    return !this.failed && this.at === this.bytes.length;
  }

  skip(count: number): void {
    this.at += count;
    if (this.at > this.bytes.length) this.failed = true;
  }

  /** An unsigned number of some bytes. */
  number(size: 1 | 2): number {
    const from = this.at;
    this.skip(size);
    if (this.failed) return 0;
    return size === 1 ? (this.bytes[from] ?? 0) : two(this.bytes, from);
  }

  /** A block that its length precedes, which has `size` bytes itself. */
  block(size: 1 | 2): Reader {
    const length = this.number(size);
    const from = this.at;
    this.skip(length);
    return this.failed ? new Reader([], true) : new Reader(this.bytes.slice(from, from + length));
  }

  rest(): readonly number[] {
    return this.bytes.slice(this.at);
  }
}

function two(bytes: ArrayLike<number>, at: number): number {
  return 256 * (bytes[at] ?? 0) + (bytes[at + 1] ?? 0);
}

function bad(why: string): HelloResult {
  return { kind: 'bad', why };
}
