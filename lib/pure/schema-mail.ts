import * as z from 'zod';
import { addressFault, parseRelay } from './mail.ts';
import { bytes } from './schema-values.ts';

/** Settings about mail; see schema.ts for what they are part of. */

const relay = () => z.string().transform((value, context) => {
  const parsed = parseRelay(value);
  if (parsed) return parsed;
  context.addIssue({ code: 'custom', message: 'is not a mail server: write smtps://host, starttls://host or smtp://host, with :port where it is another; accounts are in /etc/sitegen/keys/mail' });
  return z.NEVER;
});

const address = (replaced = (value: string) => value) => z.string().superRefine((value, context) => {
  const fault = addressFault(replaced(value));
  if (fault !== undefined) context.addIssue({ code: 'custom', message: `is not an e-mail address: ${fault}` });
});

const perHour = () => z.int().min(1).max(10_000);

/** `mail:` of `sitegen.yaml`. */
export const mailDefaults = z.strictObject({
  relay: relay().describe('server that takes the mail of sites; without it nothing listens'),
  from: address((value) => value.replace('${domain}', 'example.com')).describe('sender of all mail, whatever a site says; ${domain} is the site\'s'),
  perHour: perHour().describe('recipients that a site may send to in an hour; 100 unless given'),
  maxSize: bytes().describe('size of a message at most; 25M unless given'),
}).partial();

/** `mail:` of a site. */
export const mailFields = z.strictObject({
  relay: z.union([relay(), z.literal(false)]).describe('server that takes its mail; false: it may send none'),
  from: address().describe('sender of all its mail; addresses of its own names unless given'),
  perHour: perHour().describe('recipients that it may send to in an hour'),
  otherEmail: address().describe('where mail to its names is forwarded to, for Postfix'),
}).partial();
