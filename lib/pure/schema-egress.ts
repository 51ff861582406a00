import * as z from 'zod';
import { formatPlace, parsePlace } from './egress.ts';

/** What a site may reach outside; see schema.ts for what it is part of. */

const place = z.string().transform((value, context) => {
  const parsed = parsePlace(value);
  if (typeof parsed !== 'string') return formatPlace(parsed);
  context.addIssue({ code: 'custom', message: parsed });
  return z.NEVER;
});

/** Gives the places in their one form; undefined for any, and an empty list for none. */
export const egress = () => z.union([
  z.enum(['any', 'none']),
  z.array(place).min(1, 'is empty: write none'),
], 'is neither any nor none, nor a list of places such as [api.example.com:443, 192.0.2.0/24]')
  .transform((value) => (value === 'any' ? { places: undefined } : { places: value === 'none' ? [] : [...new Set(value)] }));
