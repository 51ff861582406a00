import https from 'node:https';
import type { Client } from 'acme-client';
import { SitegenError } from '../pure/errors.ts';

/** An ACME server, and the account there. */
export interface AcmeOptions {
  directory: string;
  /** PEM of the authority that the server's own certificate is checked with, instead of the system's. */
  ca?: string | undefined;
  email?: string | undefined;
  eab?: { kid: string; key: string } | undefined;
  /** PEM; made once, as the account hangs on it. */
  accountKey: string;
}

export type ChallengeType = 'http-01' | 'tls-alpn-01' | 'dns-01';

/** Proof that a name is ours, as the server wants it. */
export interface Authorization {
  /** As it was asked for, `*.example.com` too; and without the asterisk. */
  name: string;
  base: string;
  /** Proven already. */
  valid: boolean;
  offers: readonly ChallengeType[];
  /** What has to be answered: for dns-01 the value of the TXT record, else the key authorization. */
  answerOf(type: ChallengeType): Promise<{ token: string; answer: string }>;
  /** Lets the server look, once the answer is in place, and waits for its verdict: undefined when it is satisfied. */
  prove(type: ChallengeType): Promise<string | undefined>;
}

/** An order of a certificate. */
export interface Order {
  authorizations: readonly Authorization[];
  /** Once all are valid: sends the request and waits for the certificate with its chain, as PEM. */
  finish(request: Buffer): Promise<string>;
}

/**
 * An ACME server (RFC 8555). Every method throws `AcmeError` for what the server refuses, and for a
 * server that does not answer. Rejected nonces are tried again.
 */
export interface Acme {
  /** @param replaces RFC 9773's name of the certificate that this one renews; left out when the server wants none */
  order(names: readonly string[], replaces?: string): Promise<Order>;
}

/** When a certificate should be renewed; undefined when the server says nothing about this one. */
export type AskWindow = (renewalId: string) => Promise<{ start: string; end: string; askAgainMs: number } | undefined>;

/** What the server refused. */
export class AcmeError extends SitegenError {
  /** RFC 8555's name of the problem without its prefix, such as rateLimited; empty when there was no answer. */
  readonly type: string;
  readonly retryAfterMs: number | undefined;
  /** Problems of single names. */
  readonly names: ReadonlyMap<string, string>;

