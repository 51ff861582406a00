import { randomBytes } from 'node:crypto';
import type { Readable } from 'node:stream';
import { readMany, writeAtomic } from '../effects/files.ts';
import { beginMessage, bytesFree, bytesOf, leaveNote, type Incoming, type Spool } from '../effects/mail-spool.ts';
import { Refusal, type IntakeHandlers, type Session } from '../effects/smtp-intake.ts';
import { reasonOf } from '../pure/errors.ts';
import { addressFault, builtInMail, relayText, senderFor, type Relay, type SenderSite } from '../pure/mail.ts';
import { endOfHeader, rewriteHeader } from '../pure/mail-headers.ts';
import { messageName } from '../pure/mail-queue.ts';
import { admit, giveBack, readSent, roomLeft, tellLimit, type Sent } from '../pure/mail-rate.ts';
import { mail } from '../pure/names.ts';

/** Connections of one site at once; recipients of one message; and its header, bytes. */
const connectionsMax = 8;
const recipientsMax = 100;
const headerMax = 256 * 1024;

/** What the disk must have left, bytes. */
const freeMin = 256 * 1024 ** 2;

export interface IntakeDeps {
  siteAt: (address: string) => SenderSite | undefined;
  spool: Spool;
  /** Where the counts of the last hour outlive the process. */
  countsDir: string;
  now: () => number;
  report: (line: string) => void;
  freeMin?: number;
}

/** A site that may send. */
type Sending = SenderSite & { relay: Relay };

/** Takes the mail of containers: knows them by their address, keeps each to its rules, and has the message on the disk before it is acknowledged. */
export function makeIntake(deps: IntakeDeps): IntakeHandlers {
  const { siteAt, spool, countsDir, now, report } = deps;
  const counts = new Map<string, Sent>();
  const connected = new Map<string, string>();

  const siteOf = ({ address }: Session): Sending => {
    const site = siteAt(address);
    if (site?.relay) return { ...site, relay: site.relay };
    throw new Refusal(550, site ? `${site.domain} may not send: mail.relay of its settings is false` : `no site of this server has the address ${address}`);
  };
  const sentOf = (id: string): Sent => {
    const sent = counts.get(id) ?? readSent(readMany([`${countsDir}/${id}.json`])[0]?.content);
    counts.set(id, sent);
    return sent;
  };
  const keep = async (id: string, sent: Sent) => {
    counts.set(id, sent);
    await writeAtomic({ path: `${countsDir}/${id}.json`, content: JSON.stringify(sent), mode: 0o640 });
  };
  const overLimit = ({ id, perHour }: Sending): Refusal => {
    const told = tellLimit(sentOf(id), now());
    if (told) {
      counts.set(id, told);
      const text = `mail: the limit of ${perHour} recipients an hour is reached, and what comes now is put off (mail.perHour)`;
      leaveNote(spool, nameOf(id), text).then(() => keep(id, { ...sentOf(id), told: told.told })).catch((error: unknown) => { report(`${text}; and it cannot be told: ${reasonOf(error)}`); });
    }
    return new Refusal(451, `this site has sent to ${perHour} recipients in an hour; try again later`);
  };
  const nameOf = (id: string) => messageName(now(), randomBytes(8).toString('hex'), id);

  return {
    connected(session) {
      const { id } = siteOf(session);
      const others = [...connected.values()].filter((other) => other === id).length;
      connected.set(session.id, id);
      if (others >= connectionsMax) throw new Refusal(421, 'too many connections of this site at once; try again later');
    },
    closed(session) {
      connected.delete(session.id);
    },
    sender(session, _address, announced) {
      const { maxBytes } = siteOf(session);
      if (announced > maxBytes) throw new Refusal(552, `a message may have ${maxBytes} bytes`);
    },
    recipient(session, address, before) {
      const site = siteOf(session);
      const fault = addressFault(address);
      if (fault !== undefined) throw new Refusal(553, `${address.slice(0, 200)} is no address: ${fault}`);
      if (before >= recipientsMax) throw new Refusal(452, `a message may have ${recipientsMax} recipients at once`);
      if (roomLeft(sentOf(site.id), now(), site.perHour) <= before) throw overLimit(site);
    },
    async message(session, from, to, content) {
      const site = siteOf(session);
      const at = now();
      const name = nameOf(site.id);
      const counted = admit(sentOf(site.id), at, to.length, site.perHour);
      // Of all that is awaited below nothing must come between this look and the count.
      if (counted) counts.set(site.id, counted);
      try {
        const refused = counted ? await refusedForRoom(site) : overLimit(site);
        if (counted) await keep(site.id, counts.get(site.id) ?? counted);
        const envelope = { domain: site.domain, service: site.service, from: senderFor(site, from), to, at, relay: relayText(site.relay) };
        const rewrite = (header: string) => rewriteHeader(header, { site, key: keyOf(name), address: session.address, helo: session.helo, relayHost: mail.host, now: new Date(at) });
        await store(content, site.maxBytes, refused, () => beginMessage(spool, name, envelope), rewrite);
      } catch (error) {
        if (counted) await keep(site.id, giveBack(sentOf(site.id), at, to.length)).catch((keeping: unknown) => { report(reasonOf(keeping)); });
        throw error;
      }
      return `queued as ${keyOf(name)}`;
    },
  };

  async function refusedForRoom({ id, maxBytes }: Sending): Promise<Refusal | undefined> {
    if (await bytesOf(spool, id) + maxBytes > builtInMail.queueBytes) return new Refusal(452, 'too much mail of this site waits already; try again later');
    return await bytesFree(spool) < (deps.freeMin ?? freeMin) ? new Refusal(452, 'the disk is full; try again later') : undefined;
  }
}

