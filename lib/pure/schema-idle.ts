import * as z from 'zod';
import { parseAwakeTimes } from './idle.ts';
import { argv } from './schema-backup.ts';
import { size, span, text } from './schema-values.ts';

/** Settings about falling asleep and about sharing the machine; see schema.ts for what they are part of. */

const weekMs = 7 * 86_400_000;

const awakeTimes = () => text().refine((value) => parseAwakeTimes(value) !== undefined, 'is not a time: write for example Mon-Fri 08:00-18:00');

const levels = {
  after: span().describe('how long nobody visits until the site is frozen; 5min unless given'),
  stopAfter: span(weekMs, '7 days').describe('how long it is frozen until it is stopped; 6h unless given'),
  freeze: z.boolean().describe('false: it is stopped at once, as its program does not bear standing still'),
};

export const idleDefaults = z.strictObject(levels).partial();

export const idleFields = z.strictObject({
  ...levels,
  never: z.boolean().describe('true: it stays awake'),
  awake: z.union([awakeTimes().transform((value) => [value]), z.array(awakeTimes())]).describe('times in which it stays awake, in the machine\'s time zone'),
  busy: argv().describe('program in the container that ends with 0 while there is work, and with 1 while there is none'),
}).partial();

export const machineFields = z.strictObject({
  memory: size().describe('what all sites may hold together until the least recently used ones are frozen or stopped; 70% unless given'),
  starts: z.int().positive().describe('how many sites may start at once; one a processor unless given'),
}).partial();