  constructor(message: string, options: { type?: string; retryAfterMs?: number | undefined; names?: ReadonlyMap<string, string>; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.type = options.type ?? '';
    this.retryAfterMs = options.retryAfterMs;
    this.names = options.names ?? new Map<string, string>();
  }
}

const hourMs = 3_600_000;
const answerMs = 30_000;
const verdictMs = 240_000;

/** A megabyte, which those who only look what is due do not need. Bundled, a CommonJS module has no named exports. */
const library = async () => (await import('acme-client')).default;

/** Opens the account, or makes it the first time. @throws AcmeError */
export async function openAcme(options: AcmeOptions): Promise<Acme> {
  const { directory, email, eab, accountKey } = options;
  // An authority that cannot be reached is asked again and again; loading the library would be most of the work.
  await askPatiently(directory, { method: 'GET', ca: options.ca });
  const { axios, Client } = await library();
  // The library's own way waits for as long as a server says, and loses what went wrong.
  axios.defaults.adapter = async (config) => {
    const headers = Object.fromEntries(Object.entries({ ...config.headers }).flatMap(([name, value]) => (typeof value === 'string' ? [[name, value]] : [])));
    const answer = await askPatiently(config.url ?? '', { method: (config.method ?? 'get').toUpperCase(), headers, body: typeof config.data === 'string' ? config.data : undefined, ca: options.ca });
    if (answer.status >= 400) {
      const problem = problemOf(answer, config.url ?? '');
      // The library sends it again with a new nonce.
      if (problem.type !== 'badNonce') throw problem;
    }
    return { data: answer.body, status: answer.status, statusText: '', headers: answer.headers, config, request: {} };
  };
  const client = new Client({ directoryUrl: directory, accountKey, ...(eab ? { externalAccountBinding: { kid: eab.kid, hmacKey: eab.key } } : {}) });
  try {
    await client.createAccount({ onlyReturnExisting: true });
  } catch (error) {
    if (!(error instanceof AcmeError) || error.type !== 'accountDoesNotExist') throw wrap(error);
    await client.createAccount({ termsOfServiceAgreed: true, ...(email === undefined ? {} : { contact: [`mailto:${email}`] }) }).catch((reason: unknown) => { throw wrap(reason); });
  }

  return {
    async order(names, replaces) {
      const payload = { identifiers: names.map((value) => ({ type: 'dns', value })) };
      const order = await client.createOrder(replaces === undefined ? payload : { ...payload, replaces } as typeof payload).catch(async (error: unknown) => {
        const known = wrap(error);
        if (replaces === undefined || known.retryAfterMs !== undefined || known.type === '' || known.names.size > 0) throw known;
        return client.createOrder(payload);
      }).catch((error: unknown) => { throw wrap(error); });
      const authorizations = await client.getAuthorizations(order).catch((error: unknown) => { throw wrap(error); });
      return {
        authorizations: authorizations.map((one) => authorizationOf(client, one)),
        async finish(request) {
          try {
            const ready = await settle(() => client.getOrder(order), ({ status }) => status !== 'pending');
            if (ready.status !== 'ready') throw new AcmeError(`the order is ${ready.status}: ${detailOf(ready.error)}`);
            await client.finalizeOrder(ready, request);
            const done = await settle(() => client.getOrder(order), ({ status }) => status === 'valid' || status === 'invalid');
            if (done.status !== 'valid') throw new AcmeError(`the order is invalid: ${detailOf(done.error)}`);
            return await client.getCertificate(done);
          } catch (error) {
            throw wrap(error);
          }
        },
      };
    },
  };
}

/**
 * How to ask a server when it wants certificates renewed (RFC 9773); needs no account.
 * @returns undefined when the server does not tell
 * @throws AcmeError when it cannot be reached
 */
export async function openWindows({ directory, ca }: Pick<AcmeOptions, 'directory' | 'ca'>): Promise<AskWindow | undefined> {
  const answer = await askPatiently(directory, { method: 'GET', ca });
  const { renewalInfo } = parse(answer.body) as { renewalInfo?: string };
  if (renewalInfo === undefined) return undefined;
  return async (id) => {
    const { status, headers, body } = await askPatiently(`${renewalInfo.replace(/\/$/, '')}/${id}`, { method: 'GET', ca });
    const { suggestedWindow: { start, end } = {} } = parse(status === 200 ? body : '') as { suggestedWindow?: { start?: string; end?: string } };
    if (start === undefined || end === undefined || !(Date.parse(start) <= Date.parse(end))) return undefined;
    return { start, end, askAgainMs: retryAfterMs(headers) ?? 6 * hourMs };
  };
}

/** A request for a certificate with these names, signed with its key. @param key PEM */
export async function requestFor(names: readonly string[], key: string): Promise<Buffer> {
  const { crypto: forms } = await library();
  const [, request] = await forms.createCsr({ altNames: [...names] }, key);
  return request;
}

/** The certificate that answers tls-alpn-01 (RFC 8737), with its key, as PEM. */
export async function alpnCertificate(name: string, keyAuthorization: string, key: string): Promise<string> {
  const { crypto: forms } = await library();
  const [, certificate] = await forms.createAlpnCertificate({ identifier: { type: 'dns', value: name } } as Parameters<typeof forms.createAlpnCertificate>[0], keyAuthorization, key);
  return certificate.toString();
}

type Given = Awaited<ReturnType<Client['getAuthorizations']>>[number];

function authorizationOf(client: Client, given: Given): Authorization {
  const base = given.identifier.value;
  const challenge = (type: ChallengeType) => {
    const found = given.challenges.find((one) => one.type === type);
    // It goes into a path of the router, and a command to it.
    if (!found || !/^[A-Za-z0-9_-]+$/.test(found.token)) throw new AcmeError(`${base}: the server offers no ${type}`);
    return found;
  };
  return {
    name: given.wildcard === true ? `*.${base}` : base,
    base,
    valid: given.status === 'valid',
    offers: given.challenges.map(({ type }) => type as ChallengeType),
    async answerOf(type) {
      return { token: challenge(type).token, answer: await client.getChallengeKeyAuthorization(challenge(type)) };
    },
    async prove(type) {
      try {
        await client.completeChallenge(challenge(type));
        const order = { authorizations: [given.url] } as Parameters<Client['getAuthorizations']>[0];
        const seen = await settle(async () => (await client.getAuthorizations(order))[0], (one) => one?.status !== 'pending');
        if (seen?.status === 'valid') return undefined;
        const failures = seen?.challenges.map((one) => (one as { error?: unknown }).error).filter((error) => error !== undefined) ?? [];
        return failures.length > 0 ? failures.map((error) => detailOf(error)).join('; ') : `the authorization is ${seen?.status ?? 'gone'}`;
      } catch (error) {
        throw wrap(error);
      }
    },
  };
}

/** Asks again until the answer is final. @throws AcmeError after four minutes */
async function settle<T>(ask: () => Promise<T>, final: (answer: T) => boolean): Promise<T> {
  const end = Date.now() + verdictMs;
  for (let pauseMs = 500; ; pauseMs = Math.min(5000, pauseMs * 1.5)) {
    const answer = await ask();
    if (final(answer)) return answer;
    if (Date.now() > end) throw new AcmeError('the server has not come to a verdict within 4 minutes', { type: 'slow' });
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}

interface Answer {
  status: number;
  headers: Record<string, string>;
  body: string;
}

interface Question {
  method: string;
  headers?: Record<string, string>;
  body?: string | undefined;
  ca?: string | undefined;
}

/** Bridges a short interruption; a longer one is the next try's matter. */
async function askPatiently(url: string, question: Question): Promise<Answer> {
  for (let tries = 1; ; tries++) {
    try {
      const answer = await askOnce(url, question);
      if (answer.status < 500 || answer.headers['retry-after'] !== undefined || tries >= 3) return answer;
    } catch (error) {
      if (tries >= 3) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, tries * 1500));
  }
}

function askOnce(url: string, { method, headers, body, ca }: Question): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const unreachable = (error: Error) => { reject(new AcmeError(`${hostOf(url)} cannot be reached: ${error.message === '' ? ((error as NodeJS.ErrnoException).code ?? 'no connection') : error.message}`, { cause: error })); };
    const request = https.request(url, {
      method, headers: { ...headers, 'user-agent': 'sitegen', ...(body === undefined ? {} : { 'content-length': Buffer.byteLength(body) }) },
      timeout: answerMs, ...(ca === undefined ? {} : { ca }),
    }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
        if (text.length > 2_000_000) request.destroy(new Error('its answer is too long'));
      });
      response.once('error', unreachable);
      response.once('end', () => {
        const flat = Object.fromEntries(Object.entries(response.headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(', ') : (value ?? '')]));
        resolve({ status: response.statusCode ?? 0, headers: flat, body: text });
      });
    });
    request.once('timeout', () => { request.destroy(new Error('no answer within 30 s')); });
    request.once('error', unreachable);
    request.end(body);
  });
}

