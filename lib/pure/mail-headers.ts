import addressparser from 'nodemailer/lib/addressparser/index.js';
import { isOwnAddress, senderFor, type SenderSite } from './mail.ts';

/** What the relay changes in a message's header (RFC 5322), which is bytes: nothing else in it is touched. */

/** A field with the lines that it is folded over, without the last line break. */
interface Field {
  name: string;
  text: string;
}

/** Where the header ends: the first byte behind its last line break, and the first of the body's; undefined while that is not known. */
export function endOfHeader(bytes: Buffer): { end: number; body: number } | undefined {
  if (bytes.length >= 2 && bytes[0] === 13 && bytes[1] === 10) return { end: 0, body: 2 };
  if (bytes[0] === 10) return { end: 0, body: 1 };
  const [long, short] = [bytes.indexOf('\r\n\r\n'), bytes.indexOf('\n\n')];
  if (long === -1 && short === -1) return undefined;
  return short === -1 || (long !== -1 && long < short) ? { end: long + 2, body: long + 4 } : { end: short + 1, body: short + 2 };
}

function fieldsOf(header: string): Field[] {
  const fields: Field[] = [];
  for (const given of header.split(/\r?\n/)) {
    // Some servers would take a bare one for the end of a line, and what follows for a field.
    const line = given.replaceAll('\r', ' ');
    const last = fields.at(-1);
    if (/^[ \t]/.test(line) && last) last.text += `\r\n${line}`;
    else if (line !== '') fields.push({ name: /^([!-9;-~]+)[ \t]*:/.exec(line)?.[1]?.toLowerCase() ?? '', text: line });
  }
  // A line that is no field would end the header for others.
  return fields.filter(({ name }) => name !== '');
}

const valueOf = ({ text }: Field) => text.slice(text.indexOf(':') + 1).replaceAll('\r\n', '').trim();

const addressesOf = (value: string) => addressparser(value, { flatten: true });

/** A display name as a quoted string; one that is encoded (RFC 2047) must not be quoted. */
function named(name: string, address: string): string {
  const safe = name.replaceAll(/[\u0000-\u001f\u007f]/g, ' ').trim();
  if (safe === '') return address;
  return `${/^(=\?[^?\s]+\?[bqBQ]\?[^?\s]*\?=\s*)+$/.test(safe) ? safe : `"${safe.replaceAll(/["\\]/g, String.raw`\$&`)}"`} <${address}>`;
}

/** What is known of a message beside its header. */
export interface Trace {
  site: Pick<SenderSite, 'domain' | 'names' | 'from'>;
  /** Its name in the queue, for Message-ID and Received. */
  key: string;
  /** The container's, and what it called itself. */
  address: string;
  helo: string;
  relayHost: string;
  now: Date;
}

/** More stations than that are a circle (RFC 5321, 6.3). */
const hopsMax = 50;

/**
 * The header as it goes out: the sender is the site's, and whoever was named instead is in Reply-To;
 * Bcc goes, Date and Message-ID come where they are missing, and Received tells of the relay.
 * @param header bytes as latin1, so that they come out as they were
 * @returns undefined for a message that goes in circles
 */
export function rewriteHeader(header: string, { site, key, address, helo, relayHost, now }: Trace): string | undefined {
  const fields = fieldsOf(header);
  const all = (name: string) => fields.filter((field) => field.name === name);
  if (all('received').length > hopsMax) return undefined;
  const given = all('from').flatMap((field) => addressesOf(valueOf(field)));
  const [first] = given;
  const isFine = all('from').length === 1 && given.length === 1 && site.from === undefined && isOwnAddress(site, first?.address ?? '');
  // Sender would show another than From; it is put right by going.
  const dropped = ['bcc', 'sender', 'return-path', ...(isFine ? [] : ['from'])];
  const date = now.toUTCString().replace('GMT', '+0000');
  const hello = helo.replaceAll(/[^A-Za-z0-9.:[\]_-]/g, '').slice(0, 255);
  const answers = first?.address !== undefined && /^[!-~]+@[!-~]+$/.test(first.address) && !/[<>",;()]/.test(first.address) ? first.address : undefined;
  const added = [
    ...(isFine ? [] : [`From: ${named(first?.name ?? '', senderFor(site, answers ?? 'unknown'))}`]),
    ...(isFine || answers === undefined || all('reply-to').length > 0 ? [] : [`Reply-To: ${named(first?.name ?? '', answers)}`]),
    ...(all('date').length > 0 ? [] : [`Date: ${date}`]),
    // Always the same for a message, so that one that came twice can be told.
    ...(all('message-id').length > 0 ? [] : [`Message-ID: <${key}@${site.domain}>`]),
  ];
  const received = `Received: from ${hello === '' ? 'unknown' : hello} ([${address}])\r\n\tby ${relayHost} with ESMTP id ${key}; ${date}`;
  return [received, ...fields.filter(({ name }) => !dropped.includes(name)).map(({ text }) => text), ...added].map((line) => `${line}\r\n`).join('');
}