/** A message's name without its site: what people see. */
export function keyOf(name: string): string {
  return name.slice(0, name.indexOf('@'));
}

/**
 * Reads a message to its end, whatever becomes of it: the client takes an answer only then.
 * @throws whatever kept it from being stored; nothing of it is left then
 */
async function store(content: Readable, maxBytes: number, refused: Refusal | undefined, begin: () => Promise<Incoming>, rewrite: (header: string) => string | undefined): Promise<void> {
  let fault: Error | undefined = refused;
  const opened: Incoming[] = [];
  let start = Buffer.alloc(0);
  let size = 0;
  const open = async (header: Buffer, rest: Buffer) => {
    const rewritten = rewrite(header.toString('latin1'));
    if (rewritten === undefined) throw new Refusal(554, 'the message goes in circles');
    const incoming = await begin();
    opened.push(incoming);
    await incoming.write(Buffer.concat([Buffer.from(`${rewritten}\r\n`, 'latin1'), rest]));
  };
  const take = async (chunk: Buffer) => {
    if (size > maxBytes) throw new Refusal(552, `the message is larger than ${maxBytes} bytes`);
    const [incoming] = opened;
    if (incoming) {
      await incoming.write(chunk);
      return;
    }
    start = Buffer.concat([start, chunk]);
    const header = endOfHeader(start);
    if (header) await open(start.subarray(0, header.end), start.subarray(header.body));
    else if (start.length > headerMax) throw new Refusal(552, `the header is larger than ${headerMax} bytes`);
  };
  try {
    for await (const chunk of content) {
      size += (chunk as Buffer).length;
      if (fault === undefined) await take(chunk as Buffer).catch((error: unknown) => { fault = error instanceof Error ? error : new Error(String(error)); });
    }
    if (fault !== undefined) throw fault;
    // All of it is header.
    if (opened.length === 0) await open(start, Buffer.alloc(0));
    for (const incoming of opened) await incoming.commit();
  } catch (error) {
    for (const incoming of opened) await incoming.abort();
    throw error;
  }
}