interface Problem {
  type?: string;
  detail?: string;
  identifier?: { value?: string };
  subproblems?: Problem[];
}

function problemOf({ status, headers, body }: Answer, url: string): AcmeError {
  const problem = parse(body) as Problem;
  const type = /^urn:ietf:params:acme:error:(\w+)$/.exec(problem.type ?? '')?.[1] ?? (status === 429 ? 'rateLimited' : `status ${status}`);
  const names = new Map((problem.subproblems ?? []).flatMap((one) => (one.identifier?.value === undefined ? [] : [[one.identifier.value, detailOf(one)] as const])));
  const wait = retryAfterMs(headers) ?? (type === 'rateLimited' ? hourMs : undefined);
  return new AcmeError(`${hostOf(url)} answers ${status}: ${detailOf(problem)}`, { type, retryAfterMs: wait, names });
}

/** Not every server between here and there speaks JSON. */
function parse(body: string): object {
  try {
    return (JSON.parse(body) ?? {}) as object;
  } catch {
    return {};
  }
}

function detailOf(problem: unknown): string {
  const { detail, type } = (problem ?? {}) as Problem;
  return (detail ?? type ?? 'it does not say why').replaceAll(/\s+/g, ' ').slice(0, 500);
}

/** Seconds or a date; at most a week, as more is a slip. */
function retryAfterMs(headers: Readonly<Record<string, string>>): number | undefined {
  const value = headers['retry-after'];
  if (value === undefined) return undefined;
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(ms) && ms > 0 ? Math.min(ms, 7 * 24 * hourMs) : undefined;
}

function wrap(error: unknown): AcmeError {
  return error instanceof AcmeError ? error : new AcmeError(`the certificate authority: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
}

function hostOf(url: string): string {
  return URL.canParse(url) ? new URL(url).host : url;
}
