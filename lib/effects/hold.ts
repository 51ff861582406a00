import net from 'node:net';
import { helloMax, readClientHello, unrecognizedName } from '../pure/client-hello.ts';
import { proxyHeaderMax, readProxyHeader } from '../pure/proxy-header.ts';

/** What happens to a held connection: it goes on to where TLS ends, or is told that there is no such name. */
export type Decision = 'pass' | 'refuse';

/** How a connection ended. */
export interface Outcome {
  kind: 'passed' | 'refused' | 'not TLS' | 'too slow';
  name?: string | undefined;
}

/** For the whole hello; the router has seen it already, so it comes at once. */
const helloMs = 3000;
/** For the client to read its alert and close. */
const closeMs = 2000;
/** A hello comes in a few packets; a client that sends single bytes would have each read again. */
const chunksMax = 64;

/**
 * Holds a connection of the router's, which begins with a PROXY header and a ClientHello, until it
 * is decided where it belongs. The bytes are passed on as they came, so the client notices nothing.
 * @param target unix socket that takes the same two
 * @returns when that is decided; never rejects
 */
export async function holdConnection(client: net.Socket, target: string, decide: (name: string) => Promise<Decision>): Promise<Outcome> {
  client.on('error', () => client.destroy());
  const first = await firstBytes(client);
  if (first.kind !== 'hello') {
    client.destroy();
    return { kind: first.kind };
  }
  const { name, bytes } = first;
  const decision = name === undefined ? 'refuse' : await decide(name).catch((): Decision => 'refuse');
  if (decision === 'pass' && await passOn(client, bytes, target)) return { kind: 'passed', name };
  refuse(client);
  return { kind: 'refused', name };
}

/**
 * Asks whoever listens on a unix socket a question of one line.
 * @returns its answer of one line
 * @throws Error when nobody is there, or the other side ends without an answer
 */
export function askSocket(path: string, question: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = '';
    const socket = net.connect({ path }, () => socket.write(`${question}\n`));
    socket.setEncoding('utf8').on('data', (chunk: string) => { answer = (answer + chunk).slice(0, 1000); });
    socket.once('error', reject).once('close', () => {
      if (answer.endsWith('\n')) resolve(answer.trimEnd());
      else reject(new Error(`${path} gave no answer`));
    });
  });
}

/** Takes a question of one line from a connection, and answers it with one. */
export async function answerLine(client: net.Socket, answer: (question: string) => Promise<string>): Promise<void> {
  client.on('error', () => client.destroy());
  const question = await new Promise<string | undefined>((resolve) => {
    let text = '';
    client.setEncoding('utf8').setTimeout(helloMs, () => { resolve(undefined); });
    client.on('data', (chunk: string) => {
      text += chunk;
      if (text.length > 1000) resolve(undefined);
      else if (text.includes('\n')) resolve(text.slice(0, text.indexOf('\n')));
    }).once('close', () => { resolve(undefined); });
  });
  client.setTimeout(0);
  if (question === undefined) client.destroy();
  else client.end(`${await answer(question)}\n`);
}

type First = { kind: 'hello'; name: string | undefined; bytes: Buffer } | { kind: 'not TLS' | 'too slow' };

function firstBytes(client: net.Socket): Promise<First> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    const settle = (first: First) => {
      clearTimeout(timer);
      client.off('data', onData).off('close', onEnd).off('end', onEnd);
      client.pause();
      resolve(first);
    };
    const onEnd = () => { settle({ kind: 'not TLS' }); };
    const onData = (chunk: Buffer) => {
      chunks.push(chunk);
      const bytes = Buffer.concat(chunks);
      const header = readProxyHeader(bytes);
      const result = header.kind === 'header' ? readClientHello(bytes.subarray(header.length)) : header;
      if (result.kind === 'hello') settle({ kind: 'hello', name: result.name, bytes });
      else if (result.kind === 'bad' || chunks.length >= chunksMax || bytes.length > helloMax + proxyHeaderMax) settle({ kind: 'not TLS' });
    };
    const timer = setTimeout(() => { settle({ kind: 'too slow' }); }, helloMs);
    client.on('data', onData).once('close', onEnd).once('end', onEnd);
  });
}

/** @returns false when nobody is there to take the connection */
function passOn(client: net.Socket, bytes: Buffer, target: string): Promise<boolean> {
  return new Promise((resolve) => {
    if (client.destroyed) {
      resolve(true);
      return;
    }
    const upstream = net.connect({ path: target, allowHalfOpen: true });
    upstream.once('connect', () => {
      upstream.write(bytes);
      client.pipe(upstream).pipe(client);
      client.once('close', () => upstream.destroy());
      // What one side has broken off, the other does not wait for.
      upstream.once('close', () => client.setTimeout(closeMs, () => client.destroy()));
      resolve(true);
    });
    upstream.on('error', () => { resolve(false); });
  });
}

function refuse(client: net.Socket): void {
  client.setTimeout(closeMs, () => client.destroy());
  // What is still to come is taken, so that the alert is not lost by a reset.
  client.on('end', () => client.end()).resume();
  client.end(unrecognizedName);
}
